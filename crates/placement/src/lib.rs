//! Placement: where a leg should be, as a pure function of what the coordinator knows.

mod pair;
mod position;
mod select;

pub use pair::{Pair, leg_to_move, select_pair, select_partner, select_standbys};
pub use position::{Kilometres, Position};
pub use select::{Candidate, NoEdge, Request, Selection, Unfit, rank_edges, select_edge};
