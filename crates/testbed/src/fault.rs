//! The fault engine: everything that tests, the chaos runner and the harness do to a network.

use std::fmt;

use anyhow::{Context, bail};
use gibbon_control::portal::{DrainRequest, HandoffRequest};
use gibbon_media::{NodeId, SessionId};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{COORDINATOR, Direction, Impairment, Log, Network, Path, Whose};

/// One thing that happens to a network, or that an operator does. What lasts is two faults in a schedule:
/// its begin and its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A player's session is handed off.
    HandOff {
        /// The player's name.
        player: String,
        /// Where to; without it the coordinator selects the edge.
        to: Option<NodeId>,
    },
    /// An edge is drained, and exits when it is empty.
    Drain {
        /// Which.
        edge: NodeId,
        /// What is left then is cut, in ms.
        deadline_ms: u64,
    },
    /// A drain is taken back.
    Undrain {
        /// Which edge's.
        edge: NodeId,
    },
    /// SIGTERM.
    Terminate {
        /// A node, or the coordinator.
        node: NodeId,
    },
    /// SIGKILL. It stays dead until `Restart`.
    Kill {
        /// A node, or the coordinator.
        node: NodeId,
    },
    /// It is started again, on its former port.
    Restart {
        /// A node, or the coordinator.
        node: NodeId,
    },
    /// SIGSTOP.
    Freeze {
        /// A node, or the coordinator.
        node: NodeId,
    },
    /// SIGCONT.
    Wake {
        /// A node, or the coordinator.
        node: NodeId,
    },
    /// Nothing gets from one to the other any more.
    Partition(Partition),
    /// The end of a `Partition`.
    Heal(Partition),
    /// A path is impaired, in place of what impaired it before.
    Impair {
        /// Whose path.
        node: NodeId,
        /// Which of its paths.
        path: Which,
        /// Which way.
        direction: Direction,
        /// How; `{}` for no longer.
        impairment: Impairment,
    },
    /// Whoever uses the path appears at its end under another address: QUIC migration.
    Rebind {
        /// Whose path.
        node: NodeId,
        /// Which of its paths.
        path: Which,
    },
    /// What the coordinator has on disk is deleted.
    DeleteStore,
}

/// One of a node's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// By which clients and other nodes reach it.
    Access,
    /// By which it reaches the coordinator.
    Control,
}

/// Who can be cut off from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Party {
    /// The coordinator, as nodes see it.
    Coordinator,
    /// All clients.
    Clients,
    /// An edge or an origin.
    Node(NodeId),
}

impl From<String> for Party {
    fn from(name: String) -> Self {
        match (name.as_str(), name.parse()) {
            (COORDINATOR, _) => Party::Coordinator,
            (CLIENTS, _) | (_, Err(_)) => Party::Clients,
            (_, Ok(id)) => Party::Node(id),
        }
    }
}

impl From<Party> for String {
    fn from(party: Party) -> String {
        party.to_string()
    }
}

const CLIENTS: &str = "clients";

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Coordinator => f.write_str(COORDINATOR),
            Party::Clients => f.write_str(CLIENTS),
            Party::Node(id) => id.fmt(f),
        }
    }
}

/// Two parties that are cut off from each other. The network needs a path between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Nothing that this one sends …
    pub from: Party,
    /// … reaches this one,
    pub to: Party,
    /// nor the other way, unless this is true.
    pub one_way: bool,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, one_way } = self;
        match one_way {
            true => write!(f, "what {from} sends to {to}"),
            false => write!(f, "{from} and {to}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::HandOff { player, to: Some(to) } => write!(f, "hand {player} off to {to}"),
            Fault::HandOff { player, to: None } => write!(f, "hand {player} off"),
            Fault::Drain { edge, .. } => write!(f, "drain {edge}"),
            Fault::Undrain { edge } => write!(f, "take the drain of {edge} back"),
            Fault::Terminate { node } => write!(f, "SIGTERM to {node}"),
            Fault::Kill { node } => write!(f, "kill {node}"),
            Fault::Restart { node } => write!(f, "start {node} again"),
            Fault::Freeze { node } => write!(f, "freeze {node}"),
            Fault::Wake { node } => write!(f, "wake {node}"),
            Fault::Partition(partition) => write!(f, "cut {partition}"),
            Fault::Heal(partition) => write!(f, "mend {partition}"),
            Fault::Impair { node, path, direction, impairment } => {
                write!(f, "{impairment} on the {path} path of {node}, {direction}")
            }
            Fault::Rebind { node, path } => {
                write!(f, "new addresses on the {path} path of {node}")
            }
            Fault::DeleteStore => f.write_str("delete the coordinator's store"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::Access => "access",
            Which::Control => "control",
        })
    }
}

impl Network {
    /// Makes `fault` happen. Returns once it has: a restarted process is up, a drain or hand-off has begun.
    pub fn inflict(&self, fault: &Fault) -> anyhow::Result<()> {
        self.try_inflict(fault).with_context(|| format!("cannot {fault}"))
    }

    fn try_inflict(&self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::HandOff { player, to } => {
                let request = HandoffRequest { to: to.clone(), ..HandoffRequest::default() };
                self.portal.handoff(self.session_of(player)?, &request).map(drop)
            }
            Fault::Drain { edge, deadline_ms } => {
                let request = DrainRequest { deadline_ms: *deadline_ms, ..DrainRequest::default() };
                self.portal.drain(edge, &request).map(drop)
            }
            Fault::Undrain { edge } => self.portal.undrain(edge),
            Fault::Terminate { node } => self.node(node.as_str())?.signal(Signal::TERM),
            Fault::Kill { node } => self.kill(node.as_str()),
            Fault::Restart { node } => self.restart(node.as_str()),
            Fault::Freeze { node } => self.freeze(node.as_str()),
            Fault::Wake { node } => self.wake(node.as_str()),
            Fault::Partition(partition) => {
                let cuts = self.cuts(partition)?.into_iter();
                cuts.for_each(|(path, whose, direction)| path.cut_off(whose, direction));
                Ok(())
            }
            Fault::Heal(partition) => {
                let cuts = self.cuts(partition)?.into_iter();
                cuts.for_each(|(path, whose, direction)| path.mend(whose, direction));
                Ok(())
            }
            Fault::Impair { node, path, direction, impairment } => {
                self.path(node, *path)?.impair(*direction, impairment);
                Ok(())
            }
            Fault::Rebind { node, path } => {
                self.path(node, *path)?.rebind();
                Ok(())
            }
            Fault::DeleteStore => self.delete_store(),
        }
    }

    fn path(&self, node: &NodeId, which: Which) -> anyhow::Result<&Path> {
        match which {
            Which::Access => self.access_path(node.as_str()),
            Which::Control => self.control_path(node.as_str()),
        }
    }

    /// The session that a player was granted last.
    pub fn session_of(&self, player: &str) -> anyhow::Result<SessionId> {
        let log = Log::read(&self.folder().join(format!("{player}.log")));
        let granted = log.with("session granted").last();
        let session = granted.and_then(|line| line.text("session")?.parse().ok());
        session.with_context(|| format!("{player} has no session"))
    }

    /// What a partition cuts: of which path, whose datagrams, which way.
    fn cuts(&self, partition: &Partition) -> anyhow::Result<Vec<(&Path, Whose, Direction)>> {
        let Partition { from, to, one_way } = partition;
        // Seen from the first party as the client of the path.
        let there = if *one_way { Direction::ToTarget } else { Direction::Both };
        let back = there.reversed();
        Ok(match (from, to) {
            (Party::Node(node), Party::Coordinator) => {
                vec![(self.control_path(node.as_str())?, Whose::All, there)]
            }
            (Party::Coordinator, Party::Node(node)) => {
                vec![(self.control_path(node.as_str())?, Whose::All, back)]
            }
            (Party::Clients, Party::Node(node)) => {
                let clients = Whose::Except(self.addresses());
                vec![(self.access_path(node.as_str())?, clients, there)]
            }
            (Party::Node(node), Party::Clients) => {
                let clients = Whose::Except(self.addresses());
                vec![(self.access_path(node.as_str())?, clients, back)]
            }
            // Either may have opened the connection.
            (Party::Node(one), Party::Node(other)) => {
                let (one, other) = (one.as_str(), other.as_str());
                vec![
                    (self.access_path(other)?, Whose::Only(self.address(one)?), there),
                    (self.access_path(one)?, Whose::Only(self.address(other)?), back),
                ]
            }
            _ => bail!("no path leads from {from} to {to}"),
        })
    }

    /// Ends every partition and impairment.
    pub fn heal_paths(&self) {
        for path in self.all_paths() {
            path.mend_all();
            path.impair(Direction::Both, &Impairment::none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_in_plain_words_and_read_back() {
        let edge = || "edge-a".parse::<NodeId>().unwrap();
        let partition =
            Partition { from: Party::Node(edge()), to: Party::Coordinator, one_way: true };
        let impairment = Impairment::none().jitter(30).rate_kbps(500);
        for (fault, words) in [
            (Fault::Kill { node: edge() }, "kill edge-a"),
            (
                Fault::HandOff { player: "player-1".into(), to: Some(edge()) },
                "hand player-1 off to edge-a",
            ),
            (Fault::Partition(partition.clone()), "cut what edge-a sends to coordinator"),
            (
                Fault::Heal(Partition { from: Party::Clients, one_way: false, ..partition }),
                "mend clients and coordinator",
            ),
            (
                Fault::Impair {
                    node: edge(),
                    path: Which::Access,
                    direction: Direction::ToClient,
                    impairment,
                },
                "30 ± 30 ms, 500 kbit/s on the access path of edge-a, from the target",
            ),
            (Fault::DeleteStore, "delete the coordinator's store"),
        ] {
            assert_eq!(fault.to_string(), words);
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
        }
    }
}
