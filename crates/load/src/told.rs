//! The summary as it is told on the terminal.

use std::fmt::Write;

use crate::{
    run::Verdict,
    summary::{Seen, Spread, Summary},
};

/// For runs that say little of Gibbon.
pub const SHORT: &str =
    "This machine was short of processor time: what is told here may be its doing.";

/// The summary in some lines, and whether the run has failed.
pub fn told(summary: &Summary, verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = lines(&mut text, summary, verdicts);
    text
}

fn lines(text: &mut String, summary: &Summary, verdicts: &[Verdict]) -> std::fmt::Result {
    let interrupted = if summary.interrupted { ", ended before its time" } else { "" };
    writeln!(text, "{}: {:.0} s{interrupted}", summary.scenario, summary.duration_s)?;
    let sessions = summary.sessions;
    let who = format!("{} sessions", sessions.asked);
    seen(text, &who, &summary.seen)?;
    if let Some(sampled) = &summary.sampled {
        seen(text, &format!("{} decoding players", sampled.players), &sampled.seen)?;
        if sampled.undecoded > 0 {
            writeln!(text, "    {} frames could not be decoded", sampled.undecoded)?;
        }
    }
    spread(text, "delivery", summary.latency_ms.as_ref())?;
    spread(text, "added by edges", summary.edge_delay_ms.as_ref())?;
    if let Some(us) = summary.cpu_us_per_frame {
        writeln!(text, "  edges: {us:.1} µs of processor time per delivered frame")?;
    }
    if let Some(kib) = summary.memory_kib_per_session {
        writeln!(text, "  edges: {kib:.0} KiB per session")?;
    }
    if let Some(capacity) = summary.capacity {
        writeln!(text, "  capacity: {capacity} sessions within the bound")?;
    }
    if let Some(late) = summary.machine_late_us.as_ref().filter(|_| summary.is_machine_short()) {
        let ms = late.p99 / 1e3;
        writeln!(text, "  {SHORT} It woke sleepers {ms:.0} ms late (p99).")?;
    }
    for (kind, failures) in &summary.failures {
        writeln!(text, "  failed: {kind}, {} times", failures.count)?;
        for message in &failures.messages {
            writeln!(text, "    {message}")?;
        }
    }
    for verdict in verdicts {
        let word = if verdict.holds { "FAIL" } else { "ok  " };
        writeln!(text, "  {word}  {}", verdict.told)?;
    }
    Ok(())
}

fn seen(text: &mut String, who: &str, seen: &Seen) -> std::fmt::Result {
    let frames = seen.frames;
    writeln!(
        text,
        "  {who}: {} frames, {} central, {} side, {} frozen (longest freeze {} ms); sound missing {} ms",
        frames.expected,
        frames.central,
        frames.side,
        frames.frozen,
        seen.freezes.longest_ms,
        seen.audio.gap_ms
    )?;
    let all = seen.handoffs.all;
    if all.total > 0 {
        let median = seen.handoffs.duration_ms.as_ref().map_or(0.0, |duration| duration.p50);
        writeln!(
            text,
            "    {} hand-offs: {} completed (median {median:.0} ms), {} rolled back, {} failed, {} still running",
            all.total, all.completed, all.rolled_back, all.failed, all.running
        )?;
    }
    let lost = &seen.recoveries;
    if lost.total > 0 {
        writeln!(text, "    {} legs lost, {} not found again", lost.total, lost.unrecovered)?;
    }
    Ok(())
}

fn spread(text: &mut String, what: &str, spread: Option<&Spread>) -> std::fmt::Result {
    let Some(spread) = spread else { return Ok(()) };
    let Spread { p50, p99, p999, max, .. } = spread;
    writeln!(
        text,
        "  {what}: p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, at most {max:.1} ms"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Outcome;

    #[test]
    fn what_failed_is_told() {
        let failures = vec![("storm".to_owned(), "not within 10s".to_owned())];
        let summary = Summary::of(Outcome { scenario: "x".into(), failures, ..Outcome::default() });
        let verdicts = [Verdict { told: "frozen is 3".into(), holds: true }];
        let text = told(&summary, &verdicts);
        for part in ["storm, 1 times", "not within 10s", "FAIL  frozen is 3"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
