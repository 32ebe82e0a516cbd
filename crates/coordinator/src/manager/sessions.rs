//! Sessions that clients ask for: where their legs begin, and what their grants say.

use std::slice;

use gibbon_control::{
    Grant,
    node::NodeAddress,
    portal::{Event, SessionRequest, SessionTicket},
};
use gibbon_media::{MediaTime, NodeId, Placement, Scheme, SessionId, StreamName};
use gibbon_placement::{
    Candidate, Position, Request, Unfit, select_edge, select_pair, select_partner, select_standbys,
};

use super::{Manager, Output, Refusal};
use crate::{
    registry::position,
    sessions::Created,
    upkeep::{GRANT_FOR, MAX_STANDBYS},
};

impl Manager {
    /// A client wants to watch; `session` is the id it gets.
    pub fn create_session(
        &mut self,
        now: MediaTime,
        session: SessionId,
        request: SessionRequest,
    ) -> Result<(SessionTicket, Vec<Output>), Refusal> {
        let stream = request.stream.clone();
        self.check_watchable(&stream)?;
        let mut candidates = self.candidates();
        let staying = self.staying(now, &candidates);
        let (edges, placement) = match self.place(&staying, &request) {
            // One that goes away soon is better than none, and who asks for it by name gets it.
            Err(Refusal::NoEdge(_) | Refusal::Unfit { .. }) => self.place(&candidates, &request)?,
            placed => {
                candidates = staying;
                placed?
            }
        };
        let client = request.location.map(position);
        let standbys = self.standbys(&candidates, &edges, &[], client);
        let created = Created {
            stream: stream.clone(),
            edges: edges.clone(),
            placement,
            priority: request.priority,
            location: request.location,
            standbys: standbys.clone(),
        };
        self.sessions.create(now, session, created).ok_or(Refusal::TooManySessions)?;
        let [zero, one] = &edges;
        tracing::info!(%session, %stream, %placement, %zero, %one, "a session is created");
        let ticket = SessionTicket {
            session,
            edges: [self.address(zero)?, self.address(one)?],
            placement,
            grant: self.grant(now, session, standbys.clone())?,
            standbys: self.addresses(&standbys),
        };
        Ok((ticket, vec![Output::Event(Event::Session { session, up: true })]))
    }

    /// Whether `stream` is one that viewers can watch now.
    fn check_watchable(&self, stream: &StreamName) -> Result<(), Refusal> {
        match self.stream(stream) {
            Some((_, catalog)) if catalog.scheme == Scheme::Plain => {
                Err(Refusal::Plain(stream.clone()))
            }
            Some(_) => Ok(()),
            None => Err(match self.services.making(stream).first() {
                Some((service, _)) => {
                    Refusal::Starting { stream: stream.clone(), service: *service }
                }
                None => Refusal::NoStream(stream.clone()),
            }),
        }
    }

    /// Forgets a session.
    pub fn end_session(
        &mut self,
        now: MediaTime,
        session: SessionId,
    ) -> Result<Vec<Output>, Refusal> {
        if !self.sessions.end(now, session) {
            return Err(Refusal::NoSession(session));
        }
        let mut out = Vec::new();
        let effects = self.session_gone(now, session, &mut out);
        out.extend(self.outputs(now, effects));
        Ok(out)
    }

    /// The edges of descriptions 0 and 1. Where diverse placement is asked for and there is but one failure
    /// domain, both are on one edge until there is another.
    fn place(
        &self,
        candidates: &[Candidate],
        request: &SessionRequest,
    ) -> Result<([NodeId; 2], Placement), Refusal> {
        let wanted = Request {
            legs: 2,
            leg_kbps: self.registry.leg_kbps(),
            newcomer: true,
            client: request.location.map(position),
            ..Request::default()
        };
        let diverse = Request { legs: 1, ..wanted };
        let both = |edge: NodeId| [edge.clone(), edge];
        match (&request.edge, request.placement) {
            (Some(edge), Some(Placement::Diverse)) => {
                self.check_named(candidates, edge, &diverse)?;
                let partner = select_partner(candidates, &diverse, edge);
                let one = partner.map_or_else(|| edge.clone(), |partner| partner.edge);
                Ok(([edge.clone(), one], Placement::Diverse))
            }
            (Some(edge), _) => {
                self.check_named(candidates, edge, &wanted)?;
                Ok((both(edge.clone()), Placement::Together))
            }
            (None, Some(Placement::Together)) => {
                Ok((both(select_edge(candidates, &wanted)?.edge), Placement::Together))
            }
            (None, asked) => match select_pair(candidates, &diverse) {
                Some(pair) => Ok((pair.edges, Placement::Diverse)),
                None => {
                    let edge = select_edge(candidates, &wanted)?.edge;
                    Ok((both(edge), asked.unwrap_or(Placement::Together)))
                }
            },
        }
    }

    /// Whether an edge that was asked for can be had; a refusal names the next best.
    pub(super) fn check_named(
        &self,
        candidates: &[Candidate],
        edge: &NodeId,
        wanted: &Request<'_>,
    ) -> Result<(), Refusal> {
        let candidate = candidates.iter().find(|candidate| candidate.id == *edge);
        let candidate = candidate.ok_or_else(|| Refusal::NoNode(edge.clone()))?;
        candidate.check(wanted).map_err(|why| {
            let exclude = [slice::from_ref(edge), wanted.exclude].concat();
            let others = Request { exclude: &exclude, ..*wanted };
            let next = match (&why, select_edge(candidates, &others)) {
                (Unfit::NotAnEdge(_), _) | (_, Err(_)) => String::new(),
                (_, Ok(next)) => format!("; {} has room", next.edge),
            };
            Refusal::Unfit { node: edge.clone(), why: format!("{why}{next}") }
        })
    }

    /// Where a client that is served by `serving` is to turn when that is lost, best first; those to be
    /// `shunned` last.
    pub(super) fn standbys(
        &self,
        candidates: &[Candidate],
        serving: &[NodeId],
        shunned: &[NodeId],
        client: Option<Position>,
    ) -> Vec<NodeId> {
        let leg_kbps = self.registry.leg_kbps();
        let wanted = Request { legs: 1, leg_kbps, client, ..Request::default() };
        select_standbys(candidates, &wanted, serving, shunned, MAX_STANDBYS)
    }

    pub(super) fn addresses(&self, nodes: &[NodeId]) -> Vec<NodeAddress> {
        nodes.iter().filter_map(|node| self.registry.address(node)).cloned().collect()
    }

    /// Signs a grant that names `standbys`, and takes note of it.
    pub(super) fn grant(
        &mut self,
        now: MediaTime,
        id: SessionId,
        standbys: Vec<NodeId>,
    ) -> Result<String, Refusal> {
        let session = self.sessions.get_mut(id).ok_or(Refusal::NoSession(id))?;
        session.granted = Some((standbys.clone(), now));
        let placement = session.becomes.or(session.placement).unwrap_or_default();
        Ok(self.signer.sign(&Grant {
            session: id,
            stream: session.stream.clone(),
            standbys,
            placement,
            priority: session.priority,
            expires: now + GRANT_FOR,
        }))
    }

    fn address(&self, edge: &NodeId) -> Result<NodeAddress, Refusal> {
        self.registry.address(edge).cloned().ok_or_else(|| Refusal::NoNode(edge.clone()))
    }
}
