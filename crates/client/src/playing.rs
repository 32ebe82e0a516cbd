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

    /// Where the live edge is, by the playout clock.
    pub fn live(&self, now: Duration) -> MediaTime {
        let origin = MediaTime(0);
        let Some(zero) = self.merger.deadline_of(self.catalog.created) else { return origin };
        let delay = Duration::from_millis(self.merger.stats().playout_delay.initial);
        self.catalog.created + (now + delay).saturating_sub(zero)
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
