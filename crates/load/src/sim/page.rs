//! The page of a report: tables and plots in one file that needs nothing else.

use std::fmt::Write;

use gibbon_sim::{
    Cause, Name,
    report::{Bar, Interval, Outcome, Report},
};

use crate::page::{chart::Chart, document, escape};

/// The class of a policy's lines, by its place in [`Name::ALL`].
const COLOURS: [&str; Name::ALL.len()] = ["s4", "s3", "s1", "s0", "s2"];

/// A report as HTML.
pub(super) fn render(report: &Report) -> String {
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = write_body(&mut body, report);
    document(&format!("gibbon-load sim: {}", report.name), &body)
}

fn write_body(out: &mut String, report: &Report) -> std::fmt::Result {
    let scenario = &report.scenario;
    writeln!(out, "<h1>{}</h1>", escape(&report.name))?;
    writeln!(
        out,
        "<p>{}. {} edges in {} cities, {} sessions, {:.1} h; seed {}.</p>",
        escape(&scenario.description),
        scenario.edges,
        scenario.regions,
        scenario.sessions,
        f64::from(scenario.duration_s) / 3600.0,
        report.seed
    )?;
    bars(out, &report.bars)?;
    writeln!(
        out,
        "<section><h2>Out of target</h2><p>Session-seconds in which a viewer saw less than everything.</p>"
    )?;
    by_cause(out, &report.policies)?;
    writeln!(out, "</section>")?;
    type Plot = (&'static str, &'static str, fn(&Interval) -> f64);
    let plots: [Plot; 4] = [
        ("Foreseeable causes over time", "out-of-target s", |interval| interval.foreseeable_s),
        ("Other causes over time", "out-of-target s", |interval| interval.others_s),
        ("Hand-offs over time", "begun", |interval| interval.handoffs as f64),
        ("Sessions", "at once", |interval| interval.sessions.into()),
    ];
    for (title, unit, of) in plots {
        plot(out, title, unit, &report.policies, of)?;
    }
    writeln!(out, "<section><h2>Hand-offs</h2>")?;
    handoffs(out, &report.policies)?;
    writeln!(out, "</section>")?;
    grid(out, report)
}

fn bars(out: &mut String, bars: &[Bar]) -> std::fmt::Result {
    writeln!(out, "<ul class=\"verdicts\">")?;
    for bar in bars {
        let (class, word) = if bar.holds { ("good", "ok") } else { ("bad", "missed") };
        let found = bar
            .found
            .map_or("nothing to be held against".to_owned(), |found| format!("{found:.3}"));
        let bound = match (bar.at_least, bar.at_most) {
            (Some(least), _) => format!("at least {least}"),
            (_, Some(most)) => format!("at most {most}"),
            _ => String::new(),
        };
        writeln!(
            out,
            "<li><span class=\"{class}\">{word}</span> {}: {found} ({bound})</li>",
            escape(bar.what)
        )?;
    }
    writeln!(out, "</ul>")
}

/// A row of a table: its name and a cell for each policy.
fn row(
    out: &mut String,
    name: &str,
    policies: &[Outcome],
    cell: impl Fn(&Outcome) -> String,
) -> std::fmt::Result {
    write!(out, "<tr><td>{}</td>", escape(name))?;
    policies.iter().try_for_each(|outcome| write!(out, "<td>{}</td>", escape(&cell(outcome))))?;
    writeln!(out, "</tr>")
}

fn head(out: &mut String, policies: &[Outcome]) -> std::fmt::Result {
    write!(out, "<table><tr><th></th>")?;
    policies.iter().try_for_each(|outcome| write!(out, "<th>{}</th>", outcome.policy.as_str()))?;
    writeln!(out, "</tr>")
}

fn by_cause(out: &mut String, policies: &[Outcome]) -> std::fmt::Result {
    head(out, policies)?;
    let seen = |cause: &Cause| policies.iter().any(|outcome| outcome.out_of(*cause) > 0.0);
    for cause in Cause::ALL.into_iter().filter(seen) {
        let name = cause.as_str().replace('_', " ");
        row(out, &name, policies, |outcome| format!("{:.0}", outcome.out_of(cause)))?;
    }
    row(out, "all foreseeable", policies, |outcome| format!("{:.0}", outcome.foreseeable_s))?;
    row(out, "all others", policies, |outcome| format!("{:.0}", outcome.others_s))?;
    row(out, "of a million session-seconds", policies, |outcome| {
        let all = outcome.foreseeable_s + outcome.others_s;
        format!("{:.1}", 1e6 * all / outcome.session_seconds.max(1.0))
    })?;
    writeln!(out, "</table>")
}

fn handoffs(out: &mut String, policies: &[Outcome]) -> std::fmt::Result {
    head(out, policies)?;
    let mut causes: Vec<_> =
        policies.iter().flat_map(|outcome| outcome.handoffs.keys().copied()).collect();
    causes.sort_unstable();
    causes.dedup();
    for cause in causes {
        let begun =
            |outcome: &Outcome| outcome.handoffs.get(cause).copied().unwrap_or(0).to_string();
        row(out, &format!("begun for {cause}"), policies, begun)?;
    }
    type Row = (&'static str, fn(&Outcome) -> String);
    let rows: [Row; 8] = [
        ("completed", |outcome| outcome.completed.to_string()),
        ("rolled back", |outcome| outcome.rolled_back.to_string()),
        ("cut", |outcome| outcome.cut.to_string()),
        ("refused", |outcome| outcome.refused.to_string()),
        ("recoveries", |outcome| outcome.recoveries.to_string()),
        ("prefetched, MB", |outcome| format!("{:.1}", outcome.prefetched_bytes as f64 / 1e6)),
        ("of these wasted, MB", |outcome| format!("{:.1}", outcome.wasted_bytes as f64 / 1e6)),
        ("processor time, s", |outcome| {
            outcome.cpu_s.map_or("–".to_owned(), |s| format!("{s:.1}"))
        }),
    ];
    for (name, cell) in rows {
        row(out, name, policies, cell)?;
    }
    writeln!(out, "</table>")
}

fn plot(
    out: &mut String,
    title: &str,
    unit: &str,
    policies: &[Outcome],
    of: fn(&Interval) -> f64,
) -> std::fmt::Result {
    let intervals = policies.iter().flat_map(|outcome| &outcome.intervals);
    let hour = |interval: &Interval| f64::from(interval.from_s) / 3600.0;
    let end = intervals.clone().map(hour).fold(0.0, f64::max);
    let most = intervals.map(of).fold(0.0, f64::max);
    let mut chart = Chart::new((0.0, end), most);
    chart.axes("h", unit);
    writeln!(out, "<section><h2>{title}</h2><p class=\"legend\">")?;
    for outcome in policies {
        let (class, name) = (COLOURS[outcome.policy as usize], outcome.policy.as_str());
        write!(out, "<span><i class=\"{class}\"></i>{name}</span>")?;
        let points = outcome.intervals.iter().map(|interval| (hour(interval), Some(of(interval))));
        let points: Vec<_> = points.collect();
        chart.line(class, name, &points);
    }
    writeln!(out, "</p>{}</section>", chart.svg(title))
}

fn grid(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.grid.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section><h2>Thresholds of the reactive policy</h2><p>The best is what stands above.</p>"
    )?;
    writeln!(
        out,
        "<table><tr><th>load</th><th>slack, ms</th><th>dwell, s</th><th>out of target, s</th><th>hand-offs</th></tr>"
    )?;
    let chosen = report.outcome(Name::Reactive).and_then(|outcome| outcome.thresholds);
    for tried in &report.grid {
        let thresholds = tried.thresholds;
        let class = if Some(thresholds) == chosen { " class=\"good\"" } else { "" };
        writeln!(
            out,
            "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{}</td></tr>",
            thresholds.load,
            thresholds.slack_ms,
            thresholds.dwell_s,
            tried.out_of_target_s,
            tried.handoffs
        )?;
    }
    writeln!(out, "</table></section>")
}

#[cfg(test)]
mod tests {
    use gibbon_sim::{Options, scenario::Scenario, simulate};

    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_runs_nothing() {
        let scenario = Scenario::shipped("trend").unwrap().unwrap();
        let scenario = scenario.with_edges(30).with_duration(3000);
        let policies = &Name::ALL[..];
        let options = Options { seed: 1, policies, clock: None, progress: &mut |_| () };
        let page = render(&simulate("<x>", &scenario, options));
        for never in ["<script", "http://", "https://", "url(", "NaN", "inf"] {
            assert!(!page.contains(never), "{never}");
        }
        for part in [
            "&lt;x&gt;",
            "Out of target",
            "reactive",
            "oracle",
            "</svg>",
            "Thresholds of the reactive policy",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}
