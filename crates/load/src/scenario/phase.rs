//! What happens in a scenario, one phase after the other.

use anyhow::{bail, ensure};
use gibbon_media::NodeId;
use gibbon_testbed::{Direction, Impairment, Party, Which};
use serde::Deserialize;

use super::Scenario;

/// A phase: what happens, and what it is called in reports.
#[derive(Debug, Deserialize)]
pub struct Phase {
    /// What it is called; its kind by default.
    #[serde(default)]
    pub name: Option<String>,
    /// What happens.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What happens. Times are in seconds.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Sessions begin.
    Ramp {
        /// How many.
        sessions: u32,
        /// Evenly over this time.
        #[serde(default)]
        over_s: f64,
        /// At this edge; the coordinator chooses otherwise.
        #[serde(default)]
        edge: Option<NodeId>,
    },
    /// Nothing.
    Hold {
        /// For so long.
        for_s: f64,
        /// Delays count from its beginning: those before are forgotten.
        #[serde(default)]
        anew: bool,
    },
    /// Waits until every session has both legs and nothing is under way.
    Settle {
        /// Longer is a failure.
        #[serde(default = "thirty")]
        within_s: f64,
    },
    /// Sessions are handed off, those of decoding players among them.
    Storm {
        /// So many; all by default.
        #[serde(default)]
        sessions: Option<u32>,
        /// The orders are given evenly over this time.
        #[serde(default)]
        over_s: f64,
        /// All are over within this time from the first order on; later is a failure.
        #[serde(default = "thirty")]
        within_s: f64,
        /// Where to; the coordinator chooses otherwise.
        #[serde(default)]
        to: Option<NodeId>,
    },
    /// An edge is emptied, and taken back into service.
    Drain {
        /// Which.
        edge: NodeId,
        /// What is left then is cut.
        #[serde(default = "sixty")]
        deadline_s: f64,
        /// Sessions begun to be moved per second, at most.
        #[serde(default = "rate")]
        rate: f64,
    },
    /// One after the other, edges are told to end (SIGTERM), drain, and are started again.
    RollingRestart {
        /// Which; all by default.
        #[serde(default)]
        edges: Vec<NodeId>,
        /// One that takes longer to drain is a failure.
        #[serde(default = "sixty")]
        deadline_s: f64,
    },
    /// A node is killed (SIGKILL), and started again.
    Kill {
        /// Which.
        node: NodeId,
        /// After so long.
        for_s: f64,
    },
    /// A node is stopped where it stands (SIGSTOP), and goes on.
    Freeze {
        /// Which.
        node: NodeId,
        /// After so long.
        for_s: f64,
    },
    /// The coordinator is killed, and started again.
    CoordinatorDown {
        /// After so long.
        for_s: f64,
    },
    /// A path to a node gets worse for a while.
    Impair {
        /// Whose.
        node: NodeId,
        /// Which of its paths: access, or control.
        #[serde(default = "access")]
        path: Which,
        /// to_target, to_client or both.
        #[serde(default = "both")]
        direction: Direction,
        /// How.
        #[serde(default)]
        impairment: Impairment,
        /// For so long.
        for_s: f64,
    },
    /// Two parties (a node, clients, coordinator) do not reach each other for a while.
    Partition {
        /// One.
        from: Party,
        /// The other.
        to: Party,
        /// Only what the first sends is lost.
        #[serde(default)]
        one_way: bool,
        /// For so long.
        for_s: f64,
    },
    /// Sessions appear under another address, as phones do that change networks.
    AddressChange {
        /// So many; all by default.
        #[serde(default)]
        sessions: Option<u32>,
    },
    /// Faults by a seed: edges, the coordinator and paths fail and come back, sessions are handed off.
    Chaos {
        /// For so long.
        for_s: f64,
        /// The same seed, the same faults.
        seed: u64,
    },
    /// Searches the most sessions at which the delay of delivery stays below a bound.
    Capacity {
        /// Begins with so many.
        from: u32,
        /// Ends there.
        to: u32,
        /// The bound: 99 of 100 frames come within this time, in ms.
        delay_p99_ms: f64,
        /// Each number is measured for so long.
        #[serde(default = "five")]
        for_s: f64,
    },
}

fn five() -> f64 {
    5.0
}

fn thirty() -> f64 {
    30.0
}

fn sixty() -> f64 {
    60.0
}

fn rate() -> f64 {
    20.0
}

fn access() -> Which {
    Which::Access
}

fn both() -> Direction {
    Direction::Both
}

/// What a phase needs of the network.
#[derive(Debug)]
enum Needs {
    Nothing,
    Processes,
    Paths,
}

impl Kind {
    /// The word for it in scenario files.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Ramp { .. } => "ramp",
            Kind::Hold { .. } => "hold",
            Kind::Settle { .. } => "settle",
            Kind::Storm { .. } => "storm",
            Kind::Drain { .. } => "drain",
            Kind::RollingRestart { .. } => "rolling_restart",
            Kind::Kill { .. } => "kill",
            Kind::Freeze { .. } => "freeze",
            Kind::CoordinatorDown { .. } => "coordinator_down",
            Kind::Impair { .. } => "impair",
            Kind::Partition { .. } => "partition",
            Kind::AddressChange { .. } => "address_change",
            Kind::Chaos { .. } => "chaos",
            Kind::Capacity { .. } => "capacity",
        }
    }

    /// Sessions that begin in it.
    pub fn sessions(&self) -> u32 {
        match self {
            Kind::Ramp { sessions, .. } => *sessions,
            Kind::Capacity { to, .. } => *to,
            _ => 0,
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Kind::Ramp { .. }
            | Kind::Hold { .. }
            | Kind::Settle { .. }
            | Kind::Storm { .. }
            | Kind::Drain { .. }
            | Kind::AddressChange { .. }
            | Kind::Capacity { .. } => Needs::Nothing,
            Kind::RollingRestart { .. }
            | Kind::Kill { .. }
            | Kind::Freeze { .. }
            | Kind::CoordinatorDown { .. } => Needs::Processes,
            Kind::Impair { .. } | Kind::Partition { .. } | Kind::Chaos { .. } => Needs::Paths,
        }
    }

    /// All times and rates in it, which must be within bounds.
    fn numbers(&self) -> Vec<f64> {
        match self {
            Kind::Ramp { over_s, .. } => vec![*over_s],
            Kind::Storm { over_s, within_s, .. } => vec![*over_s, *within_s],
            Kind::Settle { within_s } => vec![*within_s],
            Kind::Drain { deadline_s, rate, .. } => vec![*deadline_s, *rate],
            Kind::RollingRestart { deadline_s, .. } => vec![*deadline_s],
            Kind::Hold { for_s, .. }
            | Kind::Kill { for_s, .. }
            | Kind::Freeze { for_s, .. }
            | Kind::CoordinatorDown { for_s }
            | Kind::Impair { for_s, .. }
            | Kind::Partition { for_s, .. }
            | Kind::Chaos { for_s, .. } => vec![*for_s],
            Kind::Capacity { for_s, delay_p99_ms, .. } => vec![*for_s, *delay_p99_ms],
            Kind::AddressChange { .. } => Vec::new(),
        }
    }

    fn nodes(&self) -> Vec<&NodeId> {
        match self {
            Kind::Ramp { edge, .. } => edge.iter().collect(),
            Kind::Storm { to, .. } => to.iter().collect(),
            Kind::Drain { edge, .. } => vec![edge],
            Kind::RollingRestart { edges, .. } => edges.iter().collect(),
            Kind::Kill { node, .. } | Kind::Freeze { node, .. } | Kind::Impair { node, .. } => {
                vec![node]
            }
            Kind::Partition { from, to, .. } => {
                [from, to].into_iter().filter_map(node_of).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn node_of(party: &Party) -> Option<&NodeId> {
    match party {
        Party::Node(node) => Some(node),
        Party::Coordinator | Party::Clients => None,
    }
}

/// No time in a scenario is longer, in seconds, and no rate higher.
const MAX_NUMBER: f64 = 86_400.0;

impl Phase {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.word())
    }

    pub(super) fn check(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let (kind, network) = (&self.kind, &scenario.network);
        if let Some(odd) = kind.numbers().into_iter().find(|n| !(0.0..=MAX_NUMBER).contains(n)) {
            bail!("{odd} is not between 0 and {MAX_NUMBER}");
        }
        if let Kind::Capacity { from, to, .. } = kind {
            ensure!((1..=*to).contains(from), "from is at least 1 and at most to");
        }
        match (kind.needs(), network) {
            (Needs::Nothing, _) => {}
            (_, None) => {
                bail!("needs the network's processes: it runs only on a [network] started here")
            }
            (Needs::Paths, Some(network)) if !network.paths => {
                bail!("needs paths that can be hurt: set paths = true under [network]");
            }
            (Needs::Processes | Needs::Paths, Some(_)) => {}
        }
        let unknown = |network: &super::NetworkPlan| {
            kind.nodes().into_iter().find(|node| !network.has(node)).cloned()
        };
        if let Some(node) = network.as_ref().and_then(unknown) {
            bail!("there is no node {node}");
        }
        Ok(())
    }
}
