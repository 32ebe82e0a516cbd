//! Spans of `tracing` that belong to a hand-off, as they open and close.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, filter::filter_fn, layer::Context, registry::LookupSpan};
use xxhash_rust::xxh3::xxh3_64;

use super::{HANDOFF, STEP, export::Exporter, span_id};

/// The field that makes a span part of a hand-off.
const FIELD: &str = "handoff";
/// Fields that are kept of one span.
const MAX_FIELDS: usize = 32;

/// Collects the spans of hand-offs.
#[derive(Debug)]
pub struct Spans {
    exporter: Exporter,
}

/// A span that has closed.
#[derive(Debug)]
pub(super) struct Finished {
    pub handoff: String,
    pub name: &'static str,
    pub id: u64,
    pub parent: Option<u64>,
    /// In ns since the epoch.
    pub began: u128,
    /// In ns since the epoch.
    pub ended: u128,
    pub fields: Vec<(&'static str, String)>,
}

/// A span that is open.
struct Open {
    began: u128,
    fields: Fields,
}

#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &'static str, value: String) {
        match self.0.iter().position(|(known, _)| *known == name) {
            Some(at) => self.0[at].1 = value,
            None if self.0.len() < MAX_FIELDS => self.0.push((name, value)),
            None => {}
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}"));
    }
}

impl Spans {
    pub(super) fn new(exporter: Exporter) -> Self {
        Self { exporter }
    }

    /// The layer with its filter: it takes nothing but spans of hand-offs, whatever is logged.
    pub fn filtered<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.with_filter(filter_fn(|of| of.is_span() && of.fields().field(FIELD).is_some()))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Open { began: now(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { began, fields }) = span.extensions_mut().remove() else { return };
        let Some(handoff) = fields.get(FIELD).map(str::to_owned) else { return };
        let name = span.name();
        let (id, parent) = ids(&handoff, name, fields.get("description"));
        let (ended, fields) = (now(), fields.0);
        self.exporter.take(Finished { handoff, name, id, parent, began, ended, fields });
    }
}

/// The id of a span, and that of the one it belongs under.
fn ids(handoff: &str, name: &str, description: Option<&str>) -> (u64, Option<u64>) {
    let root = span_id(handoff, HANDOFF, None);
    let step = description.map(|_| span_id(handoff, STEP, description));
    match (name, step) {
        (HANDOFF, _) => (root, None),
        (STEP, Some(step)) => (step, Some(root)),
        (_, step) => (unique(), Some(step.unwrap_or(root))),
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// An id for a span that nobody else needs to know.
fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    xxh3_64(format!("{} {count} {}", std::process::id(), now()).as_bytes()).max(1)
}
