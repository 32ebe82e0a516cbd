//! How the legs are doing, looked at at every tick, and what follows from it.

use std::time::Duration;

use gibbon_control::telemetry::ClientTelemetry;
use gibbon_handoff::{Reason, client::Event as HandEvent, watch::Verdict};
use gibbon_media::{Description, MediaTime, NodeId};

use super::{Engine, REPORT_EVERY, TICK, idle::Without};
use crate::{
    complaints::Complaints,
    downlink::{self, Downlink, Seen, Step},
    ears::Ears,
    happening::Happening,
    paths::Paths,
    spare::Change,
    stage::Stage,
};

/// A player that was kept from running for this long cannot tell what is late by the network's fault …
const SLEPT: Duration = Duration::from_millis(100);
/// … for this long after.
const SLEEPY: Duration = Duration::from_secs(1);
/// An edge that has not said for this long that it wants to be left stays.
const STAYS_AFTER: Duration = Duration::from_secs(10);

/// What is known of the legs beyond the frames that come.
#[derive(Debug)]
pub(super) struct Watching {
    pub ears: Ears,
    pub complaints: Complaints,
    pub downlink: Downlink,
    pub paths: Paths,
    /// The newest media time of each description.
    newest: [MediaTime; 2],
    ticked: Duration,
    /// When the player last noticed that it had slept, for [`SLEEPY`].
    slept: Option<Duration>,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            ears: Ears::default(),
            complaints: Complaints::default(),
            downlink: Downlink::new(Duration::ZERO),
            paths: Paths::default(),
            newest: [MediaTime(0); 2],
            ticked: Duration::ZERO,
            slept: None,
        }
    }
}

impl Watching {
    /// Media of a description have come.
    pub fn arrived(&mut self, description: Description, time: MediaTime) {
        let newest = &mut self.newest[description.index()];
        *newest = time.max(*newest);
    }

    /// A frame came from an edge, for which there is a deadline. What the player slept through says nothing.
    pub fn measure(&mut self, edge: &NodeId, at: Duration, deadline: Duration) {
        if !self.is_sleepy() {
            self.paths.arrived(edge, 1000.0 * (deadline.as_secs_f64() - at.as_secs_f64()));
        }
    }

    /// The newest media time of a description that has come.
    pub fn newest(&self, description: Description) -> MediaTime {
        self.newest[description.index()]
    }

    /// How much longer than a tick it has been since the last one.
    fn slept(&mut self, now: Duration) -> Duration {
        let slept = now.saturating_sub(self.ticked + TICK);
        self.ticked = now;
        slept
    }

    fn is_sleepy(&self) -> bool {
        self.slept.is_some()
    }

    /// Whether the player is wide awake just now, after it had slept.
    fn wakes(&mut self, now: Duration) -> bool {
        self.slept.take_if(|slept| now.saturating_sub(*slept) >= SLEEPY).is_some()
    }
}

impl<S: Stage> Engine<S> {
    pub(super) fn tick(&mut self) {
        let now = self.now();
        let slept = self.watching.slept(now);
        self.sleep(now, slept);
        self.watching.ears.listen(now, slept, self.edges.counted());
        for edge in self.watching.ears.dead(now) {
            self.edges.abandon(&edge);
            self.closed(edge, "nothing was heard for too long");
        }
        self.probe(now);
        let legs: Vec<_> = self.legs.keys().cloned().collect();
        for (description, edge) in legs {
            self.judge(description, &edge);
        }
        self.weigh(now);
        self.leave(now);
        self.take_back(now);
        self.keep_spare(now);
        if now >= self.report_at {
            self.report_now(now);
        }
        self.update_stage(now);
    }

    /// What comes late because the player slept says nothing of the network: neither is the delay to grow,
    /// nor is a leg to be judged by it.
    fn sleep(&mut self, now: Duration, slept: Duration) {
        if slept >= SLEPT {
            self.watching.slept = Some(now);
            if let Some(playing) = &mut self.playing {
                let live = playing.live(now);
                for description in Description::BOTH {
                    playing.merger.handle_resumed(description, live);
                }
            }
        }
        if self.watching.wakes(now) {
            self.legs.values_mut().for_each(|leg| leg.watch = None);
            let legs: Vec<_> = self.legs.values().map(|leg| leg.id.clone()).collect();
            legs.iter().for_each(|leg| self.watch(leg));
        }
    }

    /// Speaks to edges that have a leg and are silent. An idle connection may be.
    fn probe(&mut self, now: Duration) {
        for edge in self.watching.ears.probe(now) {
            if self.legs.keys().any(|(_, at)| *at == edge) {
                self.edges.report_to(&edge, self.report_of(self.hands.report()));
            }
        }
    }

    fn report_now(&mut self, now: Duration) {
        self.report_at = now + REPORT_EVERY;
        let telemetry = self.telemetry(now);
        self.report_with(self.hands.report(), telemetry);
    }

    /// What there is to tell of the paths and of where we are, if it was not told just now.
    fn telemetry(&mut self, now: Duration) -> Option<ClientTelemetry> {
        let counted = self.edges.counted();
        if self.watching.paths.age(now) < REPORT_EVERY || counted.is_empty() {
            return None;
        }
        let ears = &self.watching.ears;
        let lost = |edge: &NodeId| ears.path_of(edge).1;
        Some(ClientTelemetry {
            paths: self.watching.paths.tell(now, counted, lost),
            buffer_ms: self.buffer_ms(),
            playout_delay_ms: Some(self.settings.merger.playout_delay.as_millis() as u64),
            device: self.settings.device,
            motion: self.traveller.as_mut().and_then(|traveller| traveller.tell(now)),
        })
    }

    /// What an edge sees of the path to us.
    pub(super) fn path(&mut self, edge: &NodeId, sent: u64, lost: u64) {
        self.watching.ears.path(edge, sent, lost);
        for leg in self.legs.values_mut().filter(|leg| leg.id.edge == *edge) {
            leg.watch.iter_mut().for_each(|watch| watch.path(sent, lost));
        }
    }

    /// Tells the hands what they act on at once.
    pub(super) fn judge(&mut self, description: Description, edge: &NodeId) {
        let now = self.now();
        let Some(verdict) = self.verdict(now, description, edge) else { return };
        let attaching = self.hands.attaching(description).is_some_and(|(e, _)| e == edge);
        let wanted = attaching || self.hands.is_idle(description);
        let probation = self.probation[description.index()];
        let (edge, leg) =
            (edge.clone(), self.hands.legs()[description.index()].as_ref() == Some(edge));
        match (verdict, verdict.reason()) {
            (Verdict::InTime, _) if wanted => {
                self.tell_hands(HandEvent::InTime { description, edge });
            }
            (Verdict::Starved, Some(reason)) if leg => {
                self.tell_hands(HandEvent::Bad { description, edge, reason });
            }
            (_, Some(reason)) if leg && probation => {
                self.tell_hands(HandEvent::Bad { description, edge, reason });
            }
            _ => {}
        }
    }

    /// How a leg is doing, all things considered.
    fn verdict(
        &mut self,
        now: Duration,
        description: Description,
        edge: &NodeId,
    ) -> Option<Verdict> {
        let leg = self.legs.get_mut(&(description, edge.clone()))?;
        let watch = leg.watch.as_mut()?;
        if let Some(heard) = self.watching.ears.heard(edge) {
            watch.heard(heard);
        }
        let verdict = match self.probation[description.index()] {
            true => watch.verdict_on_probation(now),
            false => watch.verdict(now),
        };
        // The edge can be heard, or says that it is not to blame; but the other description goes on. If that
        // comes over the same connection, and the edge does not say so, it is the connection that is narrow.
        let stalled = self.watching.ears.is_stalled(now, edge, description);
        if self.falls_behind(now, description, edge, 2) && (stalled || !self.is_shared()) {
            return Some(Verdict::Starved);
        }
        Some(if stalled && verdict == Verdict::Starved { Verdict::Good } else { verdict })
    }

    /// Whether nothing comes of a description while the other one is ahead by this part of the playout delay.
    fn falls_behind(
        &self,
        now: Duration,
        description: Description,
        edge: &NodeId,
        part: u32,
    ) -> bool {
        let leg = self.legs.get(&(description, edge.clone()));
        let Some((leg, watch)) = leg.and_then(|leg| Some((leg, leg.watch.as_ref()?))) else {
            return false;
        };
        let newest = |description| self.watching.newest(description);
        let behind = newest(description.other()).since(newest(description));
        now.saturating_sub(leg.fed) > watch.patience()
            && behind > self.settings.merger.playout_delay / part
    }

    /// Whether both descriptions come over one connection.
    fn is_shared(&self) -> bool {
        let [zero, one] = self.hands.legs();
        zero.is_some() && zero == one
    }

    /// Legs that are late or lose frames: the network, or the downlink.
    fn weigh(&mut self, now: Duration) {
        let legs = self.hands.legs();
        let reasons = Description::BOTH.map(|description| {
            let edge = legs[description.index()].as_ref()?;
            self.strain(now, description, edge)
        });
        let shared = self.is_shared();
        let bad = reasons.map(|reason| reason.is_some());
        let bad = if shared { [bad[0] || bad[1]; 2] } else { bad };
        let tight = Description::BOTH.map(|description| {
            let edge = legs[description.index()].as_ref();
            edge.is_some_and(|edge| self.is_tight(now, description, edge))
        });
        // An edge sends description 0 first: the other one shows what the connection lacks.
        let tight = if shared { [tight[0] || tight[1]; 2] } else { tight };
        let held = Description::BOTH.map(|d| legs[d.index()].is_some() && self.is_settled(d));
        self.spare_downlink(now, Seen { held, tight });
        let downlink = bad == [true; 2];
        let mut told = false;
        for description in Description::BOTH {
            let at = description.index();
            let edge = legs[at].as_ref().filter(|_| held[at]);
            told |= match edge {
                Some(edge) => {
                    let reason = reasons[at].filter(|_| !downlink);
                    self.watching.complaints.note(now, description, edge, reason)
                }
                None => self.watching.complaints.forget(description),
            };
            if let (Some(edge), Some(reason)) = (edge, reasons[at])
                && self.watching.complaints.is_unbearable(now, description)
            {
                self.watching.complaints.moved(now, description);
                let edge = edge.clone();
                self.tell_hands(HandEvent::Bad { description, edge, reason });
            }
        }
        if told {
            self.report_now(now);
        }
    }

    /// Whether the time of a leg is getting short by the network's fault.
    fn is_tight(&self, now: Duration, description: Description, edge: &NodeId) -> bool {
        let leg = self.legs.get(&(description, edge.clone()));
        let tight = leg.and_then(|leg| leg.watch.as_ref()).is_some_and(|watch| watch.is_tight(now));
        let behind = self.is_shared() && self.falls_behind(now, description, edge, 3);
        (tight || behind)
            && !self.watching.is_sleepy()
            && !self.watching.ears.stood_still(now, description)
    }

    /// In what way a leg past probation is bad by the network's fault.
    fn strain(&mut self, now: Duration, description: Description, edge: &NodeId) -> Option<Reason> {
        if self.watching.is_sleepy() || self.watching.ears.stood_still(now, description) {
            return None;
        }
        match self.verdict(now, description, edge)? {
            verdict @ (Verdict::Late | Verdict::Lossy) => verdict.reason(),
            _ => None,
        }
    }

    /// Whether a description is delivered, and nobody is about to change that.
    fn is_settled(&self, description: Description) -> bool {
        !self.hands.is_idle(description)
            && self.hands.attaching(description).is_none()
            && !self.probation[description.index()]
    }

    fn spare_downlink(&mut self, now: Duration, seen: Seen) {
        if self.settings.only.is_some() {
            return;
        }
        match self.watching.downlink.poll(now, seen) {
            Some(Step::LetGo) => {
                self.let_go(downlink::LET_GO, Without::Downlink);
                if self.hands.is_idle(downlink::LET_GO) {
                    self.watching.downlink.let_go(now);
                }
            }
            Some(Step::TakeBack) => {
                self.tell_hands(HandEvent::TakeBack { description: downlink::LET_GO });
            }
            None => {}
        }
    }

    /// An edge wants to be left.
    pub(super) fn go_away(&mut self, edge: NodeId) {
        let now = self.now();
        self.spare.iter_mut().for_each(|spare| spare.failed(now, &edge));
        if self.leaving.insert(edge.clone(), now).is_none() {
            self.happened(Happening::Leaving { edge: &edge });
        }
        let next = Description::BOTH.map(|description| self.first_not_begun(description));
        self.tell_hands(HandEvent::GoAway { edge, next });
    }

    /// Goes on leaving the edges that want it, one description after the other.
    fn leave(&mut self, now: Duration) {
        for (edge, said) in self.leaving.clone() {
            if now.saturating_sub(said) >= STAYS_AFTER {
                self.leaving.remove(&edge);
                self.tell_hands(HandEvent::Stays { edge });
            } else if self.hands.is_crossing(&edge) {
                let next = Description::BOTH.map(|description| self.first_not_begun(description));
                self.tell_hands(HandEvent::GoAway { edge, next });
            }
        }
    }

    fn keep_spare(&mut self, now: Duration) {
        let Some(spare) = self.spare.as_mut().filter(|_| self.playing.is_some()) else { return };
        let attaching = Description::BOTH.map(|d| self.hands.attaching(d).map(|(e, _)| e.clone()));
        let mut used: Vec<_> = self.hands.legs().into_iter().chain(attaching).flatten().collect();
        used.extend(self.legs.keys().map(|(_, edge)| edge.clone()));
        for change in spare.choose(now, &self.standbys, &used) {
            match change {
                Change::Open(edge) => self.edges.keep(&edge),
                Change::Close(edge) => self.edges.close(&edge),
            }
        }
    }
}
