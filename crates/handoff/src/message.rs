//! What coordinator, edges and client say to each other during a hand-off.
//!
//! Orders are idempotent: repeated, they are answered again. Answers say how things stand, not what
//! changed, so that the newest makes all before it superfluous.

use gibbon_media::{Description, GroupId, HandoffId, NodeId, SessionId, StreamName};
use serde::{Deserialize, Serialize};

use crate::Source;

/// Counts the starts of the coordinator. Kept on its disk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

/// Names one order and says which of two is older: first by term, then by step. The hand-off takes no
/// part in it, for steps are counted on through all hand-offs of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderId {
    /// Under which start of the coordinator.
    pub term: Term,
    /// Counts the orders about one session within a term.
    pub step: u64,
    /// The hand-off it belongs to.
    pub handoff: HandoffId,
}

/// What the coordinator tells an edge, itself or through the first edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToEdge {
    /// Fetch a description ahead of the client.
    Prefetch {
        /// The order.
        order: OrderId,
        /// For whom.
        session: SessionId,
        /// Of what.
        stream: StreamName,
        /// Which description.
        description: Description,
        /// From where.
        fetch: Source,
        /// The edge that delivers it now.
        first_edge: NodeId,
    },
    /// The hand-off has ended: forget what was prefetched and not taken up, free what is kept reserved.
    Release {
        /// The order.
        order: OrderId,
        /// For whom.
        session: SessionId,
    },
}

/// What an edge answers, the way the order came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromEdge {
    /// It can deliver a description.
    Ready {
        /// The order to prefetch.
        order: OrderId,
        /// Which description.
        description: Description,
        /// The first group that it will receive from its beginning and that has not begun.
        group: GroupId,
    },
    /// Its regular upstream carries a description: nothing depends on the first edge any more.
    Settled {
        /// The order to prefetch.
        order: OrderId,
        /// Which description.
        description: Description,
    },
    /// It will not deliver a description.
    Refused {
        /// The order to prefetch.
        order: OrderId,
        /// Why not.
        reason: Reason,
    },
}

/// What the coordinator tells the client, over any live session stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// Take a description from a new edge: add it there, then end it at the old one.
    Attach {
        /// The order.
        order: OrderId,
        /// Which description.
        description: Description,
        /// The edge that delivers it now.
        from: NodeId,
        /// The edge that is to deliver it.
        to: NodeId,
        /// The first group to take from the new edge; if it has begun, the client takes the next.
        start: GroupId,
    },
    /// Take a description from its old edge again, in the same manner.
    Return {
        /// The order.
        order: OrderId,
        /// Which description.
        description: Description,
        /// The old edge.
        to: NodeId,
    },
    /// Close the connection to an edge that delivers nothing any more.
    Finish {
        /// The order.
        order: OrderId,
        /// The edge.
        edge: NodeId,
    },
}

/// How the client has carried out its newest order so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The new edge delivers in time and the old leg has been told to end; probation begins.
    Attached {
        /// The order.
        order: OrderId,
        /// Which description.
        description: Description,
        /// The edge that delivers it.
        edge: NodeId,
        /// The first group taken from it.
        start: GroupId,
    },
    /// The description stays where the order wanted it: probation is passed, or it is back.
    Held {
        /// The order.
        order: OrderId,
        /// Which description.
        description: Description,
    },
    /// The order is over and undone. Where the description is delivered now stands in the report.
    RolledBack {
        /// The order.
        order: OrderId,
        /// Which description.
        description: Description,
        /// Why.
        reason: Reason,
    },
    /// The connection is closed.
    Finished {
        /// The order.
        order: OrderId,
        /// The edge it led to.
        edge: NodeId,
    },
    /// The connection stays open, for the edge delivers something.
    Kept {
        /// The order.
        order: OrderId,
        /// The edge it leads to.
        edge: NodeId,
    },
}

/// Where the client's legs are. Sent at every change, and by the shell at each reporting interval.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Grows with every change: an older report never overrides a newer one.
    pub revision: u64,
    /// The edge that delivers each description; none while it is being recovered.
    pub legs: [Option<NodeId>; 2],
    /// The newest order taken, from which a restarted coordinator learns what was under way.
    pub order: Option<ToClient>,
    /// The answer to it, once there is one.
    pub answer: Option<FromClient>,
}

/// Why something did not go as ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The new edge has no capacity left, or is being emptied.
    Full,
    /// The new edge cannot fetch the description from anywhere.
    NoSource,
    /// The new edge was not ready in time.
    PrefetchTimedOut,
    /// The client did not answer.
    ClientSilent,
    /// The new edge did not get the description from its regular upstream.
    NotSettled,
    /// The new edge was lost before it was used.
    EdgeLost,
    /// The client left a new edge again after it had passed probation.
    Strayed,
    /// The session ended.
    SessionGone,
    /// Frames came too close to their deadlines.
    Late,
    /// No byte came for too long.
    Starved,
    /// Too many frames were lost, or too many packets of them.
    Lossy,
    /// Frames came too unevenly.
    Jittery,
    /// The new edge did not deliver in time within one group of the start.
    NotInTime,
    /// The edge refused or ended the subscription.
    Rejected,
    /// The connection was lost.
    Closed,
    /// The description was not at the edge it was to be taken from.
    Elsewhere,
    /// The client keeps the connection to the old edge, for a leg is there.
    StillHeld,
}

impl ToEdge {
    /// Which order it is.
    pub fn order(&self) -> OrderId {
        match self {
            ToEdge::Prefetch { order, .. } | ToEdge::Release { order, .. } => *order,
        }
    }
}

impl FromEdge {
    /// The order it answers.
    pub fn order(&self) -> OrderId {
        match self {
            FromEdge::Ready { order, .. }
            | FromEdge::Settled { order, .. }
            | FromEdge::Refused { order, .. } => *order,
        }
    }
}

impl ToClient {
    /// Which order it is.
    pub fn order(&self) -> OrderId {
        match self {
            ToClient::Attach { order, .. }
            | ToClient::Return { order, .. }
            | ToClient::Finish { order, .. } => *order,
        }
    }
}

impl FromClient {
    /// The order it answers.
    pub fn order(&self) -> OrderId {
        match self {
            FromClient::Attached { order, .. }
            | FromClient::Held { order, .. }
            | FromClient::RolledBack { order, .. }
            | FromClient::Finished { order, .. }
            | FromClient::Kept { order, .. } => *order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(term: u64, step: u64, handoff: u64) -> OrderId {
        OrderId { term: Term(term), step, handoff: HandoffId(handoff) }
    }

    #[test]
    fn an_order_is_older_by_term_and_then_by_step_whatever_its_hand_off() {
        assert!(order(1, 9, 9) < order(2, 0, 0));
        assert!(order(1, 1, 9) < order(1, 2, 0));
    }

    #[test]
    fn messages_are_tagged_json() {
        let attach = ToClient::Attach {
            order: order(1, 2, 3),
            description: Description::One,
            from: "edge-a".parse().unwrap(),
            to: "edge-b".parse().unwrap(),
            start: GroupId(7),
        };
        let json = serde_json::to_string(&attach).unwrap();
        assert_eq!(
            json,
            r#"{"type":"attach","order":{"term":1,"step":2,"handoff":"0000000000000003"},"description":1,"from":"edge-a","to":"edge-b","start":7}"#
        );
        assert_eq!(serde_json::from_str::<ToClient>(&json).unwrap(), attach);
    }
}
