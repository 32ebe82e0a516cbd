//! Carrying out what the hands want: legs begin and end, timers run.

use std::time::Duration;

use gibbon_control::{session::ClientReport, telemetry::ClientTelemetry, viewing::Viewing};
use gibbon_handoff::{
    Report,
    client::{Action, Event as HandEvent, Note, Start as HandStart},
    timers::ClientTimer,
    watch::LegWatch,
};
use gibbon_media::{Description, GroupId, MediaTime, NodeId};
use gibbon_net::wire::Start;

use super::{Engine, FIRST_LEGS_WITHIN, key};
use crate::{edges::LegId, happening::Happening, playing::Playing, stage::Stage};

/// A leg at an edge that is not connected gets this much longer.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// A watch looks no further back than this many lost frames.
const MAX_LOST: u32 = u64::BITS;

/// A leg as the engine sees it.
pub(super) struct Leg {
    pub id: LegId,
    pub start: HandStart,
    /// The first group that the edge sends, once it has accepted.
    pub first: Option<GroupId>,
    /// What was at the edge already when it accepted comes all at once, and says nothing of the path.
    pub live: MediaTime,
    pub watch: Option<LegWatch>,
    /// When a frame came last.
    pub fed: Duration,
    /// It was told to end.
    pub ending: bool,
}

impl Leg {
    /// A frame came; by its `deadline`, if it has one, the leg is judged.
    pub fn arrived(&mut self, at: Duration, deadline: Option<Duration>) {
        self.fed = self.fed.max(at);
        let Some(watch) = &mut self.watch else { return };
        match deadline {
            Some(deadline) => watch.arrived(at, deadline),
            None => watch.heard(at),
        }
    }

    /// So many frames will not come.
    pub fn lost(&mut self, frames: u32) {
        if let Some(watch) = &mut self.watch {
            (0..frames.min(MAX_LOST)).for_each(|_| watch.lost());
        }
    }
}

impl<S: Stage> Engine<S> {
    pub(super) fn tell_hands(&mut self, event: HandEvent) {
        let actions = self.hands.handle(event);
        self.carry_out(actions);
    }

    pub(super) fn carry_out(&mut self, mut actions: Vec<Action>) {
        // The report on a closed connection is to go out over that connection, too.
        actions.sort_by_key(|action| matches!(action, Action::CloseConnection { .. }));
        for action in actions {
            match action {
                Action::Subscribe { description, edge, start } => {
                    self.subscribe(description, edge, start)
                }
                Action::End { description, edge, last } => {
                    if let Some(leg) = self.legs.get_mut(&(description, edge)) {
                        leg.ending = true;
                        self.edges.end(&leg.id, last);
                    }
                }
                Action::Cancel { description, edge } => {
                    let leg = self.legs.get(&(description, edge)).map(|l| l.id.clone());
                    if let Some(leg) = leg {
                        self.edges.cancel(&leg);
                        self.forget(&leg);
                    }
                }
                Action::CloseConnection { edge } => self.close_connection(&edge),
                Action::Report(hands) => self.report(hands),
                Action::SetTimer(timer) => self.set_timer(timer),
                Action::CancelTimer(timer) => {
                    if let ClientTimer::Probation { description } = timer {
                        self.probation[description.index()] = false;
                    }
                    self.timers.remove(&timer);
                }
                Action::Note(note) => self.note(&note),
            }
        }
    }

    fn note(&mut self, note: &Note) {
        let now = self.now();
        self.journal.note(now, note);
        self.happened(Happening::Done(note));
        self.trace_note(note);
        match note {
            Note::Attached { description, edge, .. } => self.is_back(*description, edge),
            Note::Recovering { description, .. } => self.idle.begin_search(*description),
            Note::Lost { description } => self.is_without(*description),
            _ => {}
        }
    }

    pub(super) fn report(&mut self, hands: Report) {
        self.report_with(hands, None);
    }

    pub(super) fn report_with(&mut self, hands: Report, telemetry: Option<ClientTelemetry>) {
        if let Some(answer) = &hands.answer {
            self.gaps.answered(self.now(), answer);
            self.trace_answer(answer);
        }
        let report = self.report_of(hands);
        self.edges.report(&report, telemetry);
    }

    /// How things stand, with what the viewer has seen.
    pub(super) fn report_of(&self, hands: Report) -> ClientReport {
        let now = self.now();
        let complaints = self.watching.complaints.list(now);
        let viewing = self.playing.as_ref().map(|playing| {
            let stats = playing.merger.stats();
            Box::new(Viewing {
                frames: stats.frames,
                freezes: stats.freezes.count,
                audio_gap_ms: stats.audio.gap_ms,
                recoveries: self.journal.recovered_legs(),
                handoffs: self.gaps.list(now, playing.playout_delay()),
            })
        });
        ClientReport { complaints, viewing, ..ClientReport::new(hands) }
    }

    /// What still comes from there is of no use.
    fn close_connection(&mut self, edge: &NodeId) {
        let legs: Vec<_> = self.legs.values().map(|leg| leg.id.clone()).collect();
        for leg in legs.into_iter().filter(|leg| leg.edge == *edge) {
            self.edges.cancel(&leg);
            self.forget(&leg);
        }
        self.leaving.remove(edge);
        self.edges.close(edge);
    }

    fn subscribe(&mut self, description: Description, edge: NodeId, start: HandStart) {
        if self.settings.only.is_some_and(|only| only != description) {
            // Not wanted: a leg without traffic, which is always in time.
            return self.tell_hands(HandEvent::InTime { description, edge });
        }
        let wire = match start {
            HandStart::Live => self.live_start(description),
            HandStart::At(group) => Start::Group { group, resume: None },
        };
        let delay = self.playing.as_ref().map(Playing::playout_delay);
        let patience = delay.unwrap_or(self.settings.merger.playout_delay);
        let id = self.edges.subscribe(description, &edge, wire, patience);
        let fed = self.now();
        let leg = Leg {
            id: id.clone(),
            start,
            first: None,
            live: MediaTime(0),
            watch: None,
            fed,
            ending: false,
        };
        if let Some(before) = self.legs.insert((description, edge), leg) {
            self.edges.cancel(&before.id);
        }
        self.watch(&id);
    }

    /// A leg goes on where another broke off; one that is taken back, while the other description plays,
    /// does not burden the network with what has been done without.
    fn live_start(&self, description: Description) -> Start {
        let delay = self.settings.merger.playout_delay;
        let Some(playing) = &self.playing else { return Start::Live(delay) };
        let resumed = playing.arrivals.start(description, playing.position(self.now()));
        resumed.unwrap_or_else(|| {
            let other = self.hands.legs()[description.other().index()].is_some();
            let taken_back = other && self.hands.is_idle(description);
            Start::Live(if taken_back { Duration::ZERO } else { delay })
        })
    }

    /// Begins to watch a leg, once there is a clock to watch it by.
    pub(super) fn watch(&mut self, leg: &LegId) {
        let now = self.now();
        let Some(playing) = &self.playing else { return };
        let interval = playing.interval();
        let delay = self.settings.merger.playout_delay;
        let (sent, lost) = self.watching.ears.path_of(&leg.edge);
        for watched in self.legs.values_mut().filter(|l| l.id == *leg && l.watch.is_none()) {
            let due = match watched.start {
                HandStart::Live => now,
                HandStart::At(group) => {
                    let begins = playing.catalog.grid(leg.description).start_of(group);
                    live_at(playing, begins, delay).unwrap_or(now).max(now)
                }
            };
            let mut watch = LegWatch::new(due, delay, interval);
            watch.path(sent, lost);
            watched.watch = Some(watch);
        }
    }

    pub(super) fn forget(&mut self, leg: &LegId) -> bool {
        if self.legs.get(&key(leg)).is_none_or(|l| l.id != *leg) {
            return false;
        }
        self.legs.remove(&key(leg));
        self.journal.leg_ended(self.now(), leg.description, &leg.edge);
        true
    }

    fn set_timer(&mut self, timer: ClientTimer) {
        let now = self.now();
        let delay = self.settings.merger.playout_delay;
        let duration = match (&self.playing, timer) {
            (None, ClientTimer::Attach { .. }) => FIRST_LEGS_WITHIN,
            (playing, timer) => {
                let group = playing.as_ref().map_or(Duration::from_secs(1), Playing::group);
                timer.duration(group, rand::random_range(0.0..=1.0))
            }
        };
        let from = match (&self.playing, timer) {
            // From the moment its first group begins at the live edge.
            (Some(playing), ClientTimer::Attach { description, start: HandStart::At(group) }) => {
                let begins = playing.catalog.grid(description).start_of(group);
                live_at(playing, begins, delay).unwrap_or(now).max(now)
            }
            (Some(_), ClientTimer::Attach { description, start: HandStart::Live })
                if self.has_to_connect(description) =>
            {
                now + CONNECT_WITHIN
            }
            _ => now,
        };
        if let ClientTimer::Probation { description } = timer {
            self.probation[description.index()] = true;
        }
        self.timers.insert(timer, from + duration);
    }

    fn has_to_connect(&self, description: Description) -> bool {
        self.hands.attaching(description).is_some_and(|(edge, _)| !self.edges.is_open(edge))
    }

    pub(super) fn fire_timers(&mut self) {
        let now = self.now();
        while let Some(timer) = self.timers.iter().find(|(_, due)| **due <= now).map(|(t, _)| *t) {
            self.timers.remove(&timer);
            if let ClientTimer::Probation { description } = timer {
                self.probation[description.index()] = false;
            }
            self.tell_hands(HandEvent::Timer(timer));
        }
    }
}

/// When `time` is at the live edge.
fn live_at(playing: &Playing, time: MediaTime, delay: Duration) -> Option<Duration> {
    Some(playing.merger.deadline_of(time)?.saturating_sub(delay))
}
