//! Gibbon ctl.
fn main() {}
