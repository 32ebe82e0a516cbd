//! Dashboard and alerts: what they ask first, and that the alerts are those that docs/metrics.md tells of. That what they
//! ask for is served is tested with the crate `monitor`.

const METRICS: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../grafana/dashboards/gibbon.json");
const ALERTS: &str = include_str!("../../prometheus/alerts.yml");

/// An alert: its name, what it asks for, and for how long that must hold.
type Alert = [String; 3];

/// The alerts of alerts.yml, in order.
fn configured() -> Vec<Alert> {
    let rule = |rule: &str| {
        let field = |name: &str| {
            let from = rule.split_once(&format!(" {name}: ")).map_or("", |(_, rest)| rest);
            let ends = [" for: ", " labels: "].iter().filter_map(|end| from.find(end)).min();
            from[..ends.unwrap_or(0)].trim_start_matches("> ").to_owned()
        };
        [rule.split(' ').next().unwrap_or_default().to_owned(), field("expr"), field("for")]
    };
    let words: Vec<_> = ALERTS.split_whitespace().collect();
    words.join(" ").split("- alert: ").skip(1).map(rule).collect()
}

/// The alerts of the page, in order.
fn documented() -> Vec<Alert> {
    let section = METRICS.split("\n## ").find(|part| part.starts_with("Alerts worth having"));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let mut columns = row.split(" |").map(|column| column.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| columns.next().unwrap_or_default())
    };
    rows.map(row).collect()
}

#[test]
fn the_alerts_are_those_of_the_page_of_metrics() {
    let configured = configured();
    assert_eq!(configured.len(), ALERTS.matches("expr:").count());
    assert!(configured.len() > 5, "{configured:?}");
    assert_eq!(configured, documented(), "alerts.yml (left) and docs/metrics.md (right)");
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
