//! The portal's view.

use gibbon_control::portal::{ClientInfo, HandoffInfo, Health, NodeInfo, SessionInfo, StreamInfo};
use gibbon_media::{HandoffId, MediaTime, NodeId, SessionId};

use super::{Manager, Refusal};
use crate::{registry::stream_info, sessions::Session};

impl Manager {
    /// Whether all is well.
    pub fn health(&self) -> Health {
        Health { term: self.term.0, nodes_up: self.directory.nodes.len() as u32 }
    }

    /// All nodes, those lost of late included.
    pub fn nodes(&self, now: MediaTime) -> Vec<NodeInfo> {
        let draining = |node: &NodeId| self.drains.of(node);
        self.registry.nodes_info(
            now,
            draining,
            |node| self.leaves_at(node),
            |worker| self.assigned(worker),
        )
    }

    /// All streams.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let watched = |stream| self.sessions.watching(stream);
        let published = self
            .registry
            .streams()
            .map(|(origin, catalog)| stream_info(origin, catalog, watched(&catalog.stream)));
        let made = self.services.streams().map(|(instance, catalog)| StreamInfo {
            source: Some(instance.spec.chain.source.clone()),
            ..stream_info(&instance.worker, catalog, watched(&instance.stream))
        });
        published.chain(made).collect()
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.sessions.iter().map(|(id, session)| self.session_info(id, session)).collect()
    }

    /// One session.
    pub fn session(&self, id: SessionId) -> Result<SessionInfo, Refusal> {
        let session = self.sessions.get(id).ok_or(Refusal::NoSession(id))?;
        Ok(self.session_info(id, session))
    }

    fn session_info(&self, id: SessionId, session: &Session) -> SessionInfo {
        let (origin, service, modules) = self.path_of(&session.stream);
        SessionInfo {
            session: id,
            stream: session.stream.clone(),
            origin,
            service,
            modules,
            edges: session.legs().map(Option::<&NodeId>::cloned),
            placement: session.placement.unwrap_or_default(),
            priority: session.priority,
            client: ClientInfo { connected: session.is_connected(), location: session.location },
            handoff: self.handoffs.of_session(id),
        }
    }

    /// All hand-offs that are remembered, the newest last.
    pub fn handoffs(&self) -> Vec<HandoffInfo> {
        self.handoffs.iter().cloned().collect()
    }

    /// One hand-off.
    pub fn handoff(&self, id: HandoffId) -> Result<HandoffInfo, Refusal> {
        self.handoffs.find(id).cloned().ok_or(Refusal::NoHandoff(id))
    }
}
