//! What a hand-off is to do, and how it can end.

use std::fmt;

use gibbon_media::{Description, HandoffId, NodeId, SessionId, StreamName};
use serde::{Deserialize, Serialize};

use crate::{Reason, Term};

/// One hand-off: the legs of one session that are to move, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The hand-off.
    pub handoff: HandoffId,
    /// Whose legs move.
    pub session: SessionId,
    /// What the session watches.
    pub stream: StreamName,
    /// The coordinator's term, under which all orders are given.
    pub term: Term,
    /// The step of the first order: above every step given to this session in this term before
    /// (see [`Executor::next_step`](crate::coordinator::Executor::next_step)).
    pub first_step: u64,
    /// Why it is done.
    pub cause: Cause,
    /// Who sends the prefetch information to the new edge.
    pub prefetch_info: InfoSender,
    /// One or two moves of different descriptions, description 1 first.
    pub moves: Vec<Move>,
}

/// One leg from one edge to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Move {
    /// What moves.
    pub description: Description,
    /// The edge that delivers it now.
    pub from: NodeId,
    /// The edge that is to deliver it.
    pub to: NodeId,
    /// Where the new edge prefetches it from.
    pub fetch: Source,
}

/// Where the new edge fetches a description from until its own upstream carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the edge that delivers it now: a bootstrap, ended at a group boundary.
    FirstEdge,
    /// From its regular upstream at once.
    Origin,
}

/// Who sends the prefetch information to the new edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfoSender {
    /// The coordinator itself.
    Coordinator,
    /// The edge that delivers now, told to by the coordinator; answers come back through it.
    FirstEdge,
}

/// Why legs are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Operator,
    /// The old edge is being emptied.
    Drain,
    /// The network between client and edge got worse, or is about to.
    Network,
    /// The old edge carries too much.
    Load,
    /// The client moved.
    Location,
    /// Planned work at the old edge.
    Maintenance,
    /// The old edge failed.
    Failure,
}

impl Cause {
    /// Every one.
    pub const ALL: [Cause; 7] = [
        Cause::Operator,
        Cause::Drain,
        Cause::Network,
        Cause::Load,
        Cause::Location,
        Cause::Maintenance,
        Cause::Failure,
    ];

    /// The word for it in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Operator => "operator",
            Cause::Drain => "drain",
            Cause::Network => "network",
            Cause::Load => "load",
            Cause::Location => "location",
            Cause::Maintenance => "maintenance",
            Cause::Failure => "failure",
        }
    }
}

/// How a hand-off ended. It always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// Every leg is delivered by its new edge out of its regular upstream; connections left without a
    /// leg are closed.
    Completed,
    /// Every leg is back where it was.
    RolledBack {
        /// What went wrong.
        reason: Reason,
    },
    /// Neither; the legs are where the client says.
    Failed {
        /// What went wrong.
        reason: Reason,
    },
}

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPlan {
    /// There is nothing to move, or more than two moves.
    Moves,
    /// Two moves of one description, or description 0 before description 1.
    Order,
    /// A move from an edge to itself.
    Nowhere,
}

impl fmt::Display for InvalidPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPlan::Moves => "a hand-off has one move or two",
            InvalidPlan::Order => {
                "a hand-off moves description 1 first, then description 0, once each"
            }
            InvalidPlan::Nowhere => "a move goes from one edge to another",
        })
    }
}

impl std::error::Error for InvalidPlan {}

impl Plan {
    /// Whether the plan can be carried out.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        if !(1..=2).contains(&self.moves.len()) {
            return Err(InvalidPlan::Moves);
        }
        if self.moves.windows(2).any(|pair| pair[0].description <= pair[1].description) {
            return Err(InvalidPlan::Order);
        }
        if self.moves.iter().any(|leg| leg.from == leg.to) {
            return Err(InvalidPlan::Nowhere);
        }
        Ok(())
    }

    /// Every edge that takes part, each once.
    pub fn edges(&self) -> Vec<NodeId> {
        let mut edges: Vec<_> =
            self.moves.iter().flat_map(|leg| [leg.from.clone(), leg.to.clone()]).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}
