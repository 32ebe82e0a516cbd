//! The portal, as a client of it sees it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use gibbon_control::portal::{
    Event, HandoffInfo, HandoffRequest, NodeInfo, PortalError, SessionInfo, StreamInfo,
};
use gibbon_media::{HandoffId, SessionId};
use serde::de::DeserializeOwned;
use ureq::{Agent, Body, http::Response};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes: some hundred thousand sessions.
const MAX_ANSWER: u64 = 256 * 1024 * 1024;
/// Longest line of the stream of events that is read, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// A portal.
pub struct Portal {
    url: String,
    token_file: PathBuf,
    agent: Agent,
}

impl Portal {
    /// At `url`; the token is read when it is needed.
    pub fn new(url: &str, token_file: PathBuf) -> Self {
        // An error comes with an explanation in its body.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .build();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { url: url.trim_end_matches('/').to_owned(), token_file, agent: config.into() }
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

    /// All hand-offs that are remembered.
    pub fn handoffs(&self) -> anyhow::Result<Vec<HandoffInfo>> {
        self.get("/v1/handoffs")
    }

    /// One hand-off.
    pub fn handoff(&self, id: HandoffId) -> anyhow::Result<HandoffInfo> {
        self.get(&format!("/v1/handoffs/{id}"))
    }

    /// Starts a hand-off.
    pub fn start_handoff(
        &self,
        session: SessionId,
        request: &HandoffRequest,
    ) -> anyhow::Result<HandoffInfo> {
        let token = fs::read_to_string(&self.token_file).with_context(|| {
            format!(
                "cannot read the portal's token from {}; --token-file names another file",
                self.token_file.display()
            )
        })?;
        let answer = self
            .agent
            .post(format!("{}/v1/sessions/{session}/handoff", self.url))
            .header("Authorization", format!("Bearer {}", token.trim()))
            .send_json(request);
        self.read(answer)
    }

    /// What happens from now on.
    pub fn events(&self) -> anyhow::Result<Events<impl BufRead + use<>>> {
        let answer = self.agent.get(format!("{}/v1/events", self.url)).call();
        let answer = self.accepted(answer)?;
        Ok(Events(BufReader::new(answer.into_body().into_reader())))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.read(self.agent.get(format!("{}{path}", self.url)).call())
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<T> {
        let body = self.accepted(answer)?.into_body();
        body.into_with_config()
            .limit(MAX_ANSWER)
            .read_json()
            .with_context(|| format!("{} does not answer as a portal does", self.url))
    }

    /// The answer, if it is no refusal.
    fn accepted(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<Response<Body>> {
        let mut answer = answer.with_context(|| {
            format!("cannot reach the portal at {}; --portal names another", self.url)
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        match answer.body_mut().read_json::<PortalError>() {
            Ok(PortalError { error }) => Err(anyhow!(error)),
            Err(_) => bail!("{} answers {status}; is it a portal?", self.url),
        }
    }
}

/// Server-sent events, of which the portal uses `data:` lines and comments.
pub struct Events<R>(R);

impl<R: BufRead> Events<R> {
    /// The next event; `None` at the end of the stream. Events this version does not know are passed over.
    pub fn next(&mut self) -> anyhow::Result<Option<Event>> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.by_ref().take(MAX_LINE).read_line(&mut line)? == 0 {
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
        assert!(matches!(events.next().unwrap(), Some(Event::Node { up: true, .. })));
        assert!(matches!(events.next().unwrap(), Some(Event::Lagged { missed: 3 })));
        assert!(events.next().unwrap().is_none());
    }
}
