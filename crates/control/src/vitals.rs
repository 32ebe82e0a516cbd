//! What a node measures of itself for its reports: by the kernel's account of its processes, by what it has sent, and
//! by how late its threads are.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gibbon_monitor::machine;
use tokio::runtime::Handle;

use crate::{
    links::{self, Links, Snapshot},
    node::NodeReport,
    telemetry::{NodeHealth, rounded},
};

/// Told once a second: reports come each half a second, and not to the millisecond.
const TELL_EVERY: Duration = Duration::from_millis(900);
/// How often it is looked how late a thread is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Processor time of processes so far, by their ids.
pub type ProcessorTimes = BTreeMap<u32, Duration>;

/// The processor time of these processes so far; those that have ended are left out.
pub fn processor_times(pids: impl IntoIterator<Item = u32>) -> ProcessorTimes {
    let time = |pid| Some((pid, machine::processor_time(pid)?));
    pids.into_iter().filter_map(time).collect()
}

/// The cores that processes kept busy from `before` to `now`. One that there was not before has been started meanwhile.
fn busy_cores(before: &ProcessorTimes, now: &ProcessorTimes, between: Duration) -> f64 {
    let since = |(pid, time): (&u32, &Duration)| {
        time.saturating_sub(before.get(pid).copied().unwrap_or_default())
    };
    let busy: Duration = now.iter().map(since).sum();
    busy.as_secs_f64() / between.as_secs_f64().max(1e-3)
}

/// Processor cores that this process may keep busy.
pub fn available_cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}

/// Measures this node.
#[derive(Debug)]
pub struct Vitals {
    cores: f64,
    goes_away: Option<Instant>,
    links: Arc<Links>,
    threads: Vec<Arc<Lateness>>,
    last: Mutex<Option<Sample>>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    processes: ProcessorTimes,
    sent_bytes: u64,
    links: Snapshot,
}

impl Vitals {
    /// Of a node that may keep so many cores busy, has announced that it goes away so long from now, and sends from the
    /// threads of `runtimes`, which it watches from now on.
    pub fn new(
        cores: f64,
        goes_away_in: Option<Duration>,
        links: Arc<Links>,
        runtimes: &[Handle],
    ) -> Self {
        let goes_away = goes_away_in.and_then(|within| Instant::now().checked_add(within));
        let threads = runtimes.iter().map(Lateness::watched_on).collect();
        Self { cores, goes_away, links, threads, last: Mutex::default() }
    }

    /// Adds health and links to a report, if a second has passed since they were last told; whether it did. `pids` are
    /// the node's processes; `sent_bytes` is what it has sent so far.
    pub fn add_to(&self, report: &mut NodeReport, pids: Vec<u32>, sent_bytes: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        if last.as_ref().is_some_and(|last| at.saturating_duration_since(last.at) < TELL_EVERY) {
            return false;
        }
        let memory_kib = pids.iter().copied().filter_map(machine::memory_kib).sum();
        let (processes, links) = (processor_times(pids), self.links.snapshot());
        let now = Sample { at, processes, sent_bytes, links };
        let Some(before) = last.replace(now) else { return false };
        let Some(now) = &*last else { return false };
        let between = now.at.saturating_duration_since(before.at);
        let sent_bytes = now.sent_bytes.saturating_sub(before.sent_bytes);
        let queue = self.threads.iter().map(|thread| thread.take(between)).max();
        let left = |at: Instant| at.saturating_duration_since(now.at).as_millis() as u64;
        report.health = Some(NodeHealth {
            cpu: rounded(busy_cores(&before.processes, &now.processes, between), 1e3),
            cores: self.cores,
            memory_kib,
            egress_kbps: (sent_bytes as f64 * 8.0 / 1000.0 / between.as_secs_f64()) as u64,
            queue_ms: rounded(queue.unwrap_or_default().as_secs_f64() * 1000.0, 10.0),
            maintenance_in_ms: self.goes_away.map(left),
        });
        report.links = links::reports(&before.links, &now.links, between).1;
        true
    }
}

/// How much later than asked for a thread does what is due.
#[derive(Debug, Default)]
struct Lateness {
    late_us: AtomicU64,
    looks: AtomicU64,
}

impl Lateness {
    /// Looks at the thread of `runtime`, as long as that runs.
    fn watched_on(runtime: &Handle) -> Arc<Self> {
        let lateness = Arc::<Self>::default();
        let looking = lateness.clone();
        runtime.spawn(async move {
            loop {
                let due = tokio::time::Instant::now() + LOOK_EVERY;
                tokio::time::sleep_until(due).await;
                looking.note(due.elapsed());
            }
        });
        lateness
    }

    fn note(&self, late: Duration) {
        self.late_us.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// The mean since this was last asked, `since` ago: all of that, if the thread did nothing at all.
    fn take(&self, since: Duration) -> Duration {
        let late = Duration::from_micros(self.late_us.swap(0, Ordering::Relaxed));
        match u32::try_from(self.looks.swap(0, Ordering::Relaxed)) {
            Ok(0) | Err(_) => since,
            Ok(looks) => late / looks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_the_processor_time_of_all_processes_that_still_run_by_the_time_between() {
        let times = |times: &[(u32, u64)]| -> ProcessorTimes {
            times.iter().map(|(pid, ms)| (*pid, Duration::from_millis(*ms))).collect()
        };
        let (before, now) = (times(&[(1, 100), (2, 9000)]), times(&[(1, 300), (3, 2800)]));
        let busy = busy_cores(&before, &now, Duration::from_secs(2));
        assert!((busy - 1.5).abs() < 1e-9, "{busy}");
    }

    #[test]
    fn a_thread_is_as_late_as_it_was_in_the_mean_or_all_the_time_if_it_did_nothing() {
        let (lateness, second) = (Lateness::default(), Duration::from_secs(1));
        [10, 20, 60].iter().for_each(|ms| lateness.note(Duration::from_millis(*ms)));
        assert_eq!(lateness.take(second), Duration::from_millis(30));
        assert_eq!(lateness.take(second), second);
    }

    #[tokio::test]
    async fn health_is_told_once_a_second_with_what_was_used_since() {
        let runtimes = [Handle::current()];
        let vitals = Vitals::new(2.0, Some(Duration::from_secs(60)), Arc::default(), &runtimes);
        let mut report = NodeReport::default();
        let pids = || vec![std::process::id()];
        assert!(!vitals.add_to(&mut report, pids(), 1_000_000), "nothing to compare with yet");
        let begun = Instant::now();
        while begun.elapsed() < TELL_EVERY {
            assert!(report.health.is_none());
            tokio::time::sleep(LOOK_EVERY).await;
            vitals.add_to(&mut report, pids(), 1_125_000);
        }
        let health = report.health.unwrap();
        assert_eq!(health.check(), Ok(()));
        assert!((800..=1112).contains(&health.egress_kbps), "{health:?}");
        assert!(health.memory_kib > 100 && health.cores == 2.0, "{health:?}");
        let left = health.maintenance_in_ms.unwrap();
        assert!((50_000..60_000).contains(&left), "{health:?}");
        let mut next = NodeReport::default();
        assert!(!vitals.add_to(&mut next, pids(), 2_000_000) && next.health.is_none());
    }
}
