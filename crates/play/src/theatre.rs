//! Where the player shows a session: a screen, a recording, and a view for whoever looks at the terminal.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use gibbon_client::{Happening, Snapshot, Stage};
use gibbon_mdc::{Candidate, ChainKey, Merger, Picture, Rendition, Shown};
use gibbon_media::{Catalog, Cue, Frame, FrameNumber, MediaTime};

use crate::{metrics::Watched, record::Recording, report::Display, screen::Screen, view::View};

pub use crate::record::PIPE;

/// Pictures are decoded this many frames ahead of their deadline; secondaries, which are needed only if
/// the primary does not come, fewer.
const AHEAD: u64 = 8;
const AHEAD_SECONDARY: u64 = 4;
/// The view is updated this often.
const VIEW_EVERY: Duration = Duration::from_millis(100);

/// What the viewer wants of the media.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Decode pictures; else verdicts are by what arrives alone.
    pub decode: bool,
    /// Where frame hashes go.
    pub framehash: Option<PathBuf>,
    /// Where the recording goes: a path or [`PIPE`].
    pub record: Option<String>,
}

/// A stage with a screen, a recording and a view.
pub struct Theatre {
    outputs: Outputs,
    view: View,
    watched: Watched,
    viewed: Option<Duration>,
    screen: Option<Screen>,
    recording: Option<Recording>,
    /// How far each chain has been fed to the screen, and recorded.
    fed: BTreeMap<ChainKey, u32>,
    recorded: BTreeMap<ChainKey, u32>,
    next: FrameNumber,
}

/// What there is in the end.
pub struct Performed {
    /// How well the screen kept up.
    pub display: Display,
    /// Whether the recording, if there was to be one, is complete.
    pub recorded: anyhow::Result<()>,
    /// The terminal.
    pub view: View,
}

impl Theatre {
    /// A theatre that opens when the stream is known.
    pub fn new(outputs: Outputs, view: View, watched: Watched) -> Self {
        Self {
            outputs,
            view,
            watched,
            viewed: None,
            screen: None,
            recording: None,
            fed: BTreeMap::new(),
            recorded: BTreeMap::new(),
            next: FrameNumber(0),
        }
    }

    /// Waits until all has been shown and written.
    pub fn finish(self) -> anyhow::Result<Performed> {
        let display = self.screen.map(Screen::finish).transpose()?.unwrap_or_default();
        let recorded = self.recording.map_or(Ok(()), Recording::finish);
        Ok(Performed { display, recorded, view: self.view })
    }

    fn feed(&mut self, merger: &Merger, picture: Picture) {
        let Some(screen) = &self.screen else { return };
        let next = self.fed.get(&picture.chain).copied().unwrap_or(0);
        if picture.index < next {
            return;
        }
        let until = |(index, _): &(u32, Frame)| *index <= picture.index;
        for (index, frame) in merger.coded(&picture.chain, next).take_while(until) {
            if !screen.decode(picture.chain, index, frame.payload) {
                return;
            }
            self.fed.insert(picture.chain, index + 1);
        }
    }

    /// Feeds the screen with what is to be shown next.
    fn feed_ahead(&mut self, merger: &Merger) {
        for n in 0..AHEAD {
            let best = merger.best(FrameNumber(self.next.0 + n));
            for picture in best.into_iter().flat_map(pictures) {
                if picture.rendition == Rendition::Primary || n < AHEAD_SECONDARY {
                    self.feed(merger, picture);
                }
            }
        }
    }

    /// Records the chain that a shown picture stands in, up to the picture.
    fn record(&mut self, merger: &Merger, picture: Picture) {
        let Some(recording) = &mut self.recording else { return };
        let next = self.recorded.entry(picture.chain).or_insert(0);
        for (index, frame) in merger.coded(&picture.chain, *next) {
            if index > picture.index {
                break;
            }
            *next = index + 1;
            recording.video(frame);
        }
    }
}

/// The pictures that are decoded for what is shown, the earlier one first.
fn pictures(candidate: Candidate) -> impl Iterator<Item = Picture> {
    let (first, second) = match candidate {
        Candidate::Coded(picture) | Candidate::Repeat(picture) => (picture, None),
        Candidate::Blend(before, after) => (before, Some(after)),
    };
    std::iter::once(first).chain(second)
}

impl Stage for Theatre {
    fn wants_media(&self) -> bool {
        true
    }

    fn begin(
        &mut self,
        catalog: &Catalog,
        position: MediaTime,
        started: Instant,
    ) -> anyhow::Result<()> {
        if let Some(video) = &catalog.video {
            self.next = video.rate.first_at_or_after(position);
            if self.outputs.decode {
                let hashes = self.outputs.framehash.as_deref();
                self.screen = Some(Screen::start(video.codec, started, hashes)?);
            }
        }
        if let Some(file) = &self.outputs.record {
            self.recording = Some(Recording::start(file.clone(), catalog.clone())?);
        }
        Ok(())
    }

    fn prepare(&mut self, merger: &mut Merger) {
        if self.screen.is_none() {
            return;
        }
        // What the screen could not decode does not count.
        while let Some((chain, index)) = self.screen.as_mut().and_then(Screen::damaged) {
            merger.mark_undecodable(&chain, index);
        }
        self.feed_ahead(merger);
    }

    fn show(&mut self, merger: &Merger, shown: Shown) {
        shown.source.into_iter().flat_map(pictures).for_each(|picture| self.feed(merger, picture));
        if self.screen.as_ref().is_some_and(|screen| !screen.show(shown)) {
            tracing::warn!(time = %shown.time, "the screen does not keep up; a frame is not displayed");
        }
        if let Some(Candidate::Coded(picture)) = shown.source {
            self.record(merger, picture);
        }
        self.next = FrameNumber(shown.number.0 + 1);
        if let Some(picture) = shown.source.and_then(|source| pictures(source).next()) {
            let past = |chain: &ChainKey| chain.group.next() < picture.chain.group;
            self.fed.retain(|chain, _| !past(chain));
            self.recorded.retain(|chain, _| !past(chain));
        }
    }

    fn hear(&mut self, packet: Frame) {
        self.recording.iter_mut().for_each(|recording| recording.audio(packet.clone()));
    }

    fn caption(&mut self, cue: &Cue) {
        self.recording.iter_mut().for_each(|recording| recording.text(cue.clone()));
    }

    fn happened(&mut self, now: Duration, happening: Happening<'_>) {
        if let Some(words) = happening.words() {
            self.view.event(now, &words);
        }
    }

    fn wants_update(&self, now: Duration) -> bool {
        self.viewed.is_none_or(|viewed| now >= viewed + VIEW_EVERY)
    }

    fn update(&mut self, snapshot: &Snapshot) {
        self.viewed = Some(snapshot.elapsed);
        self.view.update(snapshot);
        self.watched.update(snapshot);
    }

    /// Nobody reads the pipe any more.
    fn is_deserted(&self) -> bool {
        let piped = self.outputs.record.as_deref() == Some(PIPE);
        piped && self.recording.as_ref().is_some_and(Recording::has_ended)
    }
}
