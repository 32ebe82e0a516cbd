use gibbon_handoff::Cause;
use gibbon_media::{Description, Placement, Scheme, SessionId};

use super::*;

fn report() -> Report {
    Report {
        schema: 1,
        stream: "live/x".parse().unwrap(),
        service: None,
        session: SessionId(1),
        scheme: Scheme::Alternating,
        placement: Placement::Together,
        session_start_us: 0,
        duration_ms: 10_000,
        startup_ms: Some(1200),
        playout_delay_ms: Default::default(),
        frames: FrameStats { expected: 100, central: 90, side: 7, side_chosen: 1, frozen: 3 },
        freezes: FreezeStats { count: 2, total_ms: 100, longest_ms: 67 },
        audio: AudioStats { expected_ms: 9000, gap_ms: 20 },
        text: TextStats::default(),
        latency_ms: None,
        bytes: ByteStats { media: 500, duplicate: 5 },
        display: Default::default(),
        legs: Vec::new(),
        handoffs: Vec::new(),
        recoveries: Vec::new(),
        verdicts: Vec::new(),
    }
}

/// A report with one hand-off, as JSON that leaves out what is new to it.
fn handed_off(outcome: &str, cause: Cause, completed_ms: u64) -> Report {
    let handoff = serde_json::json!({
        "id": "0000000000000001", "cause": cause, "from": "edge-a", "to": "edge-b",
        "outcome": outcome, "reason": null, "selected_ms": 1000, "completed_ms": completed_ms,
        "prefetch_info_from": null,
        "steps": [{
            "description": Description::One, "prefetch_sent_ms": null, "fetched_from": null,
            "prefetch_ready_ms": null, "attached_ms": null, "detached_ms": null, "duplicate_frames": 4,
        }],
    });
    Report { handoffs: vec![serde_json::from_value(handoff).unwrap()], ..report() }
}

fn lost(cause: &str, found: bool) -> Recovery {
    Recovery {
        description: Description::Zero,
        from: "edge-a".parse().unwrap(),
        to: found.then(|| "edge-b".parse().unwrap()),
        cause: cause.into(),
        last_frame_ms: Some(1000),
        detected_ms: 1200,
        attached_ms: found.then_some(1400),
        first_frame_ms: found.then_some(1350),
        side_ms: 300,
        frozen_ms: 40,
    }
}

#[test]
fn reports_are_summed_and_the_longest_freeze_is_that_of_all() {
    let longer = Report {
        freezes: FreezeStats { count: 1, total_ms: 400, longest_ms: 400 },
        recoveries: vec![lost("starved", true), lost("closed", false)],
        ..report()
    };
    let reports = vec![
        handed_off("completed", Cause::Operator, 4000),
        handed_off("rolled_back", Cause::Drain, 3000),
        longer,
    ];
    let summary = Summary::of(Outcome { reports, ..Outcome::default() });
    let seen = &summary.seen;
    assert_eq!((seen.frames.expected, seen.frames.frozen), (300, 9));
    assert_eq!((seen.freezes.total_ms, seen.freezes.longest_ms), (600, 400));
    assert_eq!((seen.handoffs.all.total, seen.handoffs.all.completed), (2, 1));
    assert_eq!(seen.handoffs.causes["drain"].rolled_back, 1);
    assert_eq!(seen.handoffs.duration_ms.as_ref().unwrap().max, 3000.0);
    assert_eq!(seen.handoffs.most_duplicate_frames, 4);
    assert_eq!((seen.recoveries.total, seen.recoveries.unrecovered), (2, 1));
    assert_eq!(seen.recoveries.duration_ms.as_ref().unwrap().p50, 350.0);
    assert_eq!((seen.recoveries.side_ms, seen.recoveries.frozen_ms), (600, 80));
}

fn sample(at_s: f64, frames: u64, cpu_s: f64, memory_kib: u64) -> Moment {
    let open = if frames > 0 { 10 } else { 0 };
    let count = Count { asked: open, open, playing: open, frames, ..Count::default() };
    let used = |cpu_s, memory_kib| Used { cpu_s, memory_kib };
    let processes = [("edge-a", used(cpu_s, memory_kib)), ("origin-1", used(50.0 + at_s, 1))];
    let processes = processes.map(|(name, used)| (name.to_owned(), used)).into();
    Moment { at_s, count, processes }
}

fn phase(kind: &str, from_s: f64, to_s: f64) -> PhaseRecord {
    PhaseRecord { name: kind.into(), kind: kind.into(), from_s, to_s }
}

#[test]
fn cost_is_that_of_the_edges_while_nothing_happens() {
    let samples = vec![
        sample(0.0, 0, 0.5, 10_000),
        sample(1.0, 100, 3.0, 10_100),
        sample(2.0, 1100, 3.02, 10_300),
        sample(3.0, 2100, 3.04, 10_400),
        sample(4.0, 3000, 9.0, 90_000),
    ];
    let phases = vec![phase("ramp", 0.0, 1.0), phase("hold", 1.0, 3.5), phase("storm", 3.5, 5.0)];
    let edges = vec!["edge-a".to_owned()];
    let summary = Summary::of(Outcome { samples, phases, edges, ..Outcome::default() });
    assert!((summary.cpu_us_per_frame.unwrap() - 20.0).abs() < 1e-6);
    assert_eq!(summary.memory_kib_per_session, Some(40.0));
    assert_eq!(summary.processes["edge-a"], Taken { cpu_s: 9.0, peak_memory_kib: 90_000 });
}

#[test]
fn what_is_not_measured_is_not_told() {
    let mut samples = vec![sample(0.0, 0, 0.0, 0), sample(1.0, 9, 0.0, 0), sample(2.0, 99, 0.0, 0)];
    samples.iter_mut().for_each(|sample| sample.processes.clear());
    let phases = vec![phase("hold", 0.5, 2.5)];
    let summary = Summary::of(Outcome { samples, phases, ..Outcome::default() });
    assert_eq!((summary.cpu_us_per_frame, summary.memory_kib_per_session), (None, None));
}

#[test]
fn a_machine_that_wakes_late_is_short_of_time() {
    let late = |us| {
        let machine_late_us = Spread::of(vec![us; 10]);
        Summary::of(Outcome { machine_late_us, ..Outcome::default() }).is_machine_short()
    };
    assert_eq!((late(100), late(50_000)), (false, true));
}

#[test]
fn a_restarted_process_begins_anew() {
    let samples = vec![sample(0.0, 0, 5.0, 10), sample(1.0, 1, 6.0, 30), sample(2.0, 2, 0.5, 20)];
    assert_eq!(taken(&samples)["edge-a"], Taken { cpu_s: 6.5, peak_memory_kib: 30 });
}

#[test]
fn figures_have_flat_names_and_short_ones() {
    let failures = vec![("edges_lost".to_owned(), "why".to_owned()); 7];
    let reports = vec![handed_off("failed", Cause::Drain, 3000)];
    let summary = Summary::of(Outcome { reports, failures, ..Outcome::default() });
    let figures = &summary.figures;
    assert_eq!((figures["frozen"], figures["frames.frozen"]), (3.0, 3.0));
    assert_eq!((figures["gap_ms"], figures["handoffs.failed"]), (67.0, 1.0));
    assert_eq!(figures["failures"], 7.0);
    assert_eq!(summary.failures["edges_lost"].messages.len(), MAX_MESSAGES);
    assert!(!figures.contains_key("latency_p99_ms"));
    let known = known_figures();
    for name in figures.keys().map(String::as_str).chain(["latency_p99_ms", "edge_delay_p99_ms"]) {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
    for name in ["cpu_us_per_frame", "memory_kib_per_session", "sampled.frozen", "capacity"] {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
}
