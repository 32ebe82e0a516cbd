//! The portal's client: what players, tools and tests ask it. Blocking.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use gibbon_media::{HandoffId, NodeId, ServiceId, SessionId};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    portal::{
        DrainRequest, Event, HandoffInfo, HandoffRequest, HandoffWhy, MaintenanceRequest, NodeInfo,
        PortalError, SessionInfo, SessionRequest, SessionTicket, StreamInfo,
    },
    services::{
        ComponentInfo, Explanation, MoveRequest, NamedService, ServiceInfo, ServiceRequest,
    },
};

/// A request to the portal is given up after this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes: some hundred thousand sessions.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
/// Longest line of the stream of events that is read, in bytes.
const MAX_EVENT_LINE: u64 = 64 * 1024;

/// Where the portal is and what it wants to see.
#[derive(Debug, Clone)]
pub struct Portal {
    base: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl Portal {
    /// The portal at `base`; the bearer token is read from `token_file`, if that exists.
    pub fn new(base: &str, token_file: &Path) -> anyhow::Result<Self> {
        let token = match std::fs::read_to_string(token_file) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", token_file.display()));
            }
        };
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .http_status_as_error(false)
            .build()
            .into();
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token, agent })
    }

    /// Asks for a session.
    pub fn create_session(&self, request: &SessionRequest) -> anyhow::Result<SessionTicket> {
        self.post("/v1/sessions", request)
    }

    /// Starts a hand-off.
    pub fn handoff(
        &self,
        session: SessionId,
        request: &HandoffRequest,
    ) -> anyhow::Result<HandoffInfo> {
        self.post(&format!("/v1/sessions/{session}/handoff"), request)
    }

    /// Has an edge emptied. It is under way when this returns; [`nodes`](Self::nodes) tells how far it is.
    pub fn drain(&self, node: &NodeId, request: &DrainRequest) -> anyhow::Result<NodeInfo> {
        self.post(&format!("/v1/nodes/{node}/drain"), request)
    }

    /// Takes back that an edge be emptied.
    pub fn undrain(&self, node: &NodeId) -> anyhow::Result<()> {
        self.delete(&format!("/v1/nodes/{node}/drain"))
    }

    /// Announces planned work at an edge or a worker: it goes away in so long.
    pub fn maintain(
        &self,
        node: &NodeId,
        request: &MaintenanceRequest,
    ) -> anyhow::Result<NodeInfo> {
        self.post(&format!("/v1/nodes/{node}/maintenance"), request)
    }

    /// Takes the announcement back.
    pub fn cancel_maintenance(&self, node: &NodeId) -> anyhow::Result<()> {
        self.delete(&format!("/v1/nodes/{node}/maintenance"))
    }

    /// Has a service built. It is under way when this returns; [`service`](Self::service) tells how far it is.
    pub fn start_service(&self, request: &ServiceRequest) -> anyhow::Result<ServiceInfo> {
        self.post("/v1/services", request)
    }

    /// Ends a service at once.
    pub fn end_service(&self, service: ServiceId) -> anyhow::Result<()> {
        self.delete(&format!("/v1/services/{service}"))
    }

    /// All services.
    pub fn services(&self) -> anyhow::Result<Vec<ServiceInfo>> {
        self.get("/v1/services")
    }

    /// One service.
    pub fn service(&self, service: ServiceId) -> anyhow::Result<ServiceInfo> {
        self.get(&format!("/v1/services/{service}"))
    }

    /// Has a component moved to another worker, with those it passes raw frames with.
    pub fn move_component(
        &self,
        service: ServiceId,
        request: &MoveRequest,
    ) -> anyhow::Result<ServiceInfo> {
        self.post(&format!("/v1/services/{service}/move"), request)
    }

    /// Why the components of a service are where they are.
    pub fn explain_service(&self, service: ServiceId) -> anyhow::Result<Explanation> {
        self.get(&format!("/v1/services/{service}/explain"))
    }

    /// Where the components of a service would be. Nothing is started.
    pub fn explain(&self, request: &ServiceRequest) -> anyhow::Result<Explanation> {
        self.post("/v1/services/explain", request)
    }

    /// All kinds of components.
    pub fn components(&self) -> anyhow::Result<Vec<ComponentInfo>> {
        self.get("/v1/components")
    }

    /// The services that have names.
    pub fn catalogue(&self) -> anyhow::Result<Vec<NamedService>> {
        self.get("/v1/catalogue")
    }

    /// All nodes.
    pub fn nodes(&self) -> anyhow::Result<Vec<NodeInfo>> {
        self.get("/v1/nodes")
    }

    /// All streams.
    pub fn streams(&self) -> anyhow::Result<Vec<StreamInfo>> {
        self.get("/v1/streams")
    }

    /// All sessions.
    pub fn sessions(&self) -> anyhow::Result<Vec<SessionInfo>> {
        self.get("/v1/sessions")
    }

    /// All hand-offs that are remembered, oldest first.
    pub fn handoffs(&self) -> anyhow::Result<Vec<HandoffInfo>> {
        self.get("/v1/handoffs")
    }

    /// One hand-off.
    pub fn handoff_info(&self, id: HandoffId) -> anyhow::Result<HandoffInfo> {
        self.get(&format!("/v1/handoffs/{id}"))
    }

    /// What a hand-off was decided from.
    pub fn why(&self, id: HandoffId) -> anyhow::Result<HandoffWhy> {
        self.get(&format!("/v1/handoffs/{id}/why"))
    }

    /// What happens from now on.
    pub fn events(&self) -> anyhow::Result<Events<impl BufRead + use<>>> {
        let request = self.agent.get(format!("{}/v1/events", self.base));
        let request = request.config().timeout_global(None).timeout_connect(Some(ANSWER_WITHIN));
        let answer = request.build().call().with_context(|| self.unreachable())?;
        let body = accepted(answer)?.into_body();
        Ok(Events(BufReader::new(body.into_reader())))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        read(answer.with_context(|| self.unreachable())?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(shown) = self.authorization() {
            request = request.header("authorization", shown);
        }
        read(request.send_json(body).with_context(|| self.unreachable())?)
    }

    fn delete(&self, path: &str) -> anyhow::Result<()> {
        let mut request = self.agent.delete(format!("{}{path}", self.base));
        if let Some(shown) = self.authorization() {
            request = request.header("authorization", shown);
        }
        accepted(request.call().with_context(|| self.unreachable())?).map(drop)
    }

    fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    fn unreachable(&self) -> String {
        format!("cannot reach the portal at {}; is gibbon-coordinator running?", self.base)
    }
}

fn read<T: DeserializeOwned>(answer: ureq::http::Response<ureq::Body>) -> anyhow::Result<T> {
    let body = accepted(answer)?.into_body();
    body.into_with_config()
        .limit(MAX_ANSWER)
        .read_json()
        .context("the portal's answer is not understood")
}

/// The answer, if it is no refusal.
fn accepted(
    mut answer: ureq::http::Response<ureq::Body>,
) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    match answer.body_mut().read_json::<PortalError>() {
        Ok(refusal) => bail!("{}", refusal.error),
        Err(_) => bail!("the portal answered {}", answer.status()),
    }
}

/// Server-sent events, of which the portal uses `data:` lines and comments.
#[derive(Debug)]
pub struct Events<R>(R);

impl<R: BufRead> Events<R> {
    /// Waits for the next event; `None` at the end of the stream. Events that this version does not know
    /// are passed over.
    pub fn next_event(&mut self) -> anyhow::Result<Option<Event>> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.by_ref().take(MAX_EVENT_LINE).read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if let Some(data) = line.strip_prefix("data:")
                && let Ok(event) = serde_json::from_str(data)
            {
                return Ok(Some(event));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_between_comments_and_what_is_unknown() {
        let text = ":\n\ndata: {\"event\":\"node\",\"id\":\"edge-a\",\"up\":true}\n\n:\n\n\
                    data: {\"event\":\"eclipse\"}\n\ndata: {\"event\":\"lagged\",\"missed\":3}\n\n";
        let mut events = Events(text.as_bytes());
        assert!(matches!(events.next_event().unwrap(), Some(Event::Node { up: true, .. })));
        assert!(matches!(events.next_event().unwrap(), Some(Event::Lagged { missed: 3 })));
        assert!(events.next_event().unwrap().is_none());
    }
}
