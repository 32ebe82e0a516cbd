//! Where the legs of a session that move are to go.

use gibbon_media::{Description, NodeId, Placement};
use gibbon_placement::{Candidate, NoEdge, Position, Request, select_edge, select_pair};

/// The legs that move, and what is to be heeded.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// All nodes.
    pub candidates: &'a [Candidate],
    /// What one leg takes, in kbit/s; 0 where that is not known.
    pub leg_kbps: u64,
    /// Where the session's legs are.
    pub legs: [Option<&'a NodeId>; 2],
    /// How they are meant to be placed.
    pub placement: Placement,
    /// Those that move.
    pub moving: &'a [Description],
    /// Edges that they are not to go to.
    pub exclude: &'a [NodeId],
    /// Whether others may be brought down to one description for it.
    pub newcomer: bool,
    /// Where the client is, if known.
    pub client: Option<Position>,
}

/// Where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Each that moves, and its new edge, in the order asked.
    pub moves: Vec<(Description, NodeId)>,
    /// Why there, for people.
    pub why: String,
}

impl Answer {
    /// The edges that legs move to.
    pub fn edges(&self) -> Vec<NodeId> {
        self.moves.iter().map(|(_, to)| to.clone()).collect()
    }
}

impl Question<'_> {
    /// Together: to one edge, the one that has the other description if that stays and may be chosen.
    /// Diverse: to two edges of different failure domains, or to one in another than the edge that keeps the
    /// other description; where there is only one domain, to one edge.
    pub fn answer(&self) -> Result<Answer, NoEdge> {
        if let Some(answer) = self.beside_the_other().or_else(|| self.on_a_pair()) {
            return Ok(answer);
        }
        let stays: Vec<_> = self.staying().cloned().into_iter().collect();
        let apart_from = match self.placement {
            Placement::Diverse => &stays[..],
            Placement::Together => &[],
        };
        let chosen = select_edge(self.candidates, &Request { apart_from, ..self.request() })?;
        let to = |description: &Description| (*description, chosen.edge.clone());
        Ok(Answer { moves: self.moving.iter().map(to).collect(), why: chosen.why.clone() })
    }

    fn beside_the_other(&self) -> Option<Answer> {
        let other = self.staying().filter(|_| self.placement == Placement::Together)?;
        let candidate = self.candidates.iter().find(|candidate| candidate.id == *other)?;
        candidate.check(&self.request()).ok()?;
        let why = format!("{other} has the other description");
        Some(Answer { moves: vec![(*self.moving.first()?, other.clone())], why })
    }

    fn on_a_pair(&self) -> Option<Answer> {
        if self.placement != Placement::Diverse || self.moving.len() != 2 {
            return None;
        }
        let pair = select_pair(self.candidates, &self.request())?;
        let to =
            |description: &Description| (*description, pair.edges[description.index()].clone());
        Some(Answer { moves: self.moving.iter().map(to).collect(), why: pair.why.clone() })
    }

    fn request(&self) -> Request<'_> {
        Request {
            legs: self.moving.len() as u32,
            leg_kbps: self.leg_kbps,
            description: (self.moving.len() == 1).then(|| self.moving[0]),
            newcomer: self.newcomer,
            client: self.client,
            exclude: self.exclude,
            apart_from: &[],
        }
    }

    /// The edge of the other description, where one description alone moves.
    fn staying(&self) -> Option<&NodeId> {
        match self.moving {
            [alone] => self.legs[alone.other().index()],
            _ => None,
        }
    }
}
