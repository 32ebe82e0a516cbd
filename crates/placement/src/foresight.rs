//! Foresight: what will go wrong for whom, and what is to be done before it does.
//!
//! ```text
//!  reports ─▶ outlook: a node over the horizon ──┐
//!  samples ─▶ path: a client's way to a node     ├─▶ legs, components: what a place costs ─▶ decide: stay or go
//!  fixes   ─▶ whereabouts: where a client will be│   at each step of the horizon               │
//!  origins ─▶ feed: how a stream comes to a node ┘                                             ▼
//!                       sweep: all sessions at once, what they have in common ─▶ pace, budget ─▶ moves, and why
//! ```
//!
//! Begin to read at [`sweep`]. Nodes and streams are named by their places in the tables that a sweep is given; the
//! caller keeps names and places together. Time comes in from outside, nothing is kept behind the caller's back, and
//! the same input gives the same output. [`Plan`], [`Move`] and [`Cause`] are decisions; those of `gibbon_handoff` carry
//! them out.

pub mod budget;
pub mod components;
pub mod decide;
pub mod feed;
pub mod horizon;
pub mod index;
pub mod legs;
pub mod link;
pub mod neighbourhood;
pub mod outlook;
pub mod pace;
pub mod path;
pub mod policy;
pub mod session;
pub mod sweep;
pub mod whereabouts;
pub mod why;
pub mod witnesses;

pub use decide::{Alternative, Cause, Move, Verdict, weigh};
pub use feed::{Feed, Origin, StreamOutlook};
pub use horizon::{Costs, K, STEPS};
pub use index::Index;
pub use link::Link;
pub use outlook::{Domain, NodeOutlook, changes};
pub use pace::Pace;
pub use path::{PathEstimate, PathPrior, Sample};
pub use policy::Policy;
pub use session::Session;
pub use sweep::{Decision, Plan, Preparation, Shift, Sweep};
pub use whereabouts::{Ahead, Whereabouts};
pub use why::Why;

/// A node's place in the table that a sweep is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub u32);

/// A stream's place in the table that a sweep is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamIndex(pub u32);

impl NodeIndex {
    /// As an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl StreamIndex {
    /// As an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}
