//! The process: starts, stops and starts again.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use gibbon_control::{
    link::{self, Registration},
    node::{NodeReport, ToNode},
};
use gibbon_media::Role;
use gibbon_net::{Certificates, Endpoint, Identity};
use serde_json::Value;

use crate::{
    network::{id, registration},
    running::soon,
};

/// A coordinator in its own process; killed with the test.
struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, listen: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gibbon-coordinator"));
    command
        .current_dir(folder)
        .args(["--listen", &listen.to_string(), "--portal", "127.0.0.1:0", "--log-format", "json"])
        .stderr(Stdio::piped());
    command
}

impl Process {
    fn start(folder: &Path, listen: SocketAddr) -> Self {
        let mut child = command(folder, listen).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Where nodes reach it, once it says that it is ready.
    fn ready(&mut self) -> SocketAddr {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it ended");
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "the coordinator is ready" {
                return entry["nodes"].as_str().unwrap().parse().unwrap();
            }
        }
    }

    /// Sends it a signal and returns its exit code.
    fn stop(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

/// The term in the coordinator's store.
fn term(folder: &Path) -> u64 {
    let state = std::fs::read(folder.join("state/coordinator.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    state["term"].as_u64().unwrap()
}

/// Starts a coordinator and a node, stops it with `signal`, starts another, and waits for the node.
async fn restart(signal: &str) -> (Option<i32>, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(folder.path(), ([127, 0, 0, 1], 0).into());
    let address = first.ready();
    let certificates = Certificates::in_folder(folder.path().join("certs"));
    let identity = Identity { id: id("edge-a"), role: Role::Edge };
    let endpoint = Endpoint::node(&certificates, &identity, ([127, 0, 0, 1], 0).into()).unwrap();
    let registration = Registration::new(address, registration("edge-a"));
    let mut edge = link::start(endpoint, registration, NodeReport::default);
    let told = soon(edge.from_coordinator.recv()).await.unwrap();
    assert!(matches!(told, ToNode::Directory(_)));
    let before = term(folder.path());
    let code = first.stop(signal);
    let mut second = Process::start(folder.path(), address);
    second.ready();
    let started = Instant::now();
    let told = soon(edge.from_coordinator.recv()).await.unwrap();
    assert!(matches!(told, ToNode::Directory(_)));
    let away = started.elapsed();
    assert!(term(folder.path()) > before);
    (code, away)
}

#[tokio::test]
async fn it_stops_when_told_and_its_nodes_come_back_to_the_next_term() {
    let (code, away) = restart("-TERM").await;
    assert_eq!(code, Some(0));
    assert!(away < Duration::from_secs(5), "{away:?}");
}

#[tokio::test]
async fn its_nodes_come_back_after_it_was_killed() {
    let (code, away) = restart("-KILL").await;
    assert_eq!(code, None);
    // At worst when QUIC has found the old connection idle for too long.
    assert!(away < Duration::from_secs(15), "{away:?}");
}

#[test]
fn a_store_that_cannot_be_used_is_said_loudly_and_keeps_nobody_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "damaged").unwrap();
    for state in ["file", "file/below"] {
        let mut command = command(folder.path(), ([127, 0, 0, 1], 0).into());
        let mut child = command.args(["--state", state]).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut process = Process { child, log };
        let mut warning = String::new();
        process.log.read_line(&mut warning).unwrap();
        assert!(warning.contains("WARN") && warning.contains(state), "{warning}");
        process.ready();
    }
}

#[test]
fn what_keeps_it_from_starting_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let any = ([127, 0, 0, 1], 0).into();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (option, value, named) in [
        ("--portal-token-file", "file", "file holds no token"),
        ("--certs", "file", "file"),
        ("--portal", taken.as_str(), taken.as_str()),
    ] {
        let output = command(folder.path(), any).args([option, value]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{option} {value}: {error}");
        assert!(error.contains(named), "{option} {value}: {error}");
    }
}
