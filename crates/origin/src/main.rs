//! Gibbon origin.
fn main() {}
