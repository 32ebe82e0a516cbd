//! The arithmetic of the reliability run: what each kill meant for each viewer, and what all of them mean.

use std::{collections::BTreeMap, fmt::Write};

use gibbon_control::report::Report;
use gibbon_mdc::Verdict;
use gibbon_media::{NodeId, Placement};
use gibbon_testbed::seen::{Span, longest, on_the_wall, seen, total, within};
use serde::Serialize;

/// A way of watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Configuration {
    /// On two edges, rather than on one.
    pub diverse: bool,
    /// How far behind the live edge, in ms.
    pub playout_delay_ms: u64,
}

impl Configuration {
    /// Where the legs are.
    pub fn placement(self) -> Placement {
        if self.diverse { Placement::Diverse } else { Placement::Together }
    }
}

/// One kill, until the next.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    /// The edge.
    pub edge: NodeId,
    /// From the kill to the next one.
    pub window: Span,
    /// Names of the players that had a leg there.
    pub players: Vec<String>,
}

/// What one kill meant for one viewer that had a leg there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Which kill.
    pub kill: usize,
    /// Whose viewer.
    pub player: String,
    /// How it was watching.
    pub configuration: Configuration,
    /// How long it saw frozen frames, in ms.
    pub frozen_ms: u64,
    /// Longest run of these, in ms.
    pub longest_freeze_ms: u64,
    /// Longest run of side frames, in ms.
    pub longest_side_ms: u64,
    /// For each leg lost: from the last frame to when that was noticed, in ms.
    pub detection_ms: Vec<u64>,
    /// For each leg lost: from the last frame to the first of the leg that replaced it, in ms.
    pub recovery_ms: Vec<u64>,
}

/// What the kills meant for one viewer.
pub fn samples(
    kills: &[Kill],
    player: &str,
    configuration: Configuration,
    report: &Report,
) -> Vec<Sample> {
    let (frozen, side) = (seen(report, Verdict::Frozen), seen(report, Verdict::Side));
    let hit = kills.iter().enumerate().filter(|(_, kill)| kill.players.iter().any(|p| p == player));
    hit.map(|(n, kill)| {
        let frozen = within(&frozen, kill.window);
        let (mut detection_ms, mut recovery_ms) = (Vec::new(), Vec::new());
        for recovery in &report.recoveries {
            let detected = on_the_wall(report, recovery.detected_ms);
            let here = recovery.from == kill.edge
                && (kill.window.from_us..kill.window.to_us).contains(&detected);
            let Some(last) = recovery.last_frame_ms.filter(|_| here) else { continue };
            detection_ms.push(recovery.detected_ms.saturating_sub(last));
            recovery_ms.extend(recovery.first_frame_ms.map(|first| first.saturating_sub(last)));
        }
        Sample {
            kill: n,
            player: player.to_owned(),
            configuration,
            frozen_ms: total(&frozen),
            longest_freeze_ms: longest(&frozen),
            longest_side_ms: longest(&within(&side, kill.window)),
            detection_ms,
            recovery_ms,
        }
    })
    .collect()
}

/// The kills during which a viewer whose edge was never killed saw anything: the machine was starved, and
/// they say nothing.
pub fn void(kills: &[Kill], control: &Report) -> Vec<usize> {
    let disturbed = [seen(control, Verdict::Frozen), seen(control, Verdict::Side)].concat();
    let voided = |kill: &Kill| !within(&disturbed, kill.window).is_empty();
    kills.iter().enumerate().filter(|(_, kill)| voided(kill)).map(|(n, _)| n).collect()
}

/// All samples of one configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Which.
    pub configuration: Configuration,
    /// Samples.
    pub n: usize,
    /// Those without a frozen frame.
    pub without_freeze: usize,
    /// The longest freeze, in ms.
    pub longest_freeze_ms: u64,
    /// The longest side period, in ms.
    pub longest_side_ms: u64,
    /// All detections, sorted, in ms.
    pub detection_ms: Vec<u64>,
    /// All recoveries, sorted, in ms.
    pub recovery_ms: Vec<u64>,
}

/// One summary for each configuration.
pub fn summaries(samples: &[Sample]) -> Vec<Summary> {
    let mut by: BTreeMap<Configuration, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by.entry(sample.configuration).or_default().push(sample);
    }
    let sorted = |values: Vec<u64>| {
        let mut values = values;
        values.sort_unstable();
        values
    };
    by.into_iter()
        .map(|(configuration, samples)| Summary {
            configuration,
            n: samples.len(),
            without_freeze: samples.iter().filter(|s| s.frozen_ms == 0).count(),
            longest_freeze_ms: samples.iter().map(|s| s.longest_freeze_ms).max().unwrap_or(0),
            longest_side_ms: samples.iter().map(|s| s.longest_side_ms).max().unwrap_or(0),
            detection_ms: sorted(samples.iter().flat_map(|s| s.detection_ms.clone()).collect()),
            recovery_ms: sorted(samples.iter().flat_map(|s| s.recovery_ms.clone()).collect()),
        })
        .collect()
}

impl Summary {
    /// Whether this is as promised: diverse nothing frozen and at most 1 s of side frames; together nothing
    /// frozen in 95 % and 500 ms at most. At other playout delays than the default nothing is promised.
    pub fn keeps_promise(&self, default_delay_ms: u64) -> bool {
        if self.configuration.playout_delay_ms != default_delay_ms {
            return true;
        }
        match self.configuration.diverse {
            true => self.without_freeze == self.n && self.longest_side_ms <= 1000,
            false => self.without_freeze * 100 >= self.n * 95 && self.longest_freeze_ms <= 500,
        }
    }
}

/// The table that is published, in Markdown.
pub fn table(summaries: &[Summary]) -> String {
    let mut text =
        "| placement | playout delay | n | frozen 0 | longest freeze | longest side period \
                    | noticed (p50 / p95 / max) | first frame again (p50 / p95 / max) |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for s in summaries {
        let share = s.without_freeze as f64 * 100.0 / s.n.max(1) as f64;
        let _ = writeln!(
            text,
            "| {} | {} ms | {} | {share:.1} % | {} ms | {} ms | {} | {} |",
            s.configuration.placement(),
            s.configuration.playout_delay_ms,
            s.n,
            s.longest_freeze_ms,
            s.longest_side_ms,
            quantiles(&s.detection_ms),
            quantiles(&s.recovery_ms),
        );
    }
    text
}

fn quantiles(sorted: &[u64]) -> String {
    let at = |part: f64| {
        let place = (sorted.len() as f64 * part).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied()
    };
    match (at(0.5), at(0.95), at(1.0)) {
        (Some(p50), Some(p95), Some(max)) => format!("{p50} / {p95} / {max} ms"),
        _ => "–".to_owned(),
    }
}

/// Bars of a histogram are this wide at most.
const WIDTH: usize = 50;
/// Values from here on share the last bar.
const LAST_BAR_MS: u64 = 1500;

/// A histogram in text, with bars of `step` ms.
pub fn histogram(values: &[u64], step: u64) -> String {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for value in values {
        *counts.entry((*value).min(LAST_BAR_MS) / step * step).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let mut text = String::new();
    let (Some(first), Some(last)) = (counts.keys().next(), counts.keys().last()) else {
        return "  nothing\n".to_owned();
    };
    for from in (*first..=*last).step_by(step as usize) {
        let count = counts.get(&from).copied().unwrap_or(0);
        let bar = "#".repeat((count * WIDTH).div_ceil(most.max(1)));
        let more = if from + step > LAST_BAR_MS { "+" } else { " " };
        let _ = writeln!(text, "  {from:>5}{more} ms {count:>5} {bar}");
    }
    text
}

#[cfg(test)]
mod tests {
    use gibbon_control::report::{Recovery, VerdictSpan};
    use gibbon_media::Description;

    use super::*;

    const DIVERSE: Configuration = Configuration { diverse: true, playout_delay_ms: 1000 };
    /// The session's start, in µs.
    const START: u64 = 1_000_000_000;

    fn report(verdicts: &[(Verdict, u64, u64)], recoveries: Vec<Recovery>) -> Report {
        let verdicts = verdicts
            .iter()
            .map(|(verdict, from_ms, to_ms)| VerdictSpan {
                verdict: *verdict,
                from_ms: *from_ms,
                to_ms: *to_ms,
            })
            .collect::<Vec<_>>();
        let mut json = serde_json::json!({
            "schema": 1, "stream": "live/bbb", "session": "0000000000000001",
            "scheme": "alternating", "placement": "diverse", "session_start_us": START,
            "duration_ms": 60_000, "startup_ms": 900,
            "playout_delay_ms": {"initial": 1000, "max": 1000, "final": 1000},
            "frames": {"expected": 0, "central": 0, "side": 0, "side_chosen": 0, "frozen": 0},
            "freezes": {"count": 0, "total_ms": 0, "longest_ms": 0},
            "audio": {"expected_ms": 0, "gap_ms": 0}, "text": {"cues": 0, "missed": 0},
            "latency_ms": null, "bytes": {"media": 0, "duplicate": 0},
            "display": {"late": 0, "worst_ms": 0, "failed": 0},
            "legs": [], "handoffs": [], "recoveries": [], "verdicts": []
        });
        json["verdicts"] = serde_json::to_value(verdicts).unwrap();
        json["recoveries"] = serde_json::to_value(recoveries).unwrap();
        serde_json::from_value(json).unwrap()
    }

    fn lost(from: &str, last_frame_ms: u64, detected_ms: u64, first_frame_ms: u64) -> Recovery {
        Recovery {
            description: Description::Zero,
            from: from.parse().unwrap(),
            to: None,
            cause: "starved".into(),
            last_frame_ms: Some(last_frame_ms),
            detected_ms,
            attached_ms: None,
            first_frame_ms: Some(first_frame_ms),
            side_ms: 0,
            frozen_ms: 0,
        }
    }

    fn kill(edge: &str, from_ms: u64, to_ms: u64, players: &[&str]) -> Kill {
        Kill {
            edge: edge.parse().unwrap(),
            window: Span { from_us: START + from_ms * 1000, to_us: START + to_ms * 1000 },
            players: players.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    #[test]
    fn a_sample_is_what_was_seen_between_its_kill_and_the_next() {
        let kills = [
            kill("edge-a", 10_000, 20_000, &["one"]),
            kill("edge-b", 20_000, 30_000, &["one"]),
            kill("edge-c", 30_000, 40_000, &["other"]),
        ];
        let verdicts = [
            (Verdict::Side, 10_900, 11_300),
            (Verdict::Frozen, 21_000, 21_042),
            (Verdict::Frozen, 21_042, 21_200),
            (Verdict::Frozen, 22_000, 22_100),
            (Verdict::Side, 31_000, 39_000),
        ];
        let recoveries =
            vec![lost("edge-a", 9_980, 10_160, 10_200), lost("edge-b", 19_990, 20_190, 20_300)];
        let found = samples(&kills, "one", DIVERSE, &report(&verdicts, recoveries));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].frozen_ms, found[0].longest_side_ms), (0, 400));
        assert_eq!(
            (&found[0].detection_ms[..], &found[0].recovery_ms[..]),
            (&[180][..], &[220][..])
        );
        assert_eq!((found[1].frozen_ms, found[1].longest_freeze_ms), (300, 200));
        assert_eq!(found[1].detection_ms, [200]);
    }

    #[test]
    fn a_kill_is_void_where_the_control_viewer_saw_anything() {
        let kills = [kill("edge-a", 10_000, 20_000, &[]), kill("edge-b", 20_000, 30_000, &[])];
        let control = report(&[(Verdict::Side, 25_000, 25_050)], Vec::new());
        assert_eq!(void(&kills, &control), [1]);
    }

    #[test]
    fn promises_are_kept_or_not() {
        let sample = |frozen_ms, longest_side_ms, diverse| Sample {
            kill: 0,
            player: "one".into(),
            configuration: Configuration { diverse, ..DIVERSE },
            frozen_ms,
            longest_freeze_ms: frozen_ms,
            longest_side_ms,
            detection_ms: vec![200],
            recovery_ms: vec![260],
        };
        let kept = |samples: &[Sample]| summaries(samples)[0].keeps_promise(1000);
        assert!(kept(&[sample(0, 1000, true)]));
        assert!(!kept(&[sample(0, 1001, true)]) && !kept(&[sample(42, 0, true)]));
        let mut together = vec![sample(0, 0, false); 19];
        together.push(sample(500, 0, false));
        assert!(kept(&together));
        together.push(sample(42, 0, false));
        assert!(!kept(&together));
        assert!(!kept(&[vec![sample(0, 0, false); 30], vec![sample(501, 0, false)]].concat()));
    }

    #[test]
    fn quantiles_and_histograms_are_those_of_the_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(quantiles(&values), "50 / 95 / 100 ms");
        assert_eq!(quantiles(&[]), "–");
        let bars = histogram(&[160, 165, 210, 9000], 20);
        assert!(bars.starts_with("    160  ms     2 ####"), "{bars}");
        assert!(
            bars.contains("\n    180  ms     0 \n")
                && bars.ends_with("1500+ ms     1 #########################\n"),
            "{bars}"
        );
    }
}
