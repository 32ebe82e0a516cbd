//! An edge that is emptied.

use std::time::{Duration, Instant};

use gibbon_control::{
    node::{Draining, ToNode},
    session::ToViewer,
};
use gibbon_media::Description::{One, Zero};
use gibbon_net::{close, wire::RejectCode};
use quinn::ConnectionError;

use crate::network::{Coordinator, Network, Origin, id};

fn go_away(news: ToViewer) -> Option<u64> {
    match news {
        ToViewer::GoAway { within_ms } => Some(within_ms),
        _ => None,
    }
}

#[tokio::test]
async fn with_nobody_there_it_ends_at_once() {
    let network = Network::new();
    let mut edge = network.edge(&[], None, &[]).await;
    let told = Instant::now();
    edge.terminate().await;
    assert_eq!(edge.ends().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}

#[tokio::test]
async fn without_a_coordinator_clients_are_asked_to_go_and_it_ends_when_they_are_gone() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut edge = network.edge(&[&origin], None, &["--drain-deadline", "60"]).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let zero = viewer.leg(Zero).await.unwrap();
    let mut one = viewer.leg(One).await.unwrap();
    let spare = network.viewer(&edge, 2, 5).await;
    edge.terminate().await;
    let draining = edge.logged("draining").await;
    assert_eq!((&draining["why"], &draining["within_ms"]), (&"signal".into(), &60_000.into()));
    for _ in 0..2 {
        let within_ms = viewer.hears("go away", go_away).await;
        assert!((50_000..=60_000).contains(&within_ms), "{within_ms}");
    }
    // A session without a leg has no business here any more; one with a leg may take back the other.
    let refused = spare.leg(Zero).await.unwrap_err();
    assert_eq!((refused.code, refused.elsewhere), (RejectCode::Leaving, Some(id("edge-b"))));
    drop(one);
    one = viewer.leg(One).await.unwrap();
    one.brings_more().await;
    drop((zero, one));
    assert_eq!(edge.ends().await, Some(0));
    assert_eq!((edge.log("empty").len(), edge.log("drained").len()), (1, 1));
    let ConnectionError::ApplicationClosed(closed) = spare.closed().await else { panic!() };
    assert_eq!(closed.error_code, close::LEAVING);
}

#[tokio::test]
async fn at_the_deadline_the_legs_that_are_cut_are_named() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut edge = network.edge(&[&origin], None, &["--drain-deadline", "1"]).await;
    let viewer = network.viewer(&edge, 0xab, 5).await;
    let mut leg = viewer.leg(One).await.unwrap();
    edge.terminate().await;
    assert_eq!(edge.ends().await, Some(3));
    leg.ends().await;
    let cut = edge.log("leg cut at the deadline");
    assert_eq!(cut.len(), 1);
    let named = (&cut[0]["session"], &cut[0]["description"]);
    assert_eq!(named, (&"00000000000000ab".into(), &"1".into()));
}

#[tokio::test]
async fn a_second_signal_cuts_at_once() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut edge = network.edge(&[&origin], None, &["--drain-deadline", "600"]).await;
    let viewer = network.viewer(&edge, 1, 5).await;
    let _leg = viewer.leg(Zero).await.unwrap();
    edge.terminate().await;
    edge.logged("draining").await;
    edge.terminate().await;
    assert_eq!(edge.ends().await, Some(3));
    assert_eq!(edge.log("leg cut at the deadline").len(), 1);
}

#[tokio::test]
async fn the_coordinator_has_time_to_move_its_sessions_before_clients_are_asked() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &[]).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let leg = viewer.leg(Zero).await.unwrap();
    let given = Draining { within_ms: 60_000, rate: 5.0, stay: true };
    let told = Instant::now();
    coordinator.says(ToNode::Drain(given));
    let seen = coordinator.sees("that it drains", |report| report.draining.is_some()).await;
    let draining = seen.draining.unwrap();
    assert!(draining.stay && draining.within_ms <= 60_000 && draining.rate == 5.0, "{draining:?}");
    viewer.hears("go away", go_away).await;
    assert!(told.elapsed() >= Duration::from_secs(3), "{:?}", told.elapsed());
    drop(leg);
    edge.logged("empty").await;
    viewer.closed().await;
    coordinator.says(ToNode::Undrain);
    coordinator.sees("that it is back", |report| report.draining.is_none()).await;
    let viewer = network.viewer(&edge, 1, 5).await;
    viewer.leg(Zero).await.unwrap().brings_more().await;
    assert_eq!(edge.log("drained").len(), 0, "it stays");
}

#[tokio::test]
async fn a_drain_can_be_taken_back_while_legs_are_left() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &[]).await;
    let viewer = network.viewer(&edge, 1, 5).await;
    let mut leg = viewer.leg(Zero).await.unwrap();
    edge.terminate().await;
    coordinator.sees("that it drains", |report| report.draining.is_some()).await;
    coordinator.says(ToNode::Undrain);
    coordinator.sees("that it is back", |report| report.draining.is_none()).await;
    edge.logged("drain taken back").await;
    leg.brings_more().await;
    let newcomer = network.viewer(&edge, 2, 5).await;
    newcomer.leg(Zero).await.unwrap().brings_more().await;
    assert!(!viewer.is_closed());
}
