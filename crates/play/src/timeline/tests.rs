use std::path::PathBuf;

use gibbon_media::{HandoffId, Placement, Scheme, SessionId};

use super::*;
use crate::report::{HandoffRecord, HandoffStep, Recovery, SCHEMA};

const FRAME_MS: u64 = 40;

/// A session of 20 s on edge-a, all central.
fn quiet() -> (Report, Vec<VerdictSpan>) {
    let report = Report {
        schema: SCHEMA,
        stream: "live/bbb".parse().unwrap(),
        session: SessionId(0x9f2c_41d7_0b6e_a853),
        scheme: Scheme::Alternating,
        placement: Placement::Together,
        service: None,
        session_start_us: 0,
        duration_ms: 20_000,
        startup_ms: Some(1200),
        playout_delay_ms: Default::default(),
        frames: Default::default(),
        freezes: Default::default(),
        audio: Default::default(),
        text: Default::default(),
        latency_ms: None,
        bytes: Default::default(),
        display: Default::default(),
        legs: vec![leg(0, "edge-a", 80, 20_000), leg(1, "edge-a", 110, 20_000)],
        handoffs: Vec::new(),
        recoveries: Vec::new(),
        verdicts: Vec::new(),
    };
    seen(report, &[(Verdict::Central, 1120, 20_000)])
}

/// Two hand-offs, each of both descriptions.
fn moved() -> (Report, Vec<VerdictSpan>) {
    let (mut report, spans) = quiet();
    report.legs = vec![
        leg(0, "edge-a", 80, 7_010),
        leg(1, "edge-a", 110, 5_030),
        leg(1, "edge-b", 4_390, 14_020),
        leg(0, "edge-b", 6_380, 16_000),
        leg(1, "edge-c", 13_410, 20_000),
        leg(0, "edge-c", 15_400, 20_000),
    ];
    report.handoffs = vec![
        handoff("edge-a", "edge-b", 3_300, &[(1, 4_390), (0, 6_380)], 7_900),
        handoff("edge-b", "edge-c", 12_200, &[(1, 13_410), (0, 15_400)], 17_060),
    ];
    (report, spans)
}

/// A hand-off of which description 1 goes back.
fn rolled_back() -> (Report, Vec<VerdictSpan>) {
    let (mut report, spans) = quiet();
    report.legs = vec![
        leg(0, "edge-a", 80, 20_000),
        leg(1, "edge-a", 110, 9_030),
        leg(1, "edge-b", 8_390, 10_000),
        leg(1, "edge-a", 9_640, 20_000),
    ];
    let mut record = handoff("edge-a", "edge-b", 7_300, &[(1, 8_390)], 10_300);
    record.outcome = "rolled_back".into();
    record.reason = Some("late".into());
    report.handoffs = vec![record];
    (report, spans)
}

/// Both descriptions lose edge-a; one frame freezes, some are side, and later one more freezes.
fn lost() -> (Report, Vec<VerdictSpan>) {
    let (mut report, _) = quiet();
    report.legs = vec![
        leg(0, "edge-a", 80, 8_200),
        leg(1, "edge-a", 110, 8_210),
        leg(0, "edge-b", 8_640, 20_000),
        leg(1, "edge-c", 9_450, 20_000),
    ];
    report.recoveries =
        vec![recovery(0, "edge-b", 8_000, 8_640), recovery(1, "edge-c", 8_000, 9_450)];
    seen(
        report,
        &[
            (Verdict::Central, 1120, 9_000),
            (Verdict::Frozen, 9_000, 9_200),
            (Verdict::Side, 9_200, 10_400),
            (Verdict::Central, 10_400, 15_000),
            (Verdict::Frozen, 15_000, 15_040),
            (Verdict::Central, 15_040, 20_000),
        ],
    )
}

/// Two minutes of hand-offs to and fro, the last of them still under way.
fn busy() -> (Report, Vec<VerdictSpan>) {
    let (mut report, _) = quiet();
    let edges = ["edge-a", "edge-b"];
    report.duration_ms = 120_000;
    report.legs.clear();
    for n in 0..10 {
        let (at, from, to) = (n as u64 * 11_400, edges[n % 2], edges[(n + 1) % 2]);
        let end = at + 15_000;
        report
            .legs
            .extend([leg(1, from, at + 4_400, end + 1_000), leg(0, from, at + 6_400, end + 3_000)]);
        report.handoffs.push(handoff(
            from,
            to,
            end - 1_700,
            &[(1, end + 400), (0, end + 2_400)],
            end + 4_000,
        ));
    }
    report.legs[0].from_ms = 80;
    report.legs[1].from_ms = 110;
    report.handoffs[9].outcome = "running".into();
    report.handoffs[9].completed_ms = None;
    report.handoffs[9].steps.clear();
    seen(report, &[(Verdict::Central, 1_120, 120_000)])
}

fn leg(description: u8, edge: &str, from_ms: u64, to_ms: u64) -> LegRecord {
    let description = description.try_into().unwrap();
    LegRecord { description, edge: edge.parse().unwrap(), from_ms, to_ms }
}

fn handoff(from: &str, to: &str, at: u64, steps: &[(u8, u64)], end: u64) -> HandoffRecord {
    HandoffRecord {
        id: HandoffId(at),
        cause: None,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        outcome: "completed".into(),
        reason: None,
        selected_ms: Some(at),
        completed_ms: Some(end),
        prefetch_info_from: Some("coordinator".into()),
        steps: steps
            .iter()
            .map(|&(description, attached)| HandoffStep {
                description: description.try_into().unwrap(),
                prefetch_sent_ms: Some(at + 4),
                fetched_from: Some("origin".into()),
                prefetch_ready_ms: Some(at + 60),
                attached_ms: Some(attached),
                detached_ms: Some(attached + 630),
                duplicate_frames: 16,
            })
            .collect(),
    }
}

fn recovery(description: u8, to: &str, last_frame: u64, attached: u64) -> Recovery {
    Recovery {
        description: description.try_into().unwrap(),
        from: "edge-a".parse().unwrap(),
        to: Some(to.parse().unwrap()),
        cause: "starved".into(),
        last_frame_ms: Some(last_frame),
        detected_ms: last_frame + 190,
        attached_ms: Some(attached),
        first_frame_ms: Some(attached - 30),
        side_ms: 0,
        frozen_ms: 0,
    }
}

/// The report with these verdicts, counted.
fn seen(mut report: Report, spans: &[(Verdict, u64, u64)]) -> (Report, Vec<VerdictSpan>) {
    let count = |verdict| {
        spans.iter().filter(|s| s.0 == verdict).map(|s| (s.2 - s.1) / FRAME_MS).sum::<u64>()
    };
    report.frames.central = count(Verdict::Central);
    report.frames.side = count(Verdict::Side);
    report.frames.frozen = count(Verdict::Frozen);
    report.frames.expected = spans.iter().map(|s| (s.2 - s.1) / FRAME_MS).sum();
    let spans =
        spans.iter().map(|&(verdict, from_ms, to_ms)| VerdictSpan { verdict, from_ms, to_ms });
    (report, spans.collect())
}

/// The column of a time in a session of 20 s.
fn column(ms: u64) -> u32 {
    (LEFT + ms as f64 / 20_000.0 * (RIGHT - LEFT)) as u32
}

fn row(y: f64) -> u32 {
    y as u32
}

#[test]
fn a_lane_has_the_colour_of_the_edge_that_delivers() {
    let (report, spans) = moved();
    let image = picture(&report, &spans).unwrap();
    let [lane_0, lane_1] = LANES.map(|top| row(top + 4.0));
    for (ms, edge) in [(1_000, 0), (9_000, 1), (18_000, 2)] {
        assert_eq!(image.at(column(ms), lane_0), Some(EDGES[edge]), "{ms} ms");
        assert_eq!(image.at(column(ms), lane_1), Some(EDGES[edge]), "{ms} ms");
    }
}

#[test]
fn while_two_edges_deliver_a_description_both_are_seen() {
    let (report, spans) = moved();
    let image = picture(&report, &spans).unwrap();
    let crossing = column(4_700);
    assert_eq!(image.at(crossing, row(LANES[1] + 4.0)), Some(EDGES[0]));
    assert_eq!(image.at(crossing, row(LANES[1] + LANE - 4.0)), Some(EDGES[1]));
    assert_eq!(image.at(crossing, row(LANES[0] + LANE - 4.0)), Some(EDGES[0]));
}

#[test]
fn one_frozen_frame_in_a_day_is_seen() {
    let (mut report, _) = quiet();
    let day = 24 * 3_600_000;
    report.duration_ms = day;
    let frozen = day / 3;
    let (report, spans) = seen(
        report,
        &[
            (Verdict::Central, 0, frozen),
            (Verdict::Frozen, frozen, frozen + FRAME_MS),
            (Verdict::Central, frozen + FRAME_MS, day),
        ],
    );
    let image = picture(&report, &spans).unwrap();
    let red = Some(seen_colour(Verdict::Frozen));
    let columns = |y| (0..SIZE.0).filter(|x| image.at(*x, y) == red).count();
    assert_eq!(columns(row(SEEN + SEEN_HEIGHT / 2.0)), MIN_SEEN as usize);
    assert_eq!(columns(row(SEEN - STAND_OUT / 2.0)), MIN_SEEN as usize, "it stands out");
}

#[test]
fn a_loss_is_told_once_however_many_descriptions_it_took() {
    let (mut report, spans) = lost();
    report.recoveries[1].to = report.recoveries[0].to.clone();
    let twice = picture(&report, &spans).unwrap();
    report.recoveries[0].attached_ms = report.recoveries[1].attached_ms;
    let longer = picture(&report, &spans).unwrap();
    // The label gives the longer of the two, so only the rails of description 0 differ.
    let labels = row(140.0)..row(220.0);
    assert!(labels.clone().all(|y| (0..SIZE.0).all(|x| twice.at(x, y) == longer.at(x, y))));
    assert_ne!(twice, longer);
}

#[test]
fn reports_with_little_or_too_much_in_them_are_drawn() {
    let (mut empty, _) = quiet();
    empty.duration_ms = 0;
    empty.legs.clear();
    picture(&empty, &[]).unwrap();

    let (mut full, spans) = moved();
    full.stream = "a".repeat(128).parse().unwrap();
    full.duration_ms = 6_000;
    full.legs.extend((0..200).map(|n| leg(1, &format!("{n}{}", "e".repeat(40)), n * 9, 90_000)));
    let unknown = HandoffRecord {
        outcome: "running".into(),
        selected_ms: None,
        completed_ms: None,
        steps: Vec::new(),
        ..full.handoffs[0].clone()
    };
    full.handoffs.extend((0..200).map(|_| unknown.clone()));
    // The coordinator's clock is ahead.
    full.handoffs.push(HandoffRecord { selected_ms: Some(7_000), ..unknown });
    full.recoveries.extend((0..200).map(|n| recovery(0, "edge-b", n * 20, 9_000)));
    full.recoveries[0].attached_ms = None;
    picture(&full, &spans).unwrap();
}

/// Look at them: `TIMELINE_SAMPLES=DIR cargo test -p gibbon-play sample`.
#[test]
fn samples_are_written_as_png() {
    let kept = std::env::var_os("TIMELINE_SAMPLES").map(PathBuf::from);
    let name = format!("gibbon-timeline-{}", std::process::id());
    let dir = kept.clone().unwrap_or_else(|| std::env::temp_dir().join(name));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, (report, spans)) in [
        ("moved", moved()),
        ("rolled-back", rolled_back()),
        ("quiet", quiet()),
        ("lost", lost()),
        ("busy", busy()),
    ] {
        let file = dir.join(name).with_extension("png");
        draw(&report, &spans, &file).unwrap();
        assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
    if kept.is_none() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
