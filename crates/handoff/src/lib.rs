//! The hand-off protocol as pure state machines: how a session's legs move from edge to edge, one
//! description at a time, so that its viewer sees nothing.
//!
//! Read in this order:
//!
//! 1. [`plan`]: what is to be moved, and [`message`]: what the parties say to each other;
//! 2. [`coordinator`]: the [`Executor`](coordinator::Executor) gives the orders, one at a time;
//! 3. [`client`]: the [`Hands`](client::Hands) hold the legs of the session and carry the orders out;
//! 4. [`edge`]: the [`Holding`](edge::Holding) is what an edge keeps of the session;
//! 5. [`watch`]: how a client tells a good leg from a bad one;
//! 6. [`timers`]: every wait and every bound on a retry.
//!
//! ```text
//!  coordinator                edge B            client              edge A
//!      | prefetch 1 ------------>| (A may pass it on)  |== 0, 1 ======|
//!      |<------------- ready g --| <- fetches 1 from A or the origin  |
//!      | attach 1, start g ------------------->|                      |
//!      |                         |<- subscribe |                      |
//!      |                         |== 1 from g =>| in time: end g-1 -->|
//!      |<------------------------- attached ---|== 0 ================|
//!      |<-------------- settled -|             | probation            |
//!      |<----------------------------- held ---|                      |
//!      |        ... the same for description 0 ...                    |
//!      | finish A ---------------------------->| closes ------------->|
//!      |<------------------------- finished ---|                      |
//! ```
//!
//! Each machine takes an event and returns actions for its shell to carry out. None reads a clock: they
//! ask for timers by name, and the shell looks durations up in [`timers`]. `tests/model.rs` checks the
//! machines together, exhaustively, against the invariants I1–I6:
//!
//! * I1: without a crash a description is always being served; after a crash of its edge an attach is in
//!   flight or its timer is armed.
//! * I2: no description ends at the old edge before the new one delivers it in time.
//! * I3: a description is received from two edges for at most one group.
//! * I4: every state with no message in flight and no timer armed has an outcome; retries are bounded.
//! * I5: in such a state the coordinator's picture equals the legs.
//! * I6: the two descriptions are never in transit at once, and the connection to the old edge closes
//!   only after the new edge delivers description 0.

pub mod client;
pub mod coordinator;
pub mod edge;
pub mod message;
pub mod plan;
pub mod timers;
pub mod watch;

pub use message::{FromClient, FromEdge, OrderId, Reason, Report, Term, ToClient, ToEdge};
pub use plan::{Cause, InfoSender, InvalidPlan, Move, Outcome, Plan, Source};
