//! QUIC between nodes and to clients: certificates, endpoints, the wire, the group cache, publish and
//! subscribe. Knows groups and frames, nothing of codecs.

pub mod cache;
pub mod endpoint;
pub mod identity;
pub mod message;
pub mod publish;
mod reset;
pub mod serving;
mod steering;
pub mod subscribe;
mod timer;
pub mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use endpoint::{Endpoint, Viewers, close};
pub use identity::{Certificates, Identity, Peer};
pub use steering::MAX_SHARDS;

/// What a mutex guards here is whole after each statement, so that a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
