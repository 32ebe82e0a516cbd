//! Where newcomers are placed: one rule, whoever asks.

use crate::{audience::Arrival, run::Day, world::Edge};

/// A newcomer's path is to have so much slack, in ms.
pub(crate) const REACH_MS: f64 = 60.0;

/// An edge that takes newcomers.
pub(crate) struct Open {
    /// Legs that it carries, whatever their rates, as viewers.
    pub viewers: f32,
    /// In viewers at the mean rate.
    pub load: f32,
    /// What is wrong with the paths to it, in ms.
    pub penalty_ms: f32,
}

/// Of the edges within reach, the nearest with room; where none has, the one with most. Of two legs, the second in another
/// domain. `open` says of an edge how it is; none: it takes nobody.
pub(crate) fn place(
    day: &Day,
    arrival: &Arrival,
    open: impl Fn(Edge) -> Option<Open>,
) -> Option<[Edge; 2]> {
    let first = nearest_with_room(day, arrival, None, &open)?;
    let second = arrival.diverse.then(|| nearest_with_room(day, arrival, Some(first), &open));
    Some([first, second.flatten().unwrap_or(first)])
}

fn nearest_with_room(
    day: &Day,
    arrival: &Arrival,
    apart_from: Option<Edge>,
    open: impl Fn(Edge) -> Option<Open>,
) -> Option<Edge> {
    let (world, scenario) = (&day.world, &day.scenario);
    let domain = apart_from.map(|edge| world.sites[usize::from(edge)].domain);
    // The least of these: within reach with room, by distance; within reach, by load; beyond it, by distance.
    let mut best = ((u8::MAX, f64::INFINITY), None);
    for edge in world.regions[usize::from(arrival.region)].edges.clone() {
        let site = &world.sites[usize::from(edge)];
        let Some(Open { viewers, load, penalty_ms }) = open(edge) else { continue };
        let viewers = viewers + 1.0;
        if domain == Some(site.domain) || viewers > site.capacity {
            continue;
        }
        let km = world.distance(edge, arrival.place);
        let filled = f64::from(viewers.max(load + 1.0) / site.capacity);
        let rank = match () {
            () if scenario.network.slack(km) - f64::from(penalty_ms) < REACH_MS => (2, km),
            () if filled <= scenario.admit => (0, km),
            () => (1, filled),
        };
        if rank < best.0 {
            best = (rank, Some(edge));
        }
    }
    best.1
}
