//! What is known of a segment, for the report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gibbon_control::work::{InstanceReport, InstanceSpec, InstanceState, SocketReport};
use gibbon_media::{InstanceId, NodeId};
use gibbon_monitor::machine;
use gibbon_relay::Relay;
use gibbon_worker::ipc::InstanceStatus;

use crate::{orders::Segment, segments::Surroundings};

/// One segment.
#[derive(Default)]
pub struct State(Mutex<Known>);

#[derive(Default)]
struct Known {
    pid: Option<u32>,
    restarts: u32,
    /// Why it does not run now.
    down: Option<String>,
    statuses: BTreeMap<InstanceId, InstanceStatus>,
    /// Instances that have published something since the start.
    begun: BTreeSet<InstanceId>,
    relays: Vec<Arc<Relay>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lock().pid
    }

    /// Reports on its instances.
    pub fn report(&self, segment: &Segment, around: &Surroundings) -> Vec<InstanceReport> {
        let known = self.lock();
        let memory_kib = known.pid.and_then(machine::memory_kib).unwrap_or(0);
        let share = memory_kib / (segment.instances.len() as u64).max(1);
        segment.instances.iter().map(|spec| known.instance(spec, around, share)).collect()
    }

    /// Takes in what the segment says of itself; whether an instance is another way than before.
    pub fn heard(&self, statuses: Vec<InstanceStatus>) -> bool {
        let statuses: BTreeMap<_, _> = statuses.into_iter().map(|s| (s.instance, s)).collect();
        let states = |statuses: &BTreeMap<InstanceId, InstanceStatus>| {
            statuses.values().map(|s| (s.instance, s.state.clone())).collect::<Vec<_>>()
        };
        let mut known = self.lock();
        let before = std::mem::replace(&mut known.statuses, statuses);
        states(&before) != states(&known.statuses)
    }

    /// An instance has published something; whether it is the first since the start.
    pub fn publishes(&self, instance: InstanceId) -> bool {
        self.lock().begun.insert(instance)
    }

    /// Its input comes by these.
    pub fn pulls(&self, relays: Vec<Arc<Relay>>) {
        self.lock().relays = relays;
    }

    /// Its process has been started.
    pub fn started(&self, pid: u32) {
        let mut known = self.lock();
        known.pid = Some(pid);
        known.down = None;
    }

    /// Its process is gone.
    pub fn ended(&self, why: String) {
        let mut known = self.lock();
        known.pid = None;
        known.restarts = known.restarts.saturating_add(1);
        known.statuses.clear();
        known.begun.clear();
        known.down = Some(why);
    }
}

impl Known {
    fn instance(
        &self,
        spec: &InstanceSpec,
        around: &Surroundings,
        memory_kib: u64,
    ) -> InstanceReport {
        let status = self.statuses.get(&spec.instance);
        let published = around.outputs.by(spec.instance);
        let out = published.is_some() && self.begun.contains(&spec.instance);
        let out = spec.publish.then_some(out);
        let state = state(self.down.as_deref(), status.map(|status| &status.state), out);
        let sockets = status.map(|status| (status.input.clone(), status.output.clone()));
        let (input, output) = sockets.unwrap_or_default();
        let stream = spec.reads().cloned();
        InstanceReport {
            spec: spec.clone(),
            state,
            input: SocketReport {
                peer: stream.as_ref().and_then(|_| self.source()),
                stream,
                ..input
            },
            output: SocketReport {
                stream: spec.publish.then(|| spec.stream()),
                subscribers: published.map_or(0, |output| output.subscribers.count()),
                ..output
            },
            cpu_ms: status.map_or(0, |status| status.cpu_us / 1000),
            memory_kib,
            restarts: self.restarts,
        }
    }

    fn source(&self) -> Option<NodeId> {
        self.relays.iter().find_map(|relay| relay.source())
    }
}

/// How an instance is: by why its segment is down, by what the segment says of it, and, if it publishes, by
/// whether something of it is `out`: only then its work is done.
fn state(down: Option<&str>, said: Option<&InstanceState>, out: Option<bool>) -> InstanceState {
    match (down, said, out) {
        (Some(why), ..) => InstanceState::Restarting { why: why.to_owned() },
        (None, Some(failed @ InstanceState::Failed { .. }), _) => failed.clone(),
        (None, _, Some(true)) | (None, Some(InstanceState::Running), None) => {
            InstanceState::Running
        }
        _ => InstanceState::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_publishes_runs_once_something_is_out_and_another_once_it_says_so() {
        use InstanceState::{Failed, Restarting, Running, Starting};
        let failed = Failed { why: "no pictures".to_owned() };
        let restarting = Restarting { why: "signal 9".to_owned() };
        let cases = [
            (None, None, None, Starting),
            (None, Some(&Starting), None, Starting),
            (None, Some(&Running), None, Running),
            (None, Some(&Running), Some(false), Starting),
            (None, Some(&Starting), Some(true), Running),
            (None, None, Some(true), Running),
            (None, Some(&failed), Some(true), failed.clone()),
            (None, Some(&failed), None, failed.clone()),
            (Some("signal 9"), Some(&Running), Some(true), restarting.clone()),
            (Some("signal 9"), Some(&failed), None, restarting),
        ];
        for (down, said, out, expected) in cases {
            assert_eq!(state(down, said, out), expected, "{down:?} {said:?} {out:?}");
        }
    }
}
