//! What this worker uses: processor time, memory, the network; measured over the last seconds.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gibbon_control::{
    links::{self, Links, Snapshot},
    vitals::{ProcessorTimes, available_cores, busy_cores, processor_times},
};
use gibbon_monitor::machine;
use tokio::time::{Instant, interval};

use crate::segments::Segments;

/// How often it is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// Measurements that are kept: rates are from the oldest to the newest.
const KEPT: usize = 8;

/// What is used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    pub busy_cores: f64,
    pub machine_busy: f64,
    pub memory_mib: u64,
    pub sent_kbps: u64,
}

/// The newest figures.
#[derive(Default)]
pub struct Usage(Mutex<Used>);

impl Usage {
    /// The newest figures.
    pub fn now(&self) -> Used {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One measurement.
struct Sample {
    at: Instant,
    processes: ProcessorTimes,
    machine: (Duration, Duration),
    memory_kib: u64,
    links: Snapshot,
}

impl Sample {
    fn take(segments: &Segments, links: &Links) -> Self {
        let pids = pids(segments);
        Self {
            at: Instant::now(),
            machine: machine::machine_time().unwrap_or_default(),
            memory_kib: pids.iter().copied().filter_map(machine::memory_kib).sum(),
            processes: processor_times(pids),
            links: links.snapshot(),
        }
    }
}

/// The worker's own process and those of its segments.
pub fn pids(segments: &Segments) -> Vec<u32> {
    segments.pids().into_iter().chain([std::process::id()]).collect()
}

fn used(before: &Sample, now: &Sample) -> Used {
    let between = now.at.saturating_duration_since(before.at);
    let share = |part: Duration, of: Duration| part.as_secs_f64() / of.as_secs_f64().max(1e-3);
    let machine = share(
        now.machine.0.saturating_sub(before.machine.0),
        now.machine.1.saturating_sub(before.machine.1),
    );
    let (sent_kbps, _) = links::reports(&before.links, &now.links, between);
    Used {
        busy_cores: busy_cores(&before.processes, &now.processes, between),
        machine_busy: machine * available_cores(),
        memory_mib: now.memory_kib.div_ceil(1024),
        sent_kbps,
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
        assert!((used.machine_busy - available_cores() / 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(used.memory_mib, 2);
    }
}
