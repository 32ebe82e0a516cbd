//! What an edge shows of itself.

use std::{net::SocketAddr, process::Command, time::Duration};

use gibbon_media::Description::{One, Zero};
use gibbon_monitor::testing::{Read, get};

use crate::network::{Coordinator, Edge, Network, Origin, soon};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");
const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];

async fn shown_at(edge: &Edge) -> SocketAddr {
    edge.logged("metrics are served").await["address"].as_str().unwrap().parse().unwrap()
}

async fn asked(address: SocketAddr, path: &'static str) -> (u16, String) {
    tokio::task::spawn_blocking(move || get(address, path).unwrap()).await.unwrap()
}

async fn page(address: SocketAddr) -> Read {
    Read::page(&asked(address, "/metrics").await.1).unwrap()
}

/// Waits until the page is so.
async fn shows(address: SocketAddr, what: &str, so: impl Fn(&Read) -> bool) -> Read {
    let look = async {
        loop {
            let page = page(address).await;
            if so(&page) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(what, look).await
}

/// The exit code of a probe, by a process that is told nothing else.
async fn probe(address: SocketAddr, what: &'static str) -> Option<i32> {
    let ask = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gibbon-edge"));
        command.args(["--probe", what, "--metrics", &address.to_string()]);
        command.output().unwrap().status.code()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test]
async fn the_page_says_what_the_documentation_says_and_counts_what_happens() {
    let network = Network::new();
    let (origin, coordinator) = (Origin::start(&network, "studio"), Coordinator::start(&network));
    let edge = network.edge(&[&origin], Some(&coordinator), &METRICS).await;
    let address = shown_at(&edge).await;
    let viewer = network.viewer(&edge, 1, 5).await;
    let (mut zero, one) = (viewer.leg(Zero).await.unwrap(), viewer.leg(One).await.unwrap());
    zero.brings_more().await;
    let before = shows(address, "a coordinator, and two legs that are fed", |page| {
        page.value("gibbon_coordinator_connected", &[]) == Some(1.0)
            && page.value("gibbon_edge_legs", &[]) == Some(2.0)
            && page.value("gibbon_upstreams", &[("state", "fed")]) == Some(2.0)
    });
    let before = before.await;
    before.check_documented(DOCUMENT, &["Every process", "Every node", "Edge"]);
    assert_eq!(before.value("gibbon_edge_viewer_connections", &[]), Some(1.0));
    let received = |page: &Read| {
        let studio = [("source", "studio"), ("description", "0")];
        page.value("gibbon_upstream_received_bytes_total", &studio).unwrap()
    };
    drop(one);
    let after = shows(address, "a leg less", |page| {
        page.value("gibbon_edge_legs_ended_total", &[]) == Some(1.0)
    });
    let after = after.await;
    assert_eq!(after.value("gibbon_edge_legs", &[("description", "0")]), Some(1.0));
    assert_eq!(after.value("gibbon_edge_legs", &[("description", "1")]), Some(0.0));
    zero.brings_more().await;
    let more = |page: &Read| {
        let rises = |name| page.value(name, &[]) > before.value(name, &[]);
        received(page) > received(&before)
            && rises("gibbon_delivered_frames_total")
            && rises("gibbon_delivered_bytes_total")
    };
    shows(address, "more frames", more).await;
}

#[tokio::test]
async fn an_edge_is_ready_without_a_coordinator_and_not_while_it_drains() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, &METRICS).await;
    let address = shown_at(&edge).await;
    let ready = |page: &Read| page.value("gibbon_ready", &[]) == Some(1.0);
    let page = shows(address, "ready", ready).await;
    assert_eq!(page.value("gibbon_coordinator_connected", &[]), Some(0.0));
    assert_eq!((probe(address, "ready").await, probe(address, "health").await), (Some(0), Some(0)));
    let viewer = network.viewer(&edge, 1, 5).await;
    let _leg = viewer.leg(Zero).await.unwrap();
    edge.terminate().await;
    edge.logged("draining").await;
    let newcomer = network.viewer(&edge, 2, 5).await;
    newcomer.leg(Zero).await.unwrap_err();
    let refused = shows(address, "a refusal", |page| {
        page.value("gibbon_edge_refusals_total", &[("code", "leaving")]) == Some(1.0)
    });
    assert_eq!(refused.await.value("gibbon_edge_refusals_total", &[]), Some(1.0));
    let (status, why) = asked(address, "/ready").await;
    assert_eq!(status, 503);
    assert!(why.contains("it is being emptied"), "{why}");
    assert_eq!((probe(address, "ready").await, probe(address, "health").await), (Some(1), Some(0)));
}

#[tokio::test]
async fn a_probe_of_a_process_that_is_gone_fails() {
    let network = Network::new();
    let mut edge = network.edge(&[], None, &METRICS).await;
    let address = shown_at(&edge).await;
    edge.terminate().await;
    edge.ends().await;
    assert_eq!((probe(address, "ready").await, probe(address, "health").await), (Some(1), Some(1)));
}
