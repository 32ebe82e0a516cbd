//! What watchers count.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_control::process;
use hdrhistogram::{CreationError, Histogram};

use crate::stamp::Stamp;

/// Frames that are later than this count as this late, in µs.
const MAX_DELAY_US: u64 = 60_000_000;

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
        // Three digits are enough for a delay.
        let delays = Mutex::new(Histogram::new_with_max(MAX_DELAY_US, 3)?);
        Ok(Arc::new(Self { frames: AtomicU64::new(0), bytes: AtomicU64::new(0), delays }))
    }

    /// A frame has come.
    pub fn note(&self, payload: &[u8]) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        if let Some(stamp) = Stamp::of(payload) {
            let delay = process::now().since(stamp.intended).as_micros() as u64;
            self.delays.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(delay);
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
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// The delay that this part (0 to 1) of the frames stays below.
    pub fn delay(&self, part: f64) -> Duration {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(delays.value_at_quantile(part))
    }
}
