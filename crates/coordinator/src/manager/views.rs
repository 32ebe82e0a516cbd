//! The portal's view.

use gibbon_control::portal::{ClientInfo, HandoffInfo, Health, NodeInfo, SessionInfo, StreamInfo};
use gibbon_media::{HandoffId, MediaTime, NodeId, SessionId};

use super::{Manager, Refusal};
use crate::sessions::Session;

impl Manager {
    /// Whether all is well.
    pub fn health(&self) -> Health {
        Health { term: self.term.0, nodes_up: self.directory.nodes.len() as u32 }
    }

    /// All nodes, those lost of late included.
    pub fn nodes(&self, now: MediaTime) -> Vec<NodeInfo> {
        self.registry.nodes_info(now, |edge| self.drains.of(edge))
    }

    /// All streams.
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.registry.streams_info(|stream| {
            self.sessions.iter().filter(|(_, session)| session.stream == *stream).count() as u32
        })
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
        SessionInfo {
            session: id,
            stream: session.stream.clone(),
            origin: self.registry.stream(&session.stream).map(|(origin, _)| origin.clone()),
            service: None,
            modules: Vec::new(),
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
