//! Whether the machine itself stood still.

use std::{
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gibbon_control::process;
use gibbon_testbed::seen::Span;

const BEAT: Duration = Duration::from_millis(20);
/// A beat that comes later than this shows that processes on this machine were kept from running.
const LATE: Duration = Duration::from_millis(300);

/// A thread that does nothing but look at the clock.
#[derive(Debug)]
pub struct Pulse {
    over: mpsc::Sender<()>,
    thread: JoinHandle<Vec<Span>>,
}

impl Pulse {
    /// Begins to look.
    pub fn start() -> Self {
        let (over, is_over) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut stalls, mut last) = (Vec::new(), Instant::now());
            let mut before = process::now().0;
            while is_over.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let now = process::now().0;
                if last.elapsed() > BEAT + LATE {
                    stalls.push(Span { from_us: before, to_us: now });
                }
                (last, before) = (Instant::now(), now);
            }
            stalls
        });
        Self { over, thread }
    }

    /// When the machine stood still since.
    pub fn stop(self) -> Vec<Span> {
        drop(self.over);
        self.thread.join().unwrap_or_default()
    }
}
