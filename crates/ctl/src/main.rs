//! The binary `gibbonctl`: what is there, what happens, hand-offs by hand, services, and nodes that are emptied.

mod certificates;
mod command;
mod drain;
mod duration;
mod leaving;
mod maintenance;
mod services;
mod table;
mod view;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match command::run(command::Options::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gibbonctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output, `head` for one, has had enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
