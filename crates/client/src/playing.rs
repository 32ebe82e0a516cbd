//! A stream being played: the merger, and what is remembered beside it.

use std::time::Duration;

use gibbon_control::process;
use gibbon_mdc::{Candidate, ChainKey, Merger, Shown};
use gibbon_media::{Catalog, Cue, Description, MediaTime, Medium};

use crate::{latency::Latencies, resume::Arrivals, settings::Settings};

/// What there is once the catalog is known.
pub struct Playing {
    pub catalog: Catalog,
    pub merger: Merger,
    /// Where the live edge was when the first leg was accepted, and when that was.
    anchor: (MediaTime, Duration),
    pub latencies: Latencies,
    /// What has arrived, for legs that begin where others broke off.
    pub arrivals: Arrivals,
    /// When the first frame was due and shown, from session start.
    pub first_shown: Option<Duration>,
    pub caption: Option<Cue>,
}

impl Playing {
    pub fn begin(catalog: Catalog, live: MediaTime, at: Duration, settings: &Settings) -> Self {
        let mut merger = Merger::new(catalog.clone(), settings.merger);
        merger.set_chosen(settings.only);
        merger.handle_accepted(at, live);
        let text_alone = catalog.video.is_none() && catalog.audio.is_none();
        let mut playing = Self {
            latencies: Latencies::new(&catalog),
            arrivals: Arrivals::new(catalog.clone()),
            catalog,
            merger,
            anchor: (live, at),
            first_shown: None,
            caption: None,
        };
        if text_alone {
            playing.note_beginning(at, live.back(settings.merger.playout_delay));
        }
        playing
    }

    pub fn interval(&self) -> Duration {
        match (&self.catalog.video, &self.catalog.audio) {
            (Some(video), _) => video.rate.interval(),
            (None, Some(audio)) => Duration::from_micros(audio.packet_us.into()),
            (None, None) => self.group(),
        }
    }

    pub fn group(&self) -> Duration {
        self.catalog.grid(Description::Zero).duration()
    }

    /// Where the live edge is.
    pub fn live(&self, now: Duration) -> MediaTime {
        let (live, at) = self.anchor;
        live + now.saturating_sub(at)
    }

    /// Where playback is.
    pub fn position(&self, now: Duration) -> MediaTime {
        self.live(now).back(self.playout_delay())
    }

    /// How far playback is behind the live edge by now.
    pub fn playout_delay(&self) -> Duration {
        Duration::from_millis(self.merger.stats().playout_delay.latest)
    }

    /// The medium that legs are judged by.
    pub fn leading(&self) -> Medium {
        match (&self.catalog.video, &self.catalog.audio) {
            (Some(_), _) => Medium::Video,
            (None, Some(_)) => Medium::Audio,
            (None, None) => Medium::Text,
        }
    }

    /// A picture is shown.
    pub fn show(&mut self, shown: Shown) {
        if let Some(Candidate::Coded(picture)) = shown.source {
            self.latencies.shown(&picture.chain, shown.time, process::now());
        }
        self.note_beginning(shown.deadline, shown.time);
        if let Some(Candidate::Coded(p) | Candidate::Repeat(p) | Candidate::Blend(p, _)) =
            shown.source
        {
            self.latencies.forget(|chain: &ChainKey| chain.group.next() < p.chain.group);
        }
    }

    /// A packet of sound is heard at `now`.
    pub fn hear(&mut self, now: Duration, time: MediaTime) {
        if self.catalog.video.is_none() {
            self.note_beginning(now, time);
        }
    }

    /// The first picture has been shown, or the first sound heard where there are no pictures; with text alone
    /// it begins when the stream does.
    fn note_beginning(&mut self, at: Duration, time: MediaTime) {
        if self.first_shown.is_none() {
            self.first_shown = Some(at);
            tracing::info!(%time, "playing");
        }
    }

    /// How much has been played at `now`.
    pub fn played(&self, now: Duration) -> Duration {
        let shown = self.merger.stats();
        match (&self.catalog.video, &self.catalog.audio) {
            (Some(video), _) => video.rate.interval() * shown.frames.expected as u32,
            (None, Some(_)) => Duration::from_millis(shown.audio.expected_ms),
            (None, None) => now.saturating_sub(self.first_shown.unwrap_or(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::Scheme;

    use super::*;

    #[test]
    fn the_live_edge_moves_on_however_old_the_stream_is() {
        let second = Duration::from_secs(1);
        let catalog = Catalog {
            stream: "live/test".parse().unwrap(),
            scheme: Scheme::Duplicate,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Duplicate, second),
            video: None,
            audio: None,
            text: None,
            host: String::new(),
        };
        let live = MediaTime(1_795_000_000_000_000);
        let playing = Playing::begin(catalog, live, second, &Settings::default());
        assert_eq!(playing.live(second * 3), live + second * 2);
        assert_eq!(playing.position(second * 3), live + second);
    }
}
