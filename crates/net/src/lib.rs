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
pub mod wire;

pub use endpoint::{Endpoint, Viewers, close};
pub use identity::{Certificates, Identity, Peer};
pub use steering::MAX_SHARDS;
