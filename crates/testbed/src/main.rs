//! gibbon-testbed: starts a whole network on this machine, for demonstrations, long runs and faults.

mod audience;
mod chaos;
mod demo;
mod outages;
mod reliability;
mod samples;
mod soak;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// A whole Gibbon network of real processes on this machine.
#[derive(Parser)]
#[command(name = "gibbon-testbed", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play a real clip through two real hand-offs and show what the viewer saw
    Demo {
        /// Where report, timeline, recording and logs go
        #[arg(long, default_value = "demo", value_name = "DIR")]
        folder: PathBuf,
        /// Seconds of play
        #[arg(long, default_value_t = 24.0)]
        seconds: f64,
    },
    /// Play many sessions for long, with a hand-off every few seconds, and see whether memory and tasks
    /// level off
    Soak(soak::Options),
    /// Kill edges, one after the other, and tell in numbers what viewers saw of it
    Reliability(reliability::Options),
    /// Let faults befall a network by a seed, and check what must hold throughout
    Chaos(chaos::Options),
}

fn main() -> ExitCode {
    gibbon_control::process::conclude("gibbon-testbed", start())
}

fn start() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Demo { folder, seconds } => demo::run(&folder, seconds),
        Command::Soak(options) => soak::run(&options),
        Command::Reliability(options) => reliability::run(&options),
        Command::Chaos(options) => chaos::run(&options),
    }
}
