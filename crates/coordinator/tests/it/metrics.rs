//! What the coordinator counts, and how it shows it.

use std::sync::{Arc, Mutex};

use gibbon_control::{
    node::FromNode,
    portal::HandoffOutcome,
    session::ClientReport,
    viewing::{HandoffGap, ViewerGap, Viewing},
};
use gibbon_handoff::Report;
use gibbon_mdc::FrameStats;
use gibbon_media::{HandoffId, SessionId};
use gibbon_monitor::{Monitor, testing::Read};

use crate::network::*;

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// What the manager counts.
fn counted(network: &Network) -> Read {
    let monitor = Monitor::new("gibbon-coordinator", "1");
    monitor.register(|registry| network.manager.metrics().register(registry));
    Read::page(&monitor.page()).unwrap()
}

/// The whole page.
fn page(network: Network) -> Read {
    let monitor = Monitor::new("gibbon-coordinator", "1");
    monitor.register(|registry| network.manager.metrics().register(registry));
    let (manager, now) = (Arc::new(Mutex::new(network.manager)), network.now);
    monitor.collect(move |page| manager.lock().unwrap().collect(now, page));
    Read::page(&monitor.page()).unwrap()
}

fn shown(central: u64, side: u64, frozen: u64) -> Viewing {
    let expected = central + side + frozen;
    let frames = FrameStats { expected, central, side, side_chosen: 0, frozen };
    Viewing { frames, ..Viewing::default() }
}

fn viewed(network: &mut Network, session: SessionId, viewing: Viewing) {
    let hands =
        Report { revision: u64::MAX, legs: legs("edge-b", "edge-b"), order: None, answer: None };
    let report = ClientReport { viewing: Some(Box::new(viewing)), ..ClientReport::new(hands) };
    network.says("edge-a", FromNode::Client { session, report }).unwrap();
}

/// A session that has been moved to edge b.
fn moved(network: &mut Network) -> (SessionId, HandoffId) {
    let session = network.watching();
    let handoff = network.hand_off(session, to("edge-b")).unwrap().handoff;
    network.carry_out();
    assert_eq!(network.manager.handoff(handoff).unwrap().outcome, HandoffOutcome::Completed);
    (session, handoff)
}

#[test]
fn a_hand_off_is_counted_when_it_ends_and_its_cost_when_that_has_settled() {
    let mut network = Network::started(1);
    let (session, handoff) = moved(&mut network);
    let ended = [("cause", "operator"), ("outcome", "completed")];
    assert_eq!(counted(&network).value("gibbon_handoffs_total", &ended), Some(1.0));
    assert_eq!(counted(&network).value("gibbon_handoff_duration_seconds_count", &ended), Some(1.0));
    for step in ["prefetch", "attach", "settle", "close"] {
        let count = counted(&network)
            .value("gibbon_handoff_step_duration_seconds_count", &[("step", step)]);
        assert!(count.is_some_and(|count| count >= 1.0), "{step}: {count:?}");
    }
    let gap = ViewerGap { side_ms: 80, frozen_ms: 0, longest_ms: 0 };
    let cost = "gibbon_handoff_viewer_gap_seconds";
    for (settled, expected) in [(false, Some(0.0)), (true, Some(1.0)), (true, Some(1.0))] {
        let handoffs = vec![HandoffGap { handoff, gap, settled }];
        viewed(&mut network, session, Viewing { handoffs, ..shown(1, 2, 0) });
        assert_eq!(network.manager.handoff(handoff).unwrap().viewer_gap, Some(gap));
        let count = counted(&network).value(&format!("{cost}_count"), &[("verdict", "side")]);
        assert_eq!(count, expected, "settled: {settled}");
    }
    let page = counted(&network);
    let at_most = |verdict, le| {
        page.value(
            &format!("{cost}_bucket"),
            &[("cause", "operator"), ("verdict", verdict), ("le", le)],
        )
    };
    assert_eq!(at_most("frozen", "0.0"), Some(1.0));
    assert_eq!((at_most("side", "0.05"), at_most("side", "0.1")), (Some(0.0), Some(1.0)));
}

#[test]
fn a_client_speaks_for_its_own_hand_offs_only() {
    let mut network = Network::started(1);
    let (_, handoff) = moved(&mut network);
    let other = network.watching();
    let gap = ViewerGap { side_ms: 80, frozen_ms: 80, longest_ms: 80 };
    let handoffs = vec![HandoffGap { handoff, gap, settled: true }];
    viewed(&mut network, other, Viewing { handoffs, ..Viewing::default() });
    assert_eq!(network.manager.handoff(handoff).unwrap().viewer_gap, None);
}

#[test]
fn what_viewers_are_shown_is_counted_once_however_often_and_late_it_is_told() {
    let mut network = Network::started(1);
    let session = network.watching();
    let (first, last) = (shown(100, 0, 0), shown(148, 2, 1));
    for viewing in [&first, &last, &last, &first, &last] {
        viewed(&mut network, session, viewing.clone());
    }
    let frames = |network: &Network, verdict| {
        counted(network).value("gibbon_viewer_frames_total", &[("verdict", verdict)])
    };
    assert_eq!(frames(&network, "central"), Some(148.0));
    assert_eq!(frames(&network, "side"), Some(2.0));
    assert_eq!(frames(&network, "frozen"), Some(1.0));
    // Another coordinator knows nothing of what was before its time.
    let mut network = Network::started(2);
    let session = SessionId(77);
    network.edge_serves("edge-a", vec![serves(session, &gibbon_media::Description::BOTH)]);
    viewed(&mut network, session, shown(5000, 7, 0));
    viewed(&mut network, session, shown(5024, 7, 1));
    assert_eq!(frames(&network, "central"), Some(24.0));
    assert_eq!(frames(&network, "frozen"), Some(1.0));
}

#[test]
fn no_report_can_spoil_the_counts() {
    let mut network = Network::started(1);
    let session = network.watching();
    viewed(&mut network, session, shown(0, 0, u64::MAX));
    let frozen = counted(&network).value("gibbon_viewer_frames_total", &[("verdict", "frozen")]);
    assert!(frozen.is_some_and(|frozen| frozen < 1e6), "{frozen:?}");
}

#[test]
fn the_page_says_what_the_documentation_says_it_does() {
    let mut network = Network::started(1);
    let (session, handoff) = moved(&mut network);
    let gap = ViewerGap::default();
    let handoffs = vec![HandoffGap { handoff, gap, settled: true }];
    viewed(&mut network, session, Viewing { handoffs, ..shown(1, 1, 1) });
    network.manager.metrics().answered(200);
    let page = page(network);
    page.check_documented(DOCUMENT, &["Every process", "Coordinator"]);
    assert_eq!(page.value("gibbon_nodes", &[("role", "edge"), ("state", "up")]), Some(3.0));
    assert_eq!(page.value("gibbon_sessions", &[("state", "connected")]), Some(1.0));
    assert_eq!(page.value("gibbon_node_legs", &[("node", "edge-b")]), Some(2.0));
}
