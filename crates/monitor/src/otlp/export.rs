//! Sends spans to the collector, on a thread of its own: what is recorded never waits for it.

use std::{
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Collector, TRACE_PREFIX, layer::Finished};

/// Spans that wait to be sent; more are dropped.
const MAX_WAITING: usize = 4096;
/// Spans sent at once.
const MAX_BATCH: usize = 512;
/// A span is sent after this at the latest, while the collector answers.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// The collector has this long to take a batch; what it does not take is dropped.
const SENT_WITHIN: Duration = Duration::from_secs(3);

static WAITING: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Span(Box<Finished>),
    /// Send what there is, then answer.
    Flush(SyncSender<()>),
}

/// The way to the exporting thread.
#[derive(Debug)]
pub(super) struct Exporter(SyncSender<Message>);

impl Exporter {
    /// Never waits: without room the span is dropped.
    pub fn take(&self, span: Finished) {
        let _ = self.0.try_send(Message::Span(Box::new(span)));
    }
}

/// Starts the thread.
pub(super) fn start(collector: &Collector, service: &str) -> Exporter {
    let (sender, receiver) = sync_channel(MAX_WAITING);
    let agent = ureq::Agent::config_builder().timeout_global(Some(SENT_WITHIN)).build().into();
    let (url, service) = (collector.url.clone(), service.to_owned());
    let sending = Sending { agent, url, service, batch: Vec::new(), failing: false };
    // Without a thread nobody receives, and all is dropped.
    let _ = thread::Builder::new().name("otlp".into()).spawn(move || sending.run(&receiver));
    let _ = WAITING.set(sender.clone());
    Exporter(sender)
}

pub(super) fn flush(within: Duration) {
    let Some(waiting) = WAITING.get() else { return };
    let (done, answer) = sync_channel(1);
    if waiting.try_send(Message::Flush(done)).is_ok() {
        let _ = answer.recv_timeout(within);
    }
}

struct Sending {
    agent: ureq::Agent,
    url: String,
    service: String,
    batch: Vec<Value>,
    /// Whether the last batch could not be sent.
    failing: bool,
}

impl Sending {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut due = Instant::now() + SEND_EVERY;
        loop {
            match receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Message::Span(span)) => self.batch.push(encode(&span)),
                Ok(Message::Flush(done)) => {
                    self.send();
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.send(),
            }
            if self.batch.len() >= MAX_BATCH || Instant::now() >= due {
                self.send();
                due = Instant::now() + SEND_EVERY;
            }
        }
    }

    fn send(&mut self) {
        let spans = std::mem::take(&mut self.batch);
        if spans.is_empty() {
            return;
        }
        let sent = self.agent.post(&self.url).send_json(document(&self.service, &spans));
        let failed = sent.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.failing) {
            tracing::warn!(url = self.url, %error, "the collector does not take spans; they are dropped");
        }
        self.failing = failed.is_some();
    }
}

fn document(service: &str, spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", service),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            { "key": "process.pid", "value": { "intValue": std::process::id().to_string() } },
        ]},
        "scopeSpans": [{ "scope": { "name": "gibbon" }, "spans": spans }],
    }]})
}

fn encode(span: &Finished) -> Value {
    const KIND_INTERNAL: u8 = 1;
    const STATUS_ERROR: u8 = 2;
    let attributes: Vec<_> = span
        .fields
        .iter()
        .map(|(name, value)| attribute(&format!("gibbon.{name}"), value))
        .collect();
    let mut encoded = json!({
        "traceId": format!("{TRACE_PREFIX}{}", span.handoff),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": KIND_INTERNAL,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        encoded["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    let outcome = span.fields.iter().find(|(name, _)| *name == "outcome");
    if outcome.is_some_and(|(_, outcome)| outcome != "completed") {
        encoded["status"] = json!({ "code": STATUS_ERROR });
    }
    encoded
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
