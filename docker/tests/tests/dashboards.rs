//! What dashboard and alerts ask for is what processes serve: the page of metrics, which the processes are held against.

use std::collections::BTreeSet;

const METRICS: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../grafana/dashboards/gibbon.json");
const ALERTS: &str = include_str!("../../prometheus/alerts.yml");

fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("gibbon_") || word.starts_with("process_")).collect()
}

/// The name of the family that a series of a histogram belongs to.
fn family(series: &str) -> &str {
    let of_histogram = ["_bucket", "_count", "_sum"];
    of_histogram.iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_that_is_not_served() {
    let served = names(METRICS);
    for (file, text) in [("gibbon.json", DASHBOARD), ("alerts.yml", ALERTS)] {
        let asked = names(text);
        assert!(asked.len() > 5, "{file} asks for nothing: {asked:?}");
        for name in asked {
            assert!(served.contains(family(name)), "{file} asks for {name}, which nobody serves");
        }
    }
}

#[test]
fn the_dashboard_begins_with_hand_offs_and_what_viewers_saw_of_them() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap_or_default();
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let asks = |panel: &serde_json::Value| panel["targets"].to_string();
    let asking: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").map(asks).collect();
    assert!(asking.len() > 10, "{} panels", asking.len());
    assert!(asking[0].contains("gibbon_handoffs_total"), "{}", asking[0]);
    assert!(asking[1].contains("gibbon_handoff_viewer_gap_seconds"), "{}", asking[1]);
}
