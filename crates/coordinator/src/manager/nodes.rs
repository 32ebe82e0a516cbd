//! What nodes say, and which of them are to be emptied.

use gibbon_control::{
    node::{Draining, FromNode, NodeReport, REPORT_EVERY_MS, ToNode},
    portal::{DrainRequest, Event, NodeInfo},
    session::ClientReport,
};
use gibbon_handoff::{FromEdge, coordinator};
use gibbon_media::{MediaTime, NodeId, Role, SessionId};
use gibbon_placement::{Request, select_edge};

use super::{Manager, Output, Refusal};
use crate::{
    care::SHUN_BAD,
    drain,
    handoffs::Effect,
    registry::{LinkId, NodeRefusal},
};

impl Manager {
    /// A node registers over a new connection.
    pub fn register(
        &mut self,
        now: MediaTime,
        link: LinkId,
        register: FromNode,
    ) -> Result<Vec<Output>, NodeRefusal> {
        let id = match &register {
            FromNode::Register { node, .. } => node.id.clone(),
            _ => return Err(NodeRefusal::NotRegistered),
        };
        let came = self.registry.register(now, link, register)?;
        if came {
            self.maintenance.started(now, &id);
        }
        // What it was told before may not have reached it.
        self.orders.forget(&id);
        let mut out = vec![self.registered(&id)];
        if came {
            out.push(Output::Event(Event::Node { id: id.clone(), up: true }));
        }
        if !self.spread_directory(&mut out) {
            let message = ToNode::Directory(self.directory.clone());
            out.push(Output::ToNode { node: id, message });
        }
        Ok(out)
    }

    fn registered(&self, node: &NodeId) -> Output {
        let message = ToNode::Registered { term: self.term, report_every_ms: REPORT_EVERY_MS };
        Output::ToNode { node: node.clone(), message }
    }

    /// A connection of a node has closed; `leaving` if the node has said that it exits.
    pub fn link_closed(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        link: LinkId,
        leaving: bool,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        if let Some(older) = self.registry.closed(now, node, link, leaving) {
            let effects = self.node_lost(now, node.clone(), &older, &mut out);
            self.spread_directory(&mut out);
            out.extend(self.outputs(now, effects));
        }
        out
    }

    /// A node is not there any more; `older` is what it last reported.
    pub(super) fn node_lost(
        &mut self,
        now: MediaTime,
        id: NodeId,
        older: &NodeReport,
        out: &mut Vec<Output>,
    ) -> Vec<Effect> {
        self.sessions.edge_reports(now, &id, &older.sessions, &[]);
        self.drains.gone(&id);
        self.foresee.lost(now, &id);
        out.extend(self.worker_lost(now, &id));
        let effects = self.handoffs.node_lost(now, &id);
        out.push(Output::Event(Event::Node { id, up: false }));
        effects
    }

    /// A node that has registered says something. Refused if its role does not allow it.
    pub fn node_says(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        link: LinkId,
        message: FromNode,
    ) -> Result<Vec<Output>, NodeRefusal> {
        if !self.registry.is_current(node, link) {
            return Ok(Vec::new());
        }
        let role = self.registry.address(node).map(|address| address.role);
        match message {
            FromNode::Register { .. } => Err(NodeRefusal::NotRegistered),
            FromNode::Report(report) => self.node_reports(now, node, report),
            FromNode::Edge { .. } | FromNode::Client { .. } if role != Some(Role::Edge) => {
                Err(NodeRefusal::Serves(role.unwrap_or(Role::Origin)))
            }
            FromNode::Edge { session, answer } => Ok(self.edge_answers(now, session, answer)),
            FromNode::Client { session, report } => Ok(self.client_reports(now, session, report)),
            FromNode::Work(_) if role != Some(Role::Worker) => {
                Err(NodeRefusal::Works(role.unwrap_or(Role::Origin)))
            }
            FromNode::Work(answer) => Ok(self.worker_answers(now, node, &answer)),
        }
    }

    fn node_reports(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        report: NodeReport,
    ) -> Result<Vec<Output>, NodeRefusal> {
        let (sessions, streams) = (report.sessions.clone(), report.streams.clone());
        let draining = report.draining;
        let told = report.health.is_some().then(|| NodeReport {
            health: report.health,
            links: report.links.clone(),
            publishing: report.publishing.clone(),
            ..NodeReport::default()
        });
        let work = report.work.clone();
        let (older, was_lost) = self.registry.report(now, node, report)?;
        if let Some(told) = told {
            self.telemetry.node(now, node, &told);
        }
        let mut out = vec![self.registered(node)];
        if was_lost {
            out.push(Output::Event(Event::Node { id: node.clone(), up: true }));
        }
        for session in self.sessions.edge_reports(now, node, &older.sessions, &sessions) {
            out.push(Output::Event(Event::Session { session, up: true }));
        }
        if was_lost || older.streams != streams {
            self.spread_directory(&mut out);
        }
        if let Some(work) = &work {
            out.extend(self.worker_reports(now, node, work, &streams));
        }
        let was_draining = self.drains.of(node);
        if let Some(message) = self.drains.reported(now, node, draining) {
            out.push(Output::ToNode { node: node.clone(), message });
        }
        if was_draining.is_some() != self.drains.of(node).is_some() {
            tracing::info!(%node, draining = draining.is_some(), "as the node says");
        }
        Ok(out)
    }

    fn edge_answers(
        &mut self,
        now: MediaTime,
        session: SessionId,
        answer: FromEdge,
    ) -> Vec<Output> {
        let effects = self.handoffs.handle(now, session, coordinator::Event::Edge(answer));
        self.outputs(now, effects)
    }

    fn client_reports(
        &mut self,
        now: MediaTime,
        id: SessionId,
        report: ClientReport,
    ) -> Vec<Output> {
        if !self.sessions.client_reports(now, id, &report) {
            return Vec::new();
        }
        if let Some(viewing) = &report.viewing {
            self.viewed(id, viewing);
        }
        self.client_tells(now, id, &report);
        // One bad leg is its edge's fault, and should the client leave it by itself it is not to be sent
        // back at once. Two are its own downlink's.
        if let ([complaint], Some(session)) = (&report.complaints[..], self.sessions.get_mut(id)) {
            session.care.shun(now, &complaint.edge, SHUN_BAD);
        }
        let event = coordinator::Event::Client(report.hands.clone());
        let mut effects = self.handoffs.handle(now, id, event);
        effects.extend(self.adopt(now, id, &report.hands));
        self.outputs(now, effects)
    }

    /// Tells every node of the others, if something has changed.
    pub(super) fn spread_directory(&mut self, out: &mut Vec<Output>) -> bool {
        let directory = self.registry.directory(self.services.named());
        if directory == self.directory {
            return false;
        }
        self.directory = directory;
        let message = ToNode::Directory(self.directory.clone());
        out.extend(
            self.directory
                .nodes
                .iter()
                .map(|node| Output::ToNode { node: node.id.clone(), message: message.clone() }),
        );
        true
    }

    /// Somebody wants an edge or a worker emptied. Changes nothing if there is nowhere to go. What it carries is
    /// moved from the next [`handle_time`](Manager::handle_time) on.
    pub fn drain(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        request: &DrainRequest,
    ) -> Result<(NodeInfo, Vec<Output>), Refusal> {
        let draining = drain::requested(request).map_err(Refusal::OutOfBounds)?;
        match self.check_empties(node)? {
            Role::Worker => self.check_drain_of_worker(now, node)?,
            _ => self.check_drain_of_edge(node)?,
        }
        let Draining { within_ms, rate, stay } = draining;
        tracing::info!(%node, within_ms, rate, stay, "a node is to be emptied");
        let message = self.drains.order(now, node, draining);
        let info = self.nodes(now).into_iter().find(|info| info.id == *node);
        let info = info.ok_or_else(|| Refusal::NoNode(node.clone()))?;
        Ok((info, vec![Output::ToNode { node: node.clone(), message }]))
    }

    /// The role of a node that can be emptied.
    pub(super) fn check_empties(&self, node: &NodeId) -> Result<Role, Refusal> {
        let address = self.registry.address(node).ok_or_else(|| Refusal::NoNode(node.clone()))?;
        match address.role {
            role @ (Role::Edge | Role::Worker) => Ok(role),
            role => Err(Refusal::NotToBeEmptied(node.clone(), role)),
        }
    }

    fn check_drain_of_edge(&self, edge: &NodeId) -> Result<(), Refusal> {
        let candidates = self.candidates();
        let candidate = candidates.iter().find(|candidate| candidate.id == *edge);
        let candidate = candidate.filter(|candidate| candidate.up);
        let legs = candidate.ok_or_else(|| Refusal::Down(edge.clone()))?.all_legs();
        let exclude = [edge.clone()];
        let wanted = Request { legs: 1, newcomer: true, exclude: &exclude, ..Request::default() };
        match select_edge(&candidates, &wanted) {
            Err(why) if legs > 0 => Err(Refusal::NowhereToGo { edge: edge.clone(), legs, why }),
            _ => Ok(()),
        }
    }

    /// A node that was to be emptied is wanted again.
    pub fn undrain(&mut self, now: MediaTime, node: &NodeId) -> Result<Vec<Output>, Refusal> {
        self.check_empties(node)?;
        let told = self.drains.take_back(now, node);
        if told.is_some() {
            tracing::info!(%node, "a node is wanted again");
        }
        Ok(told.map(|message| Output::ToNode { node: node.clone(), message }).into_iter().collect())
    }
}
