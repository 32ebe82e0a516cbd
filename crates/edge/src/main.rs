//! Gibbon edge.
fn main() {}
