//! The harness: puts a network under load, hurts it, and says what its viewers saw.

pub mod source;
pub mod stamp;
pub mod yardstick;
