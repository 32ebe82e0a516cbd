//! What the coordinator does without being asked: edges are emptied, lost legs moved, sessions spread anew,
//! bad and overloaded edges left, standbys renewed.

use std::time::Duration;

use gibbon_control::{
    node::{Draining, NodeReport, ToNode},
    portal::{DrainRequest, HandoffInfo, HandoffOutcome, HandoffRequest},
};
use gibbon_coordinator::{
    care::{FIRST_BACK_OFF, NETWORK_REST},
    drain::AT_ONCE,
    manager::Refusal,
    upkeep::{GRANT_FOR, LEAVE_LOST_AFTER, SPREAD_AFTER},
};
use gibbon_handoff::{Cause, FromEdge, Reason, ToEdge};
use gibbon_media::{Description, MediaTime, SessionId};
use proptest::prelude::*;

use crate::network::*;

const ALL: [&str; 4] = ["studio", "edge-a", "edge-b", "edge-c"];
const BUT_A: [&str; 3] = ["studio", "edge-b", "edge-c"];

fn leg(description: u8, from: &str, to: &str) -> (u8, String, String) {
    (description, from.into(), to.into())
}

/// A network whose coordinator no longer merely looks on.
fn network() -> Network {
    let mut network = Network::started(1);
    network.pass(4 * SECOND, &ALL);
    network.said.clear();
    network
}

fn drain(network: &mut Network, edge: &str, rate: f64) -> Result<(), Refusal> {
    let request = DrainRequest { rate, ..DrainRequest::default() };
    let (_, out) = network.manager.drain(network.now, &id(edge), &request)?;
    network.take(out);
    Ok(())
}

/// The edge it was sent to refuses what is being prefetched for `session`.
fn refuse(network: &mut Network, session: SessionId) {
    assert!(refuse_if_asked(network, session));
}

/// The same, if anything was sent since; whether it was.
fn refuse_if_asked(network: &mut Network, session: SessionId) -> bool {
    let orders = network.edge_orders().into_iter();
    let of_this = orders.filter_map(|(_, edge, order)| match order {
        ToEdge::Prefetch { session: s, order, .. } if s == session => Some((edge.id, order)),
        _ => None,
    });
    let Some((edge, order)) = of_this.last() else { return false };
    let refused = FromEdge::Refused { order, reason: Reason::Full };
    network.edge_answers(edge.as_str(), session, refused);
    true
}

#[test]
fn every_session_of_an_edge_that_is_emptied_is_moved_and_nothing_comes_there() {
    let mut network = network();
    let together = network.watching_at(watch(Some("edge-a")), "edge-a", "edge-a");
    let diverse = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    let elsewhere = network.watching_at(watch_diverse(), "edge-b", "edge-c");
    drain(&mut network, "edge-a", 20.0).unwrap();
    assert!(
        network.said.iter().any(|(edge, m)| *edge == id("edge-a") && matches!(m, ToNode::Drain(_)))
    );
    network.pass(SECOND, &ALL);
    let running = network.running();
    assert_eq!(running.iter().map(|(s, ..)| *s).collect::<Vec<_>>(), [together, diverse]);
    assert!(running.iter().all(|(_, cause, _)| *cause == Cause::Drain));
    assert_eq!(running[0].2.len(), 2);
    assert_eq!(running[1].2, [leg(0, "a", "c")], "clear of the other leg's edge");
    assert!(network.manager.session(elsewhere).unwrap().handoff.is_none());
    for _ in 0..4 {
        let ticket = network.create(watch(None)).unwrap();
        let named = ticket.edges.iter().chain(&ticket.standbys);
        assert!(named.clone().all(|edge| edge.id != id("edge-a")), "{ticket:?}");
    }
    let refused = network.create(watch(Some("edge-a"))).unwrap_err().to_string();
    assert!(refused.contains("edge-a cannot take it: it is being emptied; edge-"), "{refused}");
}

#[test]
fn what_is_moved_off_an_edge_is_spread_over_the_others_and_balanced_there() {
    let mut network = network();
    ["edge-a", "edge-b", "edge-c"].iter().for_each(|e| network.register_with_capacity(e, 1000));
    for n in 0..60 {
        let ticket = network.create(if n % 3 == 0 { watch_together() } else { watch_diverse() });
        let ticket = ticket.unwrap();
        let [zero, one] = ticket.edges.each_ref().map(|edge| edge.id.as_str());
        network.at(ticket.session, zero, one, 1);
    }
    drain(&mut network, "edge-a", 20.0).unwrap();
    for _ in 0..50 {
        network.pass(SECOND / 10, &ALL);
        network.carry_out();
    }
    let nodes = network.manager.nodes(network.now);
    let legs: Vec<_> = nodes.iter().map(|node| node.legs).collect();
    assert_eq!(legs[0], 0, "{legs:?}");
    assert!(legs[1].abs_diff(legs[2]) <= 4, "{legs:?}");
    for node in &nodes[1..3] {
        let [zero, one] = node.legs_by_description;
        assert!(zero.abs_diff(one) <= 8, "{node:?}");
    }
    for session in network.manager.sessions() {
        let [zero, one] = &session.edges;
        let diverse = session.placement == gibbon_media::Placement::Diverse;
        assert_eq!(zero != one, diverse, "{session:?}");
    }
}

#[test]
fn with_nowhere_to_go_an_edge_is_not_emptied_and_nothing_changes() {
    let mut network = network();
    let session = network.watching();
    for edge in ["edge-b", "edge-c"] {
        network.manager.link_closed(network.now, &id(edge), link(edge), true);
    }
    let refused = drain(&mut network, "edge-a", 20.0).unwrap_err();
    assert!(matches!(refused, Refusal::NowhereToGo { legs: 2, .. }));
    let nowhere = "edge-a carries 2 legs and there is nowhere to move them: no edge is eligible: ";
    assert!(refused.to_string().starts_with(nowhere), "{refused}");
    assert!(network.manager.nodes(network.now).iter().all(|node| node.draining.is_none()));
    assert!(network.said.is_empty());
    network.manager.end_session(network.now, session).unwrap();
    network.edge_serves("edge-a", vec![]);
    assert_eq!(drain(&mut network, "edge-a", 20.0), Ok(()), "an edge without legs may leave");
    assert_eq!(drain(&mut network, "edge-x", 20.0), Err(Refusal::NoNode(id("edge-x"))));
    assert_eq!(drain(&mut network, "edge-b", 20.0), Err(Refusal::Down(id("edge-b"))));
    assert!(matches!(drain(&mut network, "studio", 20.0), Err(Refusal::NotToBeEmptied(..))));
    assert!(matches!(drain(&mut network, "edge-a", 0.0), Err(Refusal::OutOfBounds(_))));
}

#[test]
fn a_drain_keeps_to_its_rate_and_to_so_many_at_once_and_can_be_taken_back() {
    let mut network = network();
    for _ in 0..AT_ONCE + 8 {
        network.watching_at(watch_together(), "edge-a", "edge-a");
    }
    ["edge-a", "edge-b"].iter().for_each(|edge| network.register_with_capacity(edge, 2000));
    drain(&mut network, "edge-a", 4.0).unwrap();
    network.pass(2 * SECOND, &ALL);
    let begun = network.manager.handoffs().len();
    assert!((8..=10).contains(&begun), "{begun}");
    drain(&mut network, "edge-a", 1000.0).unwrap();
    network.pass(SECOND, &ALL);
    assert_eq!(network.running().len(), AT_ONCE);
    let out = network.manager.undrain(network.now, &id("edge-a")).unwrap();
    network.take(out);
    assert!(network.said.iter().any(|(_, message)| matches!(message, ToNode::Undrain)));
    let begun = network.manager.handoffs().len();
    network.pass(20 * SECOND, &ALL);
    assert_eq!(network.manager.handoffs().len(), begun, "the rest stays");
}

#[test]
fn an_edge_that_drains_by_itself_is_emptied_the_same() {
    let mut network = network();
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    let draining = Some(Draining { within_ms: 30_000, rate: 20.0, stay: false });
    let report = NodeReport { draining, ..network.held("edge-a") };
    network.report("edge-a", report).unwrap();
    network.pass(SECOND / 4, &BUT_A);
    assert_eq!(network.running(), [(session, Cause::Drain, vec![leg(0, "a", "c")])]);
    let nodes = network.manager.nodes(network.now);
    assert_eq!(nodes[0].draining, draining);
}

#[test]
fn an_edge_that_refuses_is_passed_over_for_a_while_and_the_session_tried_again_elsewhere() {
    let mut network = network();
    let session = network.watching_at(watch(Some("edge-a")), "edge-a", "edge-a");
    drain(&mut network, "edge-a", 20.0).unwrap();
    network.pass(SECOND / 4, &ALL);
    assert_eq!(network.running()[0].2[0], leg(1, "a", "b"));
    refuse(&mut network, session);
    network.pass(FIRST_BACK_OFF - SECOND / 4, &ALL);
    assert_eq!(network.running(), []);
    network.pass(SECOND / 2, &ALL);
    assert_eq!(network.running()[0].2[0], leg(1, "a", "c"));
    refuse(&mut network, session);
    network.pass(2 * FIRST_BACK_OFF - SECOND / 4, &ALL);
    assert_eq!(network.running(), []);
    network.pass(SECOND / 2, &ALL);
    assert_eq!(network.running().len(), 1, "where all have refused one is tried again");
}

#[test]
fn an_edge_that_left_is_gone_at_once_and_comes_back_wanted() {
    let mut network = network();
    drain(&mut network, "edge-a", 20.0).unwrap();
    let out = network.manager.link_closed(network.now, &id("edge-a"), link("edge-a"), true);
    network.take(out);
    let a = |network: &Network| network.manager.nodes(network.now).swap_remove(0);
    assert!(!a(&network).up);
    network.pass(SECOND, &BUT_A);
    let before = a(&network).registered_us;
    network.register("edge-a");
    network.report("edge-a", NodeReport::default()).unwrap();
    assert!(a(&network).up && a(&network).draining.is_none() && a(&network).registered_us > before);
    network.pass(5 * SECOND, &ALL);
    assert!(a(&network).draining.is_none());
}

#[test]
fn a_leg_at_a_lost_edge_is_moved_where_its_client_is_in_reach() {
    let mut network = network();
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    let out_of_reach = network.watching_at(watch(Some("edge-a")), "edge-a", "edge-a");
    network.pass(2 * SECOND + LEAVE_LOST_AFTER, &BUT_A);
    assert_eq!(network.running(), []);
    network.pass(SECOND, &BUT_A);
    assert_eq!(network.running(), [(session, Cause::Failure, vec![leg(0, "a", "c")])]);
    let fetch = network.edge_orders().into_iter().find_map(|(_, _, order)| match order {
        ToEdge::Prefetch { fetch, .. } => Some(fetch),
        _ => None,
    });
    assert_eq!(fetch, Some(gibbon_handoff::Source::Origin));
    assert!(network.manager.session(out_of_reach).unwrap().handoff.is_none());
}

#[test]
fn a_diverse_session_whose_legs_came_to_one_edge_is_spread_anew_when_there_is_room() {
    let mut network = network();
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    let together = network.watching_at(watch(Some("edge-b")), "edge-b", "edge-b");
    network.at(session, "edge-b", "edge-b", 2);
    network.pass(SPREAD_AFTER - SECOND / 4, &ALL);
    assert_eq!(network.running(), []);
    network.pass(SECOND / 2, &ALL);
    let running = network.running();
    assert_eq!((running.len(), running[0].0, running[0].1), (1, session, Cause::Failure));
    assert_eq!(running[0].2[0].1, "b");
    assert!(network.manager.session(together).unwrap().handoff.is_none());
}

#[test]
fn a_complaint_moves_the_bad_leg_and_two_are_the_client_s_own_downlink() {
    let mut network = network();
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    let at = || legs("edge-a", "edge-b");
    network.client_says(session, 2, at(), &Description::BOTH);
    network.pass(5 * SECOND, &ALL);
    assert_eq!(network.running(), []);
    network.client_says(session, 3, at(), &[Description::One]);
    network.pass(SECOND / 2, &ALL);
    assert_eq!(network.running(), [(session, Cause::Network, vec![leg(1, "b", "c")])]);
    let to_client = |said: &[(_, ToNode)]| {
        said.iter().find_map(|(_, message)| match message {
            ToNode::Client { order, .. } => order.grant.clone(),
            _ => None,
        })
    };
    network.register("edge-d");
    let ToEdge::Prefetch { order, description, .. } = network.edge_orders().pop().unwrap().2 else {
        panic!()
    };
    let ready = FromEdge::Ready { order, description, group: gibbon_media::GroupId(7) };
    network.edge_answers("edge-c", session, ready);
    let grant = to_client(&network.said).unwrap();
    let standbys = network.verifier.verify(&grant, network.now).unwrap().standbys;
    assert_eq!(standbys, [id("edge-d"), id("edge-b")], "the bad edge is better than none");
}

#[test]
fn a_session_that_was_moved_for_the_network_is_not_moved_again_at_once() {
    let mut network = network();
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    network.client_says(session, 2, legs("edge-a", "edge-b"), &[Description::One]);
    network.pass(SECOND / 2, &ALL);
    refuse(&mut network, session);
    assert_eq!(network.running(), []);
    network.client_says(session, 3, legs("edge-a", "edge-b"), &[Description::One]);
    network.pass(NETWORK_REST - SECOND, &ALL);
    assert_eq!(network.running(), []);
    network.client_says(session, 4, legs("edge-a", "edge-b"), &[Description::One]);
    network.pass(NETWORK_REST, &ALL);
    assert_eq!(network.manager.handoffs().len(), 2);
}

#[test]
fn a_leg_is_not_sent_back_to_the_edge_that_its_client_left_for_being_bad() {
    let mut network = network();
    network.manager.link_closed(network.now, &id("edge-c"), link("edge-c"), true);
    let session = network.watching_at(watch_diverse(), "edge-a", "edge-b");
    network.client_says(session, 2, legs("edge-a", "edge-b"), &[Description::One]);
    network.at(session, "edge-a", "edge-a", 3);
    network.pass(20 * SECOND, &["studio", "edge-a", "edge-b"]);
    assert_eq!(network.running(), []);
    assert!(network.manager.handoffs().is_empty());
    network.pass(45 * SECOND, &["studio", "edge-a", "edge-b"]);
    assert!(!network.manager.handoffs().is_empty(), "not for ever");
}

#[test]
fn an_edge_that_carries_too_much_is_relieved_of_the_least_important_a_few_at_a_time() {
    let mut network = network();
    let request = |n: u8| gibbon_control::portal::SessionRequest {
        priority: gibbon_media::Priority::new(n).unwrap(),
        ..watch_together()
    };
    let sessions: Vec<_> =
        (0..5).map(|n| network.watching_at(request(9 - n), "edge-a", "edge-a")).collect();
    network.pass(SECOND, &ALL);
    let running = network.running();
    assert_eq!(running.len(), 1, "below 0.8 it is relieved: {running:?}");
    assert_eq!((running[0].0, running[0].1), (sessions[4], Cause::Load));
    network.pass(SECOND, &ALL);
    assert_eq!(network.running().len(), 1);
}

#[test]
fn standbys_are_renewed_when_one_is_lost_and_grants_when_they_are_half_spent() {
    let mut network = network();
    let session = network.watching_at(watch(Some("edge-a")), "edge-a", "edge-a");
    network.pass(10 * SECOND, &ALL);
    assert!(network.renewed(session).is_empty());
    let left = network.manager.link_closed(network.now, &id("edge-b"), link("edge-b"), true);
    network.take(left);
    network.pass(SECOND, &ALL);
    let grant = network.renewed(session).pop().unwrap();
    assert_eq!(grant.standbys, [id("edge-c")]);
    network.register("edge-b");
    network.pass(6 * SECOND, &ALL);
    let standbys = network.renewed(session).pop().unwrap().standbys;
    assert_eq!(standbys, [id("edge-b"), id("edge-c")], "as soon as there is another");
    network.pass(Duration::from_secs(30), &ALL);
    assert!(network.renewed(session).is_empty());
    let half = GRANT_FOR / 2;
    network.leap(half);
    network.pass(SECOND, &ALL);
    assert!(network.renewed(session).pop().unwrap().expires > network.now + half);
}

/// What may happen to two sessions and their edges.
#[derive(Debug, Clone)]
enum Happening {
    /// Time, in steps of 100 ms.
    Pass(u8),
    /// A client complains of some of its legs, or of none.
    Complaint(usize, u8),
    /// Hand-offs are carried out.
    Done,
    /// The edge refuses what it is told to prefetch.
    Refused,
    /// An edge is to be emptied, or is wanted again.
    Drain(usize, bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..30u8).prop_map(Happening::Pass),
        4 => (0..2usize, 0..4u8).prop_map(|(session, legs)| Happening::Complaint(session, legs)),
        2 => Just(Happening::Done),
        1 => Just(Happening::Refused),
        1 => (0..3usize, any::<bool>()).prop_map(|(edge, drain)| Happening::Drain(edge, drain)),
    ]
}

fn happens(network: &mut Network, sessions: &[SessionId; 2], revision: u64, what: &Happening) {
    match *what {
        Happening::Pass(steps) => network.pass(Duration::from_millis(100) * u32::from(steps), &ALL),
        Happening::Complaint(n, bad) => {
            let at = network.manager.session(sessions[n]).unwrap().edges;
            let is_bad = |d: &Description| bad & (1 << d.index()) != 0;
            let bad: Vec<_> = Description::BOTH.into_iter().filter(is_bad).collect();
            network.client_says(sessions[n], 10_000_000 + revision, at, &bad);
        }
        Happening::Done => network.carry_out(),
        Happening::Refused => {
            let running = network.running();
            if let Some((session, ..)) = running.first() {
                refuse_if_asked(network, *session);
            }
        }
        Happening::Drain(edge, true) => {
            let _ = drain(network, ALL[edge + 1], 20.0);
        }
        Happening::Drain(edge, false) => {
            let out = network.manager.undrain(network.now, &id(ALL[edge + 1])).unwrap();
            network.take(out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nobody_is_moved_to_and_fro(what in proptest::collection::vec(happening(), 1..80)) {
        let mut network = network();
        let sessions = [
            network.watching_at(watch_diverse(), "edge-a", "edge-b"),
            network.watching_at(watch_together(), "edge-c", "edge-c"),
        ];
        for (revision, happening) in what.iter().enumerate() {
            happens(&mut network, &sessions, revision as u64, happening);
        }
        for session in sessions {
            let handoffs = network.manager.handoffs().into_iter();
            let mut of_this: Vec<_> = handoffs.filter(|info| info.session == session).collect();
            of_this.sort_by_key(|info| info.progress[0].at_us);
            for pair in of_this.windows(2) {
                let [first, second] = pair else { unreachable!() };
                let began = |info: &HandoffInfo| MediaTime(info.progress[0].at_us);
                let ended = MediaTime(first.progress.last().unwrap().at_us);
                // Steps of one instant are told a microsecond apart.
                let rounding = Duration::from_millis(1);
                prop_assert!(began(second) >= ended);
                if second.cause == Cause::Network {
                    let rest = began(second).since(began(first)) + rounding;
                    prop_assert!(rest >= NETWORK_REST, "{:?} {:?}", first, second);
                }
                if first.outcome != HandoffOutcome::Completed {
                    let rest = began(second).since(ended) + rounding;
                    prop_assert!(rest >= FIRST_BACK_OFF, "{:?} {:?}", first, second);
                }
                for leg in &second.moves {
                    prop_assert_ne!(&leg.from, &leg.to);
                }
            }
        }
    }
}

#[test]
fn a_restarted_coordinator_looks_on_before_it_acts() {
    let mut network = Network::started(2);
    let session = SessionId(77);
    network.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
    network.client_says(session, 2, legs("edge-a", "edge-a"), &[]);
    let draining = Some(Draining { within_ms: 30_000, rate: 20.0, stay: false });
    let report = NodeReport { draining, ..network.held("edge-a") };
    for (time, begun) in [(2 * SECOND, 0), (2 * SECOND, 1)] {
        let end = network.now + time;
        while network.now < end {
            network.report("edge-a", report.clone()).unwrap();
            network.pass(SECOND / 4, &BUT_A);
        }
        assert_eq!(network.running().len(), begun);
    }
    let refused = network.hand_off(session, HandoffRequest::default());
    assert!(matches!(refused, Err(Refusal::UnderWay(_))));
}
