//! Sessions: who watches what through which edges, as edges and clients report it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_control::node::{Location, SessionReport};
use gibbon_handoff::Report;
use gibbon_media::{MediaTime, NodeId, SessionId, StreamName};

/// Sessions known at once.
pub const MAX_SESSIONS: usize = 100_000;
/// A session that no edge reports any more is gone after this: longer than a client needs to re-home
/// itself, or an edge to come back to a restarted coordinator.
pub const GONE_AFTER: Duration = Duration::from_secs(5);
/// A session whose client has not attached by then is given up. Its grant stays good: if the client comes
/// later, the session is known again from the edges' reports.
pub const ATTACH_WITHIN: Duration = Duration::from_secs(30);
/// Reports about a session that was ended through the portal are passed over for this long.
pub const ENDED_FOR: Duration = Duration::from_secs(5);

/// One session.
#[derive(Debug)]
pub struct Session {
    /// What it watches.
    pub stream: StreamName,
    /// Where its client said it is.
    pub location: Option<Location>,
    /// The edge it was placed on, until its client attaches.
    placed: Option<NodeId>,
    /// Edges with a session stream, and the descriptions each serves.
    carriers: BTreeMap<NodeId, [bool; 2]>,
    /// The client's newest report.
    pub report: Option<Report>,
    /// Whether a hand-off of it has begun under this start of the coordinator.
    pub handed_off: bool,
    /// When it was created, or last reported.
    seen: MediaTime,
}

impl Session {
    /// The edge that delivers each description. The client knows best; before it has spoken, the edges.
    pub fn legs(&self) -> [Option<NodeId>; 2] {
        if let Some(report) = &self.report {
            return report.legs.clone();
        }
        [0, 1].map(|d| {
            self.carriers.iter().find(|(_, serves)| serves[d]).map(|(edge, _)| edge.clone())
        })
    }

    /// Whether any edge has a session stream of it.
    pub fn is_connected(&self) -> bool {
        !self.carriers.is_empty()
    }

    /// Every edge that the client may be reached through, each once.
    pub fn reached_through(&self) -> BTreeSet<NodeId> {
        let legs = self.report.iter().flat_map(|report| report.legs.iter().flatten());
        self.carriers.keys().chain(legs).cloned().collect()
    }

    fn has_gone(&self, now: MediaTime) -> bool {
        let patience = if self.placed.is_some() { ATTACH_WITHIN } else { GONE_AFTER };
        self.carriers.is_empty() && now.since(self.seen) > patience
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions whose client has not attached: few among many.
    placed: BTreeSet<SessionId>,
    /// Sessions that were ended, and when.
    ended: BTreeMap<SessionId, MediaTime>,
}

impl Sessions {
    /// A new session, placed on `edge`. `None` if there are too many.
    pub fn create(
        &mut self,
        now: MediaTime,
        id: SessionId,
        stream: StreamName,
        edge: NodeId,
        location: Option<Location>,
    ) -> Option<()> {
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let session = Session { location, placed: Some(edge), ..Session::new(stream, now) };
        self.sessions.insert(id, session);
        self.placed.insert(id);
        Some(())
    }

    /// An edge's newest report in the place of an `older` one. Returns sessions not known before.
    pub fn edge_reports(
        &mut self,
        now: MediaTime,
        edge: &NodeId,
        older: &[SessionReport],
        newer: &[SessionReport],
    ) -> Vec<SessionId> {
        for report in older {
            if let Some(session) = self.sessions.get_mut(&report.session) {
                session.carriers.remove(edge);
            }
        }
        let mut new = Vec::new();
        for report in newer {
            let id = report.session;
            if self.ended.contains_key(&id) {
                continue;
            }
            if !self.sessions.contains_key(&id) {
                if self.sessions.len() >= MAX_SESSIONS {
                    continue;
                }
                self.sessions.insert(id, Session::new(report.stream.clone(), now));
                new.push(id);
            }
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let mut serves = [false; 2];
            report.legs.iter().for_each(|d| serves[d.index()] = true);
            session.carriers.insert(edge.clone(), serves);
            session.seen = now;
            if serves != [false; 2] && session.placed.take().is_some() {
                self.placed.remove(&id);
            }
        }
        new
    }

    /// A client's report. Whether it is no older than the newest known.
    pub fn client_reports(&mut self, id: SessionId, report: &Report) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.report.as_ref().is_some_and(|known| known.revision > report.revision) {
            return false;
        }
        session.report = Some(report.clone());
        true
    }

    /// Ends a session; whether there was one. Its client can go on, and is then known again.
    pub fn end(&mut self, now: MediaTime, id: SessionId) -> bool {
        self.placed.remove(&id);
        let known = self.sessions.remove(&id).is_some();
        if known && self.ended.len() < MAX_SESSIONS {
            self.ended.insert(id, now);
        }
        known
    }

    /// Removes and names the sessions that have gone.
    pub fn sweep(&mut self, now: MediaTime) -> Vec<SessionId> {
        self.ended.retain(|_, at| now.since(*at) <= ENDED_FOR);
        let gone = self.sessions.iter().filter(|(_, session)| session.has_gone(now));
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        for id in &gone {
            self.sessions.remove(id);
            self.placed.remove(id);
        }
        gone
    }

    /// The session of this id.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The session of this id, to be changed.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// All sessions, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// Legs promised to `edge` by sessions whose client has not attached.
    pub fn legs_placed_on(&self, edge: &NodeId) -> u32 {
        let placed = self.placed.iter().filter_map(|id| self.sessions.get(id));
        placed.filter(|session| session.placed.as_ref() == Some(edge)).count() as u32 * 2
    }
}

impl Session {
    fn new(stream: StreamName, now: MediaTime) -> Self {
        Self {
            stream,
            location: None,
            placed: None,
            carriers: BTreeMap::new(),
            report: None,
            handed_off: false,
            seen: now,
        }
    }
}
