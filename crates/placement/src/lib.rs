//! Placement: where a leg or a component should be, as a pure function of what the coordinator knows.

pub mod assign;
pub mod distortion;
pub mod foresight;
mod pair;
mod position;
pub mod predict;
mod select;

pub use pair::{Pair, leg_to_move, select_pair, select_partner, select_standbys};
pub use position::{Kilometres, Position};
pub use select::{Candidate, NoEdge, Request, Selection, Unfit, rank_edges, select_edge};
