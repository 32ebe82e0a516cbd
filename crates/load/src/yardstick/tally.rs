//! What watchers count.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_control::process;
use hdrhistogram::{CreationError, Histogram};

use crate::{delays_histogram, lock, stamp::Stamp};

/// Of all watchers together.
#[derive(Debug)]
pub struct Tally {
    frames: AtomicU64,
    bytes: AtomicU64,
    /// From when a frame was to be sent until it was there, in µs.
    delays: Mutex<Histogram<u64>>,
}

/// At one time.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Frames delivered.
    pub frames: u64,
    /// Their payload.
    pub bytes: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Result<Arc<Self>, CreationError> {
        let delays = Mutex::new(delays_histogram()?);
        Ok(Arc::new(Self { frames: AtomicU64::new(0), bytes: AtomicU64::new(0), delays }))
    }

    /// A frame has come.
    pub fn note(&self, payload: &[u8]) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        if let Some(stamp) = Stamp::of(payload) {
            let delay = process::now().since(stamp.intended).as_micros() as u64;
            lock(&self.delays).saturating_record(delay);
        }
    }

    /// So far.
    pub fn count(&self) -> Count {
        Count {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Forgets the delays so far.
    pub fn reset_delays(&self) {
        lock(&self.delays).reset();
    }

    /// The delay that this part (0 to 1) of the frames stays below.
    pub fn delay(&self, part: f64) -> Duration {
        Duration::from_micros(lock(&self.delays).value_at_quantile(part))
    }
}
