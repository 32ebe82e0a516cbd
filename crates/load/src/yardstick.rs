//! `gibbon-load yardstick`: the server's processor time for each delivered frame, beside that of the
//! plainest sender that quinn allows.

mod compare;
mod pin;
mod serve;
mod tally;
mod watch;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::ensure;
use clap::Subcommand;
use gibbon_media::FrameRate;
use tally::Tally;
use tokio::task::JoinSet;

/// Most watchers in one process.
const MAX_VIEWERS: i64 = 10_000;

/// Commands of `gibbon-load yardstick`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send frames to whoever connects, as plainly as quinn allows
    Serve(serve::Options),
    /// Watch a `yardstick serve` and say what came
    Watch(Watch),
    /// Measure the yardstick and an edge in turns, everything started here, and give the ratio
    Compare(Box<compare::Options>),
}

/// What is sent in each of the two descriptions, at the same time.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Pattern {
    /// Frames per second in each of the two descriptions
    #[arg(long, default_value = "15")]
    fps: FrameRate,
    /// Bytes of a frame
    #[arg(long, default_value_t = 5000)]
    frame_bytes: usize,
    /// Length of a group, in ms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    group_ms: u64,
}

/// Options of `gibbon-load yardstick watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Where `yardstick serve` is
    #[arg(long, default_value = "127.0.0.1:4490")]
    server: SocketAddr,
    /// The certificate that it wrote
    #[arg(long, value_name = "FILE", default_value = "yardstick.der")]
    certificate: PathBuf,
    /// How many watch
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=MAX_VIEWERS))]
    viewers: u32,
    /// For how long, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Runs one of the commands.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(options) => serve::run(options)?,
        Command::Watch(options) => runtime()?.block_on(watch(options))?,
        Command::Compare(options) => compare::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

async fn watch(options: Watch) -> anyhow::Result<()> {
    let tally = Tally::new()?;
    let mut watching = JoinSet::new();
    for _ in 0..options.viewers {
        let (certificate, tally) = (options.certificate.clone(), tally.clone());
        let server = options.server;
        watching.spawn(async move { watch::yardstick(server, &certificate, tally).await });
    }
    let seconds = Duration::from_secs(options.seconds);
    tokio::select! {
        () = tokio::time::sleep(seconds) => {}
        Some(ended) = watching.join_next() => ended??,
    }
    let count = tally.count();
    ensure!(count.frames > 0, "no frame came from {}", options.server);
    println!(
        "{} frames, {} bytes; delay p50 {:.1} ms, p99 {:.1} ms",
        count.frames,
        count.bytes,
        tally.delay(0.5).as_secs_f64() * 1e3,
        tally.delay(0.99).as_secs_f64() * 1e3
    );
    Ok(())
}
