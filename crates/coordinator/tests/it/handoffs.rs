//! How hand-offs are chosen, carried out, timed and taken up again.

use gibbon_control::portal::{Event, HandoffOutcome, HandoffRequest};
use gibbon_coordinator::manager::Refusal;
use gibbon_handoff::{
    FromClient, InfoSender, OrderId, Reason, Source, Term, ToClient, ToEdge, timers::SENDS,
};
use gibbon_media::{Description, GroupId, HandoffId, SessionId};

use crate::network::*;

const ALL: [&str; 4] = ["studio", "edge-a", "edge-b", "edge-c"];
use Description::{One, Zero};

/// Moves the session from edge a to edge b, and returns the hand-off.
fn move_to_b(network: &mut Network, session: SessionId, revision: u64) -> HandoffId {
    let handoff = network.hand_off(session, to("edge-b")).unwrap().handoff;
    network.move_description(session, One, revision, legs("edge-a", "edge-b"));
    network.move_description(session, Zero, revision + 2, legs("edge-b", "edge-b"));
    let (_, finish) = network.client_orders().remove(0);
    let finished = FromClient::Finished { order: finish.order(), edge: id("edge-a") };
    let (newest, answer) = (Some(finish), Some(finished));
    network.client_reports(session, revision + 4, legs("edge-b", "edge-b"), newest, answer);
    handoff
}

#[test]
fn a_session_moves_one_description_at_a_time_and_every_step_is_told() {
    let mut network = Network::started(1);
    let session = network.watching();
    let handoff = move_to_b(&mut network, session, 2);
    let info = network.manager.handoff(handoff).unwrap();
    assert_eq!((info.outcome, info.reason), (HandoffOutcome::Completed, None));
    let steps: Vec<_> =
        info.progress.iter().map(|p| (p.step.as_str(), p.description.map(u8::from))).collect();
    let of = |d| {
        let step = move |name| (name, Some(d));
        ["prefetch_sent", "ready", "attach_sent", "attached", "settled", "held"].map(step)
    };
    let expected = [
        &[("selected", None)],
        &of(1)[..],
        &of(0),
        &[("finish_sent", None), ("closed", None), ("completed", None)],
    ]
    .concat();
    assert_eq!(steps, expected);
    assert!(info.progress.is_sorted_by(|a, b| a.at_us < b.at_us));
    let told = network.events.iter().filter(|e| matches!(e, Event::Handoff { .. })).count();
    assert_eq!(told, steps.len());
    let seen = network.manager.session(session).unwrap();
    assert_eq!((seen.edges, seen.handoff), (legs("edge-b", "edge-b"), None));
    let released: Vec<_> = network
        .edge_orders()
        .into_iter()
        .filter(|(_, _, order)| matches!(order, ToEdge::Release { .. }))
        .map(|(node, ..)| node)
        .collect();
    assert_eq!(released, [id("edge-a"), id("edge-b")]);
}

#[test]
fn the_steps_of_a_session_rise_from_hand_off_to_hand_off() {
    let mut network = Network::started(1);
    let session = network.watching();
    move_to_b(&mut network, session, 2);
    let last = network.edge_orders().last().unwrap().2.order();
    network.hand_off(session, to("edge-c")).unwrap();
    let first = network.edge_orders()[0].2.order();
    assert!(first > last, "{first:?} {last:?}");
}

#[test]
fn the_least_loaded_edge_that_is_not_in_use_is_selected_and_the_reason_recorded() {
    let mut network = Network::started(1);
    let other = network.create(watch(Some("edge-b"))).unwrap().session;
    network.edge_serves("edge-b", vec![serves(other, &Description::BOTH)]);
    let session = network.watching();
    let info = network.hand_off(session, HandoffRequest::default()).unwrap();
    assert_eq!((info.from, info.to), (id("edge-a"), id("edge-c")));
    assert_eq!(info.selection, "edge-c carries least: 0 of 10 legs, then edge-b with 2 of 10 legs");
    let moves: Vec<_> = info.moves.iter().map(|leg| (leg.description, leg.fetch)).collect();
    assert_eq!(moves, [(One, Source::FirstEdge), (Zero, Source::FirstEdge)]);
    assert_eq!(info.prefetch_info, InfoSender::Coordinator);
}

#[test]
fn legs_on_their_way_to_an_edge_count_as_its_load() {
    let mut network = Network::started(1);
    let sessions = [0, 0].map(|_| network.create(watch(Some("edge-a"))).unwrap().session);
    let report = sessions.map(|session| serves(session, &Description::BOTH));
    network.edge_serves("edge-a", report.into());
    let to =
        sessions.map(|session| network.hand_off(session, HandoffRequest::default()).unwrap().to);
    assert_eq!(to, [id("edge-b"), id("edge-c")]);
}

#[test]
fn what_moves_and_from_where_it_is_fetched_can_be_chosen() {
    let mut network = Network::started(1);
    let session = network.watching();
    let request = HandoffRequest {
        description: Some(Zero),
        fetch: [Some(Source::Origin), None],
        ..to("edge-b")
    };
    let info = network.hand_off(session, request).unwrap();
    let moves: Vec<_> = info.moves.iter().map(|leg| (leg.description, leg.fetch)).collect();
    assert_eq!(moves, [(Zero, Source::Origin)]);
    let (node, edge, order) = network.edge_orders().remove(0);
    assert_eq!((node, edge), (id("edge-b"), address("edge-b")));
    let ToEdge::Prefetch { fetch, first_edge, description, .. } = order else { panic!() };
    assert_eq!((fetch, first_edge, description), (Source::Origin, id("edge-a"), Zero));
}

#[test]
fn nothing_is_fetched_from_a_first_edge_that_is_lost() {
    let mut network = Network::started(1);
    let session = network.watching();
    network.pass(5 * SECOND / 2, &["studio", "edge-b", "edge-c"]);
    let info = network.hand_off(session, to("edge-b")).unwrap();
    assert!(info.moves.iter().all(|leg| leg.fetch == Source::Origin));
}

#[test]
fn a_hand_off_that_cannot_be_is_refused_with_the_reason() {
    let mut network = Network::started(1);
    let session = network.watching();
    let only = |description, from: &str| HandoffRequest {
        description,
        from: Some(id(from)),
        ..HandoffRequest::default()
    };
    let nobody = SessionId(99);
    for (session, request, refusal) in [
        (nobody, to("edge-b"), "there is no session 0000000000000063; GET /v1/sessions lists them"),
        (session, to("edge-x"), "there is no node edge-x; GET /v1/nodes lists them"),
        (session, to("studio"), "studio cannot take it: it has the role origin"),
        (session, to("edge-a"), "nothing to move: it is at edge-a already"),
        (
            session,
            only(Some(One), "edge-b"),
            "nothing to move: description 0 is at edge-a, description 1 is at edge-a",
        ),
    ] {
        assert_eq!(network.hand_off(session, request).unwrap_err().to_string(), refusal);
    }
    let running = network.hand_off(session, to("edge-b")).unwrap().handoff;
    let refused = network.hand_off(session, to("edge-c"));
    assert_eq!(refused.err(), Some(Refusal::UnderWay(running)));
}

#[test]
fn no_edge_is_eligible_when_the_others_are_down_or_full() {
    let mut network = Network::started(1);
    let session = network.watching();
    for _ in 0..5 {
        network.create(watch(Some("edge-b"))).unwrap();
    }
    network.manager.link_closed(network.now, &id("edge-c"), link("edge-c"), false);
    let refused = network.hand_off(session, HandoffRequest::default()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "no edge is eligible: edge-a is in use already, edge-b has no room: 10 of 10 legs, edge-c is down"
    );
}

#[test]
fn the_first_edge_passes_prefetch_information_on_to_an_edge_out_of_reach() {
    let mut network = Network::started(1);
    let session = network.watching();
    let request = HandoffRequest { prefetch_info: Some(InfoSender::FirstEdge), ..to("edge-b") };
    network.hand_off(session, request).unwrap();
    assert_eq!(network.edge_orders()[0].0, id("edge-a"));
    network.pass(2 * SECOND + SECOND / 2, &["studio", "edge-a", "edge-c"]);
    assert!(network.manager.nodes(network.now).iter().any(|n| n.id == id("edge-b") && !n.up));
    let (node, edge, order) = network.edge_orders().pop().unwrap();
    assert_eq!((node, edge), (id("edge-a"), address("edge-b")), "again, after it was lost");
    let ready = gibbon_handoff::FromEdge::Ready {
        order: order.order(),
        description: One,
        group: GroupId(7),
    };
    network.edge_answers("edge-a", session, ready);
    let (through, attach) = network.client_orders().remove(0);
    assert_eq!(through, ["edge-a"]);
    assert!(matches!(attach, ToClient::Attach { to, .. } if to == id("edge-b")));
}

#[test]
fn an_order_to_the_client_goes_through_every_edge_it_holds_a_session_stream_to() {
    let mut network = Network::started(1);
    let session = network.watching();
    network.edge_serves("edge-c", vec![serves(session, &[])]);
    network.hand_off(session, to("edge-b")).unwrap();
    let prefetch = network.edge_orders()[0].2.order();
    let ready =
        |order| gibbon_handoff::FromEdge::Ready { order, description: One, group: GroupId(7) };
    network.edge_answers("edge-b", session, ready(prefetch));
    let grant = network.said.iter().find_map(|(_, message)| match message {
        gibbon_control::node::ToNode::Client { order, .. } => order.grant.clone(),
        _ => None,
    });
    let grant = network.verifier.verify(&grant.unwrap(), network.now).unwrap();
    assert!(!grant.standbys.contains(&id("edge-b")), "a standby is another edge");
    assert_eq!(network.client_orders()[0].0, ["edge-a", "edge-c"]);
}

#[test]
fn an_edge_that_does_not_answer_is_asked_again_and_then_given_up() {
    let mut network = Network::started(1);
    let session = network.watching();
    let handoff = network.hand_off(session, to("edge-b")).unwrap().handoff;
    network.pass(SECOND * (u32::from(SENDS) + 1), &ALL);
    let sent = network.edge_orders();
    let sent = sent.iter().filter(|(_, _, order)| matches!(order, ToEdge::Prefetch { .. }));
    assert_eq!(sent.count(), usize::from(SENDS));
    let info = network.manager.handoff(handoff).unwrap();
    assert_eq!(
        (info.outcome, info.reason),
        (HandoffOutcome::RolledBack, Some(Reason::PrefetchTimedOut))
    );
    assert_eq!(network.manager.session(session).unwrap().handoff, None);
}

#[test]
fn a_hand_off_ends_with_its_session() {
    let mut network = Network::started(1);
    let session = network.watching();
    let handoff = network.hand_off(session, to("edge-b")).unwrap().handoff;
    let out = network.manager.end_session(network.now, session).unwrap();
    network.take(out);
    let info = network.manager.handoff(handoff).unwrap();
    assert_eq!((info.outcome, info.reason), (HandoffOutcome::Failed, Some(Reason::SessionGone)));
}

/// A coordinator of term 2 that hears from a client what one of term 1 began.
fn restarted(answer: Option<FromClient>) -> (Network, SessionId) {
    let (mut network, session) = (Network::started(2), SessionId(77));
    network.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
    network.said.clear();
    network.client_reports(session, 9, legs("edge-a", "edge-b"), Some(attach(1)), answer);
    (network, session)
}

fn attach(term: u64) -> ToClient {
    ToClient::Attach {
        order: OrderId { term: Term(term), step: 4, handoff: HandoffId(5) },
        description: One,
        from: id("edge-a"),
        to: id("edge-b"),
        start: GroupId(7),
    }
}

#[test]
fn a_restarted_coordinator_takes_up_the_hand_off_that_it_finds() {
    let (mut network, session) = restarted(None);
    let info = network.manager.handoff(HandoffId(5)).unwrap();
    assert_eq!(info.outcome, HandoffOutcome::Running);
    assert_eq!(info.moves.iter().map(|leg| leg.description).collect::<Vec<_>>(), [One, Zero]);
    network.move_description(session, One, 10, legs("edge-a", "edge-b"));
    network.move_description(session, Zero, 12, legs("edge-b", "edge-b"));
    let (_, finish) = network.client_orders().remove(0);
    assert_eq!(finish.order().term, Term(2));
    let finished = FromClient::Finished { order: finish.order(), edge: id("edge-a") };
    let both = legs("edge-b", "edge-b");
    network.client_reports(session, 14, both.clone(), Some(finish), Some(finished));
    let outcome = network.manager.handoff(HandoffId(5)).unwrap().outcome;
    assert_eq!(outcome, HandoffOutcome::Completed);
    network.client_reports(session, 15, both, Some(attach(1)), None);
    assert_eq!(network.manager.handoffs().len(), 1, "once");
}

#[test]
fn nothing_is_taken_up_of_what_this_term_began_or_nothing_was_left_of() {
    let (mut network, session) = (Network::started(2), SessionId(77));
    network.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
    let split = || legs("edge-a", "edge-b");
    network.client_reports(session, 1, split(), None, None);
    network.client_reports(session, 2, split(), Some(attach(2)), None);
    network.client_reports(session, 3, split(), Some(attach(3)), None);
    assert_eq!(network.manager.handoffs().len(), 0);
}
