//! Gibbon coordinator.
fn main() {}
