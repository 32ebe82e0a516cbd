//! What is known of a running instance: written by its threads, read for the report.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gibbon_control::work::{InstanceState, SocketReport};
use rustix::time::{ClockId, clock_gettime};

use crate::ipc::InstanceStatus;

/// A thread of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Takes the input in and decodes it.
    Input,
    /// Does the work of the component.
    Work,
    /// Codes and publishes.
    Output,
}

/// Shared by the threads of an instance.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<Figures>);

/// What its threads tell.
#[derive(Debug, Default)]
pub struct Figures {
    /// Why it can work no more.
    pub failed: Option<String>,
    /// Whether anything has come out of it.
    pub emitted: bool,
    /// Its input socket.
    pub input: SocketReport,
    /// Its output socket.
    pub output: SocketReport,
    /// How often publishing was switched on or off: what an output socket tells counts until the next time.
    pub switched: u64,
    /// Whether it is to publish, and whether it has.
    pub publishes: (bool, bool),
    cpu: Duration,
    /// Since when each thread has been at one item.
    busy: [Option<Instant>; 3],
}

impl Gauge {
    /// To be read or written at once, and let go.
    pub fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` for one item on this thread, and counts the time.
    pub fn working<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        self.figures().busy[part as usize] = Some(Instant::now());
        let before = thread_time();
        let done = work();
        let mut figures = self.figures();
        figures.cpu += thread_time().saturating_sub(before);
        figures.busy[part as usize] = None;
        done
    }

    /// Whether a thread has been at one item for longer than `limit`: it hangs.
    pub fn hangs(&self, limit: Duration) -> bool {
        self.figures().busy.iter().flatten().any(|since| since.elapsed() > limit)
    }

    /// It can work no more. The first reason is kept.
    pub fn fail(&self, why: &impl ToString) {
        self.figures().failed.get_or_insert_with(|| why.to_string());
    }

    /// For the worker.
    pub fn status(&self, instance: gibbon_media::InstanceId) -> InstanceStatus {
        let figures = self.figures();
        let (publishes, published) = figures.publishes;
        let state = match &figures.failed {
            Some(why) => InstanceState::Failed { why: why.clone() },
            None if figures.emitted && (published || !publishes) => InstanceState::Running,
            None => InstanceState::Starting,
        };
        InstanceStatus {
            instance,
            state,
            input: figures.input.clone(),
            output: figures.output.clone(),
            cpu_us: u64::try_from(figures.cpu.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}
