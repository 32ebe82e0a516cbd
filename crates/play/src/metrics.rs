//! What a player shows of itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gibbon_client::Snapshot;
use gibbon_media::Description;
use gibbon_monitor::{Monitor, Page, Sample};

/// How the session stands, as of late. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Watched(Arc<Mutex<Snapshot>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update(&self, snapshot: &Snapshot) {
        *self.lock() = snapshot.clone();
    }

    /// Shows it from now on. A player is ready once it has shown something.
    pub fn show(&self, monitor: &Monitor) {
        let watched = self.clone();
        monitor.collect(move |page| collect(page, &watched.lock()));
        let watched = self.clone();
        monitor.ready_unless(move || match watched.lock().stats.frames.expected {
            0 => Err("nothing has been shown yet".into()),
            _ => Ok(()),
        });
    }
}

fn collect(page: &mut Page<'_>, snapshot: &Snapshot) {
    let stats = &snapshot.stats;
    let frames = &stats.frames;
    page.counter(
        "gibbon_player_frames_total",
        "Frames that were due, by what was shown.",
        [
            ("central", frames.central),
            ("side", frames.side.saturating_sub(frames.side_chosen)),
            ("side_chosen", frames.side_chosen),
            ("frozen", frames.frozen),
        ]
        .map(|(verdict, count)| Sample::new([("verdict", &verdict)], count)),
    );
    page.counter("gibbon_player_freezes_total", "Runs of frozen frames.", [stats.freezes.count]);
    page.counter(
        "gibbon_player_audio_gap_seconds_total",
        "Sound that was not heard.",
        [seconds(stats.audio.gap_ms)],
    );
    page.counter(
        "gibbon_player_cues_total",
        "Cues, by whether they were shown.",
        [("shown", stats.text.cues), ("missed", stats.text.missed)]
            .map(|(what, count)| Sample::new([("what", &what)], count)),
    );
    page.counter(
        "gibbon_player_received_bytes_total",
        "Payload received: first copies, and what the same description had brought before.",
        [("first", stats.bytes.media), ("duplicate", stats.bytes.duplicate)]
            .map(|(copy, bytes)| Sample::new([("copy", &copy)], bytes)),
    );
    page.gauge(
        "gibbon_player_playout_delay_seconds",
        "How far behind the live edge it plays.",
        [seconds(stats.playout_delay.latest)],
    );
    page.gauge(
        "gibbon_player_buffer_seconds",
        "How long before their deadlines frames come, of the worse description.",
        snapshot.buffer_ms.map(seconds),
    );
    page.gauge(
        "gibbon_player_latency_seconds",
        "From the origin's publish stamp to display, on one host.",
        snapshot.latency_ms.map(seconds),
    );
    let legs = Description::BOTH.into_iter().filter_map(|description| {
        let edge = snapshot.legs[description.index()].as_ref()?;
        Some(Sample::new([("description", &description), ("edge", edge)], true))
    });
    page.gauge("gibbon_player_leg", "The edge that delivers each description.", legs);
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use gibbon_mdc::{FrameStats, Stats};
    use gibbon_monitor::testing::Read;

    use super::*;

    #[test]
    fn the_page_says_what_the_documentation_says_and_how_the_session_stands() {
        let (monitor, watched) = (Monitor::new("gibbon-play", "1"), Watched::default());
        watched.show(&monitor);
        assert_eq!(monitor.ready(), Err("nothing has been shown yet".into()));
        let frames = FrameStats { expected: 10, central: 6, side: 3, side_chosen: 2, frozen: 1 };
        watched.update(&Snapshot {
            legs: [Some("edge-a".parse().unwrap()), None],
            buffer_ms: Some(900),
            latency_ms: Some(1040),
            stats: Stats { frames, ..Stats::default() },
            ..Snapshot::default()
        });
        assert_eq!(monitor.ready(), Ok(()));
        let page = Read::page(&monitor.page()).unwrap();
        let document = include_str!("../../../docs/metrics.md");
        page.check_documented(document, &["Every process", "Player"]);
        let shown = |verdict| page.value("gibbon_player_frames_total", &[("verdict", verdict)]);
        assert_eq!((shown("central"), shown("side")), (Some(6.0), Some(1.0)));
        assert_eq!((shown("side_chosen"), shown("frozen")), (Some(2.0), Some(1.0)));
        let leg = [("description", "0"), ("edge", "edge-a")];
        assert_eq!(page.value("gibbon_player_leg", &leg), Some(1.0));
    }
}
