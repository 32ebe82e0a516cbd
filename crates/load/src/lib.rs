//! The harness: puts a network under load, hurts it, and says what its viewers saw.

pub mod fail_if;
pub mod page;
pub mod progress;
pub mod run;
pub mod scenario;
pub mod sessions;
pub mod source;
pub mod stamp;
pub mod summary;
pub mod told;
pub mod yardstick;
