//! Relays: what pulls each description of a stream once from upstream into a cache, however many want it,
//! and stays with it through the loss and the change of upstreams. Edges and workers pull by it.

mod extent;
mod help;
mod network;
mod peers;
mod pull;
mod relay;
mod silence;

pub use network::Network;
pub use peers::Peers;
pub use relay::{Demand, FIRST_SOURCE_WITHIN, Pulling, Readers, Ready, Relay, Relays, Source};
pub use silence::Silence;
