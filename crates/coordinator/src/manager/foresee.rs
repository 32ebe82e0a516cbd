//! What is decided ahead of need, carried out like all hand-offs and moves of components.

use std::{collections::BTreeSet, time::Duration};

use gibbon_control::{
    node::ToNode,
    portal::{HandoffInfo, HandoffOutcome, HandoffWhy, MaintenanceRequest, NodeInfo},
    session::ClientReport,
};
use gibbon_handoff::{OrderId, Source as FetchFrom, ToEdge};
use gibbon_media::{Description, HandoffId, InstanceId, MediaTime, NodeId, SessionId};
use gibbon_placement::Candidate;

use super::{Manager, Output, Refusal, upkeep::MAX_RUNNING};
use crate::{
    choose::Answer,
    foresee::{
        Decided, Foresee, Mode, Picture, Prepared, Settings, components::Relocation,
        neighbourhood::Released,
    },
    maintenance::{Maintenance, SOON},
    services::{self, REST, Services},
    telemetry::{Reason, Source, Telemetry},
};

/// Passes without a word of it, after which prefetch that was sent ahead is not wanted any more.
const PATIENCE: u32 = 3;

impl Manager {
    /// The same, deciding as these settings say. Without them nothing is decided ahead.
    pub fn foreseeing(self, settings: Settings) -> Self {
        Self { foresee: Foresee::new(settings), ..self }
    }

    /// The same, with planned work that an earlier start of the coordinator was told of.
    pub fn maintaining(self, maintenance: Maintenance) -> Self {
        Self { maintenance, ..self }
    }

    /// Planned work that was announced here.
    pub fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    /// Looks ahead, if it is time, and begins what is due.
    pub(super) fn foresee(&mut self, now: MediaTime) -> Vec<Output> {
        let acts = !self.looks_on(now);
        let (foresee, picture, _) = self.seen(now);
        foresee.note(&picture);
        if !(acts && foresee.is_due(now)) {
            return Vec::new();
        }
        self.forget_who_is_gone();
        if !self.foresee.decides() {
            return Vec::new();
        }
        let (foresee, picture, _) = self.seen(now);
        let foreseen = foresee.pass(&picture);
        let mut out = Vec::new();
        for decided in foreseen.moves {
            out.extend(self.carry_out(now, decided));
        }
        for prepared in &foreseen.prepared {
            out.extend(self.prepare(now, prepared));
        }
        let patience = self.foresee.policy().period * PATIENCE;
        for session in self.neighbourhoods.given_up(now, patience, there_in(&self.sessions)) {
            out.extend(self.leave_neighbourhood(now, session, &[]));
        }
        out
    }

    /// Also where nothing is decided ahead: clients tell all the same.
    fn forget_who_is_gone(&mut self) {
        let Self { registry, telemetry, sessions, foresee, .. } = self;
        telemetry.keep(|node| registry.address(node).is_some(), there_in(sessions));
        foresee.keep(there_in(sessions));
    }

    /// Who looks ahead, and what at.
    fn seen(&mut self, now: MediaTime) -> (&mut Foresee, Picture<'_>, &Services) {
        let Self { registry, telemetry, sessions, handoffs, drains, maintenance, .. } = self;
        let picture = Picture { now, registry, telemetry, sessions, handoffs, drains, maintenance };
        (&mut self.foresee, picture, &self.services)
    }

    /// Begins a hand-off that was decided, if nothing speaks against it that was not weighed.
    fn carry_out(&mut self, now: MediaTime, decided: Decided) -> Vec<Output> {
        let Decided { session: id, to, cause, grounds } = decided;
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        if !session.care.allows(now, cause) || self.handoffs.running() >= MAX_RUNNING {
            return Vec::new();
        }
        let legs = session.legs();
        let moving = [Description::One, Description::Zero].into_iter();
        let moves = moving.filter(|d| legs[d.index()].is_some_and(|at| *at != to[d.index()]));
        let moves: Vec<_> = moves.map(|d| (d, to[d.index()].clone())).collect();
        if moves.is_empty() {
            return Vec::new();
        }
        let answer = Answer { moves, why: grounds.selection.clone() };
        let Some(effects) = self.start_by_itself(now, id, cause, &answer, grounds) else {
            return Vec::new();
        };
        self.foresee.begun(now, id, &to, cause);
        let mut out = self.outputs(now, effects);
        out.extend(self.leave_neighbourhood(now, id, &to));
        out
    }

    /// Has edges around a moving client prefetch for it.
    fn prepare(&mut self, now: MediaTime, prepared: &Prepared) -> Vec<Output> {
        let id = prepared.session;
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        let [Some(served_by), _] = session.legs() else { return Vec::new() };
        let (stream, served_by) = (session.stream.clone(), served_by.clone());
        let received = |edge: &NodeId| received(&self.registry, edge, &stream);
        let (told, released) =
            self.neighbourhoods.want(now, (id, &stream), &prepared.around, received);
        let mut out = Vec::new();
        for edge in told {
            let order = self.order_outside_handoffs();
            for description in [Description::One, Description::Zero] {
                let (stream, first_edge) = (stream.clone(), served_by.clone());
                let fetch = FetchFrom::Origin;
                let prefetch =
                    ToEdge::Prefetch { order, session: id, stream, description, fetch, first_edge };
                out.extend(self.to_edge(&edge, id, prefetch));
            }
        }
        out.extend(self.release(now, id, released));
        out
    }

    /// What was prefetched ahead of a session is not wanted any more, but for the edges that a hand-off goes to.
    pub(super) fn leave_neighbourhood(
        &mut self,
        now: MediaTime,
        id: SessionId,
        to: &[NodeId],
    ) -> Vec<Output> {
        let released = self.neighbourhoods.chosen(id, to);
        self.release(now, id, released)
    }

    /// Tells edges that they need not prefetch for a session, and counts what they did.
    fn release(&mut self, now: MediaTime, id: SessionId, released: Vec<Released>) -> Vec<Output> {
        let mut out = Vec::new();
        for Released { edge, stream, before, serves } in released {
            let bytes = received(&self.registry, &edge, &stream).saturating_sub(before);
            let report = self.registry.last_report(&edge);
            let watches = |session: &gibbon_control::node::SessionReport| {
                session.stream == stream && !session.legs.is_empty()
            };
            let used = serves || report.is_some_and(|report| report.sessions.iter().any(watches));
            self.metrics.prefetched(bytes, used);
            if !serves {
                tracing::debug!(session = %id, %edge, bytes, used, ?now, "released");
                // To edges that the hand-off which has just begun does not go to: its first order may have this step.
                let order = self.order_outside_handoffs();
                out.extend(self.to_edge(&edge, id, ToEdge::Release { order, session: id }));
            }
        }
        out
    }

    /// Newer than all that its session's edges have been told, but for a hand-off under way.
    fn order_outside_handoffs(&mut self) -> OrderId {
        let handoff = self.next_handoff();
        OrderId { term: self.term, step: self.handoffs.take_step(), handoff }
    }

    fn to_edge(&self, edge: &NodeId, session: SessionId, order: ToEdge) -> Option<Output> {
        let edge = self.registry.address(edge)?.clone();
        let node = edge.id.clone();
        Some(Output::ToNode { node, message: ToNode::Edge { edge, session, order } })
    }

    /// A client that is known tells something of itself.
    pub(super) fn client_tells(&mut self, now: MediaTime, id: SessionId, report: &ClientReport) {
        let Ok(told) = report.telemetry() else {
            return self.telemetry.refuse(Source::Client, Reason::Malformed);
        };
        let Some(heard) = self.telemetry.client(now, id, &told) else { return };
        for (source, reason) in self.foresee.heard(now, id, heard, &self.telemetry) {
            self.telemetry.refuse(source, reason);
        }
    }

    /// A hand-off has ended, whoever began it.
    pub(super) fn foresight_hears_of_end(&mut self, now: MediaTime, ended: &HandoffInfo) {
        let Some(session) = self.sessions.get(ended.session) else { return };
        let took = match &ended.progress[..] {
            [first, .., last] => Duration::from_micros(last.at_us.saturating_sub(first.at_us)),
            _ => Duration::ZERO,
        };
        let completed = (ended.outcome == HandoffOutcome::Completed).then_some(took);
        self.foresee.ended(now, ended.session, session.legs(), completed);
    }

    /// Looks ahead for what runs on workers, if it is time, and begins what is due.
    pub(super) fn foresee_components(&mut self, now: MediaTime) -> Vec<Output> {
        let workers = self.worker_states();
        if workers.is_empty() || self.looks_on(now) {
            return Vec::new();
        }
        let rests = |instance: &services::Instance| instance.rests_until > now;
        let roots = self.services.instances().filter(|(_, instance)| !rests(instance));
        let may: BTreeSet<_> =
            roots.map(|(id, _)| id).filter(|root| self.may_move(*root)).collect();
        let (foresee, picture, services) = self.seen(now);
        let (decides, present) = (foresee.decides(), foresee.mode() == Mode::Reactive);
        let policy = foresee.component_policy();
        let components = &mut foresee.components;
        components.note(now, &workers, services);
        if !decides || !components.is_due(now, policy.period) {
            return Vec::new();
        }
        let may = |root: InstanceId| may.contains(&root);
        let relocations = components.pass(&picture, &workers, services, &policy, present, may);
        relocations.into_iter().flat_map(|relocation| self.relocate(now, relocation)).collect()
    }

    fn relocate(&mut self, now: MediaTime, relocation: Relocation) -> Vec<Output> {
        let Relocation { root, to, grounds } = relocation;
        if !self.may_move(root) {
            return Vec::new();
        }
        let Ok(exclude) = self.all_but(&to) else { return Vec::new() };
        match self.begin_move(now, root, exclude, grounds) {
            Ok(out) => out,
            Err(no_worker) => {
                tracing::warn!(%root, %no_worker, "components should move and cannot");
                if let Some(instance) = self.services.instance_mut(root) {
                    instance.rests_until = now + REST;
                }
                Vec::new()
            }
        }
    }

    /// Somebody announces planned work at an edge or a worker.
    pub fn maintain(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        request: &MaintenanceRequest,
    ) -> Result<(NodeInfo, Vec<Output>), Refusal> {
        self.check_empties(node)?;
        self.maintenance.announce(now, node, request).map_err(Refusal::OutOfBounds)?;
        tracing::info!(%node, in_ms = request.in_ms, "planned work is announced");
        let info = self.nodes(now).into_iter().find(|info| info.id == *node);
        Ok((info.ok_or_else(|| Refusal::NoNode(node.clone()))?, Vec::new()))
    }

    /// Planned work is called off.
    pub fn cancel_maintenance(&mut self, node: &NodeId) -> Result<Vec<Output>, Refusal> {
        self.check_empties(node)?;
        if self.maintenance.cancel(node) {
            tracing::info!(%node, "planned work is called off");
        }
        Ok(Vec::new())
    }

    /// What was told besides legs and streams.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What a hand-off was decided from.
    pub fn why(&self, id: HandoffId) -> Result<HandoffWhy, Refusal> {
        self.handoffs.why(id).ok_or(Refusal::NoHandoff(id))
    }

    /// When a node goes away, by the first of those who say so.
    pub(super) fn leaves_at(&self, node: &NodeId) -> Option<MediaTime> {
        [self.maintenance.of(node), self.telemetry.maintenance(node)].into_iter().flatten().min()
    }

    /// Whether a node goes away so soon that it gets nothing new while there is another.
    pub(super) fn leaves_soon(&self, now: MediaTime, node: &NodeId) -> bool {
        self.leaves_at(node).is_some_and(|at| at <= now + SOON)
    }

    /// Candidates for what is new: those that go away soon are as if they were being emptied.
    pub(super) fn staying(&self, now: MediaTime, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut staying = candidates.to_vec();
        for candidate in &mut staying {
            candidate.draining |= self.leaves_soon(now, &candidate.id);
        }
        staying
    }
}

fn there_in(sessions: &crate::sessions::Sessions) -> impl Fn(SessionId) -> bool {
    |id| sessions.get(id).is_some()
}

/// What an edge has received of a stream, in bytes.
fn received(
    registry: &crate::registry::Registry,
    edge: &NodeId,
    stream: &gibbon_media::StreamName,
) -> u64 {
    let report = registry.last_report(edge);
    let upstreams = report.into_iter().flat_map(|report| &report.upstreams);
    let received = upstreams.filter(|u| u.stream == *stream).flat_map(|u| &u.received);
    received.fold(0, |sum, source| sum.saturating_add(source.bytes))
}
