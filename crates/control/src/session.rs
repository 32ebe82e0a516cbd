//! Between a client and an edge, over a session stream that the client opens on every connection.

use gibbon_handoff::{Reason, Report, ToClient};
use gibbon_media::{Description, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{address::NodeAddress, telemetry::ClientTelemetry, viewing::Viewing};

/// What a client may say beyond what an edge knows, in bytes of JSON, or so …
pub const MAX_MORE: usize = 8 * 1024;
/// … in so many layers.
pub const MAX_MORE_LAYERS: usize = 8;

/// What a client says to an edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromViewer {
    /// First: its grant.
    Hello {
        /// As the portal gave it.
        grant: String,
    },
    /// How things stand, for the coordinator. Sent at every change, on every connection that is alive.
    Report(ClientReport),
    /// It needs nothing more from this edge; the edge says [`ToViewer::Bye`] and the client closes.
    Bye,
}

/// How things stand at a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Where its legs are and how it carries out its newest order.
    #[serde(flatten)]
    pub hands: Report,
    /// Legs past probation that are bad.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<Complaint>,
    /// What its viewer has been shown; none before the first frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewing: Option<Box<Viewing>>,
    /// All else: what it measures and where it is ([`telemetry`](Self::telemetry)), and what later versions will
    /// say. An edge passes it on unread, so that nonsense harms nobody on the way.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ClientReport {
    /// How the hands stand: with no complaints, nothing shown yet, and nothing else.
    pub fn new(hands: Report) -> Self {
        Self { hands, complaints: Vec::new(), viewing: None, more: Map::new() }
    }

    /// With what the client measures, in place of all that it said beyond what an edge knows.
    pub fn with_telemetry(mut self, telemetry: ClientTelemetry) -> Self {
        self.more = match serde_json::to_value(telemetry.bounded()) {
            Ok(Value::Object(more)) => more,
            Ok(_) | Err(_) => Map::new(),
        };
        self
    }

    /// What the client measures and where it is; an error if that is not of the form. It is to be checked.
    pub fn telemetry(&self) -> serde_json::Result<ClientTelemetry> {
        ClientTelemetry::deserialize(&self.more)
    }

    /// Forgets all that an edge does not know, if it is more than a client may say.
    pub fn bounded(mut self) -> Self {
        let bytes = self.more.iter().map(|(key, value)| Some(key.len() + weight(value, 1)?));
        if bytes.sum::<Option<usize>>().is_none_or(|bytes| bytes > MAX_MORE) {
            self.more.clear();
        }
        self
    }
}

/// How long `value` is as JSON, about; none if it has too many layers.
fn weight(value: &Value, layer: usize) -> Option<usize> {
    let inner = layer + 1;
    match value {
        _ if layer > MAX_MORE_LAYERS => None,
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(8),
        Value::String(text) => Some(2 + text.len()),
        Value::Array(values) => values.iter().map(|value| Some(1 + weight(value, inner)?)).sum(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| Some(4 + key.len() + weight(value, inner)?)).sum()
        }
    }
}

/// A leg is bad, and its client does not leave it at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Which description.
    pub description: Description,
    /// Who delivers it.
    pub edge: NodeId,
    /// In what way: late, lossy or starved.
    pub reason: Reason,
    /// For how long, in ms.
    pub for_ms: u64,
}

/// What an edge says to a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToViewer {
    /// The grant is good.
    Welcome,
    /// The grant is not good; the connection closes.
    Refused {
        /// Why.
        reason: String,
    },
    /// An order of the coordinator.
    Order(Order),
    /// A renewed grant.
    Renewed {
        /// To be shown from now on.
        grant: String,
        /// The standbys it names, best first, and where they are.
        standbys: Vec<NodeAddress>,
    },
    /// The edge's own upstream is silent: the leg is, too, and the edge is not to blame. Repeated for as
    /// long as it lasts.
    Stalled {
        /// The descriptions that stand still.
        descriptions: Vec<Description>,
    },
    /// What the edge sees of the path to the client. Sent only while packets are being lost.
    Path {
        /// Packets sent on this connection.
        sent: u64,
        /// Of these, taken for lost.
        lost: u64,
        /// Round-trip time, in µs.
        rtt_us: u64,
    },
    /// The edge is full: end this leg if the other description is safe, and take it back later.
    LetGo {
        /// Which description.
        description: Description,
    },
    /// The edge wants to leave: go to other edges, one description at a time. Repeated until the client is
    /// gone.
    GoAway {
        /// The edge ends what is left after this, in ms.
        within_ms: u64,
    },
    /// All the client said has been passed on.
    Bye,
}

/// An order of the coordinator to a client, with what the client needs to carry it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub order: ToClient,
    /// Where the edge it names is reached.
    pub edge: NodeAddress,
    /// A fresh grant, if the old one does not fit any more.
    pub grant: Option<String>,
    /// The standbys that the fresh grant names, and where they are.
    #[serde(default)]
    pub standbys: Vec<NodeAddress>,
    /// How long ago the hand-off was selected when the order was given, in ms.
    #[serde(default)]
    pub under_way_ms: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        node::FromNode,
        telemetry::{MotionReport, PathReport},
    };

    fn said(more: &Value) -> String {
        let mut report = json!({
            "type": "report", "revision": 7, "legs": ["edge-a", null], "order": null, "answer": null,
        });
        if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
            more.iter().for_each(|(key, value)| drop(report.insert(key.clone(), value.clone())));
        }
        report.to_string()
    }

    /// What the coordinator gets to read of what a client says to an edge.
    fn passed_on(said: &str) -> ClientReport {
        let FromViewer::Report(report) = serde_json::from_str(said).unwrap() else {
            panic!("{said}")
        };
        let message = FromNode::Client {
            session: "00000000000000c1".parse().unwrap(),
            report: report.bounded(),
        };
        let passed = serde_json::to_string(&message).unwrap();
        let FromNode::Client { report, .. } = serde_json::from_str(&passed).unwrap() else {
            panic!("{passed}")
        };
        report
    }

    #[test]
    fn telemetry_and_what_an_edge_does_not_know_reach_the_coordinator() {
        let path = PathReport {
            edge: "edge-a".parse().unwrap(),
            rtt_ms: 8.5,
            loss: 0.01,
            kbps: 790,
            slack: None,
        };
        let motion =
            MotionReport::At { latitude: 48.1, longitude: 11.5, accuracy_m: 8.0, age_ms: 400 };
        let telemetry = ClientTelemetry {
            paths: vec![path],
            buffer_ms: Some(930),
            playout_delay_ms: Some(1000),
            device: Some(crate::telemetry::DeviceClass::Phone),
            motion: Some(motion),
        };
        let mut more = serde_json::to_value(&telemetry).unwrap();
        more["battery"] = json!({ "percent": 40 });
        let report = passed_on(&said(&more));
        assert_eq!(report.hands.revision, 7);
        assert_eq!(report.telemetry().unwrap(), telemetry);
        assert_eq!(report.more["battery"]["percent"], 40);
        let ClientReport { hands, .. } = report;
        assert_eq!(
            ClientReport::new(hands).with_telemetry(telemetry.clone()).telemetry().unwrap(),
            telemetry
        );
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_not_passed_on_and_the_legs_are() {
        let deep = (0..MAX_MORE_LAYERS).fold(json!(1), |inner, _| json!([inner]));
        for more in [
            json!({ "x": "x".repeat(MAX_MORE) }),
            json!({ "x": vec![0; MAX_MORE] }),
            json!({ "x": deep }),
        ] {
            let report = passed_on(&said(&more));
            assert!(report.more.is_empty() && report.hands.revision == 7);
        }
        let flat = json!({ "x": "x".repeat(MAX_MORE / 2) });
        assert_eq!(passed_on(&said(&flat)).more.len(), 1);
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z\\PC]{0,9}".prop_map(Value::from),
        ];
        let words = prop_oneof![
            Just("at".to_owned()),
            Just("estimate".into()),
            Just("points".into()),
            Just("edge".into()),
            Just("type".into()),
            Just("report".into()),
            "[a-z_]{0,6}",
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((words.clone(), inner), 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_stands_for_telemetry_reaches_the_coordinator_and_is_refused_there_or_read(
            paths in anything(), motion in anything(), other in anything(),
        ) {
            let more = json!({ "paths": paths, "motion": motion, "other": other });
            let report = passed_on(&said(&more));
            prop_assert_eq!(report.hands.revision, 7);
            for motion in report.telemetry().iter().filter_map(|telemetry| telemetry.motion.as_ref()) {
                let MotionReport::Estimate { points, .. } = motion else { continue };
                prop_assert!(!points.is_empty() || motion.check().is_err());
            }
        }
    }
}
