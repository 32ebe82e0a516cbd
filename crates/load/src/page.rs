//! The page of a run: plots and tables in one file that needs nothing else.

pub(crate) mod chart;
mod plots;

use std::fmt::Write;

use crate::{
    run::Verdict,
    summary::{Seen, Spread, Summary},
    told::SHORT,
};

const STYLE: &str = include_str!("page/style.css");

/// The page as HTML.
pub fn render(summary: &Summary, verdicts: &[Verdict]) -> String {
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = write_body(&mut body, summary, verdicts);
    document(&format!("gibbon-load: {}", summary.scenario), &body)
}

/// A page of this title.
pub(crate) fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<main>\n{body}</main>\n</html>\n"
    )
}

fn write_body(out: &mut String, summary: &Summary, verdicts: &[Verdict]) -> std::fmt::Result {
    let failed = verdicts.iter().any(|verdict| verdict.holds);
    let word = match (failed, verdicts.is_empty()) {
        (true, _) => "<span class=\"bad\">failed</span>",
        (false, true) => "",
        (false, false) => "<span class=\"good\">passed</span>",
    };
    writeln!(out, "<h1>{} {word}</h1>", escape(&summary.scenario))?;
    let interrupted = if summary.interrupted { " It was ended before its time." } else { "" };
    writeln!(
        out,
        "<p>{}. {:.0} s.{interrupted}</p>",
        escape(&summary.description),
        summary.duration_s
    )?;
    if summary.is_machine_short() {
        writeln!(out, "<p class=\"bad\">{SHORT}</p>")?;
    }
    tiles(out, summary)?;
    conditions(out, summary, verdicts)?;
    for plot in plots::all(summary) {
        writeln!(out, "<section><h2>{}</h2><p>{}</p>", plot.title, plot.about)?;
        legend(out, &plot.legend)?;
        writeln!(out, "{}</section>", plot.svg)?;
    }
    writeln!(out, "<section><h2>What viewers saw</h2>")?;
    table(out, summary)?;
    writeln!(out, "</section>")
}

fn tiles(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let frames = summary.seen.frames;
    let number = |value: Option<f64>, unit: &str| value.map(|value| format!("{value:.1} {unit}"));
    let p99 = |spread: &Option<Spread>| spread.as_ref().map(|spread| spread.p99);
    let tiles = [
        ("sessions", Some(summary.sessions.asked.to_string())),
        ("frames due", Some(frames.expected.to_string())),
        ("side", Some(frames.side.to_string())),
        ("frozen", Some(frames.frozen.to_string())),
        (
            "hand-offs completed",
            Some(format!(
                "{} of {}",
                summary.seen.handoffs.all.completed, summary.seen.handoffs.all.total
            )),
        ),
        ("edge CPU per frame", number(summary.cpu_us_per_frame, "µs")),
        ("edge memory per session", number(summary.memory_kib_per_session, "KiB")),
        ("delivery p99", number(p99(&summary.latency_ms), "ms")),
        ("added by edges p99", number(p99(&summary.edge_delay_ms), "ms")),
        ("capacity", summary.capacity.map(|sessions| format!("{sessions} sessions"))),
    ];
    writeln!(out, "<div class=\"tiles\">")?;
    for (name, value) in tiles {
        if let Some(value) = value {
            writeln!(out, "<div><b>{value}</b><span>{name}</span></div>")?;
        }
    }
    writeln!(out, "</div>")
}

fn conditions(out: &mut String, summary: &Summary, verdicts: &[Verdict]) -> std::fmt::Result {
    if verdicts.is_empty() && summary.failures.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul class=\"verdicts\">")?;
    for verdict in verdicts {
        let (class, word) = if verdict.holds { ("bad", "fails") } else { ("good", "ok") };
        let told = escape(&verdict.told);
        writeln!(out, "<li><span class=\"{class}\">{word}</span> {told}</li>")?;
    }
    for (kind, failures) in &summary.failures {
        let messages = failures.messages.iter().map(|message| escape(message)).collect::<Vec<_>>();
        let (kind, count) = (escape(kind), failures.count);
        writeln!(
            out,
            "<li><span class=\"bad\">{kind}</span> {count} times: {}</li>",
            messages.join("; ")
        )?;
    }
    writeln!(out, "</ul>")
}

fn legend(out: &mut String, legend: &[(String, &'static str)]) -> std::fmt::Result {
    if legend.len() < 2 {
        return Ok(());
    }
    write!(out, "<p class=\"legend\">")?;
    for (name, class) in legend {
        write!(out, "<span><i class=\"{class}\"></i>{}</span>", escape(name))?;
    }
    writeln!(out, "</p>")
}

fn table(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let mut columns = vec![("sessions", &summary.seen)];
    columns.extend(summary.sampled.as_ref().map(|sampled| ("decoding players", &sampled.seen)));
    type Row = (&'static str, fn(&Seen) -> u64);
    let rows: [Row; 14] = [
        ("frames due", |seen| seen.frames.expected),
        ("central", |seen| seen.frames.central),
        ("side", |seen| seen.frames.side),
        ("of these, one description chosen", |seen| seen.frames.side_chosen),
        ("frozen", |seen| seen.frames.frozen),
        ("freezes", |seen| seen.freezes.count),
        ("longest freeze, ms", |seen| seen.freezes.longest_ms),
        ("sound missing, ms", |seen| seen.audio.gap_ms),
        ("cues missed", |seen| seen.text.missed),
        ("media bytes", |seen| seen.bytes.media),
        ("duplicate bytes", |seen| seen.bytes.duplicate),
        ("hand-offs rolled back", |seen| seen.handoffs.all.rolled_back),
        ("hand-offs failed", |seen| seen.handoffs.all.failed),
        ("legs lost", |seen| seen.recoveries.total),
    ];
    write!(out, "<table><tr><th></th>")?;
    for (name, _) in &columns {
        write!(out, "<th>{name}</th>")?;
    }
    writeln!(out, "</tr>")?;
    for (name, of) in rows {
        write!(out, "<tr><td>{name}</td>")?;
        for (_, seen) in &columns {
            write!(out, "<td>{}</td>", of(seen))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

/// Text as it may stand in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sessions::Count,
        summary::{Moment, Outcome, PhaseRecord, Used},
    };

    fn summary() -> Summary {
        let sample = |n: u64| Moment {
            at_s: n as f64 / 2.0,
            count: Count {
                asked: 1,
                open: 1,
                playing: 1,
                frames: n * 15,
                central: n * 14,
                side: n,
                ..Count::default()
            },
            processes: [(
                "edge-a".to_owned(),
                Used { cpu_s: n as f64 / 10.0, memory_kib: 9000 + n },
            )]
            .into(),
        };
        Summary::of(Outcome {
            scenario: "<x>".into(),
            duration_s: 10.0,
            samples: (0..20).map(sample).collect(),
            phases: vec![PhaseRecord {
                name: "a & b".into(),
                kind: "hold".into(),
                from_s: 1.0,
                to_s: 9.0,
            }],
            edges: vec!["edge-a".into()],
            latency_ms: Spread::of((1..200).collect()),
            failures: vec![("k".into(), "<script>".into())],
            ..Outcome::default()
        })
    }

    #[test]
    fn the_page_needs_nothing_else_and_runs_nothing() {
        let verdicts = [Verdict { told: "frozen > 0".into(), holds: false }];
        let page = render(&summary(), &verdicts);
        for never in ["<script", "http://", "https://", "url(", "NaN", "inf"] {
            assert!(!page.contains(never), "{never}");
        }
        for part in
            ["&lt;x&gt;", "a &amp; b", "frozen &gt; 0", "Verdicts over time", "edge-a", "</svg>"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_run_of_which_nothing_is_known_has_a_page() {
        let page = render(&Summary::of(Outcome::default()), &[]);
        assert!(page.contains("What viewers saw") && !page.contains("NaN"));
    }
}
