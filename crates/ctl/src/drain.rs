//! `drain`, `undrain` and `rolling-restart`.

use std::{
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use gibbon_control::{
    client::Portal,
    portal::{DrainRequest, NodeInfo, SessionInfo},
};
use gibbon_media::{NodeId, Role};
use serde_json::json;

use crate::{
    command::{AWAY_AT_MOST, POLL, print},
    duration,
    leaving::{End, Leaving},
};

/// Exit code where the deadline cut legs.
const CUT: u8 = 3;
/// An edge that was restarted is to be back by then.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// How an edge is emptied.
#[derive(clap::Args)]
pub struct Pace {
    /// What is left then is cut: viewers there cross to a standby by themselves
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    deadline: Duration,
    /// Sessions begun to be moved per second, at most
    #[arg(long, default_value_t = 20.0, value_name = "N")]
    rate: f64,
}

/// `gibbonctl drain`.
#[derive(clap::Args)]
pub struct Drain {
    /// The edge; `gibbonctl nodes` lists them
    edge: NodeId,
    #[command(flatten)]
    pace: Pace,
    /// Let the process stay when it is empty, until `gibbonctl undrain`
    #[arg(long)]
    stay: bool,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
}

/// `gibbonctl undrain`.
#[derive(clap::Args)]
pub struct Undrain {
    /// The edge
    edge: NodeId,
}

/// `gibbonctl rolling-restart`.
#[derive(clap::Args)]
pub struct RollingRestart {
    /// Which edges, in this order [default: all that are up, by name]
    #[arg(long, value_delimiter = ',', value_name = "EDGE,EDGE…")]
    edges: Vec<NodeId>,
    #[command(flatten)]
    pace: Pace,
}

/// Where the words go: people read along, programs read one object at the end.
struct Talk {
    json: bool,
}

impl Talk {
    fn say(&self, text: &str) -> std::io::Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }
}

/// Has an edge emptied, and follows it to its end.
pub fn drain(json: bool, portal: &Portal, drain: &Drain) -> anyhow::Result<ExitCode> {
    let (edge, talk) = (&drain.edge, Talk { json });
    let begun = Instant::now();
    let node = portal.drain(edge, &drain.pace.request(drain.stay))?;
    if drain.no_wait {
        talk.say(&format!("{edge} is being emptied: {}", counted(node.legs, "leg")))?;
        return if json { print_json(&node) } else { Ok(ExitCode::SUCCESS) };
    }
    talk.say(&format!(
        "{edge} is being emptied: {}. Ctrl-C stops this waiting, not the drain; \
         `gibbonctl undrain {edge}` takes it back",
        counted(node.legs, "leg")
    ))?;
    let end = wait(portal, &talk, Leaving::new(&node, drain.pace.deadline, drain.stay), edge)?;
    let cut = ended(&talk, edge, end, begun.elapsed())?;
    if json {
        let took_ms = begun.elapsed().as_millis() as u64;
        let outcome = if end == End::Empty { "empty" } else { "left" };
        print_json(&json!({"edge": edge, "outcome": outcome, "cut": cut, "took_ms": took_ms}))?;
    }
    Ok(if cut == 0 { ExitCode::SUCCESS } else { ExitCode::from(CUT) })
}

/// Takes a drain back.
pub fn undrain(json: bool, portal: &Portal, undrain: &Undrain) -> anyhow::Result<ExitCode> {
    portal.undrain(&undrain.edge)?;
    Talk { json }.say(&format!("{} is wanted again", undrain.edge))?;
    Ok(ExitCode::SUCCESS)
}

/// Drains one edge after the other, each to be started again before the next one's turn.
pub fn rolling_restart(
    json: bool,
    portal: &Portal,
    restart: &RollingRestart,
) -> anyhow::Result<ExitCode> {
    let talk = Talk { json };
    let edges = edges(&restart.edges, &portal.nodes()?)?;
    let (mut done, mut cut) = (Vec::new(), 0);
    for (n, edge) in edges.iter().enumerate() {
        let begun = Instant::now();
        let node = portal.drain(edge, &restart.pace.request(false)).with_context(|| {
            format!("stopped at {edge}, {n} of {} edges restarted", edges.len())
        })?;
        talk.say(&format!("{edge} ({} of {}): {}", n + 1, edges.len(), counted(node.legs, "leg")))?;
        let registered_us = node.registered_us;
        let end = wait(portal, &talk, Leaving::new(&node, restart.pace.deadline, false), edge)?;
        cut += ended(&talk, edge, end, begun.elapsed())?;
        if cut > 0 {
            break;
        }
        back(portal, edge, registered_us)?;
        talk.say(&format!(
            "{edge} is back, {:.1} s after its turn began",
            begun.elapsed().as_secs_f64()
        ))?;
        done.push(edge);
    }
    talk.say(&format!("{} of {} edges restarted", done.len(), edges.len()))?;
    if json {
        print_json(&json!({"restarted": done, "cut": cut}))?;
    }
    Ok(if cut == 0 { ExitCode::SUCCESS } else { ExitCode::from(CUT) })
}

impl Pace {
    fn request(&self, stay: bool) -> DrainRequest {
        DrainRequest { deadline_ms: self.deadline.as_millis() as u64, rate: self.rate, stay }
    }
}

fn print_json(what: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    print(&serde_json::to_string_pretty(what)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The edges asked for, if there are such; else all that are up.
fn edges(asked: &[NodeId], nodes: &[NodeInfo]) -> anyhow::Result<Vec<NodeId>> {
    let up = |node: &&NodeInfo| node.role == Role::Edge && node.up;
    let up: Vec<_> = nodes.iter().filter(up).map(|node| node.id.clone()).collect();
    if let Some(missing) = asked.iter().find(|edge| !up.contains(edge)) {
        bail!("{missing} is no edge that is up; `gibbonctl nodes` lists them");
    }
    let edges = if asked.is_empty() { up } else { asked.to_vec() };
    ensure!(!edges.is_empty(), "no edge is up");
    Ok(edges)
}

/// Follows an edge until it has left or is empty.
fn wait(portal: &Portal, talk: &Talk, mut leaving: Leaving, edge: &NodeId) -> anyhow::Result<End> {
    let begun = Instant::now();
    let mut progress = Progress::default();
    loop {
        let nodes = patiently(|| portal.nodes())?;
        let node = nodes.iter().find(|node| node.id == *edge);
        if let Some(end) = leaving.look(node, begun.elapsed()) {
            return Ok(end);
        }
        if let Some(node) = node.filter(|node| progress.is_new(node)) {
            let sessions = patiently(|| portal.sessions())?;
            talk.say(&progress.line(node, &sessions))?;
        }
        sleep(POLL);
    }
}

/// Asks again where the coordinator is away for a moment.
fn patiently<T>(ask: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(_) if begun.elapsed() < AWAY_AT_MOST => sleep(POLL),
            answer => return answer,
        }
    }
}

/// What has been said of an edge that is being emptied.
#[derive(Default)]
struct Progress {
    carried: Option<(u32, u32)>,
    /// The most sessions that it was seen to serve.
    sessions: usize,
}

impl Progress {
    fn is_new(&mut self, node: &NodeInfo) -> bool {
        let carried = Some((node.legs, node.downstreams));
        std::mem::replace(&mut self.carried, carried) != carried
    }

    fn line(&mut self, node: &NodeInfo, sessions: &[SessionInfo]) -> String {
        let here = |session: &&SessionInfo| session.edges.iter().flatten().any(|at| *at == node.id);
        let left = sessions.iter().filter(here).count();
        self.sessions = self.sessions.max(left);
        let moved = self.sessions - left;
        let mut line = format!(
            "  {} left, {moved} of {} moved",
            counted(node.legs, "leg"),
            counted(self.sessions as u32, "session")
        );
        if node.downstreams > 0 {
            line += &format!(", {} of other nodes", counted(node.downstreams, "subscription"));
        }
        line
    }
}

/// A number of things.
fn counted(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Says how an edge left; returns how many legs were cut.
fn ended(talk: &Talk, edge: &NodeId, end: End, took: Duration) -> anyhow::Result<u32> {
    let took = took.as_secs_f64();
    match end {
        End::Empty => talk.say(&format!("{edge} is empty after {took:.1} s, and stays"))?,
        End::Left { cut: 0 } => talk.say(&format!("{edge} left empty after {took:.1} s"))?,
        End::Left { cut } => {
            talk.say(&format!(
                "{edge} left at its deadline and cut {}; its log names them",
                counted(cut, "leg")
            ))?;
            return Ok(cut);
        }
        End::Lost { legs } => bail!(
            "{edge} is not heard of any more, with {}: it was killed, or is cut off from the coordinator",
            counted(legs, "leg")
        ),
        End::TakenBack => bail!("somebody took the drain of {edge} back"),
        End::Overdue => bail!("{edge} is still there long after its deadline; see its log"),
    }
    Ok(0)
}

/// Waits until an edge that has left is here again: a new process, empty, that reports.
fn back(portal: &Portal, edge: &NodeId, registered_us: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let nodes = patiently(|| portal.nodes())?;
        let is_back = |node: &&NodeInfo| {
            node.id == *edge
                && node.up
                && node.registered_us != registered_us
                && node.draining.is_none()
        };
        if nodes.iter().any(|node| is_back(&node)) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < BACK_WITHIN,
            "{edge} left empty and is not back after {} s: does a supervisor restart it?",
            BACK_WITHIN.as_secs()
        );
        sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Options {
        Drain(Drain),
        RollingRestart(RollingRestart),
    }

    #[test]
    fn a_drain_takes_a_minute_at_most_unless_told_otherwise() {
        let request = |arguments: &[&str]| {
            let arguments = [&["gibbonctl", "drain", "edge-a"], arguments].concat();
            match Options::try_parse_from(arguments) {
                Ok(Options::Drain(drain)) => drain.pace.request(drain.stay),
                _ => panic!("not understood"),
            }
        };
        let usual = request(&[]);
        assert_eq!((usual.deadline_ms, usual.rate, usual.stay), (60_000, 20.0, false));
        let other = request(&["--deadline", "2m", "--rate", "0.5", "--stay"]);
        assert_eq!((other.deadline_ms, other.rate, other.stay), (120_000, 0.5, true));
    }

    #[test]
    fn edges_are_restarted_in_the_order_given() {
        let arguments = ["gibbonctl", "rolling-restart", "--edges", "edge-b,edge-a"];
        let Ok(Options::RollingRestart(restart)) = Options::try_parse_from(arguments) else {
            panic!()
        };
        assert_eq!(restart.edges, ["edge-b", "edge-a"].map(|edge| edge.parse().unwrap()));
        let error = edges(&restart.edges, &[]).unwrap_err().to_string();
        assert!(error.starts_with("edge-b is no edge that is up"), "{error}");
        assert_eq!(edges(&[], &[]).unwrap_err().to_string(), "no edge is up");
    }
}
