//! What coordinator and workers say to each other about components.
//!
//! Declarative: the coordinator tells a worker all that it is to run, and the worker makes it so. What a worker
//! runs it reports with all that it was told about it, so that a restarted coordinator can take it up again.

use std::collections::BTreeSet;

use gibbon_components::{Chain, Spec};
use gibbon_handoff::Term;
use gibbon_media::{InstanceId, Medium, NodeId, Priority, ServiceId, StreamName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::telemetry::LinkReport;

/// Instances that one worker may be told to run.
pub const MAX_INSTANCES: usize = 256;
/// Services that one instance may work for.
pub const MAX_SERVICES: usize = 256;

/// What a worker offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerOffer {
    /// The components that it can run, by name.
    pub components: Vec<String>,
    /// Processor cores that it may keep busy.
    pub cores: f64,
    /// Memory that it may use, in MiB.
    pub memory_mib: u64,
    /// What it can send to other nodes at once, in kbit/s, if that is limited.
    pub uplink_kbps: Option<u64>,
}

/// All that a worker is to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Of the coordinator. An order of an older term or version is ignored.
    pub term: Term,
    /// Rises with each order of a term to a worker.
    pub version: u64,
    /// What is not among them is stopped.
    pub instances: Vec<InstanceSpec>,
}

/// One component on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Names it for as long as it is on this worker.
    pub instance: InstanceId,
    /// The chain up to and with this component, which is the last. With the replica it names the stream.
    pub chain: Chain,
    /// Where its media come from.
    pub input: Input,
    /// Whether its output socket codes and publishes what it makes.
    pub publish: bool,
    /// For whom it works.
    pub services: Vec<ServiceRef>,
    /// 0, or 1 for the warm standby.
    pub replica: u8,
}

impl InstanceSpec {
    /// The stream that it subscribes to.
    pub fn reads(&self) -> Option<&StreamName> {
        match &self.input {
            Input::Stream(stream) => Some(stream),
            Input::Instance(_) => None,
        }
    }

    /// The instance on the same worker whose frames pass to it raw.
    pub fn raw_from(&self) -> Option<InstanceId> {
        match self.input {
            Input::Stream(_) => None,
            Input::Instance(upstream) => Some(upstream),
        }
    }

    /// The name of the stream that it makes.
    pub fn stream(&self) -> StreamName {
        self.chain.stream_of(self.replica)
    }
}

/// `root` and all of `specs` that hang on it raw, each after what it hangs on and at most once.
pub fn segment<'a>(root: &'a InstanceSpec, specs: &[&'a InstanceSpec]) -> Vec<&'a InstanceSpec> {
    let mut found = vec![root];
    let mut seen = BTreeSet::from([root.instance]);
    let mut next = 0;
    while let Some(upstream) = found.get(next).map(|spec| spec.instance) {
        let hangs = |spec: &&&InstanceSpec| spec.raw_from() == Some(upstream);
        found.extend(specs.iter().filter(hangs).filter(|spec| seen.insert(spec.instance)));
        next += 1;
    }
    found
}

/// Where the media of an instance come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A stream, subscribed to and decompressed.
    Stream(StreamName),
    /// Another instance on the same worker, whose frames pass raw.
    Instance(InstanceId),
}

/// A service, as an instance that works for it remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRef {
    /// The service.
    pub service: ServiceId,
    /// The name it was asked for by, if it was one of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub priority: Priority,
    /// Whether it stays when nobody watches.
    #[serde(default)]
    pub keep: bool,
    /// Whether a second chain runs beside the first.
    #[serde(default)]
    pub standby: bool,
}

/// What a worker says to an order, at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkAnswer {
    /// The order.
    pub version: u64,
    /// Instances that it cannot run, and why. All others are accepted.
    pub refused: Vec<Refused>,
}

/// An instance that a worker cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The instance.
    pub instance: InstanceId,
    /// Why not.
    pub why: String,
}

/// What a worker does, in its report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkReport {
    /// The newest order that it has made so.
    pub version: u64,
    /// Processor cores that it and its segments keep busy, over the last seconds. What a segment takes to start is left
    /// out.
    pub busy_cores: f64,
    /// Processor cores that everything on its machine keeps busy, of all that there are.
    pub machine_busy: f64,
    /// Memory in use, in MiB.
    pub memory_mib: u64,
    /// What it sends to other nodes, in kbit/s.
    pub sent_kbps: u64,
    /// What it runs.
    pub instances: Vec<InstanceReport>,
}

/// One instance, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// All that the worker was told of it.
    pub spec: InstanceSpec,
    /// How it is.
    #[serde(flatten)]
    pub state: InstanceState,
    /// Its input socket.
    pub input: SocketReport,
    /// Its output socket.
    pub output: SocketReport,
    /// Processor time of its thread, sockets included, in ms since it began.
    pub cpu_ms: u64,
    /// Its share of the memory of its segment, in KiB.
    pub memory_kib: u64,
    /// How often its segment has been started anew after a crash or stall.
    pub restarts: u32,
}

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InstanceState {
    /// Nothing has come out of it yet.
    Starting,
    /// It works.
    Running,
    /// It has crashed or stalled and is started again after a while.
    Restarting {
        /// What happened.
        why: String,
    },
    /// It cannot work, and trying again is of no use.
    Failed {
        /// What is wrong.
        why: String,
    },
}

/// One socket of an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SocketReport {
    /// The stream that is subscribed to or published; none where frames pass raw.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Of an input socket: the node that the stream comes from now.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<NodeId>,
    /// Decoders (input) or encoders (output) that it runs.
    pub coders: u32,
    /// What has passed, by medium.
    pub passed: Passed,
    /// Of an output socket: subscriptions to what it publishes.
    pub subscribers: u32,
    /// Of an output socket: from the arrival of a group's first picture (or sound) at the segment until that
    /// of the same group leaves, in ms; mean of the last groups, none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
}

/// What has passed a socket since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// Pictures decoded (input) or encoded (output).
    pub pictures: u64,
    /// Packets of sound decoded or encoded.
    pub sounds: u64,
    /// Packets and cues that passed as they are.
    pub untouched: u64,
    /// Groups that came or went whole, of the leading medium.
    pub groups: u64,
    /// Pictures or packets that were missing, or came too late to be used.
    pub missing: u64,
}

impl Passed {
    /// Counts what has been coded of `medium`.
    pub fn coded(&mut self, medium: Medium) {
        match medium {
            Medium::Video => self.pictures += 1,
            Medium::Audio => self.sounds += 1,
            Medium::Text => self.untouched += 1,
        }
    }
}

/// A component of a service, with all that the portal tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModuleInfo {
    /// Its place in the chain, from 1 on.
    pub number: u32,
    /// 0, or 1 for the warm standby.
    pub replica: u8,
    /// What it is, with its parameters.
    #[schema(value_type = Object)]
    pub component: Spec,
    /// Names it on its worker.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Where it runs.
    #[schema(value_type = String)]
    pub worker: NodeId,
    /// Where it is being moved to.
    #[schema(value_type = Option<String>)]
    pub moving_to: Option<NodeId>,
    /// How much it matters: the highest priority of those that it works for.
    #[schema(value_type = u8)]
    pub priority: Priority,
    /// Other services that it works for.
    #[schema(value_type = Vec<String>)]
    pub shared_with: Vec<ServiceId>,
    /// How it is.
    #[serde(flatten)]
    pub state: InstanceState,
    /// Where its media come from: `quic://ADDRESS/STREAM`, or `raw:INSTANCE`.
    pub input_address: String,
    /// Where they go: `quic://ADDRESS/STREAM` where it publishes, or `raw`.
    pub output_address: String,
    /// Its input socket.
    pub input: SocketReport,
    /// Its output socket.
    pub output: SocketReport,
    /// Processor time so far, in ms.
    pub cpu_ms: u64,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// How often it was started anew.
    pub restarts: u32,
}
