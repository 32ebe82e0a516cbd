//! gibbon-load: load, faults, and reports of what viewers saw.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gibbon_control::process::{self, Common};
use gibbon_load::{source, yardstick};

/// Puts a Gibbon network under load, hurts it, and says what its viewers saw.
#[derive(Parser)]
#[command(name = "gibbon-load", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publish synthetic streams, as an origin does, without media and without coding
    Source(Box<source::Options>),
    /// What a delivered frame costs, beside the plainest sender that quinn allows
    #[command(subcommand)]
    Yardstick(yardstick::Command),
}

fn main() -> ExitCode {
    process::conclude("gibbon-load", start())
}

fn start() -> anyhow::Result<ExitCode> {
    let Cli { common, command } = process::parse()?;
    common.start_logging()?;
    match command {
        Command::Source(options) => source::run(*options),
        Command::Yardstick(command) => yardstick::run(command),
    }
}
