//! gibbon-play
fn main() {}
