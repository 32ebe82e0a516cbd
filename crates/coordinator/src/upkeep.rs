//! What should be done about a session that nobody asked about: which of its legs are to move, why and where
//! to, and whether its standbys are to be renewed.
//!
//! In this order, the first that applies: its edge is being emptied; its edge is lost; its client complains
//! of it; both legs of a diverse session may be lost at once; its edge carries too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_handoff::Cause;
use gibbon_media::{Description, MediaTime, NodeId, Placement};
use gibbon_placement::{
    Candidate, NoEdge, Position, Request, leg_to_move, select_partner, select_standbys,
};

use crate::{
    choose::{Answer, Question},
    registry::position,
    sessions::Session,
};

/// An edge that has been lost for this long is left: its clients have had the time to see for themselves.
pub const LEAVE_LOST_AFTER: Duration = Duration::from_millis(1500);
/// A complaint of one leg beside a good one is heeded when it is this old.
pub const HEED_AFTER: Duration = Duration::from_millis(300);
/// A complaint without a good leg beside it is heeded when it is this old: by then the client has found out
/// whether its downlink is to blame, and has let a description go if so.
pub const HEED_ALONE_AFTER: Duration = Duration::from_secs(3);
/// A diverse session whose legs came to one edge is left alone for this long: its client may not be done.
pub const SPREAD_AFTER: Duration = Duration::from_secs(2);
/// How long a grant holds.
pub const GRANT_FOR: Duration = Duration::from_secs(12 * 3600);
/// Standbys named in a grant.
pub const MAX_STANDBYS: usize = 4;
/// A grant is renewed no more often than this.
pub const RENEW_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// An edge above this load is relieved …
pub const HOT: f64 = 0.9;
/// … until it is below this …
pub const RELIEVED: f64 = 0.8;
/// … by edges below this.
pub const COOL: f64 = 0.6;

/// The network at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The moment.
    pub now: MediaTime,
    /// All nodes, in order of id.
    pub candidates: &'a [Candidate],
    /// What one leg takes, in kbit/s; 0 where that is not known.
    pub leg_kbps: u64,
    /// Edges lost for [`LEAVE_LOST_AFTER`] and more.
    pub lost: &'a BTreeSet<NodeId>,
    /// Edges that are being emptied.
    pub emptied: &'a BTreeSet<NodeId>,
    /// Edges that carry too much; see [`hot_edges`].
    pub hot: &'a BTreeSet<NodeId>,
}

/// Why legs of a session should move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Why.
    pub cause: Cause,
    /// The edge that is the reason.
    pub edge: NodeId,
    /// Which legs; description 1 first.
    pub moving: Vec<Description>,
    /// Where to, where that is part of the reason.
    pub to: Option<Answer>,
}

impl Scene<'_> {
    /// What should be moved of `session`, if anything should and may be now. Its client must have been heard
    /// and be in reach.
    pub fn need(&self, session: &Session) -> Option<Need> {
        if session.report.is_none() || !session.is_connected() {
            return None;
        }
        let legs = session.legs();
        let allowed = |need: &Need| session.care.allows(self.now, need.cause);
        self.at_an_edge(legs, Cause::Drain, |edge| self.emptied.contains(edge))
            .filter(allowed)
            .or_else(|| self.at_a_lost_edge(session))
            .filter(allowed)
            .or_else(|| self.accused(session).and_then(|edge| all_at(legs, &edge, Cause::Network)))
            .filter(allowed)
            .or_else(|| self.too_close(session))
            .filter(allowed)
            .or_else(|| self.at_an_edge(legs, Cause::Load, |edge| self.hot.contains(edge)))
            .filter(allowed)
    }

    /// Where the legs of `need` should go.
    pub fn answer(&self, session: &Session, need: &Need) -> Result<Answer, NoEdge> {
        if let Some(answer) = &need.to {
            return Ok(answer.clone());
        }
        let legs = session.legs();
        let shunned = session.care.shunned(self.now);
        let at = need.moving.iter().filter_map(|d| legs[d.index()].cloned());
        let mut exclude: Vec<_> = at.collect();
        let must = matches!(need.cause, Cause::Drain | Cause::Failure);
        let question = Question {
            candidates: self.candidates,
            leg_kbps: self.leg_kbps,
            legs,
            placement: session.placement.unwrap_or_default(),
            moving: &need.moving,
            exclude: &[],
            // What must leave its edge may bring others down; what should, may not. A leg at a lost edge that
            // its client still has is served: the edge is cut off from us alone.
            newcomer: need.cause == Cause::Drain,
            client: client(session),
        };
        let without = exclude.len();
        exclude.extend(shunned);
        let answer = Question { exclude: &exclude, ..question }.answer();
        match answer {
            Err(_) if must => Question { exclude: &exclude[..without], ..question }.answer(),
            answer => answer,
        }
    }

    /// Whether an edge may take legs off one that carries too much.
    pub fn is_cool(&self, edge: &NodeId) -> bool {
        self.candidate(edge).is_some_and(|candidate| candidate.load() < COOL)
    }

    /// The standbys that a new grant for `session` should name, if its client needs one.
    pub fn renewal(&self, session: &Session) -> Option<Vec<NodeId>> {
        if session.report.is_none() || !session.is_connected() {
            return None;
        }
        let serving: Vec<_> = session.legs().into_iter().flatten().cloned().collect();
        let shunned = session.care.shunned(self.now);
        let request = Request {
            legs: 1,
            leg_kbps: self.leg_kbps,
            client: client(session),
            ..Request::default()
        };
        let wanted =
            || select_standbys(self.candidates, &request, &serving, &shunned, MAX_STANDBYS);
        let Some((named, at)) = &session.granted else { return Some(wanted()) };
        let age = self.now.since(*at);
        if age >= GRANT_FOR / 2 {
            return Some(wanted());
        }
        let useless = |edge: &NodeId| serving.contains(edge) || !self.is_usable(edge);
        let most = self.candidates.iter().filter(|c| !serving.contains(&c.id) && c.is_usable());
        let could_be_more = named.len() < most.take(MAX_STANDBYS).count();
        if age < RENEW_AT_MOST_EVERY || !named.iter().any(useless) && !could_be_more {
            return None;
        }
        Some(wanted()).filter(|wanted| wanted != named)
    }

    /// Where its client goes on saying that an edge serves it, the edge is only out of the coordinator's sight.
    fn at_a_lost_edge(&self, session: &Session) -> Option<Need> {
        let lost = |edge: &NodeId| self.lost.contains(edge) && session.is_silent(self.now);
        self.at_an_edge(session.legs(), Cause::Failure, lost)
    }

    fn at_an_edge(
        &self,
        legs: [Option<&NodeId>; 2],
        cause: Cause,
        applies: impl Fn(&NodeId) -> bool,
    ) -> Option<Need> {
        let edge = legs.into_iter().flatten().find(|edge| applies(edge))?;
        all_at(legs, edge, cause)
    }

    /// The edge that the client complains of with reason: not where both its legs are bad, which is its
    /// downlink.
    fn accused(&self, session: &Session) -> Option<NodeId> {
        let legs = session.legs();
        let of_a_leg = |description: Description, edge| legs[description.index()] == Some(edge);
        let complaints: Vec<_> = session
            .complaints(self.now)
            .filter(|(complaint, _)| of_a_leg(complaint.description, &complaint.edge))
            .collect();
        let (complaint, age) = complaints.iter().max_by_key(|(_, age)| *age)?;
        let good_one_beside = legs.into_iter().flatten().any(|edge| *edge != complaint.edge);
        if good_one_beside && complaints.len() > 1 {
            return None;
        }
        let heed_after = if good_one_beside { HEED_AFTER } else { HEED_ALONE_AFTER };
        (*age >= heed_after).then(|| complaint.edge.clone())
    }

    /// Both legs of a diverse session are in one failure domain, and have been for a while.
    fn too_close(&self, session: &Session) -> Option<Need> {
        let [Some(zero), Some(one)] = session.legs() else { return None };
        if session.placement != Some(Placement::Diverse)
            || self.now.since(session.legs_since) < SPREAD_AFTER
            || !self.candidate(zero)?.shares_domain(self.candidate(one)?)
        {
            return None;
        }
        let to = self.spread(session)?;
        let moving = to.moves.iter().map(|(description, _)| *description).collect();
        Some(Need { cause: Cause::Failure, edge: one.clone(), moving, to: Some(to) })
    }

    /// Where one leg of a diverse session should go whose legs are in one failure domain; `None` where there
    /// is no room in another.
    fn spread(&self, session: &Session) -> Option<Answer> {
        let [zero, one] = session.legs();
        let (zero, one) = (self.candidate(zero?)?, self.candidate(one?)?);
        let shunned = session.care.shunned(self.now);
        let request = Request {
            legs: 1,
            leg_kbps: self.leg_kbps,
            client: client(session),
            exclude: &shunned,
            ..Request::default()
        };
        let chosen = select_partner(self.candidates, &request, &zero.id)?;
        let to = self.candidate(&chosen.edge)?;
        let description = if zero.id == one.id { leg_to_move(zero, to) } else { Description::One };
        Some(Answer { moves: vec![(description, chosen.edge.clone())], why: chosen.why })
    }

    fn is_usable(&self, edge: &NodeId) -> bool {
        self.candidate(edge).is_some_and(Candidate::is_usable)
    }

    fn candidate(&self, id: &NodeId) -> Option<&Candidate> {
        let at = self.candidates.binary_search_by(|candidate| candidate.id.cmp(id)).ok()?;
        self.candidates.get(at)
    }
}

fn client(session: &Session) -> Option<Position> {
    session.location.map(position)
}

/// All legs at `edge`.
fn all_at(legs: [Option<&NodeId>; 2], edge: &NodeId, cause: Cause) -> Option<Need> {
    let here = |d: &Description| legs[d.index()] == Some(edge);
    let moving: Vec<_> = [Description::One, Description::Zero].into_iter().filter(here).collect();
    (!moving.is_empty()).then(|| Need { cause, edge: edge.clone(), moving, to: None })
}

/// The edges that carry too much while others carry little: above [`HOT`], or above [`RELIEVED`] if they were
/// among those `before`. Legs that are `leaving` count as gone.
pub fn hot_edges(
    before: &BTreeSet<NodeId>,
    candidates: &[Candidate],
    leaving: &BTreeMap<NodeId, u32>,
) -> BTreeSet<NodeId> {
    if !candidates.iter().any(|c| c.is_usable() && c.load() < COOL) {
        return BTreeSet::new();
    }
    let is_hot = |c: &&Candidate| {
        let (legs, gone) = (c.all_legs(), leaving.get(&c.id).copied().unwrap_or(0));
        let stays = f64::from(legs.saturating_sub(gone)) / f64::from(legs.max(1));
        let most = if before.contains(&c.id) { RELIEVED } else { HOT };
        c.is_usable() && c.load() * stays > most
    };
    candidates.iter().filter(is_hot).map(|c| c.id.clone()).collect()
}
