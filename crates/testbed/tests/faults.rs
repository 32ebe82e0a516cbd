//! Faults befall a small network of real processes, and end. Needs the binaries: `cargo build --workspace`.

use anyhow::Context;
use gibbon_control::portal::NodeInfo;
use gibbon_media::NodeId;
use gibbon_testbed::{COORDINATOR, Fault, Network, Partition, Party, Setup, WAIT, Which, wait_for};

const EDGE: &str = "edge-a";

/// A network of a coordinator and an edge, each reached over a path.
fn network(folder: &tempfile::TempDir) -> anyhow::Result<Network> {
    Network::start(folder.path(), Setup::default().edges(&[EDGE]).paths())
}

fn id(id: &str) -> NodeId {
    id.parse().expect("a name")
}

fn edge(network: &Network) -> anyhow::Result<NodeInfo> {
    let nodes = network.portal.nodes()?;
    nodes.into_iter().find(|node| node.id.as_str() == EDGE).context("the edge is not known")
}

/// Waits until the portal says that the edge is up, or that it is not.
fn await_edge(network: &Network, up: bool) -> anyhow::Result<NodeInfo> {
    wait_for(format!("edge up: {up}"), WAIT, || Ok(Some(edge(network)?).filter(|e| e.up == up)))
}

#[test]
fn a_node_that_was_killed_comes_back_under_its_address() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = network(&folder)?;
    let (before, listens) = (edge(&network)?, network.address(EDGE)?);
    network.inflict(&Fault::Kill { node: id(EDGE) })?;
    await_edge(&network, false)?;
    network.inflict(&Fault::Restart { node: id(EDGE) })?;
    let after = await_edge(&network, true)?;
    assert_eq!((after.address, network.address(EDGE)?), (before.address, listens));
    assert_eq!(after.address, network.access_path(EDGE)?.address());
    assert!(after.registered_us > before.registered_us);
    network.stop()
}

#[test]
fn a_frozen_node_and_one_that_is_not_heard_are_lost_until_that_ends() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = network(&folder)?;
    network.inflict(&Fault::Freeze { node: id(EDGE) })?;
    await_edge(&network, false)?;
    network.inflict(&Fault::Wake { node: id(EDGE) })?;
    await_edge(&network, true)?;
    let partition =
        Partition { from: Party::Node(id(EDGE)), to: Party::Coordinator, one_way: true };
    network.inflict(&Fault::Partition(partition.clone()))?;
    await_edge(&network, false)?;
    network.inflict(&Fault::Heal(partition))?;
    await_edge(&network, true)?;
    network.stop()
}

#[test]
fn a_coordinator_without_its_store_is_found_by_its_nodes_at_its_old_address() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let network = network(&folder)?;
    network.inflict(&Fault::Kill { node: id(COORDINATOR) })?;
    assert!(network.portal.nodes().is_err());
    network.inflict(&Fault::DeleteStore)?;
    network.inflict(&Fault::Restart { node: id(COORDINATOR) })?;
    await_edge(&network, true)?;
    network.stop()
}

#[test]
fn a_node_whose_address_changes_stays_registered() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = network(&folder)?;
    let before = edge(&network)?;
    network.inflict(&Fault::Rebind { node: id(EDGE), path: Which::Control })?;
    // Reports go on coming: two later looks at an age that has started anew each time.
    for _ in 0..2 {
        let mut last = edge(&network)?.report_age_ms;
        wait_for("a report", WAIT, || {
            let age = edge(&network)?.report_age_ms;
            let fresh = age < last;
            last = age;
            Ok(fresh.then_some(()))
        })?;
    }
    assert_eq!(edge(&network)?.registered_us, before.registered_us);
    network.stop()
}
