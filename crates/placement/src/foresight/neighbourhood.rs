//! Prefetch around where a client is expected: to one edge where that is certain, to several where it is not, and to
//! fewer the busier they are. Which of them serves is decided when it is time; the others are released.

use crate::predict::Metres;

use super::{NodeIndex, legs::View, session::Session};

/// Most edges that prefetch for one session.
pub const MOST: usize = 8;

/// To how many edges: `uncertainty` is the standard deviation of where the client will be, `spacing` the distance
/// between edges there, `load` what share of their limit they carry. It grows with the first and shrinks with the last.
pub fn size(uncertainty: Metres, spacing: Metres, load: f64) -> usize {
    let spread = non_negative(uncertainty) / non_negative(spacing).max(1.0);
    let room = 1.0 - non_negative(load).min(1.0);
    // As many as lie within one deviation around, evenly spaced; of these, those that can afford it.
    let within = std::f64::consts::PI * spread * spread;
    1 + (room * within).min((MOST - 1) as f64) as usize
}

fn non_negative(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.max(0.0) }
}

impl View<'_> {
    /// The edges around where a session's client will be at a step, to prefetch to: `to` first, which it would move to
    /// as things are.
    pub fn neighbourhood(&self, session: &Session, to: [NodeIndex; 2], k: usize) -> Vec<NodeIndex> {
        let mut around: Vec<NodeIndex> =
            to.into_iter().filter(|node| !session.is_at(*node)).collect();
        around.dedup();
        let Some(there) =
            session.whereabouts().at(k, self.now).filter(|_| session.whereabouts().moves())
        else {
            return around;
        };
        let near = self.index.nearest(there.position, 2 * MOST);
        let distance = |node: &NodeIndex| {
            let position = self.nodes.get(node.at()).and_then(|node| node.position);
            position.map_or(f64::INFINITY, |at| at.distance(there.position).metres())
        };
        // Of evenly spread edges the n-th nearest is at spacing × √(n/π).
        let few = &near[..near.len().min(4)];
        let spacing = few.last().map_or(f64::INFINITY, |node| {
            distance(node) / (few.len() as f64 / std::f64::consts::PI).sqrt()
        });
        let loads = few.iter().map(|node| &self.nodes[node.at()]);
        let load =
            loads.map(|node| node.load[k].load / node.limit).sum::<f64>() / few.len().max(1) as f64;
        let size = size(there.uncertainty, spacing, load);
        let others = near.into_iter().filter(|node| {
            !session.is_at(*node)
                && !session.shunned.contains(node)
                && !to.contains(node)
                && self.nodes[node.at()].open(2.0, self.policy, self.now)
        });
        let room = size.saturating_sub(around.len());
        around.extend(others.take(room));
        around
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_neighbourhood_grows_with_uncertainty_and_shrinks_with_load(
            uncertainty in 0.0..50_000.0f64, more in 0.0..50_000.0f64,
            spacing in 1.0..50_000.0f64,
            load in 0.0..1.2f64, busier in 0.0..1.0f64,
        ) {
            let here = size(uncertainty, spacing, load);
            prop_assert!((1..=MOST).contains(&here));
            prop_assert!(size(uncertainty + more, spacing, load) >= here);
            prop_assert!(size(uncertainty, spacing, load + busier) <= here);
        }
    }

    #[test]
    fn it_is_one_edge_where_all_is_certain_and_eight_at_most() {
        assert_eq!(size(0.0, 1000.0, 0.0), 1);
        assert_eq!(size(f64::INFINITY, 1000.0, 0.0), MOST);
        assert!(size(1000.0, 1000.0, 0.2) > size(1000.0, 1000.0, 0.8));
        assert_eq!(size(f64::NAN, f64::NAN, f64::NAN), 1);
    }
}
