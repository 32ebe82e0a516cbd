//! How things truly are at one moment: where every session's legs are, what every edge carries, which paths are late.

use crate::{
    Cause,
    audience::Arrival,
    cause::ByCause,
    programme::{Kind, Programme, Programmes},
    roads::Roads,
    scenario::Network,
    world::{Edge, Place, World},
};

/// A session, as an index; that of one that has ended is given to another.
pub(crate) type Session = u32;
/// No hand-off is under way.
pub(crate) const NONE: u32 = u32::MAX;
/// Slack below which those that do not move report their paths, in ms: above it nobody does anything about it.
const STRAINED_MS: f64 = 155.0;
/// One leg is half of a stream's rate.
const LEG: f32 = 0.5;

#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The edge of each description.
    pub legs: [Edge; 2],
    pub programme: Programme,
    pub region: u8,
    /// Where it came, or is now if it moves.
    pub place: Place,
    /// The route it takes, and the second of the run at which that began.
    pub route: Option<(u32, i64)>,
    pub leaves_ms: u32,
    /// Counts the sessions that had this index.
    pub life: u32,
    /// The hand-off under way.
    pub handoff: u32,
    /// When the last one ended.
    pub ended_ms: u32,
    /// When each leg came where it is.
    pub moved_ms: [u32; 2],
    /// Whether it is in the list of those whose slack is small.
    strained: bool,
    /// Why it lost an edge.
    displaced: Option<Cause>,
    /// What its legs add to the late seconds of their edges.
    late: [f32; 2],
    /// Where its legs stand in the lists of their edges.
    entry: [u32; 2],
    /// Where it stands in the list of those that move.
    moves_at: u32,
}

impl State {
    pub fn is_together(&self) -> bool {
        self.legs[0] == self.legs[1]
    }

    /// What one leg's edge loses of the session's seconds: both legs on one edge lose them once.
    fn weight(&self) -> f32 {
        if self.is_together() { 0.5 } else { 1.0 }
    }
}

/// An edge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried {
    /// Legs: the session, doubled, and which of its two.
    pub legs: Vec<u32>,
    /// In viewers at the mean rate, other work included.
    pub load: f32,
    /// Other work.
    pub other: f32,
    /// Of the load, what lost an outage's and a maintenance's edges.
    displaced: [f32; 2],
    /// Late seconds in each second, of those that do not move, were nothing waiting.
    late: [f32; Cause::ALL.len()],
    /// How long what it sends waits for what is before it, in s.
    wait_s: f32,
    /// What that is put down to: shares.
    waits_for: ByCause,
    /// What the paths to it lack, in ms, and why.
    pub penalty: Option<(f32, Cause)>,
    pub up: bool,
    /// Hand-offs under way from it and to it.
    pub handoffs: [u16; 2],
}

pub(crate) struct Stage<'a> {
    pub world: &'a World,
    pub roads: &'a Roads,
    pub network: &'a Network,
    pub programmes: &'a Programmes,
    pub sessions: Vec<State>,
    free: Vec<Session>,
    pub edges: Vec<Carried>,
    /// Of each programme, viewers at each edge: a leg is half of one.
    counts: Vec<Vec<f32>>,
    pub rates: Vec<f32>,
    /// Sessions that move.
    pub moving: Vec<Session>,
    /// Those that do not move, and whose slack is small, or was.
    pub strained: Vec<Session>,
    /// Sessions that are there.
    pub present: u32,
}

impl<'a> Stage<'a> {
    pub fn new(
        world: &'a World,
        roads: &'a Roads,
        network: &'a Network,
        programmes: &'a Programmes,
    ) -> Self {
        let edge = Carried { up: true, ..Carried::default() };
        Self {
            world,
            roads,
            network,
            programmes,
            sessions: Vec::new(),
            free: Vec::new(),
            edges: vec![edge; world.sites.len()],
            counts: vec![vec![0.0; world.sites.len()]; programmes.len()],
            rates: (0..programmes.len()).map(|n| programmes.rate(n, 0)).collect(),
            moving: Vec::new(),
            strained: Vec::new(),
            present: 0,
        }
    }

    /// A viewer comes, with its legs at these edges.
    pub fn arrive(&mut self, arrival: &Arrival, legs: [Edge; 2]) -> Session {
        let begins = |second: u32| i64::from(arrival.at_ms / 1000) - i64::from(second);
        let state = State {
            legs,
            programme: arrival.programme,
            region: arrival.region,
            place: arrival.place,
            route: arrival.route.map(|(route, second)| (route, begins(second))),
            leaves_ms: arrival.at_ms.saturating_add(arrival.stays_ms),
            life: 0,
            handoff: NONE,
            ended_ms: 0,
            moved_ms: [arrival.at_ms; 2],
            strained: false,
            displaced: None,
            late: [0.0; 2],
            entry: [0; 2],
            moves_at: NONE,
        };
        let session = match self.free.pop() {
            Some(session) => {
                // What had this index before may still be in the list of those whose slack is small.
                let State { life, strained, .. } = self.sessions[session as usize];
                self.sessions[session as usize] = State { life: life + 1, strained, ..state };
                session
            }
            None => {
                self.sessions.push(state);
                (self.sessions.len() - 1) as Session
            }
        };
        if arrival.route.is_some() {
            self.sessions[session as usize].moves_at = self.moving.len() as u32;
            self.moving.push(session);
        }
        self.present += 1;
        self.enter(session, 1.0);
        session
    }

    /// It goes.
    pub fn depart(&mut self, session: Session) {
        self.withdraw(session);
        let at = std::mem::replace(&mut self.sessions[session as usize].moves_at, NONE);
        if at != NONE {
            self.moving.swap_remove(at as usize);
            if let Some(other) = self.moving.get(at as usize) {
                self.sessions[*other as usize].moves_at = at;
            }
        }
        self.sessions[session as usize].leaves_ms = 0;
        self.present -= 1;
        self.free.push(session);
    }

    /// Whether there is a session of this index.
    pub fn is_present(&self, session: Session) -> bool {
        self.sessions[session as usize].leaves_ms > 0
    }

    /// Its legs move.
    pub fn move_legs(&mut self, session: Session, legs: [Edge; 2], at_ms: u32) {
        self.withdraw(session);
        let state = &mut self.sessions[session as usize];
        for leg in (0..2).filter(|leg| state.legs[*leg] != legs[*leg]) {
            state.moved_ms[leg] = at_ms;
        }
        state.legs = legs;
        self.enter(session, 1.0);
    }

    /// It has lost an edge and found others.
    pub fn displace(&mut self, session: Session, legs: [Edge; 2], cause: Cause) {
        self.withdraw(session);
        let state = &mut self.sessions[session as usize];
        (state.legs, state.displaced) = (legs, Some(cause));
        self.enter(session, 1.0);
    }

    fn withdraw(&mut self, session: Session) {
        for leg in 0..2 {
            let State { legs, entry, .. } = self.sessions[session as usize];
            let list = &mut self.edges[usize::from(legs[leg])].legs;
            list.swap_remove(entry[leg] as usize);
            if let Some(moved) = list.get(entry[leg] as usize).copied() {
                self.sessions[(moved / 2) as usize].entry[(moved % 2) as usize] = entry[leg];
            }
        }
        self.enter(session, -1.0);
    }

    /// Adds what a session brings to its edges (`sign` is 1), or takes it away (−1, after its legs have left the lists).
    fn enter(&mut self, session: Session, sign: f32) {
        for leg in 0..2 {
            let state = &self.sessions[session as usize];
            let edge = usize::from(state.legs[leg]);
            let programme = usize::from(state.programme);
            let amount = sign * LEG * self.rates[programme];
            self.counts[programme][edge] += sign * LEG;
            let late = if sign > 0.0 {
                self.late_leg(session, leg)
            } else {
                self.sessions[session as usize].late[leg]
            };
            let blamed = self.blamed(session, edge);
            let state = &mut self.sessions[session as usize];
            let carried = &mut self.edges[edge];
            carried.load += amount;
            carried.late[blamed.index()] += sign * late;
            match state.displaced {
                Some(Cause::Outage) => carried.displaced[0] += sign * LEG,
                Some(_) => carried.displaced[1] += sign * LEG,
                None => {}
            }
            state.late[leg] = late;
            if sign > 0.0 {
                state.entry[leg] = carried.legs.len() as u32;
                carried.legs.push(session * 2 + leg as u32);
            }
        }
    }

    /// Late seconds that a leg adds in each second, of one that does not move.
    fn late_leg(&mut self, session: Session, leg: usize) -> f32 {
        let state = &self.sessions[session as usize];
        if state.route.is_some() {
            return 0.0;
        }
        let slack = self.slack(state.legs[leg], state.place, false);
        let late = state.weight() * self.network.late(slack) as f32;
        if slack < STRAINED_MS && !state.strained {
            self.sessions[session as usize].strained = true;
            self.strained.push(session);
        }
        late
    }

    /// Those whose slack is small no more are in the list no more.
    pub fn forget_well(&mut self) {
        let mut strained = std::mem::take(&mut self.strained);
        strained.retain(|session| {
            let state = &self.sessions[*session as usize];
            let small = |edge: Edge| self.slack(edge, state.place, false) < STRAINED_MS;
            let stays = state.leaves_ms > 0
                && state.route.is_none()
                && state.strained
                && state.legs.into_iter().any(small);
            self.sessions[*session as usize].strained = stays;
            stays
        });
        self.strained = strained;
    }

    /// What a late leg of a session that does not move is put down to: what is wrong with the paths to its edge; else to
    /// what has driven it there, or brought so many.
    fn blamed(&self, session: Session, edge: usize) -> Cause {
        let state = &self.sessions[session as usize];
        let brought = || match self.programmes.kinds[usize::from(state.programme)] {
            Kind::Season(_) => Cause::Season,
            Kind::Flash(_) => Cause::FlashCrowd,
            Kind::Channel => Cause::Trend,
        };
        self.edges[edge].penalty.map(|(_, cause)| cause).or(state.displaced).unwrap_or_else(brought)
    }

    /// True mean slack between an edge and a place, in ms.
    pub fn slack(&self, edge: Edge, place: Place, moves: bool) -> f64 {
        let plain = self.network.slack(self.world.distance(edge, place));
        let penalty = self.edges[usize::from(edge)].penalty.map_or(0.0, |(ms, _)| f64::from(ms));
        let shadow = if moves { self.network.shadow(edge, place) } else { 0.0 };
        plain - penalty - shadow
    }

    /// The paths to an edge are worse, or well again.
    pub fn set_penalty(&mut self, edge: Edge, penalty: Option<(f32, Cause)>) {
        let index = usize::from(edge);
        if self.edges[index].penalty == penalty {
            return;
        }
        self.edges[index].penalty = penalty;
        self.edges[index].late = Default::default();
        for n in 0..self.edges[index].legs.len() {
            let leg = self.edges[index].legs[n];
            let (session, leg) = (leg / 2, (leg % 2) as usize);
            let late = self.late_leg(session, leg);
            let blamed = self.blamed(session, index);
            self.edges[index].late[blamed.index()] += late;
            self.sessions[session as usize].late[leg] = late;
        }
    }

    /// Rates are as at this second; loads are summed anew where that changes them, and `always` now and then, so that no
    /// error of rounding lasts.
    pub fn set_rates(&mut self, at_s: u32, always: bool) {
        let rate = |n: usize| self.programmes.rate(n, at_s);
        if !always && (0..self.rates.len()).all(|n| self.rates[n] == rate(n)) {
            return;
        }
        for edge in &mut self.edges {
            edge.load = edge.other;
        }
        for (n, counts) in self.counts.iter().enumerate() {
            let rate = self.programmes.rate(n, at_s);
            self.rates[n] = rate;
            for (edge, viewers) in self.edges.iter_mut().zip(counts) {
                edge.load += viewers * rate;
            }
        }
    }

    /// Those that move are where they are at this second.
    pub fn walk(&mut self, at_s: u32) {
        for session in &self.moving {
            let state = &mut self.sessions[*session as usize];
            if let Some((route, began)) = state.route {
                state.place = self.roads.place(route, (i64::from(at_s) - began).max(0) as u32);
            }
        }
    }

    /// Probability that a second of a leg at this edge is late, for one who is there.
    pub fn late(&self, edge: Edge, place: Place, moves: bool) -> f64 {
        let wait_ms = 1000.0 * f64::from(self.edges[usize::from(edge)].wait_s);
        self.network.late(self.slack(edge, place, moves) - wait_ms)
    }

    /// A second goes by: its out-of-target seconds of all sessions, by what they are put down to.
    pub fn out_of_target(&mut self, out: &mut ByCause) {
        for index in 0..self.edges.len() {
            self.queue(index);
            let edge = &self.edges[index];
            if edge.wait_s > 0.0 {
                self.waiting(index, out);
            }
            for (cause, late) in Cause::ALL.into_iter().zip(edge.late) {
                // What is left of sums by rounding is nothing.
                if late > 1e-4 {
                    out.add(cause, f64::from(late));
                }
            }
        }
        for session in &self.moving {
            self.late_moving(*session, out);
        }
    }

    /// What is more than an edge can send waits, in turn. What would wait beyond the playout delay is left out: nobody has
    /// any use for it.
    fn queue(&mut self, index: usize) {
        let filled = self.edges[index].load / self.world.sites[index].capacity;
        if filled > 1.0 {
            self.edges[index].waits_for = self.excess(index);
        }
        let longest_s = (self.network.playout_ms / 1000.0) as f32;
        let wait_s = &mut self.edges[index].wait_s;
        *wait_s = (*wait_s + filled - 1.0).clamp(0.0, longest_s);
    }

    /// Late seconds that are due to waiting.
    fn waiting(&self, index: usize, out: &mut ByCause) {
        let edge = &self.edges[index];
        let wait_ms = 1000.0 * f64::from(edge.wait_s);
        let late = |leg: &u32| {
            let state = &self.sessions[(leg / 2) as usize];
            let slack = self.slack(index as Edge, state.place, state.route.is_some());
            let more = self.network.late(slack - wait_ms) - self.network.late(slack);
            f64::from(state.weight()) * more
        };
        let seconds: f64 = edge.legs.iter().map(late).sum();
        for (cause, share) in Cause::ALL.into_iter().zip(edge.waits_for.0) {
            out.add(cause, seconds * share);
        }
    }

    /// Of what is too much, the share of each cause is what would not be there without it: first what nobody could
    /// foresee, then maintenance, then the season, and the rest is the trend's.
    fn excess(&self, index: usize) -> ByCause {
        let (edge, capacity) = (&self.edges[index], self.world.sites[index].capacity);
        let excess = edge.load - capacity;
        let (mut left, mut shares) = (excess, ByCause::default());
        let mut blame = |cause: Cause, load: f32| {
            let part = load.min(left).max(0.0);
            left -= part;
            shares.add(cause, f64::from(part / excess));
        };
        let of_kind = |wanted: fn(Kind) -> bool| -> f32 {
            let kinds = self.programmes.kinds.iter().enumerate().filter(|(_, kind)| wanted(**kind));
            kinds.map(|(n, _)| self.counts[n][index] * self.rates[n]).sum()
        };
        blame(Cause::Outage, edge.displaced[0]);
        blame(Cause::FlashCrowd, of_kind(|kind| matches!(kind, Kind::Flash(_))));
        blame(Cause::Maintenance, edge.displaced[1]);
        blame(Cause::Season, of_kind(|kind| matches!(kind, Kind::Season(_))));
        blame(Cause::Trend, f32::INFINITY);
        shares
    }

    fn late_moving(&self, session: Session, out: &mut ByCause) {
        let state = &self.sessions[session as usize];
        let legs = if state.is_together() { 1 } else { 2 };
        for edge in &state.legs[..legs] {
            let plain = self.slack(*edge, state.place, false);
            let late = match plain {
                // Not even the deepest shadow would show.
                plain if plain > 4.5 * self.network.jitter_ms + 3.0 * self.network.shadow_ms => 0.0,
                plain => self.network.late(plain - self.network.shadow(*edge, state.place)),
            };
            if late > 0.0 {
                let penalty = self.edges[usize::from(*edge)].penalty;
                let cause = penalty.map_or(Cause::Motion, |(_, cause)| cause);
                out.add(cause, late);
            }
        }
    }

    /// Its viewers by programme: each programme that has any, and how many.
    pub fn audience(&self, edge: Edge) -> impl Iterator<Item = (usize, f32)> {
        let viewers = self.counts.iter().map(move |counts| counts[usize::from(edge)]);
        viewers.enumerate().filter(|(_, viewers)| *viewers > 0.0)
    }

    /// Legs that it carries, whatever their rates, as viewers.
    pub fn viewers(&self, edge: Edge) -> f32 {
        self.edges[usize::from(edge)].legs.len() as f32 * LEG
    }
}
