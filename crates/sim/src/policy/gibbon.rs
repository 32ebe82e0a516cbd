//! Gibbon's own decisions: the sweep of `gibbon_placement::foresight`, fed as the coordinator feeds it. The oracle is the
//! same sweep, told what will be in the place of what is predicted.

use std::time::Duration;

use gibbon_handoff as handoff;
use gibbon_media::{MediaTime, Placement};
use gibbon_placement::{
    Position,
    distortion::Distortions,
    foresight,
    foresight::{
        Cause, Domain, Index, K, NodeIndex, NodeOutlook, PathPrior, STEPS, Sample, Session, Shift,
        StreamIndex, StreamOutlook, Sweep, Whereabouts, changes, witnesses,
    },
    predict::{Fix, Forecast, Load, Motion},
};

use super::{Order, Policy, Report, View};
use crate::{
    placing::{self, Open},
    run::{Day, REPORTS_S},
    stage::{NONE, State},
    world::{Edge, Place},
};

/// Squared errors of what is shown, as measured for the default scheme (docs/multiple-description.md, bbb.mp4: 40.6 dB
/// with both descriptions, 34.7 with one), and for a frozen picture (about 20 dB).
const DISTORTIONS: Distortions = Distortions { central: 5.7, side: [22.0, 22.0], neither: 650.0 };
/// Round-trip times that slack loses, in the sweep's model of paths.
const WAYS: f64 = 1.5;
/// Hand-offs of 3.3 s, 40 at once.
const RATE: f64 = 12.0;
/// What is left of the number of those who were moved, from one report to the next: a quarter of an hour.
const FORGETS: f64 = 0.9945;
/// What a position is off by, in m.
const ACCURACY_M: f64 = 8.0;
/// Clients tell of paths that are as ever too, but that changes nothing: only those to edges whose paths are, were or will
/// be worse within this are played, in s.
const TOLD_AROUND_S: u32 = 120;
/// How far apart an oracle's positions are, in s.
const ROUTE_STEP_S: u32 = 5;

/// Where what will be comes from.
pub(crate) enum Foreseen {
    /// It is predicted.
    Predicted,
    /// It is known.
    Known,
}

/// Viewers at an edge, and its other work as so many viewers.
fn crowd(view: &View<'_>, edge: Edge) -> f32 {
    view.stage.viewers(edge) + view.seen[usize::from(edge)].other
}

/// A session as the sweep knows it.
struct Known {
    life: u32,
    session: Session,
    /// What was ordered last, until it is known how it ended.
    ordered: Option<[Edge; 2]>,
    motion: Option<Motion>,
}

impl Known {
    /// Where it will be, by where it says it is. A fix that is not believed changes nothing.
    fn follow(&mut self, position: Position, at: MediaTime) -> Whereabouts {
        let fix = Fix { at, position, accuracy: ACCURACY_M };
        match &mut self.motion {
            Some(motion) => {
                let _ = motion.update(fix);
            }
            None => self.motion = Motion::begin(fix).ok(),
        }
        let said = |motion: &Motion| Whereabouts::of_motion(motion, at);
        self.motion.as_ref().map_or(Whereabouts::Still(position), said)
    }
}

pub(crate) struct Gibbon {
    rules: foresight::Policy,
    nodes: Vec<NodeOutlook>,
    streams: Vec<StreamOutlook>,
    index: Index,
    foreseen: Foreseen,
    crowds: Vec<Load>,
    rates: Vec<Load>,
    /// Rate of each stream at each step of the horizon, and its deviation.
    ahead: Vec<[(f64, f64); K]>,
    sessions: Vec<Option<Known>>,
    /// Of each edge's viewers, how many more were moved there than away: they have not come, and are no trend. It is
    /// forgotten in about the time in which viewers leave.
    moved: Vec<f64>,
    /// Hand-offs that ended of late.
    ended: Vec<Shift>,
}

fn node(edge: Edge) -> NodeIndex {
    NodeIndex(edge.into())
}

fn edge(node: NodeIndex) -> Edge {
    node.0 as Edge
}

impl Gibbon {
    pub fn new(day: &Day, foreseen: Foreseen) -> Self {
        let start = Day::time(0);
        let network = &day.scenario.network;
        let prior = PathPrior {
            base_ms: network.base_ms / WAYS,
            per_km_ms: network.per_km_ms / WAYS,
            deviation_ms: network.shadow_ms / WAYS,
            deviation_per_km_ms: 0.0,
        };
        let rules = foresight::Policy {
            prior,
            rate: RATE,
            period: Duration::from_secs(REPORTS_S.into()),
            concurrent: day.world.sites.len().max(500),
            ..foresight::Policy::default()
        };
        let nodes: Vec<_> =
            (0..day.world.sites.len() as Edge).map(|edge| outlook(day, edge)).collect();
        let places = nodes
            .iter()
            .enumerate()
            .filter_map(|(n, node)| Some((NodeIndex(n as u32), node.position?)));
        let index = Index::new(places);
        let step = Duration::from_secs(REPORTS_S.into());
        let predicted = matches!(foreseen, Foreseen::Predicted);
        let loads = |n: usize| {
            (0..if predicted { n } else { 0 }).map(|_| Load::begin_every(step, start)).collect()
        };
        Self {
            rules,
            streams: vec![StreamOutlook::new(DISTORTIONS); day.programmes.len()],
            crowds: loads(nodes.len()),
            rates: loads(day.programmes.len()),
            ahead: vec![[(1.0, 0.0); K]; day.programmes.len()],
            nodes,
            index,
            foreseen,
            sessions: Vec::new(),
            moved: vec![0.0; day.world.sites.len()],
            ended: Vec::new(),
        }
    }

    /// What streams take, now and later.
    fn foresee_rates(&mut self, view: &View<'_>, reported: MediaTime) {
        for (n, stream) in self.streams.iter_mut().enumerate() {
            let now = f64::from(view.stage.rates[n]);
            self.ahead[n] = match &self.foreseen {
                Foreseen::Predicted => {
                    self.rates[n].update(reported, now);
                    ahead(&self.rates[n], now, reported)
                }
                Foreseen::Known => STEPS.map(|step| {
                    let then = view.reported_s + step.as_secs() as u32;
                    (view.day.programmes.rate(n, then).into(), 0.0)
                }),
            };
            stream.weight = self.ahead[n].iter().map(|(rate, _)| *rate).fold(0.05, f64::max);
        }
    }

    /// Load is viewers times rates, and other work. Both factors are foreseen by themselves: a programme's rate is the same
    /// at every edge, whoever is moved where.
    fn foresee_loads(&mut self, view: &View<'_>, reported: MediaTime) {
        let known = match self.foreseen {
            Foreseen::Known => self.known(view),
            Foreseen::Predicted => Vec::new(),
        };
        for n in 0..self.nodes.len() {
            let (edge, seen) = (n as Edge, &view.seen[n]);
            let capacity = f64::from(view.day.world.sites[n].capacity);
            // Whoever comes takes a mean rate.
            let mut loads = match known.get(n) {
                Some(known) => known.map(|load| (load, 0.0)),
                None => self.newcomers(view, edge, reported),
            };
            for (programme, viewers) in view.stage.audience(edge) {
                for (load, (rate, deviation)) in loads.iter_mut().zip(self.ahead[programme]) {
                    let viewers = f64::from(viewers);
                    *load = (load.0 + viewers * rate, load.1.hypot(viewers * deviation));
                }
            }
            let prior = PathPrior {
                base_ms: self.rules.prior.base_ms + f64::from(seen.penalty_ms) / WAYS,
                ..self.rules.prior
            };
            let outlook = &mut self.nodes[n];
            outlook.up = seen.up;
            outlook.reported = reported;
            outlook.leaves_at = seen.leaves_s.map(Day::time);
            outlook.prior = (seen.penalty_ms > 0.0).then_some(prior);
            outlook.load = loads.map(|(load, deviation)| Forecast {
                load: (load + f64::from(seen.other)).max(0.0) / capacity,
                deviation: deviation / capacity,
                period: None,
            });
        }
    }

    /// By how many an edge's viewers, and other work as so many, will be more or less. It is this coordinator that places
    /// newcomers: not beyond what it lets an edge be filled to.
    fn newcomers(&mut self, view: &View<'_>, edge: Edge, reported: MediaTime) -> [(f64, f64); K] {
        let n = usize::from(edge);
        let now = f64::from(crowd(view, edge)) - self.moved[n];
        self.crowds[n].update(reported, now);
        let filled = f64::from(view.stage.viewers(edge).max(view.seen[n].load));
        let admitted = view.day.scenario.admit * f64::from(view.day.world.sites[n].capacity);
        let room = (admitted - filled).max(0.0);
        ahead(&self.crowds[n], now, reported)
            .map(|(then, deviation)| ((then - now).min(room), deviation))
    }

    /// By how much each edge's load will truly change: who goes, who comes and is placed as things are, and other work.
    fn known(&self, view: &View<'_>) -> Vec<[f64; K]> {
        let sites = &view.day.world.sites;
        let mut known = vec![[0.0; K]; sites.len()];
        let mut add = |edge: Edge, programme: u16, from_s: u32, sign: f64| {
            let ahead = &self.ahead[usize::from(programme)];
            for (k, (rate, _)) in ahead.iter().enumerate() {
                if view.at_s + STEPS[k].as_secs() as u32 >= from_s {
                    known[usize::from(edge)][k] += sign * 0.5 * rate;
                }
            }
        };
        let end_s = view.at_s + STEPS[K - 1].as_secs() as u32;
        for (_, state) in view.sessions() {
            if state.leaves_ms / 1000 <= end_s {
                state
                    .legs
                    .iter()
                    .for_each(|edge| add(*edge, state.programme, state.leaves_ms / 1000, -1.0));
            }
        }
        let mut viewers: Vec<f32> =
            (0..sites.len() as Edge).map(|edge| view.stage.viewers(edge)).collect();
        let first = view.day.arrivals.partition_point(|arrival| arrival.at_ms < view.at_s * 1000);
        for arrival in &view.day.arrivals[first..] {
            if arrival.at_ms / 1000 > end_s {
                break;
            }
            // As all is now, but for so many viewers.
            let legs = placing::place(view.day, arrival, |edge| {
                let (n, seen) = (usize::from(edge), &view.seen[usize::from(edge)]);
                let (viewers, load) = (viewers[n], view.stage.edges[n].load);
                let stays = seen.up && seen.leaves_s.is_none();
                stays.then_some(Open { viewers, load, penalty_ms: seen.penalty_ms })
            });
            for edge in legs.into_iter().flatten() {
                viewers[usize::from(edge)] += 0.5;
                add(edge, arrival.programme, arrival.at_ms / 1000, 1.0);
                let leaves_s = arrival.at_ms.saturating_add(arrival.stays_ms) / 1000;
                if leaves_s <= end_s {
                    add(edge, arrival.programme, leaves_s, -1.0);
                }
            }
        }
        for (n, known) in known.iter_mut().enumerate() {
            for (k, load) in known.iter_mut().enumerate() {
                let then = view.reported_s + STEPS[k].as_secs() as u32;
                *load += f64::from(view.day.other(n, then) - view.seen[n].other);
            }
        }
        known
    }

    /// Sessions that came, went, or are elsewhere now.
    fn follow_sessions(&mut self, view: &View<'_>, now: MediaTime, shifts: &mut Vec<Shift>) {
        self.sessions.resize_with(view.stage.sessions.len(), || None);
        self.moved.iter_mut().for_each(|moved| *moved *= FORGETS);
        let rules = &self.rules;
        for (known, state) in self.sessions.iter_mut().zip(&view.stage.sessions) {
            if state.leaves_ms == 0 {
                *known = None;
                continue;
            }
            if known.as_ref().is_none_or(|known| known.life != state.life) {
                *known = Some(begin(view, state));
            }
            let Some(known) = known else { continue };
            let here = state.legs.map(node);
            if let Some(to) = known.ordered {
                let mut shift = Shift {
                    from: unreported(known.session.edges, state, view.reported_s),
                    to: to.map(node),
                    completed: None,
                };
                if state.handoff != NONE {
                    shifts.push(shift);
                    continue;
                }
                known.ordered = None;
                if state.legs == to {
                    for (from, to) in known.session.edges.into_iter().zip(here) {
                        self.moved[from.at()] -= 0.5;
                        self.moved[to.at()] += 0.5;
                    }
                    shift.completed =
                        Some(Day::time(0) + Duration::from_millis(state.ended_ms.into()));
                    self.ended.push(shift);
                } else {
                    known.session.rolled_back();
                }
            }
            if known.session.edges != here {
                known.session.edges = here;
                known.session.wake();
            }
        }
        self.ended
            .retain(|shift| shift.completed.is_some_and(|at| now.since(at) < rules.period * 2));
        shifts.extend(&self.ended);
    }

    /// Clients that move, or whose slack is small, tell where they are and how well they are served.
    fn follow_clients(&mut self, view: &View<'_>, reported: MediaTime) {
        let deviation_ms = view.day.scenario.network.jitter_ms;
        for Report { session, life, place, legs, slack_ms } in view.reports {
            let state = &view.stage.sessions[*session as usize];
            let known = &mut self.sessions[*session as usize];
            let Some(known) = known.as_mut().filter(|known| known.life == *life) else { continue };
            if state.route.is_some() {
                let position = position(view, state, *place);
                let whereabouts = match &self.foreseen {
                    Foreseen::Known => {
                        Whereabouts::of_route(&route(view, state, reported), reported)
                    }
                    Foreseen::Predicted => known.follow(position, reported),
                };
                known.session.moves(whereabouts);
            }
            let paths = if legs[0] == legs[1] { 1 } else { 2 };
            for (edge, slack_ms) in legs.iter().zip(*slack_ms).take(paths) {
                let sample = Sample { at: reported, slack_ms, deviation_ms, missed: 0.0 };
                // What is made up here is never refused.
                let _ = known.session.measured(node(*edge), sample);
            }
        }
    }

    /// Clients of edges to which paths are worse tell so; of their idle connections to a standby, too.
    fn follow_paths(&mut self, view: &View<'_>, reported: MediaTime) {
        let deviation_ms = view.day.scenario.network.jitter_ms;
        let ramps = view.day.happenings.ramps.iter();
        let told = ramps.filter(|ramp| {
            let around =
                [view.at_s.saturating_sub(TOLD_AROUND_S), view.at_s, view.at_s + TOLD_AROUND_S];
            around.iter().any(|at| ramp.penalty(*at).is_some())
        });
        for edge in told.flat_map(|ramp| ramp.edges.iter().copied()) {
            for (session, state) in
                view.sessions_at(edge).filter(|(_, state)| state.route.is_none())
            {
                let Some(known) = &mut self.sessions[session as usize] else { continue };
                let standby = view
                    .around(state)
                    .filter(|(other, _)| view.domain(*other) != view.domain(edge));
                let standby = standby.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(edge, _)| edge);
                for edge in [Some(edge), standby].into_iter().flatten() {
                    let slack_ms =
                        view.slack_by_distance(edge, view.day.world.distance(edge, state.place));
                    let sample = Sample { at: reported, slack_ms, deviation_ms, missed: 0.0 };
                    // It was told already if the session has its other leg at another such edge.
                    let _ = known.session.measured(node(edge), sample);
                }
            }
        }
    }
}

/// What is `now`, and changes as is predicted; with the deviations of that.
fn ahead(demand: &Load, now: f64, from: MediaTime) -> [(f64, f64); K] {
    let ahead = changes(demand, now, from);
    std::array::from_fn(|k| {
        let Forecast { load, deviation, .. } = ahead[k];
        (load, if k == 0 || !deviation.is_finite() { 0.0 } else { deviation })
    })
}

/// Where legs of a session were that have left since the last report; those that had left before are where they are.
fn unreported(from: [NodeIndex; 2], state: &State, reported_s: u32) -> [NodeIndex; 2] {
    let reported = |leg: usize| state.moved_ms[leg] <= reported_s * 1000;
    std::array::from_fn(|leg| if reported(leg) { node(state.legs[leg]) } else { from[leg] })
}

fn outlook(day: &Day, edge: Edge) -> NodeOutlook {
    let site = &day.world.sites[usize::from(edge)];
    let region = day.world.region_of(edge);
    // A name of a city and a number is one of a node.
    let id = format!("{}-{edge}", region.name).parse();
    let mut outlook =
        NodeOutlook::new(id.unwrap_or_else(|_| unreachable!("{} names a node", region.name)));
    outlook.position = Some(region.position(site.place));
    outlook.domain = Some(Domain(site.domain.into()));
    outlook.per_leg = 0.5 / f64::from(site.capacity);
    outlook
}

fn position(view: &View<'_>, state: &State, place: Place) -> Position {
    view.day.world.regions[usize::from(state.region)].position(place)
}

fn begin(view: &View<'_>, state: &State) -> Known {
    let stream = StreamIndex(state.programme.into());
    let mut session =
        Session::new(state.legs.map(node), stream, view.day.scenario.network.playout_ms);
    session.placement = if state.is_together() { Placement::Together } else { Placement::Diverse };
    session.moves(Whereabouts::Still(position(view, state, state.place)));
    Known { life: state.life, session, ordered: None, motion: None }
}

/// Where a client will truly be.
fn route(view: &View<'_>, state: &State, from: MediaTime) -> Vec<(MediaTime, Position)> {
    let Some((route, began)) = state.route else { return Vec::new() };
    let steps = (0..=STEPS[K - 1].as_secs() as u32).step_by(ROUTE_STEP_S as usize);
    let place = |ahead: u32| {
        let second = (i64::from(view.reported_s + ahead) - began).max(0) as u32;
        position(view, state, view.day.roads.place(route, second))
    };
    steps.map(|ahead| (from + Duration::from_secs(ahead.into()), place(ahead))).collect()
}

impl Policy for Gibbon {
    fn act(&mut self, view: &View<'_>, orders: &mut Vec<Order>) {
        let (now, reported) = (Day::time(view.at_s), Day::time(view.reported_s));
        let mut shifts = Vec::new();
        self.follow_sessions(view, now, &mut shifts);
        self.foresee_rates(view, reported);
        self.foresee_loads(view, reported);
        self.follow_clients(view, reported);
        self.follow_paths(view, reported);
        let sessions = self.sessions.iter().flatten().map(|known| &known.session);
        witnesses::hear(&mut self.nodes, sessions, &self.rules, reported);
        let mut sweep =
            Sweep::begin(&self.rules, now, &mut self.nodes, &self.streams, &self.index, &shifts);
        let free = self.sessions.iter_mut().enumerate().filter_map(|(n, known)| {
            let known = known.as_mut().filter(|known| known.ordered.is_none())?;
            Some((n, &mut known.session))
        });
        let plan = sweep.pass(free);
        for decision in plan.moves {
            let Some(known) = &mut self.sessions[decision.session] else { continue };
            known.session.handed_off(decision.to, &self.rules, now);
            let to = decision.to.map(edge);
            known.ordered = Some(to);
            let cause = match decision.cause {
                Cause::Network => handoff::Cause::Network,
                Cause::Load => handoff::Cause::Load,
                Cause::Location => handoff::Cause::Location,
                Cause::Maintenance => handoff::Cause::Maintenance,
                Cause::Failure => handoff::Cause::Failure,
            };
            orders.push(Order { session: decision.session as u32, to, cause });
        }
    }
}
