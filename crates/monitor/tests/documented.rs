//! Dashboards and alerts ask for nothing that is not there.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Every metric that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = text.split(word).filter(|w| w.starts_with("gibbon_") || w.starts_with("process_"));
    words.map(str::to_owned).collect()
}

/// The names under which what the tables list can be asked for.
fn known() -> BTreeSet<String> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        Some((name.to_owned(), rest.contains("| histogram |")))
    };
    let parts = |(name, histogram): (String, bool)| {
        let suffixes: &[&str] = if histogram { &["_bucket", "_count", "_sum"] } else { &[] };
        let parts: Vec<_> = suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
        std::iter::once(name).chain(parts)
    };
    DOCUMENT.lines().filter_map(row).flat_map(parts).collect()
}

#[test]
fn what_dashboards_and_alerts_ask_for_is_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker");
    let alerts = fs::read_to_string(folder.join("prometheus/alerts.yml")).unwrap();
    let dashboard = fs::read_to_string(folder.join("grafana/dashboards/gibbon.json")).unwrap();
    let known = known();
    for text in [DOCUMENT, &alerts, &dashboard] {
        let named = named(text);
        assert!(named.len() > 5, "{named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
