//! How late frames are, over all sessions: recorded where they arrive, read while they run.

use std::{sync::Mutex, time::Duration};

use hdrhistogram::{CreationError, Histogram};

use crate::{delays_histogram, lock};

/// Delays of all sessions.
#[derive(Debug)]
pub struct Delays {
    /// One for each thread, so that they seldom wait for each other.
    latency: Vec<Mutex<Histogram<u64>>>,
    added: Mutex<Histogram<u64>>,
    none: Histogram<u64>,
}

impl Delays {
    /// None yet, of sessions on so many threads.
    pub fn new(threads: usize) -> Result<Self, CreationError> {
        let none = delays_histogram()?;
        let fresh = || Mutex::new(none.clone());
        let (latency, added) = ((0..threads.max(1)).map(|_| fresh()).collect(), fresh());
        Ok(Self { latency, added, none })
    }

    /// A frame was there so long after it was to be sent. `session` is any number of the session.
    pub fn arrived(&self, session: usize, delay: Duration) {
        let latency = &self.latency[session % self.latency.len()];
        lock(latency).saturating_record(delay.as_micros() as u64);
    }

    /// A frame was there so much later over an edge than straight from its source.
    pub fn passed_edge(&self, later: Duration) {
        lock(&self.added).saturating_record(later.as_micros() as u64);
    }

    /// All latencies so far, in µs.
    pub fn latency(&self) -> Histogram<u64> {
        let mut all = self.none.clone();
        for latency in &self.latency {
            // They have the same bounds, so that nothing is left out.
            let _ = all.add(&*lock(latency));
        }
        all
    }

    /// All that edges added so far, in µs.
    pub fn added(&self) -> Histogram<u64> {
        lock(&self.added).clone()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.latency.iter().chain([&self.added]).for_each(|delays| lock(delays).reset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_of_all_threads_are_told_together_until_they_are_forgotten() {
        let delays = Delays::new(2).unwrap();
        for session in 0..3 {
            delays.arrived(session, Duration::from_millis(10 * (session as u64 + 1)));
        }
        let latency = delays.latency();
        assert_eq!((latency.len(), latency.max() / 1000), (3, 30));
        delays.reset();
        assert!(delays.latency().is_empty());
    }
}
