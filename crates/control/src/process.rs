//! What every Gibbon process does alike: options by flag, environment and file; logging; the signals
//! that stop it; wall-clock time.

use std::{
    ffi::OsString,
    fs,
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use clap::{CommandFactory, FromArgMatches, ValueEnum};
use gibbon_media::MediaTime;
use gibbon_monitor::{Monitor, Probe, otlp};
use tokio::sync::mpsc;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless told otherwise.
pub const DEFAULT_LOG: &str = "info";
/// How long the end of a process may wait for a collector of traces.
const TRACES_SENT_WITHIN: Duration = Duration::from_secs(2);

/// Options that every process has.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Read options from this TOML file: `option-name = value`. A flag overrides the environment, the environment the file
    #[arg(long, env = "GIBBON_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or per module as in gibbon_net=debug
    #[arg(long, env = "GIBBON_LOG", default_value = DEFAULT_LOG, value_name = "FILTER", global = true)]
    pub log: String,
    /// How to log, on standard error
    #[arg(long, env = "GIBBON_LOG_FORMAT", value_enum, default_value = "human", global = true)]
    pub log_format: LogFormat,
    /// How the process is watched.
    #[command(flatten)]
    pub watched: gibbon_monitor::Options,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Common {
    /// Begins to log, and to send traces if that is wanted.
    pub fn start_logging(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)
            .with_context(|| format!("--log {:?} is not a filter; try info or debug", self.log))?;
        let log = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let log = match self.log_format {
            LogFormat::Human => log.compact().boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let traces = self.watched.collector()?;
        let traces = traces.map(|collector| otlp::layer(&collector, &program()).filtered());
        tracing_subscriber::registry().with(log.with_filter(filter)).with(traces).init();
        Ok(())
    }

    /// What this process shows of itself, served if that is wanted. It is not ready yet.
    pub async fn monitor(&self) -> anyhow::Result<Arc<Monitor>> {
        self.watched.monitor(&program(), env!("CARGO_PKG_VERSION")).await
    }
}

/// What this process was called as.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    called.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The end of a process: sends what is left of traces, prints an error as one line on standard error and gives exit
/// code 1 for it.
pub fn conclude(name: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    otlp::flush(TRACES_SENT_WITHIN);
    result.unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}");
        ExitCode::FAILURE
    })
}

/// Parses the command line, with the file named by `--config` or `GIBBON_CONFIG` below it. Prints help
/// and errors and exits as clap does. With `--probe` it asks the process that runs, and exits.
pub fn parse<Options: CommandFactory + FromArgMatches>() -> anyhow::Result<Options> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(probe) =
        given(&arguments, "--probe").and_then(|word| Probe::from_str(&word, true).ok())
    {
        // Before the options are read: the one that asks need not be told what the one that runs was told.
        gibbon_monitor::ask(watched_at(&arguments)?, probe).map_err(anyhow::Error::msg)?;
        std::process::exit(0);
    }
    let arguments = match config_file(&arguments) {
        Some(file) => with_file(arguments, &file, &Options::command())?,
        None => arguments,
    };
    let matches = Options::command().args_override_self(true).get_matches_from(arguments);
    Ok(Options::from_arg_matches(&matches)?)
}

fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    given(arguments, "--config").or_else(|| std::env::var("GIBBON_CONFIG").ok()).map(PathBuf::from)
}

/// The value of an option on the command line.
fn given(arguments: &[OsString], option: &str) -> Option<String> {
    let text = |argument: &OsString| argument.to_string_lossy().into_owned();
    for (at, argument) in arguments.iter().enumerate().skip(1) {
        match text(argument).strip_prefix(option) {
            Some("") => return arguments.get(at + 1).map(text),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].to_owned()),
            _ => {}
        }
    }
    None
}

/// Where the process that runs with the same options, environment and file serves its metrics.
fn watched_at(arguments: &[OsString]) -> anyhow::Result<SocketAddr> {
    let in_file = || {
        let table: toml::Table = fs::read_to_string(config_file(arguments)?).ok()?.parse().ok()?;
        Some(table.get("metrics")?.as_str()?.to_owned())
    };
    let named = given(arguments, "--metrics").or_else(|| std::env::var("GIBBON_METRICS").ok());
    let address =
        named.or_else(in_file).context("--probe asks at --metrics, which is not given")?;
    address.parse().with_context(|| format!("--metrics {address:?} is not an ADDRESS:PORT"))
}

/// Puts the file's options behind the command line's, leaving out what a flag or the environment sets.
fn with_file(
    mut arguments: Vec<OsString>,
    file: &Path,
    command: &clap::Command,
) -> anyhow::Result<Vec<OsString>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the configuration file {}", file.display()))?;
    let table: toml::Table =
        text.parse().with_context(|| format!("{} is not valid TOML", file.display()))?;
    let called = arguments.get(1).and_then(|a| command.find_subcommand(a));
    let command = called.unwrap_or(command);
    for (name, value) in table {
        let Some(option) = command.get_arguments().find(|a| a.get_long() == Some(&name)) else {
            bail!("{}: there is no option {name:?}; --help lists them", file.display());
        };
        let flag = format!("--{name}");
        let on_command_line = arguments.iter().any(|a| {
            let a = a.to_string_lossy();
            a == flag || a.starts_with(&format!("{flag}="))
        });
        let in_environment = option.get_env().is_some_and(|e| std::env::var_os(e).is_some());
        if !on_command_line && !in_environment {
            push_option(&mut arguments, &flag, value);
        }
    }
    Ok(arguments)
}

fn push_option(arguments: &mut Vec<OsString>, flag: &str, value: toml::Value) {
    match value {
        toml::Value::Array(values) => {
            values.into_iter().for_each(|value| push_option(arguments, flag, value));
        }
        toml::Value::Boolean(true) => arguments.push(flag.into()),
        toml::Value::Boolean(false) => {}
        toml::Value::String(text) => arguments.push(format!("{flag}={text}").into()),
        other => arguments.push(format!("{flag}={other}").into()),
    }
}

/// The longest span that an option takes: a year.
const LONGEST_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);

/// Units of time, in seconds.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a span of time of the command line: a number, and `ms`, `s`, `m` or `h`.
pub fn span(text: &str) -> Result<Duration, String> {
    let error = || format!("{text:?} is no span of time: use a number and ms, s, m or h, as 90s");
    let of = |(unit, seconds): (&str, f64)| Some((text.strip_suffix(unit)?, seconds));
    let (number, seconds) = UNITS.into_iter().find_map(of).ok_or_else(error)?;
    let number: f64 = number.parse().map_err(|_| error())?;
    let span = Duration::try_from_secs_f64(number * seconds).map_err(|_| error())?;
    if span > LONGEST_SPAN { Err(error()) } else { Ok(span) }
}

/// The wall clock, in µs since the epoch.
pub fn now() -> MediaTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    MediaTime(since.as_micros() as u64)
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Each Ctrl-C and SIGTERM from now on.
pub fn stop_signals() -> mpsc::Receiver<()> {
    let (signals, received) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            stop_signal().await;
            if signals.send(()).await.is_err() {
                return;
            }
        }
    });
    received
}

/// Names this host's clock: the kernel's boot id.
pub fn host_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[arg(long, env = "GIBBON_TEST_NEVER_SET")]
        listen: String,
        #[arg(long)]
        stream: Vec<String>,
        #[arg(long)]
        quiet: bool,
    }

    fn parsed(file: &str, flags: &[&str]) -> anyhow::Result<Options> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("gibbon.toml");
        std::fs::write(&path, file)?;
        let arguments = ["gibbon"].iter().chain(flags).map(OsString::from).collect();
        let arguments = with_file(arguments, &path, &Options::command())?;
        Ok(Options::try_parse_from(arguments)?)
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let file = "listen = 'a:1'\nstream = ['x', 'y']\nquiet = true";
        let options = parsed(file, &[]).unwrap();
        assert_eq!((options.listen.as_str(), options.quiet), ("a:1", true));
        assert_eq!(options.stream, ["x", "y"]);
        assert_eq!(parsed(file, &["--listen", "b:2"]).unwrap().listen, "b:2");
    }

    #[test]
    fn a_span_of_time_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5m", 90), ("0s", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "10", "-1s", "NaNs", "infs", "1d", "1e9h", "10 m", "1é"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_option_in_the_file_is_named() {
        let error = parsed("lisen = 'a:1'", &[]).err().unwrap().to_string();
        assert!(error.contains("lisen"), "{error}");
    }
}
