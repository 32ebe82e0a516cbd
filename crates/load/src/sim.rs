//! `gibbon-load sim`: a day of viewers in virtual time, under one hand-off policy after another (`gibbon-sim`).

mod page;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use gibbon_sim::{
    Name, Report,
    report::Machine,
    scenario::{SHIPPED, Scenario},
    simulate,
};
use rustix::time::{ClockId, clock_gettime};

use crate::run::write;

/// Options of `gibbon-load sim`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A scenario that is shipped, or a TOML file; none lists those that are shipped
    scenario: Option<String>,
    /// What everything is drawn by
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The policies to play: none, nearest, reactive, gibbon, oracle [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    policy: Vec<Name>,
    /// So many edges, with as many sessions and cities for each
    #[arg(long, value_name = "N")]
    edges: Option<usize>,
    /// End after so many virtual seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u32>,
    /// Write the report here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots here; it needs nothing else to be shown
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Plays it. What is to be shown and is not, is told; it is no failure.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Some(name) = &options.scenario else { return list() };
    let mut scenario = read(name)?;
    if let Some(edges) = options.edges {
        scenario = scenario.with_edges(edges);
    }
    if let Some(seconds) = options.seconds {
        scenario = scenario.with_duration(seconds);
    }
    scenario.check()?;
    let policies = if options.policy.is_empty() { &Name::ALL[..] } else { &options.policy };
    let mut progress = |what: &str| eprintln!("{:>6.0} s  {what}", processor_time().as_secs_f64());
    let played = gibbon_sim::Options {
        seed: options.seed,
        policies,
        clock: Some(processor_time),
        progress: &mut progress,
    };
    let mut report = simulate(name, &scenario, played);
    let cpu_s = processor_time().as_secs_f64();
    report.took(Machine { cpu_s, peak_memory_kib: peak_memory_kib()? });
    if let Some(file) = &options.json {
        write(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(file) = &options.html {
        write(file, &page::render(&report))?;
    }
    print!("{}", told(&report));
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<ExitCode> {
    for shipped in SHIPPED {
        println!("{:<16} {}", shipped.name, Scenario::parse(shipped.text)?.description);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(name: &str) -> anyhow::Result<Scenario> {
    if let Some(shipped) = Scenario::shipped(name) {
        return Ok(shipped?);
    }
    let text = std::fs::read_to_string(name)
        .with_context(|| format!("{name} is neither a scenario that is shipped nor a file"))?;
    Scenario::parse(&text).with_context(|| format!("{name} is no scenario"))
}

/// Of this process, until now.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The most that this process held.
fn peak_memory_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.context("the kernel does not tell the peak of memory")?.parse().context("a number of KiB")
}

fn told(report: &Report) -> String {
    let mut text = String::from("                foreseeable s     others s  hand-offs  CPU s\n");
    for outcome in &report.policies {
        let cpu_s = outcome.cpu_s.unwrap_or_default();
        text += &format!(
            "{:<12} {:>16.0} {:>12.0} {:>10} {cpu_s:>6.1}\n",
            outcome.policy.as_str(),
            outcome.foreseeable_s,
            outcome.others_s,
            outcome.handoffs_begun()
        );
    }
    for bar in &report.bars {
        let word = if bar.holds { "ok    " } else { "missed" };
        let found = bar.found.map_or("–".to_owned(), |found| format!("{found:.3}"));
        text += &format!("{word} {}: {found}\n", bar.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_took_is_told_and_what_is_none_is_refused() {
        let before = processor_time();
        assert!(peak_memory_kib().unwrap_or_default() > 1000);
        assert!(processor_time() >= before);
        let refused = read("no-such-thing").map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("neither")));
    }
}
