//! Certificates and keys of a network, made before it runs.

use std::{path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::Context;
use gibbon_control::{GrantSigner, link::coordinator_identity};
use gibbon_net::{Certificates, Identity};

use crate::command::print;

/// What is to be made.
#[derive(clap::Args)]
pub struct Make {
    /// Nodes, as ROLE/ID: edge/edge-0, origin/studio, worker/w-1; the coordinator's is always made
    #[arg(required = true, value_name = "ROLE/ID")]
    nodes: Vec<Node>,
    /// The folder
    #[arg(long, env = "GIBBON_CERTS", default_value = "certs", value_name = "DIR")]
    certs: PathBuf,
}

#[derive(Clone)]
struct Node(Identity);

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, id) = text.split_once('/').ok_or("use ROLE/ID, as in edge/edge-0")?;
        let role = role.parse().map_err(|error| format!("{error}"))?;
        let id = id.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(Identity { id, role }))
    }
}

impl Make {
    /// Makes what is missing: the authority, the key that signs grants, a certificate and key of each node.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let certificates = Certificates::in_folder(&self.certs);
        GrantSigner::load_or_make(&certificates)
            .with_context(|| format!("no key for grants in {}", self.certs.display()))?;
        let nodes = self.nodes.into_iter().map(|node| node.0);
        for identity in nodes.chain([coordinator_identity()]) {
            certificates.credentials(&identity)?;
            print(&format!("{}/{}-{}.pem", self.certs.display(), identity.role, identity.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_needs_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let make = |nodes: &[&str]| Make {
            nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
            certs: folder.path().to_owned(),
        };
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        make(&["edge/edge-0"]).run().unwrap();
        let kept = ["ca.pem", "ca.key", "grants.key", "grants.pub", "edge-edge-0.key"];
        let before = kept.map(read);
        make(&["edge/edge-0", "origin/studio"]).run().unwrap();
        assert_eq!(kept.map(read), before);
        for name in ["origin-studio.pem", "coordinator-coordinator.pem"] {
            assert!(!read(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_node_is_named_by_role_and_id() {
        for wrong in ["edge-0", "viewer/x", "edge/", "edge/a b"] {
            assert!(wrong.parse::<Node>().is_err(), "{wrong}");
        }
    }
}
