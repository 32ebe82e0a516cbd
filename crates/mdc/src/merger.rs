//! The merger: from what arrives of two descriptions to what is shown at each deadline.

use std::time::Duration;

use gibbon_media::{
    Catalog, Cue, Description, Frame, FrameNumber, GroupGrid, GroupHeader, MediaTime, Medium,
};
use serde::{Deserialize, Serialize};

use crate::{
    Candidate, ChainKey, PlayoutClock, Shown, Slack, Sound, Stats,
    audio::Audio,
    copies::MAX_FRAMES_PER_GROUP,
    slack::{self, Punctuality},
    stats::{ByteStats, DelayStats},
    text::Text,
    video::Video,
};

/// Groups held beyond those that the playout delay spans.
const MAX_GROUPS_AHEAD: u32 = 4;

/// For this part of the playout delay after the start, only a picture of full quality begins the show:
/// so that the order in which the descriptions' first bytes happen to arrive does not show.
const PATIENCE_PER_DELAY: u32 = 4;

/// How a missing picture is made up from the adjacent ones (scheme `temporal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conceal {
    /// The one before it again, else the one after it.
    #[default]
    Repeat,
    /// The mean of the two; where one of them is missing, the other.
    Blend,
}

/// What the viewer may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How far behind the live position playback begins.
    pub playout_delay: Duration,
    /// How missing pictures are concealed.
    pub conceal: Conceal,
}

impl Default for Config {
    fn default() -> Self {
        Self { playout_delay: Duration::from_secs(1), conceal: Conceal::default() }
    }
}

/// What became of a frame that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Its first copy in this description, in time.
    New,
    /// This description had already brought it, from whatever edge.
    Duplicate,
    /// After its deadline. While its group plays, it may still help later frames of its chain.
    Late,
    /// Malformed, too far ahead, or beyond a bound on memory. Not kept.
    Refused,
}

/// Something whose deadline has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A frame of the picture; every number once, in order.
    Video(Shown),
    /// A packet of sound or its absence, in order.
    Audio(Sound),
    /// A cue, once.
    Cue(Cue),
}

/// Media of which one description is received by choice.
#[derive(Debug, Clone, Copy)]
struct Choice {
    from: MediaTime,
    until: Option<MediaTime>,
}

impl Choice {
    fn holds_at(self, time: MediaTime) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }
}

/// The receiving end of one session: no clock, no I/O. Local time is passed in, as the time since
/// session start, and must not go back.
///
/// Make it with the catalog of the first accepted subscription, and call
/// [`handle_accepted`](Self::handle_accepted) at once: before that everything is refused. Then hand in
/// all that arrives (`handle_*`, with the ends of groups), sleep until
/// [`next_deadline`](Self::next_deadline) and [`poll`](Self::poll) until it returns `None`. A verdict
/// depends on when frames arrived, not on when `poll` was called. In between, [`best`](Self::best) and
/// [`coded`](Self::coded) say what to decode ahead of its deadline.
#[derive(Debug)]
pub struct Merger {
    grids: [GroupGrid; 2],
    config: Config,
    clock: Option<PlayoutClock>,
    /// Where playback began, and when.
    first: MediaTime,
    anchored: Duration,
    /// Groups that began before this are sent to catch up: their lateness says nothing of the network.
    caught_up: [MediaTime; 2],
    /// Time and playout position at the last poll.
    polled: Duration,
    position: MediaTime,
    finished: bool,
    chosen: Option<Choice>,
    video: Option<Video>,
    audio: Option<Audio>,
    text: Option<Text>,
    punctuality: [Punctuality; 2],
    bytes: ByteStats,
    refused: u64,
}

impl Merger {
    /// A merger of the stream that `catalog` describes.
    pub fn new(catalog: Catalog, config: Config) -> Self {
        Self {
            grids: catalog.grids,
            config,
            clock: None,
            first: MediaTime(0),
            anchored: Duration::ZERO,
            caught_up: [MediaTime(0); 2],
            polled: Duration::ZERO,
            position: MediaTime(0),
            finished: false,
            chosen: None,
            video: catalog.video.as_ref().map(|track| Video::new(&catalog, track, config.conceal)),
            audio: catalog.audio.as_ref().map(Audio::new),
            text: catalog.text.as_ref().map(|_| Text::new(catalog.grids)),
            punctuality: Default::default(),
            bytes: ByteStats::default(),
            refused: 0,
        }
    }

    // --- what comes in ---

    /// A subscription was accepted while the newest media published was `live`. The first call anchors
    /// the playout clock: playback stands one playout delay before `live`. Later ones change nothing.
    pub fn handle_accepted(&mut self, now: Duration, live: MediaTime) {
        if self.clock.is_some() {
            return;
        }
        let clock = PlayoutClock::new(now, live, self.config.playout_delay);
        (self.first, self.anchored) = (live.back(clock.initial()), now);
        self.caught_up = [live; 2];
        (self.polled, self.position) = (now, self.first);
        self.clock = Some(clock);
        self.video.iter_mut().for_each(|video| video.begin(self.first));
        self.audio.iter_mut().for_each(|audio| audio.begin(self.first));
    }

    /// `description` comes from another edge than before, or again, while the newest media published is
    /// `live`. What is older comes late because it was lost on its way, which is no reason to let the
    /// playout delay grow.
    pub fn handle_resumed(&mut self, description: Description, live: MediaTime) {
        let caught_up = &mut self.caught_up[description.index()];
        *caught_up = live.max(*caught_up);
    }

    /// A frame arrived: number `index` (from 0) of its group.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        description: Description,
        header: &GroupHeader,
        index: u32,
        frame: Frame,
    ) -> Admission {
        let bytes = u64::try_from(frame.payload.len()).unwrap_or(u64::MAX);
        let time = frame.time;
        let key = ChainKey::new(description, header);
        let admission = self.admit(now, header.medium, key, index, frame);
        match admission {
            Admission::New | Admission::Late => {
                self.bytes.media += bytes;
                self.note_slack(now, header.medium, key, time);
            }
            Admission::Duplicate => self.bytes.duplicate += bytes,
            Admission::Refused => self.refused += 1,
        }
        admission
    }

    /// A group arrived to its end, after `frames` frames. Text needs it to know an empty group from a
    /// lost one.
    pub fn handle_group_end(
        &mut self,
        now: Duration,
        description: Description,
        header: &GroupHeader,
        frames: u32,
    ) {
        let key = ChainKey::new(description, header);
        let useful = !self.is_ahead(&key) && !self.is_over(&key, now);
        let alone = self.video.is_none() && self.audio.is_none();
        let start = self.grid(&key).start_of(key.group).max(self.first);
        if let (true, Medium::Text, Some(text)) = (useful, header.medium, &mut self.text) {
            text.end(key, frames);
            if alone {
                // Where nothing else is shown, text is expected from the first group on that comes.
                text.begin(start);
            }
        }
    }

    fn admit(
        &mut self,
        now: Duration,
        medium: Medium,
        key: ChainKey,
        index: u32,
        frame: Frame,
    ) -> Admission {
        let Some(clock) = &self.clock else { return Admission::Refused };
        if self.finished || index >= MAX_FRAMES_PER_GROUP || self.is_ahead(&key) {
            return Admission::Refused;
        }
        let (due, over) = (clock.due(frame.time), self.is_over(&key, now));
        let belongs = self.grid(&key).group_at(frame.time) == key.group;
        match medium {
            Medium::Video => {
                self.video.as_mut().map(|video| video.insert(now, due, key, index, frame))
            }
            Medium::Audio => self.audio.as_mut().map(|audio| match over {
                _ if !belongs => Admission::Refused,
                true => Admission::Late,
                false => audio.insert(now, due, key, index, frame),
            }),
            Medium::Text => self.text.as_mut().map(|text| {
                if over { Admission::Late } else { text.insert(now, clock, key, index, &frame) }
            }),
        }
        .unwrap_or(Admission::Refused)
    }

    fn grid(&self, key: &ChainKey) -> GroupGrid {
        self.grids[key.description.index()]
    }

    /// Whether a group is beyond what is held; any is, before the clock is anchored.
    fn is_ahead(&self, key: &ChainKey) -> bool {
        let grid = self.grid(key);
        self.clock.as_ref().is_none_or(|clock| {
            let held = clock.max() + grid.duration() * MAX_GROUPS_AHEAD;
            grid.start_of(key.group) > self.position + held
        })
    }

    /// Whether a group has ended before the playout position.
    fn is_over(&self, key: &ChainKey, now: Duration) -> bool {
        let end = self.grid(key).end_of(key.group);
        self.clock.as_ref().is_some_and(|clock| clock.due(end) <= now)
    }

    /// The slack of pictures, or of sound where there are none, decides whether the delay grows.
    fn note_slack(&mut self, now: Duration, medium: Medium, key: ChainKey, time: MediaTime) {
        let leading = if self.video.is_some() { Medium::Video } else { Medium::Audio };
        // What precedes the playout position only serves to decode what follows.
        if medium != leading || time < self.first {
            return;
        }
        let Some(clock) = &mut self.clock else { return };
        let description = key.description.index();
        let live = self.grids[description].start_of(key.group) >= self.caught_up[description];
        let lag = if live { clock.lag(now, time) } else { Duration::ZERO };
        let slack_us = slack::between(clock.due(time), now);
        let punctuality = &mut self.punctuality[description];
        if let Some(needed) = punctuality.note(key.group, slack_us, lag) {
            clock.request_growth(now, needed);
        }
    }

    // --- commands ---

    /// The viewer chose to receive `only` one description, or both (`None`).
    pub fn set_chosen(&mut self, only: Option<Description>) {
        self.chosen = only.map(|_| Choice { from: MediaTime(0), until: None });
    }

    /// Media from `from` on are received in one description by choice.
    pub fn choose_one(&mut self, from: MediaTime) {
        let before = self.chosen.filter(|choice| choice.until.is_none_or(|t| t > self.position));
        let from = before.map_or(from, |before| before.from.min(from));
        self.chosen = Some(Choice { from, until: None });
    }

    /// Media from `from` on are received in both descriptions again.
    pub fn choose_both(&mut self, from: MediaTime) {
        self.chosen.iter_mut().for_each(|choice| choice.until = Some(from));
    }

    /// A decoder can make nothing of `index` and what follows it in its chain.
    pub fn mark_undecodable(&mut self, chain: &ChainKey, index: u32) {
        self.video.iter_mut().for_each(|video| video.mark_undecodable(chain, index));
    }

    /// Ends the session: deadlines up to `now` count, later ones do not.
    pub fn finish(&mut self, now: Duration) -> Stats {
        while self.poll(now).is_some() {}
        self.finished = true;
        self.stats()
    }

    // --- what goes out ---

    /// When to call `poll` next, unless something arrives before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.earliest().map(|(deadline, _)| deadline)
    }

    /// What was due at or before `now`, in order of deadlines; call it until it returns `None`.
    pub fn poll(&mut self, now: Duration) -> Option<Due> {
        while let Some((deadline, medium)) = self.earliest().filter(|(due, _)| *due <= now) {
            let due = match medium {
                Medium::Video => self.decide_video(deadline).map(Due::Video),
                Medium::Audio => self.decide_audio(deadline).map(Due::Audio),
                Medium::Text => self.text.as_mut().and_then(Text::decide).map(Due::Cue),
            };
            if due.is_some() {
                return due;
            }
        }
        self.settle(now);
        None
    }

    /// Sound before text before pictures of the same deadline.
    fn earliest(&self) -> Option<(Duration, Medium)> {
        let clock = self.clock.as_ref().filter(|_| !self.finished)?;
        let audio = self.audio.as_ref().and_then(Audio::next_time);
        let text = self.text.as_ref().and_then(Text::next_time);
        let video = self.video.as_ref().map(Video::next_time);
        [(audio, Medium::Audio), (text, Medium::Text), (video, Medium::Video)]
            .into_iter()
            .filter_map(|(time, medium)| Some((clock.due(time?), medium)))
            .min_by_key(|(deadline, _)| *deadline)
    }

    fn decide_video(&mut self, deadline: Duration) -> Option<Shown> {
        let patience = self.config.playout_delay / PATIENCE_PER_DELAY;
        let video = self.video.as_mut()?;
        let chosen = self.chosen.is_some_and(|choice| choice.holds_at(video.next_time()));
        let any = chosen || deadline >= self.anchored + patience;
        let shown = video.decide(deadline, any, chosen)?;
        self.begin_text(shown.time);
        Some(shown)
    }

    fn decide_audio(&mut self, deadline: Duration) -> Option<Sound> {
        let sound = self.audio.as_mut()?.decide(deadline)?;
        if self.video.is_none() {
            self.begin_text(sound.time());
        }
        Some(sound)
    }

    fn begin_text(&mut self, time: MediaTime) {
        self.text.iter_mut().for_each(|text| text.begin(time));
    }

    /// All that was due at `now` has been handed out.
    fn settle(&mut self, now: Duration) {
        let Some(clock) = self.clock.as_ref().filter(|_| !self.finished) else { return };
        self.polled = now;
        self.position = clock.position(now);
        if let Some(text) = &mut self.text {
            text.settle(now, clock);
        }
        let (grids, position) = (self.grids, self.position);
        if let Some(audio) = &mut self.audio {
            audio.forget(|key| grids[key.description.index()].end_of(key.group) <= position);
        }
    }

    // --- getters ---

    /// The best that can be shown of frame `n`, from what has arrived before its deadline so far.
    /// `None`: nothing, or the clock is not anchored, or the frame has long been shown.
    pub fn best(&self, n: FrameNumber) -> Option<Candidate> {
        let (video, clock) = (self.video.as_ref()?, self.clock.as_ref()?);
        video.best(n, clock.due(video.rate().time_of(n)))
    }

    /// Coded pictures of a chain with their indexes, from `from_index` on and without a hole: what to
    /// feed a decoder that has had all before. A chain is kept until the second frame after it has
    /// been shown.
    pub fn coded(&self, chain: &ChainKey, from_index: u32) -> impl Iterator<Item = (u32, Frame)> {
        self.video.iter().flat_map(move |video| video.coded(chain, from_index))
    }

    /// When media of `time` is due, since session start; `None` before the first
    /// [`handle_accepted`](Self::handle_accepted).
    pub fn deadline_of(&self, time: MediaTime) -> Option<Duration> {
        self.clock.as_ref().map(|clock| clock.due(time))
    }

    /// How punctually the newest group of `description` arrives: pictures, or sound if there are none.
    pub fn slack(&self, description: Description) -> Option<Slack> {
        self.punctuality[description.index()].slack()
    }

    /// What has been seen up to the last poll.
    pub fn stats(&self) -> Stats {
        let video = self.video.as_ref();
        let delay = |of: fn(&PlayoutClock, Duration) -> Duration| {
            let delay =
                self.clock.as_ref().map_or(self.config.playout_delay, |c| of(c, self.polled));
            u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
        };
        Stats {
            playout_delay: DelayStats {
                initial: delay(|clock, _| clock.initial()),
                // It never shrinks: the latest is the longest.
                max: delay(PlayoutClock::delay),
                latest: delay(PlayoutClock::delay),
            },
            frames: video.map(|video| video.tally().frames).unwrap_or_default(),
            freezes: video.map(|v| v.tally().freezes(v.rate())).unwrap_or_default(),
            audio: self.audio.as_ref().map(Audio::stats).unwrap_or_default(),
            text: self.text.as_ref().map(Text::stats).unwrap_or_default(),
            bytes: self.bytes,
            refused: self.refused,
        }
    }
}
