//! What an edge tells of itself and of its clients, for whoever decides by it.

use gibbon_control::{node::FromNode, session::MAX_MORE};
use gibbon_media::{
    Description::{One, Zero},
    Priority,
};
use serde_json::{Map, Value, json};

use crate::network::{Coordinator, Network, Origin};

#[tokio::test]
async fn an_edge_tells_how_it_is_and_how_its_paths_are_and_that_it_goes_away() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let options = ["--maintenance-in", "10m", "--shards", "1"];
    let edge = network.edge(&[&origin], Some(&coordinator), &options).await;
    let viewer = network.viewer(&edge, 1, 7).await;
    let (mut zero, _one) = (viewer.leg(Zero).await.unwrap(), viewer.leg(One).await.unwrap());
    zero.brings_more().await;
    let report = coordinator.sees("what it sends", |report| {
        let sends = report.health.is_some_and(|health| health.egress_kbps > 0);
        sends && report.links.iter().any(|link| link.node == origin.id && link.rtt_us > 0)
    });
    let report = report.await;
    let health = report.health.unwrap();
    assert_eq!(health.check(), Ok(()));
    assert!(health.cores == 1.0 && health.memory_kib > 1000, "{health:?}");
    let left = health.maintenance_in_ms.unwrap();
    assert!((500_000..600_000).contains(&left), "{left}");
    report.links.iter().for_each(|link| link.check().unwrap());
    assert_eq!(
        Some(report.sessions[0].priority),
        Priority::new(7),
        "that of each leg's session is told"
    );
    let without = coordinator.sees("a report that says nothing of it", |r| r.health.is_none());
    assert!(without.await.links.is_empty());
}

/// What the coordinator hears of one client that the edge does not know.
async fn heard(coordinator: &mut Coordinator, revision: u64) -> Map<String, Value> {
    let of_it = |message| match message {
        FromNode::Client { report, .. } if report.hands.revision == revision => Some(report.more),
        _ => None,
    };
    coordinator.hears("what a client says", of_it).await
}

#[tokio::test]
async fn what_a_client_says_that_the_edge_does_not_know_is_passed_on_unless_it_is_too_much() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &[]).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let Value::Object(more) = json!({
        "buffer_ms": 940,
        "paths": "nonsense",
        "motion": { "at": { "latitude": 1e300 } },
        "of_a_later_version": [{ "a": null }],
    }) else {
        unreachable!()
    };
    viewer.tells(Some("edge-a"), None, more.clone()).await;
    assert_eq!(heard(&mut coordinator, 1).await, more);
    let too_much = Map::from_iter([("x".to_owned(), Value::from("x".repeat(MAX_MORE)))]);
    viewer.tells(Some("edge-a"), None, too_much).await;
    assert!(heard(&mut coordinator, 2).await.is_empty());
    assert!(!viewer.is_closed());
}
