//! Acts on what is measured: when a load or a slack has been beyond a threshold for a while.

use std::collections::BTreeMap;

use gibbon_handoff::Cause;

use super::{Order, Policy, View};
use crate::{
    stage::{Session, State},
    world::Edge,
};

/// Another edge has to promise so much more slack, in ms: as hysteresis of cellular hand-overs.
const BETTER_MS: f64 = 20.0;

/// When it acts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Thresholds {
    /// On loads above this part of an edge's capacity …
    pub load: f64,
    /// … on slacks below this, in ms …
    pub slack_ms: f64,
    /// … when they have been so for this long, in s.
    pub dwell_s: u32,
}

/// Of which the best is looked for: every load with every dwell, and with the best of these every slack.
pub(crate) struct Grid {
    pub loads: &'static [f64],
    pub slacks_ms: &'static [f64],
    pub dwells_s: &'static [u32],
}

pub(crate) const GRID: Grid = Grid {
    loads: &[0.6, 0.7, 0.8, 0.9, 1.0],
    slacks_ms: &[120.0, 150.0, 90.0, 60.0, 30.0],
    dwells_s: &[0, 5, 10],
};

/// Sheds what is over, and moves who is late.
pub(crate) struct Reactive {
    thresholds: Thresholds,
    /// Since when edges have been over, in s.
    over: Vec<Option<u32>>,
    /// Since when sessions have been late.
    late: BTreeMap<Session, (u32, u32)>,
    /// What has been sent to each edge since its report.
    sent: Vec<f64>,
}

impl Reactive {
    pub fn new(thresholds: Thresholds, edges: usize) -> Self {
        Self { thresholds, over: vec![None; edges], late: BTreeMap::new(), sent: vec![0.0; edges] }
    }

    /// Of the edges that have room and promise slack enough, the nearest.
    fn target(
        &self,
        view: &View<'_>,
        state: &State,
        from: Edge,
        least_slack: f64,
    ) -> Option<[Edge; 2]> {
        let fits = |edge: Edge, km: f64| {
            let seen = &view.seen[usize::from(edge)];
            let filled = view.load(edge) + self.sent[usize::from(edge)] + view.part(edge, state);
            edge != from
                && seen.up
                && filled <= self.thresholds.load
                && view.slack_by_distance(edge, km) > least_slack
        };
        let fit = view
            .around(state)
            .filter(|(edge, km)| fits(*edge, *km) && view.with(state, from, *edge).is_some());
        let (edge, _) = fit.min_by(|a, b| a.1.total_cmp(&b.1))?;
        view.with(state, from, edge)
    }

    fn order(
        &mut self,
        view: &View<'_>,
        session: Session,
        state: &State,
        to: [Edge; 2],
        cause: Cause,
        orders: &mut Vec<Order>,
    ) {
        for (_, to) in state.legs.into_iter().zip(to).filter(|(from, to)| from != to) {
            self.sent[usize::from(to)] += view.part(to, state) / 2.0;
        }
        orders.push(Order { session, to, cause });
    }

    fn shed(&mut self, view: &View<'_>, edge: Edge, orders: &mut Vec<Order>) {
        let leaving = view.sessions_at(edge).filter(|(_, state)| view.is_busy(state));
        let gone: f64 = leaving.map(|(_, state)| view.part(edge, state)).sum();
        let mut excess = view.load(edge) - self.thresholds.load - gone;
        for (session, state) in view.sessions_at(edge) {
            if excess <= 0.0 {
                return;
            }
            if view.is_busy(state) {
                continue;
            }
            if let Some(to) = self.target(view, state, edge, self.thresholds.slack_ms) {
                excess -= view.part(edge, state) * if state.is_together() { 1.0 } else { 0.5 };
                self.order(view, session, state, to, Cause::Load, orders);
            }
        }
    }

    /// One of whose paths the slack has been too small.
    fn relocate(
        &mut self,
        view: &View<'_>,
        session: Session,
        slack_ms: [f64; 2],
        cause: Cause,
        orders: &mut Vec<Order>,
    ) {
        let state = &view.stage.sessions[session as usize];
        let worst = usize::from(slack_ms[1] < slack_ms[0]);
        if slack_ms[worst] >= self.thresholds.slack_ms {
            self.late.remove(&session);
            return;
        }
        let since = self.late.entry(session).or_insert((state.life, view.at_s));
        if since.0 != state.life {
            *since = (state.life, view.at_s);
        }
        if view.at_s - since.1 < self.thresholds.dwell_s || view.is_busy(state) {
            return;
        }
        let best = slack_ms[worst] + BETTER_MS;
        if let Some(to) = self.target(view, state, state.legs[worst], best) {
            self.order(view, session, state, to, cause, orders);
        }
    }
}

impl Policy for Reactive {
    fn act(&mut self, view: &View<'_>, orders: &mut Vec<Order>) {
        self.sent.fill(0.0);
        for edge in 0..view.seen.len() as Edge {
            let index = usize::from(edge);
            if view.load(edge) <= self.thresholds.load {
                self.over[index] = None;
            } else if view.at_s - *self.over[index].get_or_insert(view.at_s)
                >= self.thresholds.dwell_s
            {
                self.shed(view, edge, orders);
            }
        }
        for report in view.reports {
            let state = &view.stage.sessions[report.session as usize];
            if state.leaves_ms > 0 && state.life == report.life && state.legs == report.legs {
                let cause = if state.route.is_some() { Cause::Location } else { Cause::Network };
                self.relocate(view, report.session, report.slack_ms, cause, orders);
            }
        }
    }
}
