//! What this worker uses: processor time, memory, the network; measured over the last seconds.
//!
//! What a segment takes to start is left out: it says nothing of what the segment will take. Until then placement
//! reckons with what is reserved for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gibbon_control::{
    links::{self, Links, Snapshot},
    vitals::{ProcessorTimes, available_cores, processor_times},
};
use gibbon_monitor::machine;
use tokio::time::{Instant, interval};

use crate::segments::Segments;

/// How often it is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// Rates are of so many steps from one measurement to the next, or of as many as there are.
const STEPS: usize = 8;
/// A segment starts for so many steps.
const STARTS: usize = 4;
/// What it takes is known after so many more.
const KNOWN: usize = 2;
/// Measurements that are kept: the oldest within reach of the rates, and who had started by then.
const KEPT: usize = STARTS + STEPS + 1;

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

/// Processor time of a time. (Measurements that were held up come at once.)
fn share(part: Duration, of: Duration) -> f64 {
    part.as_secs_f64() / of.as_secs_f64().max(1e-3)
}

/// By measurements, the newest last.
fn used(samples: &[Sample]) -> Used {
    let [.., now] = samples else { return Used::default() };
    let before = &samples[(samples.len() - 1).saturating_sub(STEPS)];
    let between = now.at.saturating_duration_since(before.at);
    let machine = share(
        now.machine.0.saturating_sub(before.machine.0),
        now.machine.1.saturating_sub(before.machine.1),
    );
    let (sent_kbps, _) = links::reports(&before.links, &now.links, between);
    Used {
        busy_cores: now.processes.keys().filter_map(|pid| cores(samples, *pid)).sum(),
        machine_busy: machine * available_cores(),
        memory_mib: now.memory_kib.div_ceil(1024),
        sent_kbps,
    }
}

/// The cores that a process keeps busy; `None` until that is known.
fn cores(samples: &[Sample], pid: u32) -> Option<f64> {
    let last = samples.len() - 1;
    let first = samples.iter().position(|sample| sample.processes.contains_key(&pid))?;
    // One that has been there for as long as is kept has started by then.
    let (started, known) = if first == 0 { (0, 1) } else { (first + STARTS, KNOWN) };
    let from = started.max(last.saturating_sub(STEPS));
    let (before, now) = (samples.get(from)?, &samples[last]);
    let time = now.processes.get(&pid)?.saturating_sub(*before.processes.get(&pid)?);
    let between = now.at.saturating_duration_since(before.at);
    (from + known <= last).then(|| share(time, between))
}

/// Measures as long as the process runs.
pub async fn measure(usage: Arc<Usage>, segments: Arc<Segments>, links: Arc<Links>) {
    let mut samples = VecDeque::new();
    let mut every = interval(MEASURE_EVERY);
    loop {
        every.tick().await;
        let now = Sample::take(&segments, &links);
        samples.push_back(now);
        if samples.len() > KEPT {
            samples.pop_front();
        }
        *usage.0.lock().unwrap_or_else(PoisonError::into_inner) = used(samples.make_contiguous());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Measurements each half second of processes: what they had taken before, when the first one sees them, and what
    /// they take in each half second.
    fn measured(count: u64, processes: &[(u32, u64, u64, u64)]) -> Vec<Sample> {
        let start = Instant::now();
        let at = |step: u64| Sample {
            at: start + MEASURE_EVERY * step as u32,
            processes: processes
                .iter()
                .filter(|(_, _, from, _)| step >= *from)
                .map(|(pid, before, from, each)| (*pid, MS(before + each * (step - from))))
                .collect(),
            machine: (MS(250 * step), MS(500 * step)),
            memory_kib: 1500,
            links: Snapshot::new(),
        };
        (0..count).map(at).collect()
    }

    #[test]
    fn busy_is_what_processes_took_by_the_time_between() {
        let used = used(&measured(5, &[(1, 9000, 0, 100), (2, 0, 0, 25)]));
        assert!((used.busy_cores - 0.25).abs() < 1e-9, "{used:?}");
        assert!((used.machine_busy - available_cores() / 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(used.memory_mib, 2);
        assert_eq!(super::used(&[]), Used::default());
    }

    #[test]
    fn what_a_segment_takes_to_start_is_left_out_and_what_it_takes_after_that_is_not() {
        let started = 3;
        let mut samples = measured(30, &[(1, 0, 0, 50), (2, 0, started, 25)]);
        for sample in &mut samples[started as usize + 1..] {
            *sample.processes.get_mut(&2).unwrap() += MS(90);
        }
        let known = started as usize + STARTS + KNOWN;
        for now in started as usize..30 {
            let kept = &samples[(now + 1).saturating_sub(KEPT)..=now];
            let busy = used(kept).busy_cores;
            let is = if now < known { 0.1 } else { 0.15 };
            assert!((busy - is).abs() < 1e-9, "{now}: {busy}");
        }
    }

    #[test]
    fn one_that_has_ended_counts_no_more() {
        let mut samples = measured(10, &[(1, 0, 0, 50), (2, 0, 0, 25)]);
        samples.last_mut().unwrap().processes.remove(&2);
        assert!((used(&samples).busy_cores - 0.1).abs() < 1e-9);
    }
}
