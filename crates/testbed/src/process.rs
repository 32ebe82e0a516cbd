//! One process of the network.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Log, Usage, WAIT, wait_for};

/// A running process with a log of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    launch: Command,
    child: Child,
    log: PathBuf,
}

/// What a process is started with, beside its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Where its log goes.
    pub folder: &'a Path,
    /// Further environment variables.
    pub environment: &'a [(String, String)],
    /// In a process group of its own: Ctrl-C at the terminal does not reach it.
    pub apart: bool,
}

/// Where the binary `name` is: in `GIBBON_BIN_DIR`, or beside the running program.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("GIBBON_BIN_DIR") {
        return Ok(Path::new(&folder).join(name));
    }
    let own = std::env::current_exe()?;
    let found =
        own.ancestors().skip(1).take(3).map(|folder| folder.join(name)).find(|f| f.is_file());
    found.with_context(|| {
        format!("{name} is not built; run `cargo build --workspace`, or set GIBBON_BIN_DIR")
    })
}

impl Process {
    /// Starts the binary `program` as `name`. It logs JSON to `folder/name.log`; an earlier log goes on.
    pub fn start(
        program: &str,
        name: &str,
        folder: &Path,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let around = Around { folder, environment: &[], apart: false };
        Self::start_in(program, name, &around, arguments)
    }

    /// The same, in surroundings that are told.
    pub fn start_in(
        program: &str,
        name: &str,
        around: &Around<'_>,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(around.folder)?;
        let log = around.folder.join(format!("{name}.log"));
        let mut command = Command::new(binary(program)?);
        command
            .args(arguments)
            .env("GIBBON_LOG_FORMAT", "json")
            .envs(around.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?);
        if around.apart {
            command.process_group(0);
        }
        Self::from_command(name, command, log)
    }

    /// Starts a command that the caller has prepared, such as one that draws on the terminal.
    pub fn from_command(name: &str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), launch: command, child, log })
    }

    /// Starts it again as it was started first; kills it before, if it is still running.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.child =
            self.launch.spawn().with_context(|| format!("cannot start {} again", self.name))?;
        Ok(())
    }

    /// From the next start on, the option `flag` has this value: a port that was free at first is kept.
    pub fn keep(&mut self, flag: &str, value: &str) {
        // Of an option given twice the last counts.
        self.launch.args([flag, value]);
    }

    /// Its name in the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> Log {
        Log::read(&self.log)
    }

    /// What it uses; `None` if it has ended.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.child.id())
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let (name, child) = (self.name.clone(), &mut self.child);
        wait_for(format!("{name} to end"), within, || Ok(child.try_wait()?))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = Pid::from_raw(self.child.id() as i32) else {
            bail!("{} has no process id", self.name)
        };
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.wait(WAIT)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
