//! Whether a relay's upstream is silent: then its viewers are told, so that they do not take the edge for
//! dead.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use gibbon_media::Catalog;
use tokio::{sync::watch, time::Instant};

/// Shorter gaps are jitter at any frame rate.
const LEAST: Duration = Duration::from_millis(100);
/// Frames that come once in this many intervals are late, not missing.
const INTERVALS: u32 = 3;
/// While an upstream is silent it is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long no frame of any medium may come before the upstream counts as silent.
pub fn limit(catalog: &Catalog) -> Duration {
    let interval = match (&catalog.video, &catalog.audio) {
        (Some(video), _) => video.rate.interval(),
        (None, Some(audio)) => Duration::from_micros(audio.packet_us.into()),
        (None, None) => catalog.grids[0].duration(),
    };
    LEAST.max(INTERVALS * interval)
}

/// When frames came, and whether they have stopped coming.
pub struct Silence {
    heard: Mutex<Option<Instant>>,
    silent: watch::Sender<bool>,
}

impl Default for Silence {
    fn default() -> Self {
        Self { heard: Mutex::default(), silent: watch::Sender::new(false) }
    }
}

impl Silence {
    /// A frame has come.
    pub fn heard(&self, now: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// For how long none has come; nothing before the first.
    pub fn lasting(&self, now: Instant) -> Option<Duration> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// Whether the upstream has begun and is silent.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.silent.subscribe()
    }

    /// Whether the upstream has begun and is silent.
    pub fn is_silent(&self) -> bool {
        *self.silent.borrow()
    }

    /// Keeps [`subscribe`](Self::subscribe)d values true, with silences above `limit`. Never returns.
    pub async fn watch(&self, limit: Duration) {
        loop {
            let lasting = self.lasting(Instant::now()).unwrap_or_default();
            let silent = lasting > limit;
            self.silent.send_if_modified(|was| std::mem::replace(was, silent) != silent);
            tokio::time::sleep(limit.saturating_sub(lasting).max(LOOK_AGAIN)).await;
        }
    }

    /// Waits until nothing has come for `limit`, counted from now on at the earliest.
    pub async fn lasts(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            let now = Instant::now();
            let lasting = self.lasting(now).unwrap_or(now - begun).min(now - begun);
            if lasting >= limit {
                return;
            }
            tokio::time::sleep(limit - lasting).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::{AudioTrack, Codec, FrameRate, MediaTime, Scheme, VideoTrack};

    use super::*;

    fn catalog(rate: Option<u32>, packet_us: Option<u32>) -> Catalog {
        let video = |rate| VideoTrack {
            codec: Codec::H264,
            rate: FrameRate::new(rate, 1).unwrap(),
            width: 64,
            height: 64,
        };
        Catalog {
            stream: "live/test".parse().unwrap(),
            scheme: Scheme::Alternating,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
            video: rate.map(video),
            audio: packet_us.map(|packet_us| AudioTrack {
                sample_rate: 48_000,
                channels: 2,
                packet_us,
            }),
            text: None,
            host: String::new(),
        }
    }

    #[test]
    fn three_frames_missing_are_silence_but_no_less_than_a_tenth_of_a_second() {
        for (rate, packet_us, expected_ms) in [
            (Some(60), Some(20_000), 100),
            (Some(25), Some(20_000), 120),
            (Some(10), None, 300),
            (None, Some(20_000), 100),
            (None, Some(60_000), 180),
            (None, None, 3000),
        ] {
            let limit = limit(&catalog(rate, packet_us));
            assert_eq!(limit.as_millis(), expected_ms, "{rate:?} {packet_us:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_is_silent_from_when_frames_stop_until_they_come_again_and_not_before_the_first()
     {
        let silence = Silence::default();
        let mut told = silence.subscribe();
        let started = Instant::now();
        let script = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(!*told.borrow(), "nothing has begun");
            for _ in 0..50 {
                silence.heard(Instant::now());
                tokio::time::sleep(Duration::from_millis(90)).await;
                assert!(!*told.borrow(), "frames come");
            }
            let last = Instant::now() - Duration::from_millis(90);
            told.wait_for(|silent| *silent).await.unwrap();
            assert!((100..130).contains(&last.elapsed().as_millis()), "{:?}", last.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
            silence.heard(Instant::now());
            told.wait_for(|silent| !*silent).await.unwrap();
        };
        tokio::select! {
            () = silence.watch(Duration::from_millis(100)) => {}
            () = script => {}
        }
        assert!(started.elapsed() < Duration::from_secs(11));
    }
}
