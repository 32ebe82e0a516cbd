//! The harness: puts a network under load, hurts it, and says what its viewers saw.

pub mod fail_if;
pub mod page;
pub mod progress;
pub mod run;
pub mod scenario;
pub mod sessions;
pub mod sim;
pub mod source;
pub mod stamp;
pub mod summary;
pub mod told;
pub mod yardstick;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::{CreationError, Histogram};

/// Frames that are later than this count as this late, in µs.
const MAX_DELAY_US: u64 = 60_000_000;
/// Digits of a delay that are told apart.
const DELAY_DIGITS: u8 = 3;

/// What a mutex guards here is whole after each statement, so that a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For delays of frames, in µs.
fn delays_histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_max(MAX_DELAY_US, DELAY_DIGITS)
}
