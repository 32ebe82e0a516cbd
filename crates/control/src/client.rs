//! The portal's client: what players, tools and tests ask it. Blocking.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use gibbon_media::SessionId;
use serde::{Serialize, de::DeserializeOwned};

use crate::portal::{
    HandoffInfo, HandoffRequest, NodeInfo, PortalError, SessionInfo, SessionRequest, SessionTicket,
    StreamInfo,
};

/// A request to the portal is given up after this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

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

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.agent.get(format!("{}{path}", self.base)).call();
        read(answer.with_context(|| self.unreachable())?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read(request.send_json(body).with_context(|| self.unreachable())?)
    }

    fn unreachable(&self) -> String {
        format!("cannot reach the portal at {}; is gibbon-coordinator running?", self.base)
    }
}

fn read<T: DeserializeOwned>(mut answer: ureq::http::Response<ureq::Body>) -> anyhow::Result<T> {
    if answer.status().is_success() {
        return answer.body_mut().read_json().context("the portal's answer is not understood");
    }
    match answer.body_mut().read_json::<PortalError>() {
        Ok(refusal) => bail!("{}", refusal.error),
        Err(_) => bail!("the portal answered {}", answer.status()),
    }
}
