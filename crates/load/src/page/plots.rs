//! Which plots there are, and what is in them.

use super::chart::{Chart, number};
use crate::summary::{Bucket, GROWTH, Moment, Spread, Summary, Used};

/// Columns of a plot over time; samples are put together until there are no more.
const MAX_COLUMNS: usize = 240;
/// So many bounds of buckets have room below a plot; of more, round numbers are told.
const MAX_MARKS: usize = 16;
/// Round numbers on a logarithmic axis, in ms.
const MARKS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4];
/// Colours of lines: those of the processes that took most; the others share the last.
const COLOURS: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// One plot with its words.
pub struct Plot {
    pub title: &'static str,
    pub about: String,
    pub legend: Vec<(String, &'static str)>,
    pub svg: String,
}

/// All that the run has something for.
pub fn all(summary: &Summary) -> Vec<Plot> {
    let samples = thinned(&summary.samples);
    let handoffs = summary.seen.handoffs.duration_ms.as_ref();
    let recoveries = summary.seen.recoveries.duration_ms.as_ref();
    let mut plots: Vec<Plot> = Vec::new();
    if samples.len() > 1 {
        plots.push(verdicts(summary, &samples));
    }
    let spreads = [
        ("Hand-offs: how long they took", "From the selection of the edge to completion", handoffs),
        (
            "Recoveries: how long they took",
            "From the last frame before to the first one after",
            recoveries,
        ),
        (
            "Delivery",
            "From the intended sending of a frame to its delivery",
            summary.latency_ms.as_ref(),
        ),
        (
            "Added by edges",
            "How much later frames were there than straight from the source",
            summary.edge_delay_ms.as_ref(),
        ),
    ];
    let drawn = |(title, about, spread): (_, &str, Option<&Spread>)| {
        Some(spread_plot(title, about, spread?))
    };
    plots.extend(spreads.into_iter().filter_map(drawn));
    if samples.len() > 1 && samples.iter().any(|sample| !sample.processes.is_empty()) {
        plots.extend([processors(summary, &samples), memory(summary, &samples)]);
        plots.extend(per_frame(summary, &samples));
    }
    plots
}

/// Every so many samples, the last one always.
fn thinned(samples: &[Moment]) -> Vec<&Moment> {
    let every = samples.len().div_ceil(MAX_COLUMNS).max(1);
    let mut thinned: Vec<&Moment> = samples.iter().step_by(every).collect();
    if let Some(last) = samples.last().filter(|last| thinned.last() != Some(last)) {
        thinned.push(last);
    }
    thinned
}

fn over_time(summary: &Summary, samples: &[&Moment], y: f64) -> Chart {
    let end = samples.last().map_or(1.0, |sample| sample.at_s);
    let mut chart = Chart::new((0.0, end), y);
    chart.phases(&summary.phases);
    chart
}

fn verdicts(summary: &Summary, samples: &[&Moment]) -> Plot {
    let shown = |pair: &[&Moment]| {
        let (before, now) = (pair[0].count, pair[1].count);
        [now.central - before.central, now.side - before.side, now.frozen - before.frozen]
            .map(|n| n as f64)
    };
    let rate = |pair: &[&Moment]| pair[1].at_s - pair[0].at_s;
    let most = samples
        .windows(2)
        .map(|pair| shown(pair).iter().sum::<f64>() / rate(pair))
        .fold(0.0, f64::max);
    let mut chart = over_time(summary, samples, most);
    chart.axes("s", "frames/s");
    let words = ["central", "side", "frozen"];
    for pair in samples.windows(2) {
        let mut y = 0.0;
        for (class, count) in words.into_iter().zip(shown(pair)).filter(|(_, count)| *count > 0.0) {
            let height = count / rate(pair);
            let about = format!("{:.1} s: {count} {class}", pair[1].at_s);
            chart.bar(class, (pair[0].at_s, pair[1].at_s), (y, y + height), &about);
            y += height;
        }
    }
    let svg = chart.svg("Verdicts over time");
    let legend = words.map(|word| (word.to_owned(), word)).to_vec();
    Plot {
        title: "Verdicts over time",
        about: "Pictures due in all sessions that did not decode, by what was shown.".into(),
        legend,
        svg,
    }
}

fn spread_plot(title: &'static str, about: &str, spread: &Spread) -> Plot {
    let most = spread.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
    // Buckets grow, so they are drawn with equal widths: the axis is logarithmic.
    let place = |value: f64| if value < 1.0 { 0.0 } else { 1.0 + value.ln() / GROWTH.ln() };
    let (first, last) = (spread.buckets.first(), spread.buckets.last());
    let range = (first.map_or(0.0, |b| place(b.from)), last.map_or(1.0, |b| place(b.to)));
    let mut chart = Chart::new(range, most as f64);
    chart.axes_without_x("ms", "count");
    for Bucket { from, to, count } in &spread.buckets {
        let told = format!("{}–{} ms: {count}", number(*from), number(*to));
        chart.bar("bar", (place(*from), place(*to)), (0.0, *count as f64), &told);
    }
    let edges = spread.buckets.iter().map(|bucket| bucket.to).chain(first.map(|b| b.from));
    if spread.buckets.len() <= MAX_MARKS {
        edges.for_each(|edge| chart.x_mark(place(edge), &number(edge.round())));
    } else {
        let inside = |mark: &f64| (range.0..=range.1).contains(&place(*mark));
        MARKS.into_iter().filter(inside).for_each(|mark| chart.x_mark(place(mark), &number(mark)));
    }
    let Spread { count, p50, p99, max, .. } = spread;
    let about = format!(
        "{about}. {count} in all; median {p50:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms."
    );
    Plot { title, svg: chart.svg(title), about, legend: Vec::new() }
}

/// The processes, those that took most processor time first, each with its colour.
fn coloured(summary: &Summary) -> Vec<(String, &'static str)> {
    let mut names: Vec<_> = summary.processes.iter().collect();
    names.sort_by(|a, b| b.1.cpu_s.total_cmp(&a.1.cpu_s));
    let colour = |n: usize| COLOURS[n.min(COLOURS.len() - 1)];
    names.into_iter().enumerate().map(|(n, (name, _))| (name.clone(), colour(n))).collect()
}

/// Lines of all processes.
fn lines(
    summary: &Summary,
    samples: &[&Moment],
    y_name: &str,
    value: impl Fn(&Moment, &Moment, &str) -> Option<f64>,
) -> (String, Vec<(String, &'static str)>) {
    let names = coloured(summary);
    let series: Vec<Vec<(f64, Option<f64>)>> = names
        .iter()
        .map(|(name, _)| {
            samples.windows(2).map(|pair| (pair[1].at_s, value(pair[0], pair[1], name))).collect()
        })
        .collect();
    let most = series.iter().flatten().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    let mut chart = over_time(summary, samples, most);
    chart.axes("s", y_name);
    for ((name, class), points) in names.iter().zip(&series) {
        chart.line(class, name, points);
    }
    (chart.svg(y_name), names)
}

/// Part of one core that a process took between two samples.
fn busy(before: &Moment, now: &Moment, name: &str) -> Option<f64> {
    let (used, last) = (now.processes.get(name)?, before.processes.get(name)?);
    let seconds = now.at_s - before.at_s;
    (used.cpu_s >= last.cpu_s && seconds > 0.0).then(|| (used.cpu_s - last.cpu_s) / seconds * 100.0)
}

fn processors(summary: &Summary, samples: &[&Moment]) -> Plot {
    let (svg, legend) = lines(summary, samples, "% of a core", busy);
    Plot {
        title: "Processor time",
        about: "Of each process; a gap is a restart.".into(),
        legend,
        svg,
    }
}

fn memory(summary: &Summary, samples: &[&Moment]) -> Plot {
    let held = |_: &Moment, now: &Moment, name: &str| {
        now.processes.get(name).map(|used: &Used| used.memory_kib as f64 / 1024.0)
    };
    let (svg, legend) = lines(summary, samples, "MiB", held);
    Plot { title: "Memory", about: "Resident memory of each process.".into(), legend, svg }
}

fn per_frame(summary: &Summary, samples: &[&Moment]) -> Option<Plot> {
    let cost = |pair: &[&Moment]| {
        let frames = pair[1].count.frames - pair[0].count.frames;
        let cpu_s = pair[1].cpu_since(pair[0], &summary.edges);
        (frames > 0).then(|| cpu_s * 1e6 / frames as f64)
    };
    let points: Vec<_> = samples.windows(2).map(|pair| (pair[1].at_s, cost(pair))).collect();
    // The first sessions cost handshakes without frames: the axis is for the others.
    let mut values: Vec<f64> = points.iter().filter_map(|(_, y)| *y).collect();
    values.sort_by(f64::total_cmp);
    let usual = *values.get(values.len().checked_sub(1)? * 9 / 10)?;
    let mut chart = over_time(summary, samples, usual * 1.3);
    chart.axes("s", "µs");
    chart.line("s0", "processor time of the edges per delivered frame", &points);
    let svg = chart.svg("Processor time of the edges for each delivered frame");
    let about = "Of all edges together; while sessions begin, their handshakes are in it.".into();
    Some(Plot {
        title: "Processor time of the edges for each delivered frame",
        about,
        legend: Vec::new(),
        svg,
    })
}
