//! Hand-offs: those that are asked for, those taken up after a restart, and how all are carried out.

use std::time::Duration;

use gibbon_control::{
    node::{NodeAddress, ToNode},
    portal::{DecidedBy, HandoffInfo, HandoffOutcome, HandoffRequest},
    session::Order,
};
use gibbon_handoff::{
    Cause, InfoSender, Move, Plan, Reason, Report, Source, ToClient,
    coordinator::{Action, Executor},
};
use gibbon_media::{Description, HandoffId, MediaTime, NodeId, Placement, SessionId};
use gibbon_placement::Request;

use super::{Manager, Output, Refusal};
use crate::{
    adoption::moves_left,
    care::{SHUN_BAD, SHUN_FAILED},
    choose::{Answer, Question},
    handoffs::Effect,
    registry::position,
    sessions::Session,
    why::{self, Grounds},
};

/// Length of a group where the stream's catalog is not known (yet).
const USUAL_GROUP: Duration = Duration::from_secs(1);

impl Manager {
    /// Somebody wants a session handed off; `handoff` is the id it gets.
    pub fn request_handoff(
        &mut self,
        now: MediaTime,
        handoff: HandoffId,
        id: SessionId,
        request: HandoffRequest,
    ) -> Result<(HandoffInfo, Vec<Output>), Refusal> {
        let session = self.sessions.get(id).ok_or(Refusal::NoSession(id))?;
        if let Some(running) = self.handoffs.of_session(id) {
            return Err(Refusal::UnderWay(running));
        }
        let answer = self.choose(session, &request)?;
        let moves = moves(session, &answer, |description, from| {
            request.fetch[description.index()].unwrap_or_else(|| self.source(Cause::Operator, from))
        });
        // All of it to one edge, by the operator's will: it stays together from then on.
        let all_to_one =
            request.to.is_some() && request.from.is_none() && request.description.is_none();
        let was_diverse = session.placement == Some(Placement::Diverse);
        let plan = self.handoff_plan(handoff, (id, session), Cause::Operator, moves);
        let prefetch_info = request.prefetch_info.unwrap_or(plan.prefetch_info);
        let plan = Plan { prefetch_info, ..plan };
        let begun =
            Executor::new(plan).map_err(|invalid| Refusal::NothingToMove(invalid.to_string()))?;
        if let Some(session) = self.sessions.get_mut(id).filter(|_| all_to_one && was_diverse) {
            session.becomes = Some(Placement::Together);
        }
        let because = why::happened(Cause::Operator, &begun.0.plan().moves[0].from);
        let to = answer.edges();
        let grounds = Grounds::short(now, DecidedBy::Request, because, answer.why);
        let (info, effects) = self.start(now, begun, grounds);
        let mut out = self.outputs(now, effects);
        out.extend(self.leave_neighbourhood(now, id, &to));
        Ok((info, out))
    }

    /// Which legs of `session` move where, and why there.
    fn choose(&self, session: &Session, request: &HandoffRequest) -> Result<Answer, Refusal> {
        let legs = session.legs();
        let wanted = |d: &Description| {
            let edge = legs[d.index()];
            request.description.is_none_or(|wanted| wanted == *d)
                && edge.is_some_and(|edge| request.from.as_ref().is_none_or(|from| from == edge))
        };
        let mut moving: Vec<_> =
            [Description::One, Description::Zero].into_iter().filter(wanted).collect();
        if moving.is_empty() {
            return Err(Refusal::NothingToMove(describe(legs)));
        }
        let (candidates, leg_kbps) = (self.candidates(), self.registry.leg_kbps());
        if let Some(to) = &request.to {
            moving.retain(|d| legs[d.index()] != Some(to));
            if moving.is_empty() {
                return Err(Refusal::AlreadyThere(to.clone()));
            }
            let legs = moving.len() as u32;
            let wanted = Request { legs, leg_kbps, ..Request::default() };
            self.check_named(&candidates, to, &wanted)?;
            let moves = moving.into_iter().map(|d| (d, to.clone())).collect();
            return Ok(Answer { moves, why: format!("{to} was asked for") });
        }
        let exclude: Vec<_> = moving.iter().filter_map(|d| legs[d.index()].cloned()).collect();
        let question = Question {
            candidates: &candidates,
            leg_kbps,
            legs,
            placement: session.placement.unwrap_or_default(),
            moving: &moving,
            exclude: &exclude,
            newcomer: false,
            client: session.location.map(position),
        };
        let answer = question.answer()?;
        let meet = matches!(&answer.moves[..], [(_, one), (_, zero)] if one == zero);
        if meet && legs[0] != legs[1] && session.placement == Some(Placement::Diverse) {
            // There is no other pair of edges: one of the legs can move, and both are still apart.
            return Ok(Question { moving: &moving[..1], ..question }.answer()?);
        }
        Ok(answer)
    }

    /// A hand-off that nobody asked for. `None` if it cannot be.
    pub(super) fn start_by_itself(
        &mut self,
        now: MediaTime,
        id: SessionId,
        cause: Cause,
        answer: &Answer,
        grounds: Grounds,
    ) -> Option<Vec<Effect>> {
        let handoff = self.next_handoff();
        let session = self.sessions.get(id)?;
        let moves = moves(session, answer, |_, from| self.source(cause, from));
        let plan = self.handoff_plan(handoff, (id, session), cause, moves);
        match Executor::new(plan) {
            Ok(begun) => Some(self.start(now, begun, grounds).1),
            Err(invalid) => {
                tracing::warn!(session = %id, %invalid, "what was decided cannot be carried out");
                None
            }
        }
    }

    /// Ids of its own rise from term to term, and so never come twice.
    pub(super) fn next_handoff(&mut self) -> HandoffId {
        self.begun += 1;
        HandoffId(self.term.0.wrapping_shl(32).wrapping_add(self.begun))
    }

    /// Where a new edge fetches from what `from` delivers now: not there where that may be the trouble.
    fn source(&self, cause: Cause, from: &NodeId) -> Source {
        match cause {
            Cause::Network | Cause::Failure => Source::Origin,
            _ if self.registry.is_up(from) => Source::FirstEdge,
            _ => Source::Origin,
        }
    }

    /// What is to be done about a session. The coordinator sends the prefetch information itself.
    fn handoff_plan(
        &self,
        handoff: HandoffId,
        (id, session): (SessionId, &Session),
        cause: Cause,
        moves: Vec<Move>,
    ) -> Plan {
        Plan {
            handoff,
            session: id,
            stream: session.stream.clone(),
            term: self.term,
            first_step: self.handoffs.next_step(),
            cause,
            prefetch_info: InfoSender::Coordinator,
            moves,
        }
    }

    /// Carries out what an executor has begun.
    fn start(
        &mut self,
        now: MediaTime,
        begun: (Executor, Vec<Action>),
        grounds: Grounds,
    ) -> (HandoffInfo, Vec<Effect>) {
        let plan = begun.0.plan();
        if let Some(session) = self.sessions.get_mut(plan.session) {
            session.handed_off = true;
            session.care.begins(now, plan.cause);
        }
        let group = self.stream(&plan.stream).map_or(USUAL_GROUP, |(_, catalog)| {
            let [zero, one] = Description::BOTH.map(|d| catalog.grid(d).duration());
            zero.max(one)
        });
        self.handoffs.start(now, begun, grounds, group)
    }

    /// Takes up what an earlier start of the coordinator left behind, unless the session has been handed
    /// off since. The client reports again and again: what is not known yet is waited for.
    pub(super) fn adopt(&mut self, now: MediaTime, id: SessionId, report: &Report) -> Vec<Effect> {
        let Some(order) = report.order.as_ref().map(ToClient::order) else { return Vec::new() };
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        let Some(placement) = session.placement else { return Vec::new() };
        if order.term >= self.term || session.handed_off {
            return Vec::new();
        }
        let moves = moves_left(report, placement);
        if !moves.first().is_some_and(|first| self.registry.is_up(&first.to)) {
            return Vec::new();
        }
        // Orders do not carry the cause; somebody had asked for it in the end.
        let plan = self.handoff_plan(order.handoff, (id, session), Cause::Operator, moves);
        match Executor::adopt(self.term, plan) {
            Ok(begun) => {
                let why = "taken up after a restart of the coordinator";
                let (by, why) = (DecidedBy::EarlierStart, why.to_owned());
                let grounds = Grounds::short(now, by, why.clone(), why);
                self.start(now, begun, grounds).1
            }
            Err(invalid) => {
                tracing::warn!(session = %id, %invalid, "what a client reports cannot be taken up");
                Vec::new()
            }
        }
    }

    pub(super) fn outputs(&mut self, now: MediaTime, effects: Vec<Effect>) -> Vec<Output> {
        effects.into_iter().flat_map(|effect| self.output(now, effect)).collect()
    }

    fn output(&mut self, now: MediaTime, effect: Effect) -> Vec<Output> {
        match effect {
            Effect::Event(event) => vec![Output::Event(event)],
            Effect::ToEdge { session, edge, via, order } => {
                let Some(edge) = self.known(&edge) else { return Vec::new() };
                let node = via.unwrap_or_else(|| edge.id.clone());
                vec![Output::ToNode { node, message: ToNode::Edge { edge, session, order } }]
            }
            Effect::ToClient { session, order } => self.tell_client(now, session, order),
            Effect::Ended(ended) => {
                self.ended(now, &ended);
                Vec::new()
            }
        }
    }

    /// An order to a client, through every edge it may be reached through.
    fn tell_client(&mut self, now: MediaTime, id: SessionId, order: ToClient) -> Vec<Output> {
        let (edge, serves) = match &order {
            ToClient::Attach { description, to, .. } | ToClient::Return { description, to, .. } => {
                (to, Some(*description))
            }
            ToClient::Finish { edge, .. } => (edge, None),
        };
        let (Some(session), Some(address)) = (self.sessions.get(id), self.known(edge)) else {
            return Vec::new();
        };
        let through = session.reached_through();
        let (mut grant, mut standbys) = (None, Vec::new());
        if let Some(description) = serves {
            // Standbys are others than the edges that will serve; the expiry is put off with it.
            let mut serving = vec![edge.clone()];
            serving.extend(session.legs()[description.other().index()].cloned());
            let client = session.location.map(position);
            let shunned = session.care.shunned(now);
            let named = self.standbys(&self.candidates(), &serving, &shunned, client);
            standbys = self.addresses(&named);
            grant = self.grant(now, id, named).ok();
        }
        let under_way_ms = self.handoffs.under_way(now, id).as_millis() as u64;
        let order = Order { order, edge: address, grant, standbys, under_way_ms };
        let message = ToNode::Client { session: id, order };
        through.into_iter().map(|node| Output::ToNode { node, message: message.clone() }).collect()
    }

    fn known(&self, edge: &NodeId) -> Option<NodeAddress> {
        let address = self.registry.address(edge).cloned();
        if address.is_none() {
            tracing::warn!(%edge, "the address of an edge is not known (yet)");
        }
        address
    }

    /// A hand-off has ended: it is counted, and its session rests as its outcome demands.
    fn ended(&mut self, now: MediaTime, ended: &HandoffInfo) {
        self.metrics.ended(ended);
        self.foresight_hears_of_end(now, ended);
        let Some(session) = self.sessions.get_mut(ended.session) else { return };
        let becomes = session.becomes.take();
        if ended.outcome == HandoffOutcome::Completed {
            session.placement = becomes.or(session.placement);
            session.care.succeeds();
        } else {
            session.care.fails(now);
            let tried = ended.progress.iter().rfind(|step| step.step == "prefetch_sent");
            let tried = tried.and_then(|step| step.edge.as_ref());
            if let (Some(edge), Some(time)) = (tried, blame(ended.reason)) {
                session.care.shun(now, edge, time);
            }
        }
        if becomes.is_some() {
            // Edges whose grant says otherwise are to learn of it.
            session.granted = None;
        }
    }
}

/// For how long the edge that was to take a leg is not to be chosen again for it, if it is to blame.
fn blame(reason: Option<Reason>) -> Option<Duration> {
    match reason? {
        Reason::ClientSilent
        | Reason::Strayed
        | Reason::SessionGone
        | Reason::Elsewhere
        | Reason::StillHeld => None,
        Reason::Full
        | Reason::NoSource
        | Reason::PrefetchTimedOut
        | Reason::NotSettled
        | Reason::EdgeLost
        | Reason::Rejected
        | Reason::Closed => Some(SHUN_FAILED),
        // The way from there to the client is bad.
        _ => Some(SHUN_BAD),
    }
}

/// The moves that put the legs where `answer` says, each fetched as `fetch` says of a description and the edge that
/// delivers it now.
fn moves(
    session: &Session,
    answer: &Answer,
    fetch: impl Fn(Description, &NodeId) -> Source,
) -> Vec<Move> {
    let legs = session.legs();
    let a_move = |(description, to): &(Description, NodeId)| {
        let (description, from) = (*description, legs[description.index()]?);
        let fetch = fetch(description, from);
        Some(Move { description, from: from.clone(), to: to.clone(), fetch })
    };
    answer.moves.iter().filter_map(a_move).collect()
}

fn describe(legs: [Option<&NodeId>; 2]) -> String {
    let at = |leg: Option<&NodeId>| match leg {
        Some(edge) => format!("at {edge}"),
        None => "not being served".into(),
    };
    format!("description 0 is {}, description 1 is {}", at(legs[0]), at(legs[1]))
}
