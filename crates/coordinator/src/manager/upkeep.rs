//! What the manager does without being asked: so much at once, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_control::{node::ToNode, portal::DecidedBy};
use gibbon_handoff::Cause;
use gibbon_media::{MediaTime, NodeId, Priority, SessionId};
use gibbon_placement::Candidate;

use super::{Manager, Output};
use crate::{
    choose::Answer,
    drain,
    foresee::Mode,
    upkeep::{LEAVE_LOST_AFTER, Need, Scene, hot_edges},
    why::{self, Grounds},
};

/// A new start of the coordinator looks on for this long: nodes and clients are still coming back to it.
pub const LOOKS_ON_FOR: Duration = Duration::from_secs(3);
/// Hand-offs under way at once, those that were asked for included.
pub const MAX_RUNNING: usize = 1024;
/// Of these, from one edge, to relieve it of load.
const RELIEVED_AT_ONCE: usize = 4;
/// Sessions looked at more closely in one turn.
const MAX_NEEDS: usize = 256;
/// Grants renewed in one turn.
const MAX_RENEWALS: usize = 64;

/// The network in one turn of [`keep_up`](Manager::keep_up), with what the turn itself has begun; [`Scene`] is a look
/// at it.
struct Turn {
    now: MediaTime,
    candidates: Vec<Candidate>,
    leg_kbps: u64,
    lost: BTreeSet<NodeId>,
    emptied: BTreeSet<NodeId>,
    running: BTreeMap<NodeId, Vec<Cause>>,
}

impl Turn {
    fn scene<'a>(&'a self, hot: &'a BTreeSet<NodeId>) -> Scene<'a> {
        let Turn { now, candidates, leg_kbps, lost, emptied, .. } = self;
        Scene { now: *now, candidates, leg_kbps: *leg_kbps, lost, emptied, hot }
    }

    /// A hand-off has begun: what it moves is on its way.
    fn note(&mut self, need: &Need, answer: &Answer) {
        self.running.entry(need.edge.clone()).or_default().push(need.cause);
        for (description, to) in &answer.moves {
            if let Some(candidate) = self.candidates.iter_mut().find(|c| c.id == *to) {
                candidate.legs[description.index()] += 1;
                candidate.kbps = candidate.kbps.saturating_add(self.leg_kbps);
            }
        }
    }
}

impl Manager {
    /// Moves what should be moved and renews what should be renewed. Between two `sweep`s only edges that are
    /// being emptied are looked at, if there are any.
    pub(super) fn keep_up(&mut self, now: MediaTime, sweep: bool) -> Vec<Output> {
        let started = *self.started.get_or_insert(now);
        if now.since(started) < LOOKS_ON_FOR || !sweep && !self.drains.any() {
            return Vec::new();
        }
        let mut turn = Turn {
            now,
            candidates: self.candidates(),
            leg_kbps: self.registry.leg_kbps(),
            lost: self.registry.lost_for(now, LEAVE_LOST_AFTER),
            emptied: self.drains.all(),
            running: self.handoffs.running_from(),
        };
        self.hot = hot_edges(&self.hot, &turn.candidates, &self.handoffs.legs_leaving());
        let mut out = Vec::new();
        for (session, need) in self.needs(&turn, sweep) {
            out.extend(self.meet(&mut turn, session, &need));
        }
        if sweep {
            out.extend(self.renew(&turn));
        }
        out
    }

    /// What should be moved, the most pressing first; of what is only to relieve an edge, the least important
    /// first.
    fn needs(&self, turn: &Turn, sweep: bool) -> Vec<(SessionId, Need)> {
        let scene = turn.scene(&self.hot);
        let looked_at =
            self.sessions.iter().filter(|(id, _)| self.handoffs.of_session(*id).is_none());
        let mut needs: Vec<(u8, Priority, SessionId, Need)> = Vec::new();
        let (mut pressing, mut others) = (0, 0);
        for (id, session) in looked_at {
            let wanted =
                |need: &Need| (sweep || need.cause == Cause::Drain) && self.meets(need.cause);
            let Some(need) = scene.need(session).filter(wanted) else { continue };
            let (rank, count) = match need.cause {
                Cause::Drain => (0, &mut pressing),
                Cause::Failure => (1, &mut pressing),
                Cause::Network => (2, &mut others),
                _ => (3, &mut others),
            };
            *count += 1;
            if *count <= MAX_NEEDS {
                needs.push((rank, session.priority, id, need));
            }
        }
        needs.sort_by_key(|(rank, priority, ..)| (*rank, *priority));
        needs.into_iter().map(|(.., id, need)| (id, need)).collect()
    }

    /// Whether what has happened is a reason to move a session, by how the coordinator is to decide.
    fn meets(&self, cause: Cause) -> bool {
        match self.foresee.mode() {
            Mode::Ahead | Mode::Off => true,
            // Load is for the thresholds that are to be compared.
            Mode::Reactive => cause != Cause::Load,
            Mode::Never => matches!(cause, Cause::Drain | Cause::Failure),
        }
    }

    /// Begins the hand-off that `need` asks for, if there may be one more and there is an edge for it.
    fn meet(&mut self, turn: &mut Turn, id: SessionId, need: &Need) -> Vec<Output> {
        let now = turn.now;
        let running = turn.running.get(&need.edge).map_or(&[][..], Vec::as_slice);
        let of_this_cause = running.iter().filter(|cause| **cause == need.cause).count();
        let may = match need.cause {
            // One begun before it may have been enough.
            Cause::Load => of_this_cause < RELIEVED_AT_ONCE && self.hot.contains(&need.edge),
            _ => running.len() < drain::AT_ONCE,
        };
        if !may || self.handoffs.running() >= MAX_RUNNING {
            return Vec::new();
        }
        let scene = turn.scene(&self.hot);
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        let answer = scene.answer(session, need);
        let relieves = |answer: &Answer| answer.moves.iter().all(|(_, to)| scene.is_cool(to));
        let answer = match answer {
            Ok(answer) if need.cause != Cause::Load || relieves(&answer) => answer,
            Ok(_) => return Vec::new(),
            Err(no_edge) => {
                self.cannot(now, id, need, &no_edge.to_string());
                return Vec::new();
            }
        };
        if need.cause == Cause::Drain && !self.drains.may_begin(now, &need.edge, of_this_cause) {
            return Vec::new();
        }
        let grounds = self.grounds(turn, id, need, &answer);
        let Some(effects) = self.start_by_itself(now, id, need.cause, &answer, grounds) else {
            return Vec::new();
        };
        turn.note(need, &answer);
        if need.cause == Cause::Load {
            let leaving = self.handoffs.legs_leaving();
            self.hot = hot_edges(&self.hot, &turn.candidates, &leaving);
        }
        let mut out = self.outputs(now, effects);
        let to = answer.edges();
        out.extend(self.leave_neighbourhood(now, id, &to));
        out
    }

    /// Why a session is moved for what has already happened.
    fn grounds(&self, turn: &Turn, id: SessionId, need: &Need, answer: &Answer) -> Grounds {
        let (now, edge) = (turn.now, &need.edge);
        let because = why::happened(need.cause, edge);
        let mut grounds = Grounds::short(now, DecidedBy::Upkeep, because, answer.why.clone());
        let report_age = self.registry.reported(edge).map_or(Duration::ZERO, |at| now.since(at));
        let said = |name: &str, value: f64, unit: &str| {
            why::fact(format!("{name} {edge}"), value, unit, format!("{edge}'s report"), report_age)
        };
        if let Some(candidate) = turn.candidates.iter().find(|candidate| candidate.id == *edge) {
            grounds = grounds.knowing(said("load of", candidate.load() * 100.0, "%"));
        }
        if let Some(draining) = self.drains.of(edge) {
            let left = draining.within_ms as f64 / 1000.0;
            grounds = grounds.knowing(said("deadline of the drain of", left, "s"));
        }
        if need.cause == Cause::Failure {
            let silent = report_age.as_secs_f64();
            grounds = grounds.knowing(why::own(format!("silence of {edge}"), silent, "s"));
        }
        let Some(session) = self.sessions.get(id) else { return grounds };
        for (complaint, age) in session.complaints(now).filter(|(c, _)| c.edge == *edge) {
            let name = format!("{:?} of description {}", complaint.reason, complaint.description);
            let lasts = age.as_secs_f64();
            let source = "the client".to_owned();
            grounds = grounds.knowing(why::fact(name, lasts, "s", source, Duration::ZERO));
        }
        let priority = u8::from(session.priority);
        grounds.knowing(why::own("priority of the session".to_owned(), priority.into(), ""))
    }

    /// Nothing can take what should be moved: it is not asked again at once.
    fn cannot(&mut self, now: MediaTime, id: SessionId, need: &Need, why: &str) {
        let (edge, cause) = (&need.edge, need.cause);
        tracing::debug!(session = %id, %edge, ?cause, why, "a leg should move and cannot");
        if let Some(session) = self.sessions.get_mut(id) {
            session.care.fails(now);
        }
    }

    /// Renews grants whose standbys are of no use any more, or that are half spent.
    fn renew(&mut self, turn: &Turn) -> Vec<Output> {
        let scene = turn.scene(&self.hot);
        let due: Vec<_> = self
            .sessions
            .iter()
            .filter(|(id, _)| self.handoffs.of_session(*id).is_none())
            .filter_map(|(id, session)| Some((id, scene.renewal(session)?)))
            .take(MAX_RENEWALS)
            .collect();
        let mut out = Vec::new();
        for (session, named) in due {
            let standbys = self.addresses(&named);
            let through = self.sessions.get(session).map(|session| session.reached_through());
            let Ok(grant) = self.grant(turn.now, session, named) else { continue };
            let message = ToNode::Renew { session, grant, standbys };
            let to = |node| Output::ToNode { node, message: message.clone() };
            out.extend(through.into_iter().flatten().map(to));
        }
        out
    }
}
