//! The flat names that conditions are put on: the numbers of the summary by their place in it, and short
//! names for those that are asked for most.

use serde_json::Value;

use super::{Outcome, Sampled, Seen, Spread, Summary};
use crate::fail_if::Figures;

/// Parts of the summary that are no figures: lists, and maps whose keys are not known before.
const NOT_FIGURES: [&str; 10] = [
    "phases",
    "samples",
    "processes",
    "failures",
    "figures",
    "causes",
    "buckets",
    "schema",
    "started_us",
    "interrupted",
];

/// Of one run. What it has not measured is left out.
pub fn of(summary: &Summary) -> Figures {
    let mut figures = Figures::new();
    // Numbers and texts alone: it can be written as JSON.
    let value = serde_json::to_value(summary).unwrap_or_default();
    collect("", &value, &mut figures);
    let failures = summary.failures.values().map(|kind| kind.count).sum::<u64>() as f64;
    figures.insert("failures".into(), failures);
    let mut short = |name: &str, long: &str| {
        if let Some(figure) = figures.get(long).copied() {
            figures.insert(name.to_owned(), figure);
        }
    };
    for prefix in ["", "sampled."] {
        for name in ["expected", "central", "side", "side_chosen", "frozen"] {
            short(&format!("{prefix}{name}"), &format!("{prefix}frames.{name}"));
        }
        short(&format!("{prefix}gap_ms"), &format!("{prefix}freezes.longest_ms"));
    }
    short("edge_delay_p99_ms", "edge_delay_ms.p99");
    short("latency_p99_ms", "latency_ms.p99");
    figures
}

fn collect(place: &str, value: &Value, figures: &mut Figures) {
    match value {
        Value::Number(number) => {
            figures.extend(number.as_f64().map(|number| (place.to_owned(), number)));
        }
        Value::Object(fields) => {
            for (name, value) in
                fields.iter().filter(|(name, _)| !NOT_FIGURES.contains(&name.as_str()))
            {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                collect(&place, value, figures);
            }
        }
        _ => {}
    }
}

/// All names that there can be.
pub fn known_figures() -> Vec<String> {
    let mut summary = Summary::of(Outcome::default());
    let mut seen = Seen { startup_ms: Some(Spread::default()), ..Seen::default() };
    seen.handoffs.duration_ms = Some(Spread::default());
    seen.recoveries.duration_ms = Some(Spread::default());
    summary.sampled = Some(Sampled { players: 0, undecoded: 0, seen: seen.clone() });
    summary.seen = seen;
    (summary.latency_ms, summary.edge_delay_ms) =
        (Some(Spread::default()), Some(Spread::default()));
    (summary.cpu_us_per_frame, summary.memory_kib_per_session) = (Some(0.0), Some(0.0));
    (summary.capacity, summary.machine_late_us) = (Some(0), Some(Spread::default()));
    of(&summary).into_keys().collect()
}
