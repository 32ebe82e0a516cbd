//! Sessions: who watches what through which edges, as edges and clients report it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_control::{
    node::{Location, SessionReport},
    session::{ClientReport, Complaint},
    viewing::Viewing,
};
use gibbon_handoff::Report;
use gibbon_media::{MediaTime, NodeId, Placement, Priority, SessionId, StreamName};

use crate::care::Care;

/// Sessions known at once.
pub const MAX_SESSIONS: usize = 100_000;
/// A session that no edge reports any more is gone after this: longer than a client needs to re-home
/// itself, or an edge to come back to a restarted coordinator.
pub const GONE_AFTER: Duration = Duration::from_secs(5);
/// A session whose client has not attached by then is given up. Its grant stays good: if the client comes
/// later, the session is known again from the edges' reports.
pub const ATTACH_WITHIN: Duration = Duration::from_secs(30);
/// A client reports every second.
pub const SILENT_AFTER: Duration = Duration::from_millis(3500);
/// Reports about a session that was ended through the portal are passed over for this long.
pub const ENDED_FOR: Duration = Duration::from_secs(5);
/// Complaints of one client that are looked at: one for each of its legs.
const MAX_COMPLAINTS: usize = 2;

/// One session.
#[derive(Debug)]
pub struct Session {
    /// What it watches.
    pub stream: StreamName,
    /// Where its client said it is.
    pub location: Option<Location>,
    /// How its legs are meant to be placed; none until an edge has told it to a restarted coordinator.
    pub placement: Option<Placement>,
    /// How the hand-off under way will place it from then on, if otherwise.
    pub becomes: Option<Placement>,
    /// How much it matters.
    pub priority: Priority,
    /// The standbys in the client's newest grant, and when that was given; none if an earlier start of the
    /// coordinator gave it.
    pub granted: Option<(Vec<NodeId>, MediaTime)>,
    /// The edges it was placed on, until its client attaches.
    placed: Option<[NodeId; 2]>,
    /// Edges with a session stream, and the descriptions each serves.
    carriers: BTreeMap<NodeId, [bool; 2]>,
    /// The client's newest report, and when it came.
    pub report: Option<Report>,
    heard: MediaTime,
    /// What the client complains of, and when it did.
    complaints: Vec<(Complaint, MediaTime)>,
    /// What its viewer had been shown by the client's newest report; none before the first report where an earlier
    /// start of the coordinator saw the session begin.
    pub viewed: Option<Viewing>,
    /// Since when its legs are where they are.
    pub legs_since: MediaTime,
    /// Whether a hand-off of it has begun under this start of the coordinator.
    pub handed_off: bool,
    /// What is to be heeded before it is moved again.
    pub care: Care,
    /// When it was created, or last reported.
    seen: MediaTime,
}

impl Session {
    /// The edge that delivers each description. The client knows best; before it has spoken, the edges.
    pub fn legs(&self) -> [Option<&NodeId>; 2] {
        if let Some(report) = &self.report {
            return report.legs.each_ref().map(Option::as_ref);
        }
        [0, 1].map(|d| self.carriers.iter().find(|(_, serves)| serves[d]).map(|(edge, _)| edge))
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

    /// What the client complains of, and for how long it has.
    pub fn complaints(&self, now: MediaTime) -> impl Iterator<Item = (&Complaint, Duration)> {
        self.complaints.iter().map(move |(complaint, heard)| {
            (complaint, Duration::from_millis(complaint.for_ms) + now.since(*heard))
        })
    }

    /// Whether the client has not been heard for longer than any that goes on is silent.
    pub fn is_silent(&self, now: MediaTime) -> bool {
        now.since(self.heard) > SILENT_AFTER
    }

    fn has_gone(&self, now: MediaTime) -> bool {
        let patience = if self.placed.is_some() { ATTACH_WITHIN } else { GONE_AFTER };
        self.carriers.is_empty() && now.since(self.seen) > patience
    }

    fn new(stream: StreamName, now: MediaTime) -> Self {
        Self {
            stream,
            location: None,
            placement: None,
            becomes: None,
            priority: Priority::default(),
            granted: None,
            placed: None,
            carriers: BTreeMap::new(),
            report: None,
            heard: now,
            complaints: Vec::new(),
            viewed: None,
            legs_since: now,
            handed_off: false,
            care: Care::default(),
            seen: now,
        }
    }
}

/// What all sessions together mean for one edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Legs promised to it, by description, of sessions whose client has not attached.
    pub placed: [u32; 2],
    /// Legs of description 1 whose sessions have description 0 as well: second hands. Each session that has
    /// two legs is counted once, so that no leg is given up twice.
    pub seconds: u32,
}

/// What a session that is to be created is known by.
#[derive(Debug, Clone)]
pub struct Created {
    /// What it watches.
    pub stream: StreamName,
    /// The edges it is placed on.
    pub edges: [NodeId; 2],
    /// How.
    pub placement: Placement,
    /// How much it matters.
    pub priority: Priority,
    /// Where its client is.
    pub location: Option<Location>,
    /// The standbys in its grant.
    pub standbys: Vec<NodeId>,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    tallies: Tallies,
    /// Sessions that watch each stream.
    watching: BTreeMap<StreamName, u32>,
    /// Sessions that were ended, and when.
    ended: BTreeMap<SessionId, MediaTime>,
}

impl Sessions {
    /// A new session. `None` if there are too many.
    pub fn create(&mut self, now: MediaTime, id: SessionId, created: Created) -> Option<()> {
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let Created { stream, edges, placement, priority, location, standbys } = created;
        let session = Session {
            location,
            placement: Some(placement),
            priority,
            granted: Some((standbys, now)),
            placed: Some(edges),
            viewed: Some(Viewing::default()),
            ..Session::new(stream, now)
        };
        self.tallies.count(&session, 1);
        self.insert(id, session);
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
        let still: BTreeSet<_> = newer.iter().map(|report| report.session).collect();
        for report in older.iter().filter(|report| !still.contains(&report.session)) {
            self.change(now, report.session, |session| {
                session.carriers.remove(edge);
            });
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
                self.insert(id, Session::new(report.stream.clone(), now));
                new.push(id);
            }
            let mut serves = [false; 2];
            report.legs.iter().for_each(|d| serves[d.index()] = true);
            match self.sessions.get_mut(&id) {
                // As it was: true of nearly all, at every report.
                Some(session) if session.carriers.get(edge) == Some(&serves) => session.seen = now,
                _ => {
                    self.change(now, id, |session| session.is_reported(now, edge, report, serves));
                }
            }
        }
        new
    }

    /// A client's report. Whether it is no older than the newest known.
    pub fn client_reports(&mut self, now: MediaTime, id: SessionId, report: &ClientReport) -> bool {
        let known = |session: &mut Session| {
            if session.report.as_ref().is_some_and(|known| known.revision > report.hands.revision) {
                return false;
            }
            session.report = Some(report.hands.clone());
            session.heard = now;
            let complaints = report.complaints.iter().take(MAX_COMPLAINTS);
            session.complaints = complaints.map(|complaint| (complaint.clone(), now)).collect();
            true
        };
        self.change(now, id, known).unwrap_or(false)
    }

    /// Ends a session; whether there was one. Its client can go on, and is then known again.
    pub fn end(&mut self, now: MediaTime, id: SessionId) -> bool {
        let known = self.forget(id);
        if known && self.ended.len() < MAX_SESSIONS {
            self.ended.insert(id, now);
        }
        known
    }

    /// Nobody could be heard for `time`: it does not count as silence.
    pub fn excuse(&mut self, time: Duration) {
        for session in self.sessions.values_mut() {
            session.seen = session.seen + time;
            session.heard = session.heard + time;
        }
    }

    /// Removes and names the sessions that have gone.
    pub fn sweep(&mut self, now: MediaTime) -> Vec<SessionId> {
        self.ended.retain(|_, at| now.since(*at) <= ENDED_FOR);
        let gone = self.sessions.iter().filter(|(_, session)| session.has_gone(now));
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        for id in &gone {
            self.forget(*id);
        }
        gone
    }

    /// The session of this id.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The session of this id, to be changed: what it is, not where it is.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// All sessions, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// How many sessions watch `stream`.
    pub fn watching(&self, stream: &StreamName) -> u32 {
        self.watching.get(stream).copied().unwrap_or(0)
    }

    /// What the sessions mean for `edge`.
    pub fn tally(&self, edge: &NodeId) -> Tally {
        self.tallies.0.get(edge).copied().unwrap_or_default()
    }

    /// Changes where a session is, and keeps count of it.
    fn change<T>(
        &mut self,
        now: MediaTime,
        id: SessionId,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(&id)?;
        let before = session.legs().map(Option::<&NodeId>::cloned);
        self.tallies.count(session, -1);
        let changed = change(session);
        self.tallies.count(session, 1);
        if session.legs() != before.each_ref().map(Option::as_ref) {
            session.legs_since = now;
        }
        Some(changed)
    }

    fn insert(&mut self, id: SessionId, session: Session) {
        *self.watching.entry(session.stream.clone()).or_default() += 1;
        self.sessions.insert(id, session);
    }

    fn forget(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.remove(&id) else { return false };
        self.tallies.count(&session, -1);
        if let Some(watching) = self.watching.get_mut(&session.stream) {
            *watching -= 1;
            if *watching == 0 {
                self.watching.remove(&session.stream);
            }
        }
        true
    }
}

#[derive(Debug, Default)]
struct Tallies(BTreeMap<NodeId, Tally>);

impl Tallies {
    /// Adds a session (1), or takes it out (−1).
    fn count(&mut self, session: &Session, sign: i32) {
        let add = |count: &mut u32| *count = count.saturating_add_signed(sign);
        let legs = match &session.placed {
            Some(edges) => {
                for (d, edge) in edges.iter().enumerate() {
                    add(&mut self.0.entry(edge.clone()).or_default().placed[d]);
                }
                edges.each_ref().map(Some)
            }
            None => session.legs(),
        };
        if let [Some(_), Some(second)] = legs {
            add(&mut self.0.entry(second.clone()).or_default().seconds);
        }
        for edge in legs.into_iter().flatten().filter(|_| sign < 0) {
            if self.0.get(edge).is_some_and(|tally| *tally == Tally::default()) {
                self.0.remove(edge);
            }
        }
    }
}

impl Session {
    fn is_reported(
        &mut self,
        now: MediaTime,
        edge: &NodeId,
        report: &SessionReport,
        serves: [bool; 2],
    ) {
        self.carriers.insert(edge.clone(), serves);
        self.seen = now;
        if serves != [false; 2] {
            self.placed = None;
        }
        // What this start of the coordinator has decided is newer than the grant that the edge was shown.
        if self.placement.is_none() {
            (self.placement, self.priority) = (Some(report.placement), report.priority);
        }
    }
}
