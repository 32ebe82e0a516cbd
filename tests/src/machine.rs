//! What the kernel tells of the machine that all tests share (`man 5 proc`): how much of it is in use, and how much of it
//! is taken away by the machine that it runs on.

use std::{
    fs,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Time over which shares are taken: the kernel counts in hundredths of a second, and a viewer has a second in hand.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Who is to play in real time needs about so much of the machine.
const CALM: f64 = 0.5;

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

    /// Which share of the time since `earlier` is in use, by whomever, and which is stolen; from 0 to 1.
    fn since(self, earlier: Self) -> (f64, f64) {
        let all = self.all.saturating_sub(earlier.all).max(1) as f64;
        let idle = self.idle.saturating_sub(earlier.idle) as f64;
        let stolen = self.stolen.saturating_sub(earlier.stolen) as f64;
        ((1.0 - idle / all).clamp(0.0, 1.0), (stolen / all).clamp(0.0, 1.0))
    }
}

/// Waits until half of the machine is free for a look, at most so long.
pub fn wait_until_calm(within: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < within {
        let Some(before) = Ticks::now() else { return };
        thread::sleep(LOOK_EVERY);
        if Ticks::now().is_none_or(|now| now.since(before).0 <= CALM) {
            return;
        }
    }
}

/// Watches how much is stolen, until it is asked.
#[derive(Debug)]
pub struct Watch {
    end: Sender<()>,
    watcher: JoinHandle<f64>,
}

impl Watch {
    /// Begins to watch.
    pub fn start() -> Self {
        let (end, ended) = mpsc::channel();
        let watcher = thread::spawn(move || {
            let mut worst = 0.0_f64;
            let mut before = Ticks::now();
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = Ticks::now();
                let looks = now.zip(before);
                worst = worst.max(looks.map_or(0.0, |(now, before)| now.since(before).1));
                before = now;
            }
            worst
        });
        Self { end, watcher }
    }

    /// The largest share of the machine that was stolen between two looks, from 0 to 1.
    pub fn worst_stolen(self) -> f64 {
        drop(self.end);
        self.watcher.join().unwrap_or(0.0)
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
        assert_eq!(after.since(before), (0.6, 0.2));
        assert_eq!(before.since(before), (1.0, 0.0));
        for garbage in ["", "cpu", "cpu 1 2 3", "cpu  a b c d e f g h", "intr 1 2 3 4 5 6 7 8"] {
            assert_eq!(Ticks::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_watch_ends_when_it_is_asked() {
        let stolen = Watch::start().worst_stolen();
        assert!((0.0..=1.0).contains(&stolen), "{stolen}");
    }
}
