//! What an edge tells its clients, and what it makes of what they say.

use std::time::{Duration, Instant};

use gibbon_control::{node::FromNode, session::ToViewer};
use gibbon_media::Description::{One, Zero};
use gibbon_net::close;
use quinn::ConnectionError;

use crate::network::{Coordinator, Network, Origin};

#[tokio::test]
async fn clients_are_told_while_the_upstream_is_silent_and_no_longer() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, &[]).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let mut leg = viewer.leg(One).await.unwrap();
    leg.brings_more().await;
    assert!(viewer.heard().is_empty(), "all is well");
    origin.play(false);
    let stalled = |news| match news {
        ToViewer::Stalled { descriptions } => Some(descriptions),
        _ => None,
    };
    assert_eq!(viewer.hears("stalled", stalled).await, [One]);
    let first = Instant::now();
    for _ in 0..5 {
        viewer.hears("stalled", stalled).await;
    }
    let apart = first.elapsed() / 5;
    assert!(apart >= Duration::from_millis(50), "{apart:?}");
    assert!(apart <= Duration::from_millis(150), "{apart:?}");
    origin.play(true);
    leg.brings_more().await;
    // What had been said before has been heard by then.
    leg.brings_more().await;
    viewer.heard();
    for _ in 0..25 {
        leg.brings_more().await;
    }
    assert!(viewer.heard().is_empty(), "it plays again");
}

#[tokio::test]
async fn an_upstream_that_stays_silent_is_left_for_another() {
    let network = Network::new();
    let (studio, backup) = (Origin::start(&network, "studio"), Origin::start(&network, "backup"));
    let edge = network.edge(&[&studio, &backup], None, &[]).await;
    let viewer = network.viewer(&edge, 1, 5).await;
    let mut leg = viewer.leg(Zero).await.unwrap();
    leg.brings_more().await;
    studio.play(false);
    let silent = Instant::now();
    edge.logged("upstream silent").await;
    leg.brings_more().await;
    assert!(silent.elapsed() >= Duration::from_millis(900), "{:?}", silent.elapsed());
    assert!(silent.elapsed() < Duration::from_secs(4), "{:?}", silent.elapsed());
}

#[tokio::test]
async fn a_newer_connection_of_a_client_replaces_the_older_one_and_its_legs() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &[]).await;
    let older = network.viewer(&edge, 1, 5).await;
    let mut older_leg = older.leg(Zero).await.unwrap();
    older_leg.brings_more().await;
    let newer = network.viewer(&edge, 1, 5).await;
    let mut newer_leg = newer.leg(Zero).await.unwrap();
    let ConnectionError::ApplicationClosed(closed) = older.closed().await else { panic!() };
    assert_eq!(closed.error_code, close::DONE);
    older_leg.ends().await;
    edge.logged("leg detached").await;
    newer_leg.brings_more().await;
    let report = coordinator.next_report().await;
    assert_eq!((report.sessions.len(), &report.sessions[0].legs), (1, &vec![Zero]));
    // The same within one connection.
    let mut newest_leg = newer.leg(Zero).await.unwrap();
    drop(newer_leg);
    edge.logged_times("leg detached", 2).await;
    newest_leg.brings_more().await;
    assert_eq!(coordinator.next_report().await.sessions[0].legs, [Zero]);
}

#[tokio::test]
async fn a_flood_of_reports_stops_at_the_edge_and_the_newest_gets_through() {
    let network = Network::new();
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[], Some(&coordinator), &[]).await;
    coordinator.sees("the edge", |_| true).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let flooding = Instant::now();
    for _ in 0..2000 {
        viewer.reports(Some("edge-a"), None).await;
    }
    let mut passed = 0;
    loop {
        let client = |message| match message {
            FromNode::Client { report, .. } => Some(report.hands.revision),
            _ => None,
        };
        passed += 1;
        if coordinator.hears("the newest report", client).await == 2000 {
            break;
        }
    }
    let bound = flooding.elapsed().as_millis() / 50 + 2;
    assert!(passed <= bound, "{passed} of 2000 in {:?}", flooding.elapsed());
}
