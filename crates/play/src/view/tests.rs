use gibbon_mdc::Stats;
use gibbon_media::{HandoffId, Placement, Scheme, SessionId};

use super::*;
use crate::report::{HandoffStep, SCHEMA};

fn snapshot(ms: u64) -> Snapshot {
    let frames = FrameStats { expected: 120, central: 120, ..FrameStats::default() };
    Snapshot {
        stream: "live/bbb".into(),
        session: SessionId(7).to_string(),
        elapsed: Duration::from_millis(ms),
        legs: ["edge-a", "edge-b"].map(|edge| edge.parse().ok()),
        attaching: ["edge-b".parse().ok(), None],
        without: [None; 2],
        buffer_ms: Some(812),
        latency_ms: Some(1003),
        stats: Stats { frames, ..Stats::default() },
        caption: Some("A butterfly.".into()),
    }
}

fn report() -> Report {
    Report {
        schema: SCHEMA,
        stream: "live/bbb".parse().unwrap(),
        session: SessionId(7),
        scheme: Scheme::Alternating,
        placement: Placement::Together,
        service: None,
        session_start_us: 0,
        duration_ms: 20_000,
        startup_ms: Some(1200),
        playout_delay_ms: Default::default(),
        frames: FrameStats { expected: 480, central: 480, ..FrameStats::default() },
        freezes: Default::default(),
        audio: Default::default(),
        text: Default::default(),
        latency_ms: None,
        bytes: ByteStats { media: 9_800_000, duplicate: 200_000 },
        display: Default::default(),
        legs: Vec::new(),
        handoffs: Vec::new(),
        recoveries: Vec::new(),
        verdicts: Vec::new(),
    }
}

fn summarised(report: &Report) -> String {
    let lines = summary(report, &[("timeline", "demo/timeline.png".into())]);
    lines.iter().map(|line| line.print(usize::MAX, false) + "\n").collect()
}

fn written(terminal: bool, colour: bool, show: impl FnOnce(&mut View<&mut Vec<u8>>)) -> String {
    let mut out = Vec::new();
    show(&mut View::on(&mut out, terminal.then_some(|| (80, 24)), colour));
    String::from_utf8(out).unwrap()
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut runs = line.split('\x1b');
    let first = runs.next().unwrap_or_default().to_owned();
    runs.fold(first, |line, run| line + run.split_once('m').unwrap().1)
}

#[test]
fn no_line_is_wider_than_the_terminal_with_colours_or_without() {
    for width in 0..120 {
        let coloured = render(&snapshot(5000), width, true);
        let lines = render(&snapshot(5000), width, false);
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)), "{width}");
        let stripped: Vec<_> = coloured.iter().map(|line| plain(line)).collect();
        assert_eq!(stripped, lines);
    }
}

#[test]
fn an_edge_being_attached_stands_beside_the_one_that_delivers() {
    let lines = render(&snapshot(5000), 80, false);
    assert_eq!(lines[1], "  description 0  edge-a  → edge-b");
    assert_eq!(lines[2], "  description 1  edge-b");
}

#[test]
fn a_description_that_is_done_without_says_why() {
    let mut one_handed = snapshot(5000);
    one_handed.legs[1] = None;
    one_handed.without[1] = Some("let go: edge full");
    let lines = render(&one_handed, 80, false);
    assert_eq!(lines[2], "  description 1  let go: edge full");
}

#[test]
fn what_comes_from_outside_cannot_drive_the_terminal() {
    let mut hostile = snapshot(5000);
    hostile.caption = Some(format!("\x1b[2J\r\n\x07\u{9b}H{}", "x".repeat(10_000)));
    let lines = render(&hostile, u16::MAX, false);
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
    assert!(lines.iter().all(|line| line.chars().count() <= MAX_TEXT + NAMES + 2));
    let event = written(false, false, |view| view.event(Duration::ZERO, "closed: \x1b[31mno\n"));
    assert_eq!(event, "    0.00 s  closed:  [31mno \n");
}

#[test]
fn off_a_terminal_events_are_told_at_once_and_the_status_every_five_seconds() {
    let text = written(false, false, |view| {
        for ms in (0..=11_000).step_by(50) {
            if ms == 6_200 {
                view.event(Duration::from_millis(ms), "description 1 from edge-b");
            }
            view.update(&snapshot(ms));
        }
    });
    let stamps: Vec<_> = text.lines().map(|line| line[..8].trim()).collect();
    assert_eq!(stamps, ["5.00", "6.20", "10.00"]);
    assert!(text.lines().next().unwrap().contains("0 from edge-a, 1 from edge-b: 120 central"));
    assert!(!text.contains('\x1b'));
}

#[test]
fn on_a_terminal_events_scroll_by_above_what_is_drawn_again_in_place() {
    let up = format!("\x1b[{}F\x1b[J", render(&snapshot(0), 80, false).len());
    let text = written(true, false, |view| {
        view.update(&snapshot(1000));
        view.event(Duration::from_millis(1010), "description 1 from edge-b");
        view.update(&snapshot(1300));
    });
    let frames: Vec<_> = text.split("\x1b[J").collect();
    assert_eq!(frames.len(), 4, "nothing, then three frames: {text:?}");
    assert_eq!(text.matches(&up).count(), 2, "the first has nothing above it: {text:?}");
    assert!(frames[2].starts_with("    1.01 s  description 1 from edge-b\n"));
    assert!(frames[2].contains("live/bbb") && frames[3].contains("1.3 s"));
    assert!(!text.contains("\x1b[?25l"), "the cursor is never hidden");
}

#[test]
fn a_terminal_is_drawn_at_most_five_times_a_second() {
    let text = written(true, true, |view| {
        (0..2000).step_by(10).for_each(|ms| view.update(&snapshot(ms)));
    });
    assert_eq!(text.matches("\x1b[J").count(), 10);
}

#[test]
fn the_summary_replaces_what_was_drawn() {
    let mut out = Vec::new();
    let mut view = View::on(&mut out, Some(|| (80, 24)), false);
    view.update(&snapshot(1000));
    view.wrote("report", Path::new("demo/report.json"));
    view.finish(&report());
    let text = String::from_utf8(out).unwrap();
    let last = text.rsplit("\x1b[J").next().unwrap();
    assert!(last.contains("report         demo/report.json"), "{last}");
    assert!(!last.contains("caption"));
}

#[test]
fn the_summary_tells_each_hand_off_with_its_durations() {
    let mut report = report();
    let step = |description: u8, attached| HandoffStep {
        description: description.try_into().unwrap(),
        prefetch_sent_ms: None,
        fetched_from: None,
        prefetch_ready_ms: None,
        attached_ms: Some(attached),
        detached_ms: None,
        duplicate_frames: 16,
    };
    report.handoffs.push(HandoffRecord {
        id: HandoffId(1),
        cause: None,
        from: "edge-a".parse().unwrap(),
        to: "edge-b".parse().unwrap(),
        outcome: "completed".into(),
        reason: None,
        selected_ms: Some(3_000),
        completed_ms: Some(7_600),
        prefetch_info_from: None,
        steps: vec![step(1, 4_100), step(0, 6_100)],
    });
    let text = summarised(&report);
    let told = "edge-a → edge-b  completed in 4.6 s  1 after 1.1 s, 0 after 3.1 s; 32 frames twice";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("10.0 MB, 4.00 Mbit/s; 0.20 MB of it twice (2.0 %)"), "{text}");
    assert!(text.contains("timeline       demo/timeline.png"), "{text}");
}

#[test]
fn the_summary_ends_with_what_the_viewer_noticed() {
    let end = |report: &Report| summarised(report).lines().last().unwrap().to_owned();
    let mut report = report();
    assert_eq!(end(&report), "Undisturbed: the viewer noticed nothing.");
    report.frames = FrameStats { expected: 480, central: 240, side: 240, ..report.frames };
    report.frames.side_chosen = 240;
    assert_eq!(end(&report), "Undisturbed: the viewer noticed nothing.", "it was chosen");
    report.frames.side_chosen = 236;
    report.frames.frozen = 2;
    report.text.missed = 1;
    assert_eq!(end(&report), "Disturbed: frozen frames 2, side frames 4, cues missed 1.");
    report.frames = FrameStats::default();
    assert_eq!(end(&report), "Nothing was displayed.");
}

#[test]
fn the_summary_names_a_lost_edge_and_who_took_over() {
    let mut report = report();
    report.recoveries.push(Recovery {
        description: gibbon_media::Description::Zero,
        from: "edge-a".parse().unwrap(),
        to: "edge-b".parse().ok(),
        cause: "starved".into(),
        last_frame_ms: Some(8_000),
        detected_ms: 8_190,
        attached_ms: Some(8_640),
        first_frame_ms: Some(8_600),
        side_ms: 0,
        frozen_ms: 0,
    });
    let told = "edge-a lost (starved): description 0 from edge-b in 640 ms";
    assert!(summarised(&report).contains(told));
    report.recoveries[0].attached_ms = None;
    assert!(summarised(&report).contains("nobody took over description 0"));
    report.recoveries[0].cause = "leaving".into();
    assert!(!summarised(&report).contains("lost"));
}
