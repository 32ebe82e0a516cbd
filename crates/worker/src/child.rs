//! The child process of one segment: it is started, spoken to and ended here.

use std::{io, process::Stdio, time::Duration};

use bytes::{Bytes, BytesMut};
use gibbon_worker::ipc::{FromSegment, Message};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{self, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

/// Messages that wait for a segment to read them.
const MAX_WAITING: usize = 32;
/// Arenas of glibc's malloc. It reserves 64 MiB of address space for each, by default one for each thread, which
/// alone would be more than a segment may take (`man 3 mallopt`, M_ARENA_MAX).
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");
/// Bytes read at once, at most: what a pipe holds. Room for less than the least is not worth a system call.
const MOST_READ: usize = 64 * 1024;
const LEAST_READ: usize = 4 * 1024;
/// A segment whose input has ended has this long to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// This program, even if its file has been replaced since it was started.
const EXECUTABLE: &str = "/proc/self/exe";
/// What it is called in lists of processes.
const NAME: &str = "gibbon-worker";

/// A running child. Dropping it kills it.
pub struct Child {
    process: process::Child,
    pub pid: u32,
    to: mpsc::Sender<Bytes>,
    from: ChildStdout,
    buffer: BytesMut,
}

impl Child {
    /// Starts this program with the arguments that make it a segment. It is killed when the thread that starts it
    /// ends (PR_SET_PDEATHSIG): so that has to be one of the runtime's own, which last as long as the process.
    pub fn start(arguments: &[String]) -> io::Result<Self> {
        let mut command = Command::new(EXECUTABLE);
        command.arg0(NAME).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A Ctrl-C is for this process: it drains, and its segments work meanwhile.
        command.process_group(0).kill_on_drop(true).env(ARENAS.0, ARENAS.1);
        // Options of this process are none of a segment's.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"GIBBON_") {
                command.env_remove(name);
            }
        }
        let mut process = command.spawn()?;
        let gone = || io::Error::other("it has ended at once");
        let (pid, stdin) = (process.id().ok_or_else(gone)?, process.stdin.take());
        let (stdin, from) = (stdin.ok_or_else(gone)?, process.stdout.take().ok_or_else(gone)?);
        let (to, messages) = mpsc::channel(MAX_WAITING);
        tokio::spawn(write(stdin, messages));
        Ok(Self { process, pid, to, from, buffer: BytesMut::new() })
    }

    /// What is sent here goes into its standard input. It reads until the last of these is dropped.
    pub fn pipe(&self) -> &mpsc::Sender<Bytes> {
        &self.to
    }

    /// What it says next; `None` once it says no more. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<Option<FromSegment>> {
        loop {
            if let Some(message) = FromSegment::decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if self.buffer.capacity() - self.buffer.len() < LEAST_READ {
                self.buffer.reserve(MOST_READ);
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends it: by itself if it does so in time. What it still says is not heard. Says how it ended.
    pub async fn end(self) -> String {
        let Self { mut process, to, mut from, .. } = self;
        drop(to);
        let mut nowhere = tokio::io::sink();
        // Who waits to be read does not end.
        let ended =
            async { tokio::join!(tokio::io::copy(&mut from, &mut nowhere), process.wait()).1 };
        match tokio::time::timeout(ENDS_WITHIN, ended).await {
            Ok(status) => end_of(status),
            Err(_) => {
                let _ = process.start_kill();
                let _ = process.wait().await;
                "it was killed: it did not end by itself".to_owned()
            }
        }
    }

    /// Ends it at once.
    pub async fn kill(mut self) {
        let _ = self.process.start_kill();
        let _ = self.process.wait().await;
    }
}

fn end_of(status: io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Writes messages until no more can come, or the child no longer reads.
async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        if stdin.write_all(&message).await.is_err() {
            return;
        }
    }
}
