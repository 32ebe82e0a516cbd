//! Asks a running process how it is: what container health checks call, in images without a shell.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// The process has this long to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 4096;

/// What to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Whether it is alive.
    Health,
    /// Whether it takes work.
    Ready,
}

/// Asks the process that serves metrics on `address`. Blocks for some seconds at most. `Err` says why the answer is
/// no, or that there is none.
pub fn ask(address: SocketAddr, probe: Probe) -> Result<(), String> {
    let path = match probe {
        Probe::Health => "/health",
        Probe::Ready => "/ready",
    };
    let answer = get(reachable(address), path, ANSWERS_WITHIN, MAX_ANSWER);
    match answer.map_err(|e| format!("{address}: {e}"))? {
        (200, _) => Ok(()),
        (_, body) => Err(format!("{address}{path}: {body}")),
    }
}

/// Asks for `path`, and waits no longer than `within` at each turn: the HTTP status (0 if there is none), and the
/// body. No more than `max` bytes of the answer are read.
pub(crate) fn get(
    address: SocketAddr,
    path: &str,
    within: Duration,
    max: u64,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(max).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}

/// Who listens on every interface is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}
