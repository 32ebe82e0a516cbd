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
    leaving::{End, Leaving, carried_by},
};

/// Exit code where the deadline cut legs or components.
const CUT: u8 = 3;
/// A node that was restarted is to be back by then.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// How an edge or worker is emptied.
#[derive(clap::Args)]
pub struct Pace {
    /// What is left then is cut: viewers at an edge cross to a standby by themselves
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    deadline: Duration,
    /// Sessions (or components) begun to be moved per second, at most
    #[arg(long, default_value_t = 20.0, value_name = "N")]
    rate: f64,
}

/// `gibbonctl drain`.
#[derive(clap::Args)]
pub struct Drain {
    /// The edge or worker; `gibbonctl nodes` lists them
    node: NodeId,
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
    /// The edge or worker
    node: NodeId,
}

/// `gibbonctl rolling-restart`.
#[derive(clap::Args)]
pub struct RollingRestart {
    /// Which edges and workers, in this order [default: all edges that are up, by name]
    #[arg(long, alias = "edges", value_delimiter = ',', value_name = "NODE,NODE…")]
    nodes: Vec<NodeId>,
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

/// Has a node emptied, and follows it to its end.
pub fn drain(json: bool, portal: &Portal, drain: &Drain) -> anyhow::Result<ExitCode> {
    let (node, talk) = (&drain.node, Talk { json });
    let begun = Instant::now();
    let info = portal.drain(node, &drain.pace.request(drain.stay))?;
    if drain.no_wait {
        talk.say(&format!("{node} is being emptied: {}", carried(&info)))?;
        return if json { print_json(&info) } else { Ok(ExitCode::SUCCESS) };
    }
    talk.say(&format!(
        "{node} is being emptied: {}. Ctrl-C stops this waiting, not the drain; \
         `gibbonctl undrain {node}` takes it back",
        carried(&info)
    ))?;
    let end = wait(portal, &talk, Leaving::new(&info, drain.pace.deadline, drain.stay), node)?;
    let cut = ended(&talk, &info, end, begun.elapsed())?;
    if json {
        let took_ms = begun.elapsed().as_millis() as u64;
        let outcome = if end == End::Empty { "empty" } else { "left" };
        print_json(&json!({"node": node, "outcome": outcome, "cut": cut, "took_ms": took_ms}))?;
    }
    Ok(if cut == 0 { ExitCode::SUCCESS } else { ExitCode::from(CUT) })
}

/// Takes a drain back.
pub fn undrain(json: bool, portal: &Portal, undrain: &Undrain) -> anyhow::Result<ExitCode> {
    portal.undrain(&undrain.node)?;
    Talk { json }.say(&format!("{} is wanted again", undrain.node))?;
    Ok(ExitCode::SUCCESS)
}

/// Drains one node after the other, each to be started again before the next one's turn.
pub fn rolling_restart(
    json: bool,
    portal: &Portal,
    restart: &RollingRestart,
) -> anyhow::Result<ExitCode> {
    let talk = Talk { json };
    let nodes = nodes(&restart.nodes, &portal.nodes()?)?;
    let (mut done, mut cut) = (Vec::new(), 0);
    for (n, node) in nodes.iter().enumerate() {
        let begun = Instant::now();
        let info = portal.drain(node, &restart.pace.request(false)).with_context(|| {
            format!("stopped at {node}, {n} of {} nodes restarted", nodes.len())
        })?;
        talk.say(&format!("{node} ({} of {}): {}", n + 1, nodes.len(), carried(&info)))?;
        let end = wait(portal, &talk, Leaving::new(&info, restart.pace.deadline, false), node)?;
        cut += ended(&talk, &info, end, begun.elapsed())?;
        if cut > 0 {
            break;
        }
        back(portal, node, info.registered_us)?;
        talk.say(&format!(
            "{node} is back, {:.1} s after its turn began",
            begun.elapsed().as_secs_f64()
        ))?;
        done.push(node);
    }
    talk.say(&format!("{} of {} nodes restarted", done.len(), nodes.len()))?;
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

/// The nodes asked for, if they can be emptied; else all edges that are up.
fn nodes(asked: &[NodeId], known: &[NodeInfo]) -> anyhow::Result<Vec<NodeId>> {
    let up = |roles: &[Role]| -> Vec<NodeId> {
        let up = known.iter().filter(|node| node.up && roles.contains(&node.role));
        up.map(|node| node.id.clone()).collect()
    };
    let may_leave = up(&[Role::Edge, Role::Worker]);
    if let Some(missing) = asked.iter().find(|node| !may_leave.contains(node)) {
        bail!("{missing} is no edge or worker that is up; `gibbonctl nodes` lists them");
    }
    let nodes = if asked.is_empty() { up(&[Role::Edge]) } else { asked.to_vec() };
    ensure!(!nodes.is_empty(), "no edge is up");
    Ok(nodes)
}

/// Follows a node until it has left or is empty.
fn wait(portal: &Portal, talk: &Talk, mut leaving: Leaving, id: &NodeId) -> anyhow::Result<End> {
    let begun = Instant::now();
    let mut progress = Progress::default();
    loop {
        let nodes = patiently(|| portal.nodes())?;
        let node = nodes.iter().find(|node| node.id == *id);
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

/// What has been said of a node that is being emptied.
#[derive(Default)]
struct Progress {
    carried: Option<(u32, u32)>,
    /// The most sessions, or components, that it was seen to serve.
    most: u32,
}

impl Progress {
    fn is_new(&mut self, node: &NodeInfo) -> bool {
        let carried = Some((carried_by(node), node.downstreams));
        std::mem::replace(&mut self.carried, carried) != carried
    }

    fn line(&mut self, node: &NodeInfo, sessions: &[SessionInfo]) -> String {
        let (left, what) = match node.role {
            Role::Worker => (carried_by(node), COMPONENT),
            _ => (
                sessions
                    .iter()
                    .filter(|s| s.edges.iter().flatten().any(|at| *at == node.id))
                    .count() as u32,
                "session",
            ),
        };
        self.most = self.most.max(left);
        let moved = self.most - left;
        let mut line =
            format!("  {} left, {moved} of {} moved", carried(node), counted(self.most, what));
        if node.downstreams > 0 {
            line += &format!(", {} of other nodes", counted(node.downstreams, "subscription"));
        }
        line
    }
}

/// What a worker carries.
const COMPONENT: &str = "component";

/// What nodes of this role carry.
fn load_of(role: Role) -> &'static str {
    if role == Role::Worker { COMPONENT } else { "leg" }
}

/// What a node carries, counted.
fn carried(node: &NodeInfo) -> String {
    counted(carried_by(node), load_of(node.role))
}

/// A number of things.
fn counted(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Says how a node left; returns how many legs or components were cut.
fn ended(talk: &Talk, node: &NodeInfo, end: End, took: Duration) -> anyhow::Result<u32> {
    let (id, took) = (&node.id, took.as_secs_f64());
    let counted = |number| counted(number, load_of(node.role));
    match end {
        End::Empty => talk.say(&format!("{id} is empty after {took:.1} s, and stays"))?,
        End::Left { cut: 0 } => talk.say(&format!("{id} left empty after {took:.1} s"))?,
        End::Left { cut } => {
            let cut_off = counted(cut);
            talk.say(&format!("{id} left at its deadline and cut {cut_off}; its log names them"))?;
            return Ok(cut);
        }
        End::Lost { carried } => bail!(
            "{id} is not heard of any more, with {}: it was killed, or is cut off from the coordinator",
            counted(carried)
        ),
        End::TakenBack => bail!("somebody took the drain of {id} back"),
        End::Overdue => bail!("{id} is still there long after its deadline; see its log"),
    }
    Ok(0)
}

/// Waits until a node that has left is here again: a new process, empty, that reports.
fn back(portal: &Portal, id: &NodeId, registered_us: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let nodes = patiently(|| portal.nodes())?;
        let is_back = |node: &&NodeInfo| {
            node.id == *id
                && node.up
                && node.registered_us != registered_us
                && node.draining.is_none()
        };
        if nodes.iter().any(|node| is_back(&node)) {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < BACK_WITHIN,
            "{id} left empty and is not back after {} s: does a supervisor restart it?",
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
    fn nodes_are_restarted_in_the_order_given() {
        let arguments = ["gibbonctl", "rolling-restart", "--edges", "edge-b,edge-a"];
        let Ok(Options::RollingRestart(restart)) = Options::try_parse_from(arguments) else {
            panic!()
        };
        assert_eq!(restart.nodes, ["edge-b", "edge-a"].map(|edge| edge.parse().unwrap()));
        let error = nodes(&restart.nodes, &[]).unwrap_err().to_string();
        assert!(error.starts_with("edge-b is no edge or worker that is up"), "{error}");
        assert_eq!(nodes(&[], &[]).unwrap_err().to_string(), "no edge is up");
    }
}
