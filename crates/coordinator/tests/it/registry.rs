//! What the coordinator knows of nodes and sessions, and how it learns and forgets it.

use std::time::Duration;

use gibbon_control::{
    node::{NodeReport, ToNode},
    portal::Event,
};
use gibbon_coordinator::{
    manager::Refusal,
    registry::{FORGET_AFTER, LOST_AFTER, LinkId, NodeRefusal},
    sessions::{ATTACH_WITHIN, ENDED_FOR, GONE_AFTER},
    upkeep::GRANT_FOR,
};
use gibbon_media::{Description, Role, SessionId};

use crate::network::*;

const ALL: [&str; 4] = ["studio", "edge-a", "edge-b", "edge-c"];

#[test]
fn the_directory_is_told_to_all_when_it_changes_and_only_then() {
    let mut network = Network::started(1);
    network.said.clear();
    network.pass(SECOND, &ALL);
    assert!(network.said.is_empty(), "{:?}", network.said);
    network.register("edge-d");
    let told: Vec<_> = network
        .said
        .drain(..)
        .filter_map(|(node, message)| match message {
            ToNode::Directory(directory) => Some((node, directory)),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 5);
    for (_, directory) in told {
        assert_eq!(directory.nodes.len(), 5);
        let bbb = "live/bbb".parse().unwrap();
        assert_eq!(directory.origins(&bbb).next().unwrap().id, id("studio"));
    }
}

#[test]
fn a_node_that_misses_its_reports_is_lost_and_later_forgotten() {
    let mut network = Network::started(1);
    network.events.clear();
    network.pass(LOST_AFTER + SECOND, &["studio", "edge-a", "edge-b"]);
    assert!(
        matches!(&network.events[..], [Event::Node { id: lost, up: false }] if *lost == id("edge-c"))
    );
    let lost = network.manager.nodes(network.now).into_iter().find(|n| !n.up).unwrap();
    assert_eq!(lost.id, id("edge-c"));
    network.events.clear();
    network.report("edge-c", NodeReport::default()).unwrap();
    assert!(matches!(&network.events[..], [Event::Node { up: true, .. }]));
    network.pass(FORGET_AFTER + LOST_AFTER + SECOND, &[]);
    assert!(network.manager.nodes(network.now).is_empty());
}

#[test]
fn what_the_coordinator_slept_through_is_nobody_s_silence() {
    let mut network = Network::started(1);
    let session = network.watching();
    network.pass(SECOND, &ALL);
    network.now = network.now + GONE_AFTER + SECOND;
    let out = network.manager.handle_time(network.now);
    network.take(out);
    assert!(network.events.is_empty(), "{:?}", network.events);
    network.pass(LOST_AFTER + SECOND, &["studio"]);
    assert!(network.manager.nodes(network.now).iter().any(|node| !node.up), "but what follows is");
    assert!(network.manager.session(session).is_ok());
}

#[test]
fn a_node_that_reconnects_in_time_was_never_gone() {
    let mut network = Network::started(1);
    network.manager.link_closed(network.now, &id("edge-c"), link("edge-c"), false);
    let refusal = network.create(watch(Some("edge-c"))).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Unfit { node: id("edge-c"), why: "is down; edge-a has room".into() }
    );
    network.events.clear();
    network.register("edge-c");
    assert!(network.events.is_empty());
    // What the older connection still says is passed over.
    let streams = NodeReport { streams: vec![catalog("live/x")], ..NodeReport::default() };
    let late = gibbon_control::node::FromNode::Report(streams);
    assert!(network.manager.node_says(network.now, &id("edge-c"), LinkId(0), late).is_ok());
}

#[test]
fn only_origins_publish_and_only_edges_serve() {
    let mut network = Network::started(1);
    let report = NodeReport { streams: vec![catalog("live/x")], ..NodeReport::default() };
    assert_eq!(network.report("edge-a", report), Err(NodeRefusal::Publishes(Role::Edge)));
    let sessions = vec![serves(SessionId(1), &Description::BOTH)];
    let report = NodeReport { sessions, ..NodeReport::default() };
    assert_eq!(network.report("studio", report), Err(NodeRefusal::Serves(Role::Origin)));
    assert_eq!(network.manager.streams().len(), 1);
    assert_eq!(network.manager.sessions().len(), 0);
}

#[test]
fn a_session_is_origin_edge_per_description_and_client_and_the_client_wins() {
    let mut network = Network::started(1);
    let session = network.create(watch(None)).unwrap().session;
    let seen = |network: &Network| network.manager.session(session).unwrap();
    assert_eq!((seen(&network).edges, seen(&network).client.connected), (legs("", ""), false));
    network.edge_serves("edge-a", vec![serves(session, &[Description::Zero])]);
    network.edge_serves("edge-b", vec![serves(session, &[Description::One])]);
    assert_eq!(seen(&network).edges, legs("edge-a", "edge-b"));
    assert_eq!(seen(&network).origin, Some(id("studio")));
    network.client_reports(session, 5, legs("edge-a", "edge-c"), None, None);
    assert_eq!(seen(&network).edges, legs("edge-a", "edge-c"));
    network.client_reports(session, 4, legs("", ""), None, None);
    assert_eq!(seen(&network).edges, legs("edge-a", "edge-c"), "an older report");
    assert!(seen(&network).client.connected);
}

#[test]
fn a_restarted_coordinator_sees_the_same_after_one_report_of_each() {
    let mut before = Network::started(1);
    let session = before.watching();
    let mut after = Network::empty(2);
    ALL.iter().for_each(|node| after.register(node));
    after.publish();
    after.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
    after.client_reports(session, 1, legs("edge-a", "edge-a"), None, None);
    let json = |network: &Network| serde_json::to_value(network.manager.sessions()).unwrap();
    assert_eq!(json(&after), json(&before));
    assert!(matches!(after.events.last(), Some(Event::Session { up: true, .. })));
}

#[test]
fn a_session_goes_some_seconds_after_nobody_reports_it() {
    let mut network = Network::started(1);
    let session = network.watching();
    network.edge_serves("edge-a", vec![]);
    network.pass(GONE_AFTER - SECOND, &["studio"]);
    assert!(network.manager.session(session).is_ok());
    network.pass(2 * SECOND, &["studio"]);
    assert_eq!(network.manager.session(session).err(), Some(Refusal::NoSession(session)));
    assert!(network.events.iter().any(|e| matches!(e, Event::Session { up: false, .. })));
}

#[test]
fn a_session_whose_client_never_comes_expires_and_is_known_again_if_it_does() {
    let mut network = Network::started(1);
    let session = network.create(watch(Some("edge-a"))).unwrap().session;
    network.pass(ATTACH_WITHIN - SECOND, &ALL);
    assert!(network.manager.session(session).is_ok());
    network.pass(2 * SECOND, &ALL);
    assert!(network.manager.session(session).is_err());
    network.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
    assert_eq!(network.manager.session(session).unwrap().edges, legs("edge-a", "edge-a"));
}

#[test]
fn an_ended_session_stays_away_unless_its_client_does_not() {
    let mut network = Network::started(1);
    let session = network.watching();
    network.manager.end_session(network.now, session).unwrap();
    let still = || vec![serves(session, &Description::BOTH)];
    network.edge_serves("edge-a", still());
    assert!(network.manager.session(session).is_err());
    assert!(network.manager.end_session(network.now, session).is_err());
    network.pass(ENDED_FOR + SECOND, &ALL);
    network.edge_serves("edge-a", still());
    assert!(network.manager.session(session).is_ok());
}

#[test]
fn a_burst_of_sessions_is_spread_before_any_client_attaches() {
    let mut network = Network::started(1);
    let mut edges = [0; 3].map(|_| 0);
    let mut place = |network: &mut Network, sessions| {
        for _ in 0..sessions {
            let ticket = network.create(watch_together()).unwrap();
            let [zero, one] = ticket.edges.map(|edge| edge.id);
            assert_eq!(zero, one);
            edges[ALL[1..].iter().position(|edge| id(edge) == zero).unwrap()] += 1;
        }
        edges
    };
    assert_eq!(place(&mut network, 15), [5, 5, 5]);
    // All are full, and each session can spare a leg.
    assert_eq!(place(&mut network, 15), [10, 10, 10]);
    let refusal = network.create(watch_together()).unwrap_err().to_string();
    assert!(refusal.contains("edge-a has no room: 20 of 10 legs"), "{refusal}");
}

#[test]
fn a_ticket_names_edges_standbys_and_a_grant_for_twelve_hours() {
    let mut network = Network::started(1);
    let ticket = network.create(watch(Some("edge-b"))).unwrap();
    assert_eq!(ticket.edges, [address("edge-b"), address("edge-b")]);
    assert_eq!(ticket.standbys, [address("edge-a"), address("edge-c")]);
    let (last, after) =
        (network.now + (GRANT_FOR - Duration::from_micros(1)), network.now + GRANT_FOR);
    let grant = network.verifier.verify(&ticket.grant, last).unwrap();
    assert_eq!(grant.session, ticket.session);
    assert_eq!(grant.standbys, [id("edge-a"), id("edge-c")]);
    assert!(network.verifier.verify(&ticket.grant, after).is_err());
}

#[test]
fn a_session_needs_a_stream_and_an_edge_that_exist() {
    let mut network = Network::started(1);
    let nowhere = "live/nowhere".parse().unwrap();
    let mut request = watch(None);
    request.stream = "live/nowhere".parse().unwrap();
    assert_eq!(network.create(request).err(), Some(Refusal::NoStream(nowhere)));
    let refused = network.create(watch(Some("edge-x"))).err();
    assert_eq!(refused, Some(Refusal::NoNode(id("edge-x"))));
    let refused = network.create(watch(Some("studio"))).unwrap_err().to_string();
    assert_eq!(refused, "studio cannot take it: it has the role origin");
    assert!(network.manager.sessions().is_empty());
}
