//! Edges in containers are stopped, killed, cut off and replaced by their next version, under viewers.
//! Not run without containers: `make test-containers`.

use anyhow::ensure;
use gibbon_container_tests::{Audience, Containers, EDGES, NEXT, Player, docker};
use gibbon_testbed::{WAIT, wait_for};
use gibbon_tests::{saw_nothing, with_control};

const HURT: &str = EDGES[0];

/// A network whose first edge serves viewers, and these.
fn watched(folder: &std::path::Path) -> anyhow::Result<(Containers, Audience)> {
    let network = Containers::start(folder)?;
    let audience = Audience::start(&network)?;
    wait_for(format!("{HURT} to serve"), WAIT, || {
        Ok((network.node(HURT)?.legs >= 2).then_some(()))
    })?;
    Ok((network, audience))
}

/// Waits until the coordinator has found that an edge is gone.
fn gone(network: &Containers, edge: &str) -> anyhow::Result<()> {
    wait_for(format!("{edge} to be gone"), WAIT, || Ok((!network.node(edge)?.up).then_some(())))
}

#[test]
#[ignore = "needs containers: make test-containers"]
fn an_edge_is_stopped_under_its_viewers_and_they_see_nothing() -> anyhow::Result<()> {
    with_control(|folder| {
        let (network, audience) = watched(folder)?;
        let before = network.node(HURT)?;
        network.docker(&["stop"], HURT)?;
        // Not killed at the end of its grace, and no leg cut.
        ensure!(network.inspect(HURT, "{{.State.ExitCode}}")? == "0");
        audience.settled(&network, Some(HURT))?;
        network.docker(&["start"], HURT)?;
        network.back(HURT, &before)?;
        audience.judge(saw_nothing)
    })
}

#[test]
#[ignore = "needs containers: make test-containers"]
fn an_edge_is_killed_and_who_held_one_description_there_never_freezes() -> anyhow::Result<()> {
    with_control(|folder| {
        let (network, audience) = watched(folder)?;
        network.docker(&["kill"], HURT)?;
        gone(&network, HURT)?;
        audience.settled(&network, Some(HURT))?;
        audience.judge_a_loss()
    })
}

#[test]
#[ignore = "needs containers: make test-containers"]
fn an_edge_is_cut_off_from_the_network_and_serves_again_when_it_is_back() -> anyhow::Result<()> {
    with_control(|folder| {
        let (network, audience) = watched(folder)?;
        let (name, id) = (network.network(), network.container(HURT)?);
        docker(&["network", "disconnect", &name, &id])?;
        gone(&network, HURT)?;
        audience.settled(&network, Some(HURT))?;
        let connect = |number| {
            let address = network.spare_address(number);
            docker(&["network", "connect", "--ip", &address, &name, &id])?;
            wait_for(format!("{HURT} to be back at {address}"), WAIT, || {
                let node = network.node(HURT)?;
                Ok((node.up && node.address.ip().to_string() == address).then_some(()))
            })
        };
        connect(200)?;
        // And once more, before anybody has missed it.
        docker(&["network", "disconnect", &name, &id])?;
        connect(201)?;
        let late = Player::start(&network, "late", &["--edge", HURT, "--no-decode"])?;
        let served = late.end()?.legs;
        ensure!(
            served.iter().any(|leg| leg.edge.as_str() == HURT),
            "{HURT} did not serve: {served:?}"
        );
        audience.judge_a_loss()
    })
}

#[test]
#[ignore = "needs containers: make test-containers"]
fn every_edge_is_replaced_by_its_next_version_and_viewers_see_nothing() -> anyhow::Result<()> {
    with_control(|folder| {
        let (network, audience) = watched(folder)?;
        let version = "{{index .Config.Labels \"org.opencontainers.image.version\"}}";
        for edge in EDGES {
            let before = network.node(edge)?;
            network.compose(&["up", "-d", "--no-deps", edge], NEXT)?;
            network.back(edge, &before)?;
            ensure!(network.inspect(edge, version)? == "next", "{edge} is of the old version");
            audience.settled(&network, None)?;
        }
        audience.judge(saw_nothing)
    })
}
