//! What this worker uses: processor time, memory, the network; measured over the last seconds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gibbon_control::work::LinkReport;
use gibbon_monitor::machine;
use tokio::time::{Instant, interval};

use crate::{
    links::{self, Links, Snapshot},
    segments::Segments,
};

/// How often it is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// Measurements that are kept: rates are from the oldest to the newest.
const KEPT: usize = 7;

/// What is used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Used {
    pub busy_cores: f64,
    pub machine_busy: f64,
    pub memory_mib: u64,
    pub sent_kbps: u64,
    pub links: Vec<LinkReport>,
}

/// The newest figures.
#[derive(Default)]
pub struct Usage(Mutex<Used>);

impl Usage {
    /// The newest figures.
    pub fn now(&self) -> Used {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One measurement.
struct Sample {
    at: Instant,
    /// Processor time so far, by process.
    processes: BTreeMap<u32, Duration>,
    machine: (Duration, Duration),
    memory_kib: u64,
    links: Snapshot,
}

impl Sample {
    fn take(segments: &Segments, links: &Links) -> Self {
        let pids = || segments.pids().into_iter().chain([std::process::id()]);
        let time = |pid| Some((pid, machine::processor_time(pid)?));
        Self {
            at: Instant::now(),
            processes: pids().filter_map(time).collect(),
            machine: machine::machine_time().unwrap_or_default(),
            memory_kib: pids().filter_map(machine::memory_kib).sum(),
            links: links.snapshot(),
        }
    }
}

fn used(before: &Sample, now: &Sample) -> Used {
    let between = now.at.saturating_duration_since(before.at);
    // A process that there was not before has been started meanwhile.
    let busy: Duration = now
        .processes
        .iter()
        .map(|(pid, time)| {
            time.saturating_sub(before.processes.get(pid).copied().unwrap_or_default())
        })
        .sum();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
    let share = |part: Duration, of: Duration| part.as_secs_f64() / of.as_secs_f64().max(1e-3);
    let machine = share(
        now.machine.0.saturating_sub(before.machine.0),
        now.machine.1.saturating_sub(before.machine.1),
    );
    let (sent_kbps, links) = links::reports(&before.links, &now.links, between);
    Used {
        busy_cores: share(busy, between),
        machine_busy: machine * cores,
        memory_mib: now.memory_kib.div_ceil(1024),
        sent_kbps,
        links,
    }
}

/// Measures as long as the process runs.
pub async fn measure(usage: Arc<Usage>, segments: Arc<Segments>, links: Arc<Links>) {
    let mut samples = VecDeque::new();
    let mut every = interval(MEASURE_EVERY);
    loop {
        every.tick().await;
        let now = Sample::take(&segments, &links);
        if let Some(before) = samples.front() {
            *usage.0.lock().unwrap_or_else(PoisonError::into_inner) = used(before, &now);
        }
        samples.push_back(now);
        if samples.len() > KEPT {
            samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_the_processor_time_of_all_processes_that_still_run_by_the_time_between() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let sample = |at, processes: &[(u32, u64)]| Sample {
            at: start + ms(at),
            processes: processes.iter().map(|(pid, time)| (*pid, ms(*time))).collect(),
            machine: (ms(at / 2), ms(at)),
            memory_kib: 1500,
            links: Snapshot::new(),
        };
        let before = sample(0, &[(1, 100), (2, 9000)]);
        let used = used(&before, &sample(2000, &[(1, 300), (3, 2800)]));
        assert!((used.busy_cores - 1.5).abs() < 1e-9, "{used:?}");
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        assert!((used.machine_busy - cores / 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(used.memory_mib, 2);
    }
}
