//! What coordinator, nodes and clients say to each other, and what every Gibbon process does alike.

mod address;
pub mod client;
pub mod drain;
pub mod failpoint;
pub mod grant;
mod joining;
pub mod link;
pub mod links;
pub mod metrics;
pub mod node;
pub mod portal;
pub mod process;
pub mod report;
pub mod services;
pub mod session;
pub mod telemetry;
pub mod viewing;
pub mod vitals;
pub mod work;

pub use address::HostAddress;
pub use grant::{Grant, GrantError, GrantSigner, GrantVerifier};
pub use joining::Joining;
