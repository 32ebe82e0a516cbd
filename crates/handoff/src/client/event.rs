//! What the hands are told, and what they want done.

use gibbon_media::{Description, GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::{OrderId, Reason, Report, ToClient, timers::ClientTimer as Timer};

/// Where a leg begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the live edge, in the middle of a group if need be.
    Live,
    /// At the beginning of a group.
    At(GroupId),
}

/// What the hands are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An order from the coordinator.
    Order {
        /// The order.
        order: ToClient,
        /// The first group of the order's description that has not begun (any, for
        /// [`ToClient::Finish`]).
        next: GroupId,
    },
    /// An edge's frames of a description, from the start of the leg on, arrive at least half a playout
    /// delay before their deadlines. May be repeated. Also told of the leg of a description that is
    /// [idle](super::Hands::is_idle), once nothing is wrong with it any more.
    InTime {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// An edge's leg is bad. Repeated for as long as it lasts. A leg on probation goes back to where it
    /// was; one past probation is recovered elsewhere, so the shell tells of it only what cannot be
    /// borne.
    Bad {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// In what way: late, lossy, jittery or starved.
        reason: Reason,
    },
    /// An edge refused or ended a leg, or could not be reached.
    Rejected {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// The connection to an edge was lost, and all legs with it.
    Closed {
        /// The edge.
        edge: NodeId,
    },
    /// An edge wants to be left. The shell tells each time that the edge says so, and repeats it with
    /// fresh groups, at every tick, for as long as [`Hands::is_crossing`](super::Hands::is_crossing):
    /// one description crosses at a time, and each begins at the `next` that was told last.
    GoAway {
        /// The edge.
        edge: NodeId,
        /// The first group of each description that has not begun.
        next: [GroupId; 2],
    },
    /// An edge that wanted to be left no longer does.
    Stays {
        /// The edge.
        edge: NodeId,
    },
    /// A description is to be done without: an edge is full, or the downlink is too narrow.
    LetGo {
        /// Which.
        description: Description,
    },
    /// An [idle](super::Hands::is_idle) description is to be taken back, if some edge gives it.
    TakeBack {
        /// Which.
        description: Description,
    },
    /// A timer that was set has run out.
    Timer(Timer),
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Subscribe to a description at an edge, connecting first if need be.
    Subscribe {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// From where on.
        start: Start,
    },
    /// Let a leg end with a group (`Update { end }`).
    End {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// The last group wanted.
        last: GroupId,
    },
    /// Cancel a leg at once.
    Cancel {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// Close the connection to an edge, if it is open.
    CloseConnection {
        /// The edge.
        edge: NodeId,
    },
    /// Send a report to the coordinator, over any live session stream.
    Report(Report),
    /// Arm a timer.
    SetTimer(Timer),
    /// Disarm a timer.
    CancelTimer(Timer),
    /// Something for the player's report.
    Note(Note),
}

/// What happened, for the player's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Note {
    /// An edge now delivers a description.
    Attached {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// The order it was done on; none for a leg that the client moved or took by itself.
        order: Option<OrderId>,
    },
    /// An edge no longer delivers a description.
    Detached {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// A description stays at or goes back to the edge it had.
    RolledBack {
        /// Which description.
        description: Description,
        /// The order that is undone.
        order: OrderId,
        /// Why.
        reason: Reason,
    },
    /// A description has lost its edge.
    Recovering {
        /// Which description.
        description: Description,
        /// The edge it had.
        from: NodeId,
        /// How it was lost: closed, rejected, starved, late, lossy or jittery.
        cause: Reason,
    },
    /// A description is being moved away from an edge that wants to be left.
    Crossing {
        /// Which description.
        description: Description,
        /// The edge that wants to be left.
        from: NodeId,
        /// The edge that is tried.
        to: NodeId,
    },
    /// A description was let go; its leg is [detached](Note::Detached).
    LetGo {
        /// Which description.
        description: Description,
        /// The edge it had.
        edge: NodeId,
    },
    /// No edge is left to try for a description.
    Lost {
        /// Which description.
        description: Description,
    },
}
