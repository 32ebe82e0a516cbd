//! The options by which a node joins a network: the same for every role.

use std::path::PathBuf;

use crate::{HostAddress, link::Registration, node::FromNode};

/// Where the network is, and by what it is known there.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Joining {
    /// Where others reach this node, if not where it listens; a name is looked up at each registration
    /// [default: where it listens, on the interface that leads to the coordinator if that is every one]
    #[arg(long, env = "GIBBON_ADVERTISE", value_name = "HOST[:PORT]")]
    pub advertise: Option<HostAddress>,
    /// The coordinator's control address; a name is looked up at each connection
    #[arg(
        long,
        env = "GIBBON_COORDINATOR",
        default_value = "127.0.0.1:4481",
        value_name = "HOST[:PORT]"
    )]
    pub coordinator: HostAddress,
    /// Folder with the network's certificates; development ones are made on first use
    #[arg(long, env = "GIBBON_CERTS", default_value = "certs", value_name = "DIR")]
    pub certs: PathBuf,
}

impl Joining {
    /// Registers by `register`, which has the address that is bound.
    pub fn registration(&self, register: FromNode) -> Registration {
        Registration::new(self.coordinator.clone(), register).advertising(self.advertise.clone())
    }
}
