//! Multiple description coding: deal out, merge, conceal, continuity verdicts.

mod deal;

pub use deal::{Rendition, Share, deal};
