//! One run: events in virtual time, truth summed every second, a policy that is asked every five.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use gibbon_handoff as handoff;
use gibbon_media::MediaTime;

use crate::{
    Cause,
    audience::{self, Arrival},
    cause::ByCause,
    crossing::{Crossings, Fate},
    happening::Happenings,
    placing::{self, Open},
    policy::{Order, Policy, Report, Seen, View},
    programme::{Programmes, RATE_STEP_S},
    roads::Roads,
    scenario::Scenario,
    stage::{NONE, Session, Stage, State},
    world::{Edge, World},
};

/// Time 0 of every run.
const EPOCH: MediaTime = MediaTime(1_800_000_000_000_000);
/// Nodes and clients report so often, in s …
pub(crate) const REPORTS_S: u32 = 5;
/// … and policies are asked so much later.
const DELAY_S: u32 = 1;
/// Hand-offs that an edge takes part in at once, from it and to it: 500 within 10 s on 4 edges were measured
/// (docs/performance.md), of 3.3 s each.
const AT_ONCE: u16 = 40;
/// An edge of which more than this share comes late fails probation: more than 3 of 64 frames
/// (docs/handoff.md).
const LOSSY: f64 = 3.0 / 64.0;
/// From the last frame until a client takes a leg for lost, and until the first one of the next leg, in s: measured
/// (docs/reliability.md).
const NOTICED_S: f64 = 0.2;
const FIRST_FRAME_S: f64 = 0.03;
/// A try at an edge that does not answer (`gibbon_handoff::timers`), with the wait before the next, in s.
const TRY_S: f64 = 0.525;
/// Edges that a client turns to at most.
const TRIES: usize = handoff::timers::MAX_TRIES;
/// A viewer whom nobody serves gives up after so long, in s (docs/operations.md, `--give-up-after`).
const GIVES_UP_S: f64 = 60.0;
/// A mean stream in both descriptions, in bytes a second: that of docs/performance.md.
const STREAM_BYTES: f64 = 150_000.0;
/// Newcomers look at no edge that is to go within this, in s.
const LEAVES_SOON_S: u32 = 600;
/// Intervals of what is drawn over time, in s.
pub(crate) const INTERVAL_S: u32 = 300;

/// All that is the same for every policy.
pub(crate) struct Day {
    pub scenario: Scenario,
    pub world: World,
    pub roads: Roads,
    pub programmes: Programmes,
    pub arrivals: Vec<Arrival>,
    pub happenings: Happenings,
    /// The share of each edge's capacity that other work takes at its highest.
    pub trends: Vec<f32>,
}

impl Day {
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        let world = World::build(scenario, seed);
        let roads = scenario.motion.as_ref().map(|motion| Roads::build(motion, &world, seed));
        let roads = roads.unwrap_or_default();
        let programmes = Programmes::build(scenario, &world, seed);
        let arrivals = audience::draw(scenario, &world, &programmes, &roads, seed);
        let happenings = Happenings::draw(scenario, &world, seed);
        let mut draw = crate::draw::Draw::of(seed, "trend");
        let trend = |_| match &scenario.trend {
            Some(trend) if draw.chance(trend.share) => (trend.most * draw.within(0.7, 1.0)) as f32,
            _ => 0.0,
        };
        let trends = (0..world.sites.len()).map(trend).collect();
        Self { scenario: scenario.clone(), world, roads, programmes, arrivals, happenings, trends }
    }

    /// What other work takes of an edge, in viewers.
    pub fn other(&self, edge: usize, at_s: u32) -> f32 {
        let Some(trend) = self.scenario.trend.as_ref().filter(|_| self.trends[edge] > 0.0) else {
            return 0.0;
        };
        let since = f64::from(at_s) - f64::from(trend.from_s);
        let part = (since / f64::from(trend.grows_s)).min(2.0 - since / f64::from(trend.grows_s));
        part.max(0.0) as f32 * self.trends[edge] * self.world.sites[edge].capacity
    }

    /// A second of the run.
    pub fn time(at_s: u32) -> MediaTime {
        EPOCH + Duration::from_secs(at_s.into())
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub out: ByCause,
    /// Hand-offs by what they were done for, as in `handoff::Cause::ALL`.
    pub handoffs: [u64; handoff::Cause::ALL.len()],
    pub completed: u64,
    pub rolled_back: u64,
    /// Their session ended, or lost an edge.
    pub cut: u64,
    /// Orders that could not be begun: the edges had enough to do.
    pub refused: u64,
    pub prefetched: f64,
    pub wasted: f64,
    pub sessions: u64,
    /// Viewers whom no edge of their region could take.
    pub turned_away: u64,
    pub session_seconds: f64,
    pub recoveries: u64,
    pub events: u64,
    /// Of each interval: out-of-target seconds by cause, sessions at its end, hand-offs begun.
    pub intervals: Vec<(ByCause, u32, u64)>,
}

/// What is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Leaves { session: Session, life: u32 },
    Attached { handoff: u32, number: u32, leg: u8 },
    Ends { handoff: u32, number: u32 },
}

/// A hand-off under way.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    number: u32,
    session: Session,
    from: [Edge; 2],
    to: [Edge; 2],
    completes: bool,
    /// When each description began to be fetched, if it did and nobody receives it yet.
    fetching: [Option<u32>; 2],
}

/// Plays a day under a policy.
pub(crate) struct Run<'a> {
    day: &'a Day,
    stage: Stage<'a>,
    due: BinaryHeap<Reverse<(u32, u64, Event)>>,
    count: u64,
    next_arrival: usize,
    crossings: Crossings,
    handoffs: Vec<Crossing>,
    free: Vec<u32>,
    /// What policies are shown.
    seen: Vec<Seen>,
    reports: Vec<Report>,
    interval: ByCause,
    begun: u64,
    tally: Tally,
}

impl<'a> Run<'a> {
    pub fn new(day: &'a Day) -> Self {
        let stage = Stage::new(&day.world, &day.roads, &day.scenario.network, &day.programmes);
        Self {
            day,
            stage,
            due: BinaryHeap::new(),
            count: 0,
            next_arrival: 0,
            crossings: Crossings::default(),
            handoffs: Vec::new(),
            free: Vec::new(),
            seen: vec![Seen::default(); day.world.sites.len()],
            reports: Vec::new(),
            interval: ByCause::default(),
            begun: 0,
            tally: Tally::default(),
        }
    }

    /// To the end of the scenario.
    pub fn play(mut self, policy: &mut dyn Policy) -> Tally {
        let mut orders = Vec::new();
        for at_s in 0..self.day.scenario.duration_s {
            if at_s % RATE_STEP_S == 0 {
                self.step(at_s);
            }
            self.stage.set_rates(at_s, at_s % RATE_STEP_S == 0);
            self.happen(at_s);
            self.stage.walk(at_s);
            if at_s % REPORTS_S == 0 {
                self.report(at_s);
            }
            if at_s % REPORTS_S == DELAY_S {
                policy.act(&self.view(at_s), &mut orders);
                orders.drain(..).for_each(|order| self.begin(order, at_s * 1000));
            }
            self.play_until((at_s + 1) * 1000);
            self.sum(at_s);
        }
        self.tally
    }

    /// Rates, other work and paths change.
    fn step(&mut self, at_s: u32) {
        for edge in 0..self.stage.edges.len() {
            self.stage.edges[edge].other = self.day.other(edge, at_s);
        }
        let penalties = self.day.happenings.penalties(self.stage.edges.len(), at_s);
        for (edge, penalty) in penalties.into_iter().enumerate() {
            self.stage.set_penalty(edge as Edge, penalty);
        }
    }

    /// Edges go and come.
    fn happen(&mut self, at_s: u32) {
        let day = self.day;
        for absence in &day.happenings.absences {
            if absence.from_s == at_s {
                self.lose(&absence.edges, absence.cause, at_s * 1000);
            }
            if absence.till_s == at_s {
                for edge in &absence.edges {
                    let up = !day.happenings.is_absent(*edge, at_s);
                    self.stage.edges[usize::from(*edge)].up = up;
                }
            }
        }
    }

    fn report(&mut self, at_s: u32) {
        for (index, seen) in self.seen.iter_mut().enumerate() {
            let edge = &self.stage.edges[index];
            let penalty_ms = edge.penalty.map_or(0.0, |(ms, _)| ms);
            *seen = Seen {
                load: edge.load,
                other: edge.other,
                up: edge.up,
                penalty_ms,
                leaves_s: None,
            };
        }
        for absence in &self.day.happenings.absences {
            if absence.announced_s.is_some_and(|from| from <= at_s) && at_s < absence.till_s {
                for edge in &absence.edges {
                    self.seen[usize::from(*edge)].leaves_s = Some(absence.from_s);
                }
            }
        }
        self.reports.clear();
        self.stage.forget_well();
        for session in self.stage.moving.iter().chain(&self.stage.strained) {
            let State { legs, place, route, life, .. } = self.stage.sessions[*session as usize];
            let slack_ms = legs.map(|edge| self.stage.slack(edge, place, route.is_some()));
            self.reports.push(Report { session: *session, life, place, legs, slack_ms });
        }
        self.tally.events += self.reports.len() as u64;
    }

    fn view(&self, at_s: u32) -> View<'_> {
        View {
            at_s,
            reported_s: at_s - DELAY_S,
            stage: &self.stage,
            seen: &self.seen,
            reports: &self.reports,
            day: self.day,
        }
    }

    fn sum(&mut self, at_s: u32) {
        self.stage.out_of_target(&mut self.interval);
        self.tally.session_seconds += f64::from(self.stage.present);
        if (at_s + 1).is_multiple_of(INTERVAL_S) || at_s + 1 == self.day.scenario.duration_s {
            let interval = std::mem::take(&mut self.interval);
            interval
                .0
                .iter()
                .zip(Cause::ALL)
                .for_each(|(amount, cause)| self.tally.out.add(cause, *amount));
            self.tally.intervals.push((
                interval,
                self.stage.present,
                std::mem::take(&mut self.begun),
            ));
        }
    }

    /// Arrivals and events, in order, before this time.
    fn play_until(&mut self, till_ms: u32) {
        loop {
            let arrival =
                self.day.arrivals.get(self.next_arrival).map_or(u32::MAX, |arrival| arrival.at_ms);
            let event = self.due.peek().map_or(u32::MAX, |Reverse((at, ..))| *at);
            if arrival.min(event) >= till_ms {
                return;
            }
            self.tally.events += 1;
            if arrival <= event {
                self.next_arrival += 1;
                self.arrive(&self.day.arrivals[self.next_arrival - 1]);
            } else if let Some(Reverse((at, _, event))) = self.due.pop() {
                self.take(event, at);
            }
        }
    }

    fn at(&mut self, at_ms: u32, event: Event) {
        self.count += 1;
        self.due.push(Reverse((at_ms, self.count, event)));
    }

    fn arrive(&mut self, arrival: &Arrival) {
        self.tally.sessions += 1;
        let Some(legs) = self.place(arrival) else {
            self.tally.turned_away += 1;
            return;
        };
        let session = self.stage.arrive(arrival, legs);
        let State { leaves_ms, life, .. } = self.stage.sessions[session as usize];
        self.at(leaves_ms, Event::Leaves { session, life });
    }

    /// Whoever places newcomers knows whom it has placed since the last report.
    fn place(&self, arrival: &Arrival) -> Option<[Edge; 2]> {
        let soon = arrival.at_ms / 1000 + LEAVES_SOON_S;
        placing::place(self.day, arrival, |edge| {
            let (seen, now) = (&self.seen[usize::from(edge)], &self.stage.edges[usize::from(edge)]);
            let stays = now.up && seen.leaves_s.is_none_or(|at| at >= soon);
            let (viewers, load) = (self.stage.viewers(edge), now.load);
            stays.then_some(Open { viewers, load, penalty_ms: seen.penalty_ms })
        })
    }

    fn take(&mut self, event: Event, at_ms: u32) {
        match event {
            Event::Leaves { session, life } => {
                let state = &self.stage.sessions[session as usize];
                if state.life == life && self.stage.is_present(session) {
                    self.cut(session, at_ms);
                    self.stage.depart(session);
                }
            }
            Event::Attached { handoff, number, leg } => {
                if self.handoffs[handoff as usize].number == number {
                    self.attached(handoff, usize::from(leg), at_ms);
                }
            }
            Event::Ends { handoff, number } => {
                if self.handoffs[handoff as usize].number == number {
                    self.end(handoff, at_ms);
                }
            }
        }
    }

    /// Begins a hand-off, if there is anything to be done and its edges have time for it.
    fn begin(&mut self, order: Order, at_ms: u32) {
        let State { legs: from, handoff, .. } = self.stage.sessions[order.session as usize];
        if !self.stage.is_present(order.session) || handoff != NONE || from == order.to {
            return;
        }
        let moves = [0, 1].map(|leg| from[leg] != order.to[leg]);
        let busy = |edges: [Edge; 2], side: usize| {
            (0..2).any(|leg| {
                moves[leg] && self.stage.edges[usize::from(edges[leg])].handoffs[side] >= AT_ONCE
            })
        };
        if busy(from, 0) || busy(order.to, 1) {
            self.tally.refused += 1;
            return;
        }
        let new = (0..2).filter(|leg| moves[*leg]).map(|leg| order.to[leg]);
        let fate = new.map(|edge| self.fate(order.session, edge)).max().unwrap_or(Fate::Well);
        let crossing = self.crossings.of(moves, EPOCH + Duration::from_millis(at_ms.into()), fate);
        let after = |wait: Duration| at_ms + wait.as_millis() as u32;
        let handoff = self.free.pop().unwrap_or(self.handoffs.len() as u32);
        let number = self.handoffs.get(handoff as usize).map_or(0, |old| old.number + 1);
        let begun = Crossing {
            number,
            session: order.session,
            from,
            to: order.to,
            completes: crossing.completed,
            fetching: crossing.fetched.map(|wait| wait.map(after)),
        };
        match self.handoffs.get_mut(handoff as usize) {
            Some(slot) => *slot = begun,
            None => self.handoffs.push(begun),
        }
        self.stage.sessions[order.session as usize].handoff = handoff;
        self.occupy(handoff, true);
        for leg in 0..2 {
            if let Some(wait) = crossing.attached[leg].filter(|_| crossing.completed) {
                self.at(after(wait), Event::Attached { handoff, number, leg: leg as u8 });
            }
        }
        self.at(after(crossing.ends), Event::Ends { handoff, number });
        self.tally.handoffs[order.cause as usize] += 1;
        self.begun += 1;
    }

    /// What a new edge would make of a hand-off now.
    fn fate(&self, session: Session, edge: Edge) -> Fate {
        let carried = &self.stage.edges[usize::from(edge)];
        let capacity = self.day.world.sites[usize::from(edge)].capacity;
        match () {
            () if !carried.up => Fate::Gone,
            () if self.stage.viewers(edge) + f32::from(carried.handoffs[1]) >= capacity => {
                Fate::Full
            }
            () if self.late(session, edge) > LOSSY => Fate::Lossy,
            () => Fate::Well,
        }
    }

    /// Probability that what a session is sent by an edge now is late.
    fn late(&self, session: Session, edge: Edge) -> f64 {
        let State { place, route, .. } = self.stage.sessions[session as usize];
        self.stage.late(edge, place, route.is_some())
    }

    fn occupy(&mut self, handoff: u32, begins: bool) {
        let Crossing { from, to, .. } = self.handoffs[handoff as usize];
        for (edges, other, side) in [(from, to, 0), (to, from, 1)] {
            for leg in 0..2 {
                // Both legs at one edge are one hand-off there.
                if edges[leg] != other[leg]
                    && (leg == 0 || edges[0] != edges[1] || edges[0] == other[0])
                {
                    let busy = &mut self.stage.edges[usize::from(edges[leg])].handoffs[side];
                    *busy = if begins { *busy + 1 } else { busy.saturating_sub(1) };
                }
            }
        }
    }

    /// The client takes a description from its new edge, unless that turns out not to do.
    fn attached(&mut self, handoff: u32, leg: usize, at_ms: u32) {
        let Crossing { session, to, .. } = self.handoffs[handoff as usize];
        let edge = to[leg];
        if !self.stage.edges[usize::from(edge)].up || self.late(session, edge) > LOSSY {
            return self.roll_back(handoff, at_ms);
        }
        let mut legs = self.stage.sessions[session as usize].legs;
        legs[leg] = edge;
        self.stage.move_legs(session, legs, at_ms);
        let began = self.handoffs[handoff as usize].fetching[leg].take();
        self.fetched(session, began, at_ms, false);
    }

    /// A description was fetched from some time until now.
    fn fetched(&mut self, session: Session, from_ms: Option<u32>, till_ms: u32, wasted: bool) {
        let Some(from_ms) = from_ms.filter(|from| *from < till_ms) else { return };
        let rate = self.stage.rates[usize::from(self.stage.sessions[session as usize].programme)];
        let bytes = f64::from(till_ms - from_ms) / 1000.0 * f64::from(rate) * STREAM_BYTES / 2.0;
        self.tally.prefetched += bytes;
        self.tally.wasted += if wasted { bytes } else { 0.0 };
    }

    /// Every leg goes back to where it was.
    fn roll_back(&mut self, handoff: u32, at_ms: u32) {
        let Crossing { session, from, .. } = self.handoffs[handoff as usize];
        self.handoffs[handoff as usize].completes = false;
        if from.iter().all(|edge| self.stage.edges[usize::from(*edge)].up) {
            self.stage.move_legs(session, from, at_ms);
        }
        self.end(handoff, at_ms);
    }

    fn end(&mut self, handoff: u32, at_ms: u32) {
        let Crossing { session, completes, fetching, .. } = self.handoffs[handoff as usize];
        fetching.into_iter().for_each(|from| self.fetched(session, from, at_ms, true));
        match completes {
            true => self.tally.completed += 1,
            false => self.tally.rolled_back += 1,
        }
        self.free_slot(handoff, at_ms);
    }

    fn free_slot(&mut self, handoff: u32, at_ms: u32) {
        let slot = &mut self.handoffs[handoff as usize];
        // What is still due for it finds another number.
        slot.number += 1;
        let session = slot.session;
        let state = &mut self.stage.sessions[session as usize];
        (state.handoff, state.ended_ms) = (NONE, at_ms);
        self.occupy(handoff, false);
        self.free.push(handoff);
    }

    /// The hand-off of a session that ends, or has lost an edge, comes to nothing.
    fn cut(&mut self, session: Session, at_ms: u32) {
        let handoff = self.stage.sessions[session as usize].handoff;
        if handoff == NONE {
            return;
        }
        let fetching = self.handoffs[handoff as usize].fetching;
        fetching.into_iter().for_each(|from| self.fetched(session, from, at_ms, true));
        self.tally.cut += 1;
        self.free_slot(handoff, at_ms);
    }

    /// Edges are gone: their sessions turn to others by themselves.
    fn lose(&mut self, edges: &[Edge], cause: Cause, at_ms: u32) {
        edges.iter().for_each(|edge| self.stage.edges[usize::from(*edge)].up = false);
        let mut lost: Vec<Session> = edges
            .iter()
            .flat_map(|edge| self.stage.edges[usize::from(*edge)].legs.iter().map(|leg| leg / 2))
            .collect();
        lost.sort_unstable();
        lost.dedup();
        for session in lost {
            self.cut(session, at_ms);
            self.recover(session, cause, at_ms);
        }
    }

    /// First the edge of the other description, then the nearest of other domains: each try takes its time, and what
    /// is not covered by the slack that the client had is seen.
    fn recover(&mut self, session: Session, cause: Cause, at_ms: u32) {
        let State { legs, place, route, .. } = self.stage.sessions[session as usize];
        let is_up = |edge: Edge| self.stage.edges[usize::from(edge)].up;
        let slack = legs.map(|edge| self.stage.slack(edge, place, route.is_some())).into_iter();
        let slack_s = slack.fold(f64::INFINITY, f64::min).max(0.0) / 1000.0;
        let standing = legs.into_iter().find(|edge| is_up(*edge));
        let (found, tries) = match standing {
            Some(edge) => (Some(edge), 0),
            None => self.standby(session, legs[0]),
        };
        self.tally.recoveries += 1;
        self.tally.events += 1 + tries as u64;
        let took = NOTICED_S + TRY_S * tries as f64 + FIRST_FRAME_S;
        match found {
            Some(edge) => {
                self.interval.add(cause, (took - slack_s).max(0.0));
                let legs =
                    legs.map(|leg| if self.stage.edges[usize::from(leg)].up { leg } else { edge });
                self.stage.displace(session, legs, cause);
            }
            None => {
                let left =
                    f64::from(self.stage.sessions[session as usize].leaves_ms - at_ms) / 1000.0;
                self.interval.add(cause, GIVES_UP_S.min(left));
                self.stage.depart(session);
            }
        }
    }

    /// The first standby that answers and has room, and how many did not.
    fn standby(&self, session: Session, lost: Edge) -> (Option<Edge>, usize) {
        let world = &self.day.world;
        let State { place, region, .. } = self.stage.sessions[session as usize];
        let domain = world.sites[usize::from(lost)].domain;
        let edges = world.regions[usize::from(region)].edges.clone();
        let mut standbys: Vec<_> = edges
            .filter(|edge| world.sites[usize::from(*edge)].domain != domain)
            .map(|edge| (world.distance(edge, place), edge))
            .collect();
        standbys.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut silent = 0;
        for (_, edge) in standbys.into_iter().take(TRIES) {
            let up = self.stage.edges[usize::from(edge)].up;
            if up && self.stage.viewers(edge) < world.sites[usize::from(edge)].capacity {
                return (Some(edge), silent);
            }
            // One that is full says so at once.
            silent += usize::from(!up);
        }
        (None, silent)
    }
}
