//! The machine that all tests share: how much of it is in use, and how much of it is taken away by the one that it runs on.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gibbon_monitor::machine::{machine_time, stolen_time};

/// Who is to play in real time needs about so much of the machine for so long.
const CALM: f64 = 0.5;
const CALM_FOR: Duration = Duration::from_secs(2);
/// Time between two looks of a [`Watch`]: what a viewer with a short playout delay can do without.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits until half of the machine is free for a while, at most so long.
pub fn wait_until_calm(within: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < within {
        let before = machine_time();
        thread::sleep(CALM_FOR);
        if machine_time().zip(before).is_none_or(|(now, before)| used(before, now) <= CALM) {
            return;
        }
    }
}

/// Which share of the time between two looks, each at what was busy and at all, was in use by anybody, from 0 to 1.
fn used(before: (Duration, Duration), now: (Duration, Duration)) -> f64 {
    let (busy, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
    if all.is_zero() { 1.0 } else { busy.as_secs_f64() / all.as_secs_f64() }
}

/// Watches how much is taken away, until it is asked.
#[derive(Debug)]
pub struct Watch {
    end: Sender<()>,
    watcher: JoinHandle<Duration>,
}

impl Watch {
    /// Begins to watch.
    pub fn start() -> Self {
        let (end, ended) = mpsc::channel();
        let watcher = thread::spawn(move || {
            let mut worst = Duration::ZERO;
            let mut last = (Instant::now(), stolen_time());
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = (Instant::now(), stolen_time());
                // Who does next to nothing is late only where all stood still.
                let late = now.0.duration_since(last.0).saturating_sub(LOOK_EVERY);
                let stolen = now.1.zip(last.1).map(|(now, last)| now.saturating_sub(last));
                worst = worst.max(late).max(stolen.unwrap_or_default());
                last = now;
            }
            worst
        });
        Self { end, watcher }
    }

    /// The most time that was taken away between two looks.
    pub fn worst(self) -> Duration {
        drop(self.end);
        self.watcher.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_a_share_of_what_there_was() {
        let at = |busy, all| (Duration::from_secs(busy), Duration::from_secs(all));
        assert_eq!(used(at(160, 1000), at(220, 1100)), 0.6);
        assert_eq!(used(at(160, 1000), at(160, 1000)), 1.0);
    }
}
