//! Placement: where a leg should be, as a pure function of what the coordinator knows.

mod position;
mod select;

pub use position::{Kilometres, Position};
pub use select::{Candidate, NoEdge, Request, Selection, Unfit, rank_edges, select_edge};
