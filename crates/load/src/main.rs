//! gibbon-load: load, faults, and reports of what viewers saw.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use gibbon_control::process::{self, Common, DEFAULT_LOG};
use gibbon_load::{
    run,
    scenario::{SHIPPED, Scenario, Shipped},
    sim, source, yardstick,
};

/// Puts a Gibbon network under load, hurts it, and says what its viewers saw.
#[derive(Parser)]
#[command(name = "gibbon-load", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play a scenario and say what viewers saw
    Run(Box<run::Options>),
    /// List the scenarios that are shipped, or print one, to begin one's own with
    Scenarios {
        /// The one to print
        name: Option<String>,
    },
    /// Play a day of viewers in virtual time, under one hand-off policy after another
    Sim(sim::Options),
    /// Publish synthetic streams, as an origin does, without media and without coding
    Source(Box<source::Options>),
    /// What a delivered frame costs, beside the plainest sender that quinn allows
    #[command(subcommand)]
    Yardstick(yardstick::Command),
}

const EXAMPLES: &str = "Examples:
  gibbon-load run smoke --html smoke.html
  gibbon-load scenarios handoff-storm > my.toml
  gibbon-load run my.toml --json my.json --fail-if 'frozen>0'
  gibbon-load sim season --html season.html
  gibbon-load yardstick compare --pairs 3";

/// What is logged while a scenario is played, unless told otherwise: its progress is shown by other means.
const QUIET_LOG: &str = "error";

fn main() -> ExitCode {
    process::conclude("gibbon-load", start())
}

fn start() -> anyhow::Result<ExitCode> {
    let Cli { mut common, command } = process::parse()?;
    if common.log == DEFAULT_LOG && matches!(command, Command::Run(_)) {
        common.log = QUIET_LOG.to_owned();
    }
    common.start_logging()?;
    match command {
        Command::Run(options) => run::run(*options),
        Command::Scenarios { name } => scenarios(name.as_deref()),
        Command::Sim(options) => sim::run(options),
        Command::Source(options) => source::run(*options, &common),
        Command::Yardstick(command) => yardstick::run(command),
    }
}

fn scenarios(name: Option<&str>) -> anyhow::Result<ExitCode> {
    if let Some(name) = name {
        let shipped = Shipped::named(name);
        let shipped = shipped.with_context(|| format!("there is no shipped scenario {name}"))?;
        print!("{}", shipped.text);
        return Ok(ExitCode::SUCCESS);
    }
    for shipped in &SHIPPED {
        let scenario = Scenario::parse(shipped.text, shipped.name)?;
        println!("{:<16} {}", shipped.name, scenario.description);
    }
    Ok(ExitCode::SUCCESS)
}
