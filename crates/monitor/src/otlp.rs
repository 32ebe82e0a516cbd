//! Traces of hand-offs, sent to an OpenTelemetry collector: OTLP over HTTP, as JSON.
//!
//! One hand-off is one trace across coordinator, edges and client, and nothing is propagated for it: a span of
//! `tracing` that has a field `handoff` (a hand-off's id) belongs to it, and its ids follow from that field. The
//! second half of the trace id is the hand-off's id, as people see it.
//!
//! ```text
//!  handoff                      coordinator: from the selection to the end
//!  ├─ step (description 1)      coordinator: from the prefetch information until the leg is where it should be
//!  │  ├─ prefetch, settle …     the new edge
//!  │  └─ attach, probation …    the client
//!  ├─ step (description 0)
//!  └─ …                         whatever names no description
//! ```
//!
//! By hand, because the OpenTelemetry crates bring some hundred others (an HTTP client, protobuf, gRPC types) for
//! what is one JSON document. The format: opentelemetry-proto 1.x, "OTLP/HTTP", "JSON Protobuf Encoding". A
//! collector is expected close by: there is no TLS.

mod export;
mod layer;

use std::{fmt, str::FromStr, time::Duration};

pub use layer::Spans;
use xxhash_rust::xxh3::xxh3_64;

/// The span of a whole hand-off.
pub const HANDOFF: &str = "handoff";
/// The span of the crossing of one description, at the coordinator.
pub const STEP: &str = "step";
/// The first half of every trace id: "gibbon".
const TRACE_PREFIX: &str = "676962626f6e0000";
/// The path that the protocol adds to a collector's address.
const PATH: &str = "/v1/traces";

/// Where spans are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    url: String,
}

impl FromStr for Collector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.strip_prefix("http://").filter(|rest| !rest.is_empty());
        let Some(address) = address.map(|rest| rest.trim_end_matches('/')) else {
            return Err(format!(
                "{text:?} is not the address of a collector: use http://HOST:PORT (no TLS)"
            ));
        };
        let path = if address.ends_with(PATH) { "" } else { PATH };
        Ok(Self { url: format!("http://{address}{path}") })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A layer for a `tracing` subscriber, which sends the spans of hand-offs to `collector` as those of `service`.
pub fn layer(collector: &Collector, service: &str) -> Spans {
    Spans::new(export::start(collector, service))
}

/// Sends what has been recorded and not sent yet, for a bounded time. Does nothing without a [`layer`].
pub fn flush(within: Duration) {
    export::flush(within);
}

/// The id of the span of a hand-off or of one of its steps: the same wherever it is asked for.
fn span_id(handoff: &str, name: &str, description: Option<&str>) -> u64 {
    // 0 is no id.
    xxh3_64(format!("{handoff} {name} {}", description.unwrap_or_default()).as_bytes()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_address_with_or_without_the_path() {
        for given in ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces"] {
            assert_eq!(given.parse::<Collector>().unwrap().to_string(), "http://a:4318/v1/traces");
        }
        for bad in ["", "a:4318", "https://a:4318", "http://"] {
            assert!(bad.parse::<Collector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ids_of_a_hand_off_and_its_steps_are_told_apart() {
        let ids = [
            span_id("00000000000000ab", HANDOFF, None),
            span_id("00000000000000ab", STEP, Some("0")),
            span_id("00000000000000ab", STEP, Some("1")),
            span_id("00000000000000ac", STEP, Some("1")),
        ];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }
}
