//! What the kernel tells of the machine that all tests share (`man 5 proc`): how much of it is in use, and how much of it
//! is taken away by the machine that it runs on.

use std::{
    fs,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Who is to play in real time needs about so much of the machine for so long.
const CALM: f64 = 0.5;
const CALM_FOR: Duration = Duration::from_secs(2);
/// Time between two looks of a [`Watch`]: what a viewer with a short playout delay can do without.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The kernel counts in hundredths of a second wherever it matters (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of the whole machine so far, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Of the first line: user, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen. The rest, what
    /// guests use, is counted in what users use.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        let fields: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let [_, _, _, idle, disks, _, _, stolen] = fields[..] else { return None };
        Some(Self { all: fields.iter().sum(), idle: idle + disks, stolen })
    }

    /// Which share of the time since `earlier` is in use, by whomever, from 0 to 1.
    fn used_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1) as f64;
        let idle = self.idle.saturating_sub(earlier.idle) as f64;
        (1.0 - idle / all).clamp(0.0, 1.0)
    }

    /// How much time of all processors together has been stolen since `earlier`.
    fn stolen_since(self, earlier: Self) -> Duration {
        TICK * u32::try_from(self.stolen.saturating_sub(earlier.stolen)).unwrap_or(u32::MAX)
    }
}

/// Waits until half of the machine is free for a while, at most so long.
pub fn wait_until_calm(within: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < within {
        let Some(before) = Ticks::now() else { return };
        thread::sleep(CALM_FOR);
        if Ticks::now().is_none_or(|now| now.used_since(before) <= CALM) {
            return;
        }
    }
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
            let mut last = (Instant::now(), Ticks::now());
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = (Instant::now(), Ticks::now());
                // Who does next to nothing is late only where all stood still.
                let late = now.0.duration_since(last.0).saturating_sub(LOOK_EVERY);
                let stolen = now.1.zip(last.1).map(|(now, last)| now.stolen_since(last));
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
    fn what_is_in_use_and_what_is_stolen_are_told_apart() {
        let before = Ticks::parse("cpu  100 0 50 800 40 3 2 5 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, Ticks { all: 1000, idle: 840, stolen: 5 });
        let after = Ticks::parse("cpu  140 0 50 840 40 3 2 25 0 0\n").unwrap();
        assert_eq!(after.used_since(before), 0.6);
        assert_eq!(after.stolen_since(before), Duration::from_millis(200));
        assert_eq!(before.used_since(before), 1.0);
        for garbage in ["", "cpu", "cpu 1 2 3", "cpu  a b c d e f g h", "intr 1 2 3 4 5 6 7 8"] {
            assert_eq!(Ticks::parse(garbage), None, "{garbage}");
        }
    }
}
