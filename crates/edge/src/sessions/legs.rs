//! Legs: who is let in, who makes room, who is left.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use gibbon_control::session::ToViewer;
use gibbon_handoff::edge::Event;
use gibbon_media::{Description, SessionId};
use gibbon_net::{
    close,
    wire::{RejectCode, Rejected},
};
use gibbon_relay::{Demand, Relay};
use tokio::time::Instant;

use super::{Session, Sessions};
use crate::admission::{self, Decision, Place, Standing};

/// A client that was told to let go, and does not, is told again: it may have been busy taking the leg up.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A client that was told to let go has done so by then.
const LET_GO_WITHIN: Duration = Duration::from_secs(3);
/// One that has not is left in peace for this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Names one leg, however many of a session and description there have been.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    pub session: SessionId,
    pub description: Description,
    id: u64,
}

/// A leg as the session sees it.
pub(super) struct Serving {
    id: u64,
    relay: Arc<Relay>,
    /// When the client was told to let it go.
    told: Option<Instant>,
}

impl Sessions {
    /// Whether a session may have legs here, were there room. An edge that is being emptied takes back only
    /// what it has just handed off.
    pub fn may_attach(&self, session: SessionId) -> Result<(), Rejected> {
        let held = self.lock();
        let entry = held.get(&session);
        if self.drain.is_draining() && !entry.is_some_and(Session::is_kept) {
            return Err(self.rejected(entry, RejectCode::Leaving, "this edge is about to leave"));
        }
        Ok(())
    }

    /// A leg wants to begin, with what `relay` brings. At a full edge others may be told to make room.
    pub fn attach(
        self: &Arc<Self>,
        session: SessionId,
        relay: &Arc<Relay>,
    ) -> Result<Leg, Rejected> {
        let (description, now) = (relay.description, Instant::now());
        let mut held = self.lock();
        let here = standings(&held, now);
        let bring_down =
            match admission::decide(self.capacity, &here, session, description, relay.kbps()) {
                Decision::Admit { bring_down } => bring_down,
                Decision::Refuse => {
                    let entry = held.get(&session);
                    return Err(self.rejected(entry, RejectCode::Full, "this edge is full"));
                }
            };
        let Some(entry) = held.get_mut(&session) else {
            return Err(Rejected::new(RejectCode::Unavailable, "the session has ended here"));
        };
        let id = self.begun.fetch_add(1, Ordering::Relaxed);
        entry.legs[description.index()] = Some(Serving { id, relay: relay.clone(), told: None });
        tracing::info!(%session, %description, "leg attached");
        for (session, description) in bring_down {
            if let Some(entry) = held.get_mut(&session)
                && let Some(leg) = entry.bring_down(session, description, now)
            {
                tokio::spawn(insist(Arc::downgrade(self), leg));
            }
        }
        self.handle_in(&mut held, session, Event::Subscribed { description });
        Ok(Leg { session, description, id })
    }

    /// A leg has ended: with its last group delivered, in which case its capacity is kept until the
    /// hand-off ends, or broken off. One that a newer leg of the session has replaced matters no more.
    pub fn leg_ended(self: &Arc<Self>, leg: Leg, complete: bool, demand: Demand) {
        let Leg { session, description, id } = leg;
        tracing::info!(%session, %description, complete, "leg detached");
        let mut held = self.lock();
        let Some(entry) = held.get_mut(&session) else { return };
        let current = &mut entry.legs[description.index()];
        if current.take_if(|serving| serving.id == id).is_none() {
            return;
        }
        self.departed.fetch_add(1, Ordering::Relaxed);
        if complete {
            entry.reserved[description.index()] = Some(demand);
            entry.spans.reserves(&self.id, session, description);
            self.handle_in(&mut held, session, Event::Ended { description });
        } else {
            self.handle_in(&mut held, session, Event::Cancelled { description });
        }
    }

    /// Whether there would be room for a description of a session that is not here yet, within a hand-off.
    pub(super) fn has_room(
        &self,
        held: &HashMap<SessionId, Session>,
        session: SessionId,
        description: Description,
        kbps: u64,
    ) -> bool {
        let mut here = standings(held, Instant::now());
        if let Some(own) = here.iter_mut().find(|standing| standing.session == session) {
            own.here[description.index()] = Place::Kept(kbps);
        }
        let decision = admission::decide(self.capacity, &here, session, description, kbps);
        decision != Decision::Refuse
    }

    /// Tells a client again to let a leg go; false if that is not needed any more.
    fn tell_again(&self, leg: Leg) -> bool {
        let mut held = self.lock();
        let room = admission::all_fit(self.capacity, &standings(&held, Instant::now()));
        let Some(entry) = held.get_mut(&leg.session) else { return false };
        let serving = entry.legs[leg.description.index()].as_mut();
        let Some(serving) = serving.filter(|serving| serving.id == leg.id) else { return false };
        if room {
            serving.told = None;
            return false;
        }
        entry.tell(ToViewer::LetGo { description: leg.description });
        true
    }

    fn rejected(&self, entry: Option<&Session>, code: RejectCode, reason: &str) -> Rejected {
        let standbys = entry.and_then(|entry| entry.grant.as_ref()).map(|grant| &grant.standbys);
        let elsewhere =
            standbys.and_then(|standbys| standbys.iter().find(|node| **node != self.id));
        Rejected { code, reason: reason.into(), elsewhere: elsewhere.cloned() }
    }

    /// All legs, in order of their sessions.
    pub fn legs(&self) -> Vec<(SessionId, Description)> {
        let held = self.lock();
        let legs = held.iter().flat_map(|(id, session)| session.serving().map(|d| (*id, d)));
        let mut legs: Vec<_> = legs.collect();
        legs.sort_unstable();
        legs
    }

    /// Legs that have ended so far.
    pub fn departed(&self) -> u64 {
        self.departed.load(Ordering::Relaxed)
    }

    /// What all legs take, in kbit/s.
    pub fn kbps(&self) -> u64 {
        let held = self.lock();
        held.values().flat_map(|s| s.legs.iter().flatten()).map(|leg| leg.relay.kbps()).sum()
    }

    /// Closes the connections of clients without a leg here, or with `legs` those of all.
    pub fn close(&self, legs: bool) {
        for session in self.lock().values() {
            if let Some(client) = &session.client
                && (legs || session.serving().next().is_none())
            {
                client.connection.close(close::LEAVING, b"the edge is leaving");
            }
        }
    }
}

impl Session {
    /// Whether a leg of it is here, or was until just now.
    pub(super) fn is_kept(&self) -> bool {
        self.serving().next().is_some() || self.reserved.iter().any(Option::is_some)
    }

    /// Whether a description of it takes up room here.
    pub(super) fn place(&self, description: Description, now: Instant) -> Place {
        let at = description.index();
        if let Some(leg) = &self.legs[at] {
            let kbps = leg.relay.kbps();
            let leaving = leg.told.is_some_and(|told| now - told < LET_GO_WITHIN);
            return if leaving { Place::Leaving(kbps) } else { Place::Serving(kbps) };
        }
        match self.reserved[at].as_ref().or(self.prefetched[at].as_ref()) {
            Some(demand) => Place::Kept(demand.relay.kbps()),
            None => Place::None,
        }
    }

    fn yields(&self, now: Instant) -> bool {
        let lately = |told: Instant| now - told < ASK_AGAIN_AFTER;
        let asked = self.legs.iter().flatten().any(|leg| leg.told.is_some_and(lately));
        self.client.is_some() && !asked
    }

    fn bring_down(
        &mut self,
        session: SessionId,
        description: Description,
        now: Instant,
    ) -> Option<Leg> {
        let leg = self.legs[description.index()].as_mut()?;
        leg.told = Some(now);
        let id = leg.id;
        let priority = self.priority();
        tracing::info!(%session, %description, %priority, "brought down to one description");
        self.tell(ToViewer::LetGo { description });
        Some(Leg { session, description, id })
    }
}

/// Tells a client again and again to let a leg go, for a bounded time.
async fn insist(sessions: Weak<Sessions>, leg: Leg) {
    let told = Instant::now();
    while told.elapsed() < LET_GO_WITHIN {
        tokio::time::sleep(TELL_AGAIN_AFTER).await;
        if !sessions.upgrade().is_some_and(|sessions| sessions.tell_again(leg)) {
            return;
        }
    }
}

fn standings(held: &HashMap<SessionId, Session>, now: Instant) -> Vec<Standing> {
    held.iter()
        .map(|(id, session)| Standing {
            session: *id,
            priority: session.priority(),
            here: Description::BOTH.map(|description| session.place(description, now)),
            since: session.legs.iter().flatten().map(|leg| leg.id).max().unwrap_or(0),
            elsewhere: session.elsewhere,
            yielding: session.yields(now),
        })
        .collect()
}
