//! Policies: who is to be handed off, when and to where, by what is known of a running network.

mod gibbon;
mod nearest;
mod reactive;

use gibbon_handoff::Cause;

pub(crate) use gibbon::{Foreseen, Gibbon};
pub(crate) use nearest::Nearest;
pub use reactive::Thresholds;
pub(crate) use reactive::{GRID, Reactive};

use crate::{
    run::Day,
    stage::{NONE, Session, Stage, State},
    world::{Edge, Place},
};

/// What an edge reported last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// In viewers at the mean rate.
    pub load: f32,
    /// Of this, other work.
    pub other: f32,
    pub up: bool,
    /// By how much slack is less than by distance, as its clients measure it.
    pub penalty_ms: f32,
    /// When it will be gone, if that is announced.
    pub leaves_s: Option<u32>,
}

/// What a client that moves, or whose slack is small, reported last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub session: Session,
    pub life: u32,
    pub place: Place,
    pub legs: [Edge; 2],
    /// Of each description.
    pub slack_ms: [f64; 2],
}

/// A hand-off that is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Order {
    pub session: Session,
    pub to: [Edge; 2],
    pub cause: Cause,
}

/// What a policy may look at: reports, and what a coordinator decided itself. Not when sessions end, what is to come, nor
/// how edges and paths are at the moment.
pub(crate) struct View<'a> {
    pub at_s: u32,
    pub reported_s: u32,
    pub seen: &'a [Seen],
    pub reports: &'a [Report],
    pub(super) stage: &'a Stage<'a>,
    pub(super) day: &'a Day,
}

impl<'a> View<'a> {
    /// Sessions that are there, with where their legs are.
    pub fn sessions(&self) -> impl Iterator<Item = (Session, &'a State)> {
        let all = self.stage.sessions.iter().enumerate();
        all.filter(|(_, state)| state.leaves_ms > 0).map(|(n, state)| (n as Session, state))
    }

    /// Those with a leg at an edge, each once, the newest there first.
    pub fn sessions_at(&self, edge: Edge) -> impl Iterator<Item = (Session, &'a State)> {
        let legs = self.stage.edges[usize::from(edge)].legs.iter().rev();
        legs.filter_map(|leg| {
            let session = leg / 2;
            let state = &self.stage.sessions[session as usize];
            (!state.is_together() || leg % 2 == 0).then_some((session, state))
        })
    }

    /// Whether a hand-off of it is under way.
    pub fn is_busy(&self, state: &State) -> bool {
        state.handoff != NONE
    }

    /// An edge's load as a part of its capacity.
    pub fn load(&self, edge: Edge) -> f64 {
        f64::from(
            self.seen[usize::from(edge)].load / self.day.world.sites[usize::from(edge)].capacity,
        )
    }

    /// What a viewer of this session takes of an edge's capacity.
    pub fn part(&self, edge: Edge, state: &State) -> f64 {
        let rate = self.stage.rates[usize::from(state.programme)];
        f64::from(rate / self.day.world.sites[usize::from(edge)].capacity)
    }

    /// The edges of a session's region, with their distances in km.
    pub fn around(&self, state: &State) -> impl Iterator<Item = (Edge, f64)> {
        let (place, world) = (state.place, &self.day.world);
        let edges = world.regions[usize::from(state.region)].edges.clone();
        edges.map(move |edge| (edge, world.distance(edge, place)))
    }

    /// Slack by distance and by what is known of the paths to an edge, in ms.
    pub fn slack_by_distance(&self, edge: Edge, km: f64) -> f64 {
        self.day.scenario.network.slack(km) - f64::from(self.seen[usize::from(edge)].penalty_ms)
    }

    /// The failure domain of an edge.
    pub fn domain(&self, edge: Edge) -> u16 {
        self.day.world.sites[usize::from(edge)].domain
    }

    /// A session's legs with those at `from` taken to `to`; `None` where that would put a diverse one's legs into one
    /// failure domain.
    pub fn with(&self, state: &State, from: Edge, to: Edge) -> Option<[Edge; 2]> {
        let legs = state.legs.map(|leg| if leg == from { to } else { leg });
        let apart = state.is_together() || self.domain(legs[0]) != self.domain(legs[1]);
        apart.then_some(legs)
    }
}

/// Decides, every few seconds.
pub(crate) trait Policy {
    /// What is to be done now.
    fn act(&mut self, view: &View<'_>, orders: &mut Vec<Order>);
}

/// Nothing is handed off.
pub(crate) struct Still;

impl Policy for Still {
    fn act(&mut self, _: &View<'_>, _: &mut Vec<Order>) {}
}
