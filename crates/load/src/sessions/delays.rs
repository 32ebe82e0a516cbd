//! How late frames are, over all sessions: recorded where they arrive, read while they run.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gibbon_media::StreamName;
use hdrhistogram::{CreationError, Histogram};

use super::direct::{Direct, Place};
use crate::{delays_histogram, lock};

/// Delays of all sessions.
#[derive(Debug)]
pub struct Delays {
    /// One for each thread, so that they seldom wait for each other.
    latency: Vec<Mutex<Histogram<u64>>>,
    added: Mutex<Histogram<u64>>,
    none: Histogram<u64>,
    direct: Option<Arc<Direct>>,
}

impl Delays {
    /// None yet, of sessions on so many threads; what edges add is seen beside `direct`.
    pub fn new(threads: usize, direct: Option<Arc<Direct>>) -> Result<Self, CreationError> {
        let none = delays_histogram()?;
        let fresh = || Mutex::new(none.clone());
        let (latency, added) = ((0..threads.max(1)).map(|_| fresh()).collect(), fresh());
        Ok(Self { latency, added, none, direct })
    }

    /// A frame was there so long after it was to be sent. `session` is any number of the session.
    pub fn arrived(&self, session: usize, delay: Duration) {
        let latency = &self.latency[session % self.latency.len()];
        lock(latency).saturating_record(delay.as_micros() as u64);
    }

    /// A frame of `stream` was there over an edge. One that has not come from the source yet counts as not delayed:
    /// this process has read its sockets in the other order.
    pub fn passed_edge(&self, stream: &StreamName, place: Place, at: Instant) {
        let direct = self.direct.as_ref().filter(|direct| direct.stream() == stream);
        let Some(arrival) = direct.and_then(|direct| direct.arrival(place, at)) else { return };
        let added = at.saturating_duration_since(arrival).as_micros() as u64;
        lock(&self.added).saturating_record(added);
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
        let delays = Delays::new(2, None).unwrap();
        for session in 0..3 {
            delays.arrived(session, Duration::from_millis(10 * (session as u64 + 1)));
        }
        let latency = delays.latency();
        assert_eq!((latency.len(), latency.max() / 1000), (3, 30));
        delays.reset();
        assert!(delays.latency().is_empty());
    }
}
