//! A stream being played: what the merger decides goes to the screen and to the recording.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use gibbon_control::process;
use gibbon_mdc::{Candidate, ChainKey, Due, Merger, Picture, Rendition, Shown, Stats};
use gibbon_media::{Catalog, Cue, Description, Frame, FrameNumber, MediaTime, Medium};

use crate::{
    latency::Latencies,
    record::Recording,
    resume::Arrivals,
    screen::{Screen, Shows},
    settings::Settings,
};

/// Pictures are decoded this many frames ahead of their deadline; secondaries, which are needed only if
/// the primary does not come, fewer.
const AHEAD: u64 = 8;
const AHEAD_SECONDARY: u64 = 4;

/// What there is once the catalog is known.
pub struct Playing {
    pub catalog: Catalog,
    pub merger: Merger,
    screen: Option<Screen>,
    pub recording: Option<Recording>,
    /// How far each chain has been fed to the screen.
    fed: BTreeMap<ChainKey, u32>,
    recorded: BTreeMap<ChainKey, u32>,
    next: FrameNumber,
    pub latencies: Latencies,
    /// What has arrived, for legs that begin where others broke off.
    pub arrivals: Arrivals,
    first_shown: Option<Duration>,
    pub caption: Option<Cue>,
}

/// A stream that was played.
pub struct Finished {
    /// The stream.
    pub catalog: Catalog,
    /// The merger's counts.
    pub stats: Stats,
    /// What the screen did.
    pub shows: Shows,
    /// From publication to display.
    pub latencies: Latencies,
    /// When the first frame was due and shown, from session start.
    pub first_shown: Option<Duration>,
    /// Whether the recording, if there was to be one, is complete.
    pub recorded: anyhow::Result<()>,
}

impl Playing {
    pub fn begin(
        catalog: Catalog,
        live: MediaTime,
        at: Duration,
        settings: &Settings,
        started: Instant,
    ) -> anyhow::Result<Self> {
        let mut merger = Merger::new(catalog.clone(), settings.merger);
        merger.set_chosen(settings.only);
        merger.handle_accepted(at, live);
        let position = live.back(settings.merger.playout_delay);
        let screen = match &catalog.video {
            Some(video) if settings.decode => {
                Some(Screen::start(video.codec, started, settings.framehash.as_deref())?)
            }
            _ => None,
        };
        let next =
            catalog.video.as_ref().map_or(FrameNumber(0), |v| v.rate.first_at_or_after(position));
        let recording = match &settings.record {
            Some(file) => Some(Recording::start(file.clone(), catalog.clone())?),
            None => None,
        };
        let text_alone = catalog.video.is_none() && catalog.audio.is_none();
        let mut playing = Self {
            latencies: Latencies::new(&catalog),
            arrivals: Arrivals::new(catalog.clone()),
            catalog,
            merger,
            screen,
            recording,
            fed: BTreeMap::new(),
            recorded: BTreeMap::new(),
            next,
            first_shown: None,
            caption: None,
        };
        if text_alone {
            playing.note_beginning(at, position);
        }
        Ok(playing)
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

    /// Whether a recording has ended by itself.
    pub fn recording_has_ended(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::has_ended)
    }

    /// Feeds the screen with what is to be shown next.
    pub fn feed_ahead(&mut self) {
        for n in 0..AHEAD {
            let best = self.merger.best(FrameNumber(self.next.0 + n));
            let pictures = match best {
                Some(Candidate::Coded(picture) | Candidate::Repeat(picture)) => {
                    [Some(picture), None]
                }
                Some(Candidate::Blend(before, after)) => [Some(before), Some(after)],
                None => [None, None],
            };
            for picture in pictures.into_iter().flatten() {
                let primary = picture.rendition == Rendition::Primary;
                if primary || n < AHEAD_SECONDARY {
                    self.feed(picture);
                }
            }
        }
    }

    /// What the screen could not decode does not count.
    pub fn note_damage(&mut self) {
        while let Some((chain, index)) = self.screen.as_mut().and_then(Screen::damaged) {
            self.merger.mark_undecodable(&chain, index);
        }
    }

    fn feed(&mut self, picture: Picture) {
        let Some(screen) = &self.screen else { return };
        let next = self.fed.get(&picture.chain).copied().unwrap_or(0);
        if picture.index < next {
            return;
        }
        let frames: Vec<_> = self
            .merger
            .coded(&picture.chain, next)
            .take_while(|(index, _)| *index <= picture.index)
            .collect();
        for (index, frame) in frames {
            if !screen.decode(picture.chain, index, frame.payload) {
                return;
            }
            self.fed.insert(picture.chain, index + 1);
        }
    }

    pub fn show(&mut self, shown: Shown) {
        if let Some(Candidate::Coded(p) | Candidate::Repeat(p) | Candidate::Blend(p, _)) =
            shown.source
        {
            self.feed(p);
        }
        if let Some(Candidate::Blend(_, after)) = shown.source {
            self.feed(after);
        }
        if self.screen.as_ref().is_some_and(|screen| !screen.show(shown)) {
            tracing::warn!(time = %shown.time, "the screen does not keep up; a frame is not displayed");
        }
        if let Some(Candidate::Coded(picture)) = shown.source {
            self.latencies.shown(&picture.chain, shown.time, process::now());
            self.record_picture(picture);
        }
        self.note_beginning(shown.deadline, shown.time);
        self.next = FrameNumber(shown.number.0 + 1);
        self.forget(shown);
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

    /// Records the chain that a shown picture stands in, up to the picture.
    fn record_picture(&mut self, picture: Picture) {
        let Some(recording) = &mut self.recording else { return };
        let next = self.recorded.entry(picture.chain).or_insert(0);
        for (index, frame) in self.merger.coded(&picture.chain, *next) {
            if index > picture.index {
                break;
            }
            *next = index + 1;
            recording.video(frame);
        }
    }

    /// A packet of sound is heard at `now`.
    pub fn hear(&mut self, now: Duration, frame: Frame) {
        if self.catalog.video.is_none() {
            self.note_beginning(now, frame.time);
        }
        if let Some(recording) = &mut self.recording {
            recording.audio(frame);
        }
    }

    fn forget(&mut self, shown: Shown) {
        let Some(Candidate::Coded(p) | Candidate::Repeat(p) | Candidate::Blend(p, _)) =
            shown.source
        else {
            return;
        };
        let past = |chain: &ChainKey| chain.group.next() < p.chain.group;
        self.fed.retain(|chain, _| !past(chain));
        self.recorded.retain(|chain, _| !past(chain));
        self.latencies.forget(past);
    }

    pub fn finish(mut self, now: Duration) -> anyhow::Result<Finished> {
        while let Some(due) = self.merger.poll(now) {
            if let Due::Video(shown) = due {
                self.show(shown);
            }
        }
        let stats = self.merger.finish(now);
        let shows = self.screen.map(Screen::finish).transpose()?.unwrap_or_default();
        let recorded = self.recording.map_or(Ok(()), Recording::finish);
        let first_shown = self.first_shown;
        let (catalog, latencies) = (self.catalog, self.latencies);
        Ok(Finished { catalog, stats, shows, latencies, first_shown, recorded })
    }
}
