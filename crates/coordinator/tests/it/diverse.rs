//! Two hands on two edges: where a session begins, and how it is moved by hand.

use gibbon_control::portal::{HandoffRequest, SessionRequest};
use gibbon_media::{Description, Placement, Priority};

use crate::network::*;

#[test]
fn two_edges_are_the_rule_where_there_are_two_failure_domains() {
    let mut network = Network::started(1);
    let ticket = network.create(watch(None)).unwrap();
    assert_eq!(ticket.placement, Placement::Diverse);
    assert_eq!(ticket.edges, [address("edge-a"), address("edge-b")]);
    assert_eq!(ticket.standbys, [address("edge-c")]);
    let grant = network.verifier.verify(&ticket.grant, network.now).unwrap();
    assert_eq!(grant.placement, Placement::Diverse);
    let mut network = Network::empty(1);
    network.register("studio");
    network.publish();
    network.register("edge-a");
    let ticket = network.create(watch(None)).unwrap();
    assert_eq!(ticket.placement, Placement::Together);
    assert_eq!(ticket.edges, [address("edge-a"), address("edge-a")]);
    let ticket = network.create(watch_diverse()).unwrap();
    assert_eq!(
        (ticket.placement, ticket.edges[1].clone()),
        (Placement::Diverse, address("edge-a"))
    );
}

#[test]
fn an_edge_that_is_named_takes_both_descriptions_unless_diverse_is_asked_for() {
    let mut network = Network::started(1);
    let ticket = network.create(watch(Some("edge-b"))).unwrap();
    assert_eq!(ticket.placement, Placement::Together);
    let request = SessionRequest { edge: Some(id("edge-b")), ..watch_diverse() };
    let ticket = network.create(request).unwrap();
    assert_eq!(ticket.edges, [address("edge-b"), address("edge-a")]);
}

#[test]
fn priority_and_placement_are_known_again_from_the_edges_after_a_restart() {
    let mut before = Network::started(1);
    let priority = Priority::new(8).unwrap();
    let ticket = before.create(SessionRequest { priority, ..watch(None) }).unwrap();
    let grant = before.verifier.verify(&ticket.grant, before.now).unwrap();
    let mut after = Network::started(2);
    let report = gibbon_control::node::SessionReport {
        placement: grant.placement,
        priority: grant.priority,
        ..serves(ticket.session, &[Description::Zero])
    };
    after.edge_serves("edge-a", vec![report]);
    let info = after.manager.session(ticket.session).unwrap();
    assert_eq!((info.placement, info.priority), (Placement::Diverse, priority));
}

/// The moves of a hand-off of a session at a and b, as (description, from, to).
fn moves(request: HandoffRequest) -> Vec<(u8, String, String)> {
    let mut network = Network::started(1);
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    network.hand_off(session, request).unwrap();
    network.running().remove(0).2
}

fn leg(description: u8, from: &str, to: &str) -> (u8, String, String) {
    (description, from.into(), to.into())
}

#[test]
fn a_leg_is_moved_clear_of_the_edge_of_the_other() {
    let from = |edge: &str| HandoffRequest { from: Some(id(edge)), ..HandoffRequest::default() };
    assert_eq!(moves(from("edge-a")), [leg(0, "a", "c")]);
    assert_eq!(moves(from("edge-b")), [leg(1, "b", "c")]);
    let one = HandoffRequest { description: Some(Description::One), ..HandoffRequest::default() };
    assert_eq!(moves(one), [leg(1, "b", "c")]);
    // All of it, to wherever there is room: there is no other pair, and one leg moves.
    assert_eq!(moves(HandoffRequest::default()), [leg(1, "b", "c")]);
}

#[test]
fn where_there_is_no_third_edge_a_leg_is_moved_beside_the_other() {
    let mut network = Network::started(1);
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    network.manager.link_closed(network.now, &id("edge-c"), link("edge-c"), true);
    let from = HandoffRequest { from: Some(id("edge-a")), ..HandoffRequest::default() };
    network.hand_off(session, from).unwrap();
    assert_eq!(network.running().remove(0).2, [leg(0, "a", "b")]);
}

#[test]
fn both_are_moved_to_the_edge_that_is_named_and_are_together_from_then_on() {
    let mut network = Network::started(1);
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    network.hand_off(session, to("edge-b")).unwrap();
    assert_eq!(network.running().remove(0).2, [leg(0, "a", "b")]);
    network.move_description(session, Description::Zero, 2, legs("edge-b", "edge-b"));
    let finish = network.client_orders().remove(0).1;
    let finished =
        gibbon_handoff::FromClient::Finished { order: finish.order(), edge: id("edge-a") };
    let both = legs("edge-b", "edge-b");
    network.client_reports(session, 4, both, Some(finish), Some(finished));
    assert_eq!(network.manager.session(session).unwrap().placement, Placement::Together);
    assert_eq!(network.running(), []);
    // Nobody spreads it again, and its edges are told.
    network.said.clear();
    network.pass(10 * SECOND, &["studio", "edge-a", "edge-b", "edge-c"]);
    assert_eq!(network.running(), []);
    assert_eq!(network.renewed(session).pop().unwrap().placement, Placement::Together);
}

#[test]
fn a_refusal_names_the_next_best_edge() {
    let mut network = Network::started(1);
    for _ in 0..10 {
        network.create(watch(Some("edge-b"))).unwrap();
    }
    let refusal = network.create(watch(Some("edge-b"))).unwrap_err().to_string();
    let expected = "edge-b cannot take it: it has no room: 20 of 10 legs; edge-a has room";
    assert_eq!(refusal, expected);
    let session = network.watching();
    let refusal = network.hand_off(session, to("edge-b")).unwrap_err().to_string();
    assert_eq!(refusal, expected.replace("edge-a has", "edge-c has"));
}
