//! The merger, fed with arbitrary groups at arbitrary times.

use std::time::Duration;

use bytes::Bytes;
use gibbon_mdc::{Candidate, ChainKey, Conceal, Config, Due, Merger, Verdict};
use gibbon_media::{
    AudioTrack, Catalog, Codec, Cue, Description, Frame, FrameFlags, FrameNumber, FrameRate,
    GroupHeader, GroupId, MediaTime, Medium, ProducerId, Scheme, TextTrack, VideoTrack,
};

use crate::script::Script;

/// Steps of one script: more would only be slow.
const MAX_STEPS: usize = 512;
/// The longest time between two steps, in units of 100 µs, and the longest session.
const MAX_WAIT: u16 = 20_000;
const MAX_SESSION: Duration = Duration::from_secs(20);

/// Plays a script: a catalog, then what happens to its merger.
pub fn merger(input: &[u8]) {
    let mut script = Script::new(input);
    let catalog = catalog(&mut script);
    let config = Config {
        playout_delay: Duration::from_millis(script.choose([1000, 0, 40, 10_000])),
        conceal: script.choose([Conceal::Repeat, Conceal::Blend]),
    };
    let merger = Merger::new(catalog.clone(), config);
    let mut viewer =
        Viewer { merger, catalog, now: Duration::ZERO, live: MediaTime(0), shown: 0, last: None };
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        viewer.step(&mut script);
    }
    viewer.finish();
}

/// Any catalog that the wire lets through.
fn catalog(script: &mut Script<'_>) -> Catalog {
    let scheme = script.choose(Scheme::ALL);
    let group = Duration::from_micros(script.choose([1_000_000, 100_000, 333_333, 10_000_000]));
    let rate = script.choose([(24, 1), (30_000, 1001), (240, 1), (1, 1), (10_000, 10_000)]);
    let tracks = script.byte();
    let video = FrameRate::new(rate.0, rate.1).ok().map(|rate| VideoTrack {
        codec: Codec::H264,
        rate,
        width: 640,
        height: 360,
    });
    let packet_us = script.choose([20_000, 2_500, 120_000]);
    Catalog {
        stream: script_stream(),
        scheme,
        created: MediaTime(0),
        grids: Catalog::grids_of(scheme, group),
        video: video.filter(|_| tracks & 1 == 0),
        audio: (tracks & 2 == 0).then_some(AudioTrack {
            sample_rate: 48_000,
            channels: 2,
            packet_us,
        }),
        text: (tracks & 4 == 0).then(|| TextTrack { language: "en".into() }),
        host: String::new(),
    }
}

fn script_stream() -> gibbon_media::StreamName {
    match "live/fuzz".parse() {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

/// A merger, and what it has said so far.
struct Viewer {
    merger: Merger,
    catalog: Catalog,
    now: Duration,
    live: MediaTime,
    shown: u64,
    last: Option<FrameNumber>,
}

impl Viewer {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 12 {
            0 => {
                let live = script.choose([1_700_000_300_000_000, 0, 900_000, (1 << 62) - 1]);
                self.merger.handle_accepted(self.now, MediaTime(live));
                self.live = MediaTime(live);
            }
            1 | 2 => self.wait(script.short() % MAX_WAIT),
            3..=6 => self.frame(script),
            7 => {
                let (description, header) = self.header(script);
                let frames = script.byte().into();
                self.merger.handle_group_end(self.now, description, &header, frames);
            }
            8 => {
                let only = script.choose([None, Some(Description::Zero), Some(Description::One)]);
                self.merger.set_chosen(only);
            }
            9 => {
                let (description, header) = self.header(script);
                let chain = ChainKey::new(description, &header);
                self.merger.mark_undecodable(&chain, script.byte().into());
            }
            10 => self.ask(FrameNumber(script.long())),
            _ => {
                let next = self.last.map_or(0, |last| last.0 + 1);
                self.ask(FrameNumber(next + u64::from(script.byte() % 8)));
            }
        }
    }

    /// A group near the playout position, or anywhere.
    fn header(&mut self, script: &mut Script<'_>) -> (Description, GroupHeader) {
        let description = script.choose(Description::BOTH);
        let medium = script.choose([Medium::Video, Medium::Audio, Medium::Text]);
        let near = self.catalog.grid(description).group_at(self.live + self.now).0;
        let group = match script.byte() {
            255 => script.long(),
            ahead => (near + u64::from(ahead % 16)).saturating_sub(8),
        };
        let producer = ProducerId(u64::from(script.byte() % 6));
        (description, GroupHeader { medium, group: GroupId(group), producer, published_us: 0 })
    }

    fn frame(&mut self, script: &mut Script<'_>) {
        let (description, header) = self.header(script);
        let index = match script.byte() {
            255 => u32::MAX,
            254 => 4095,
            index => u32::from(index % 32),
        };
        let grid = self.catalog.grid(description);
        let time = match script.byte() {
            255 => MediaTime(script.long()),
            part => grid.start_of(header.group) + grid.duration() * u32::from(part) / 250,
        };
        let flags = FrameFlags::from_bits(script.byte());
        let payload = match header.medium {
            Medium::Text if script.byte() > 0 => cue(script, time),
            _ => Bytes::copy_from_slice(script.take(usize::from(flags.bits() >> 4))),
        };
        let frame = Frame { time, flags, payload };
        self.merger.handle_frame(self.now, description, &header, index, frame);
    }

    /// Lets time pass and takes what is due.
    fn wait(&mut self, units: u16) {
        self.now = (self.now + Duration::from_micros(100) * u32::from(units)).min(MAX_SESSION);
        while let Some(due) = self.merger.poll(self.now) {
            self.check(due);
        }
        assert!(self.merger.next_deadline().is_none_or(|next| next > self.now));
    }

    fn check(&mut self, due: Due) {
        match due {
            Due::Video(shown) => {
                assert!(self.last.is_none_or(|last| shown.number.0 == last.0 + 1));
                assert!(shown.deadline <= self.now);
                assert_eq!(shown.verdict == Verdict::Frozen, shown.source.is_none());
                self.last = Some(shown.number);
                self.shown += 1;
            }
            Due::Audio(sound) => assert!(self.merger.deadline_of(sound.time()).is_some()),
            Due::Cue(cue) => assert!(cue.start < cue.end),
        }
    }

    /// A player decodes ahead: what the merger offers, it also has.
    fn ask(&self, number: FrameNumber) {
        let pictures = match self.merger.best(number) {
            None => [None, None],
            Some(Candidate::Coded(one) | Candidate::Repeat(one)) => [Some(one), None],
            Some(Candidate::Blend(one, other)) => [Some(one), Some(other)],
        };
        for picture in pictures.into_iter().flatten() {
            let indexes: Vec<u32> = self.merger.coded(&picture.chain, 0).map(|(i, _)| i).collect();
            assert!(indexes.iter().copied().eq(0..indexes.len() as u32), "a hole");
            assert!(indexes.contains(&picture.index));
        }
    }

    fn finish(mut self) {
        self.wait(0);
        let stats = self.merger.finish(self.now);
        let frames = stats.frames;
        assert_eq!(frames.expected, self.shown);
        assert_eq!(frames.expected, frames.central + frames.side + frames.frozen);
        assert!(frames.side_chosen <= frames.side);
        assert!(stats.audio.gap_ms <= stats.audio.expected_ms);
        assert_eq!(self.merger.next_deadline(), None);
    }
}

/// A cue that a viewer might be sent.
fn cue(script: &mut Script<'_>, time: MediaTime) -> Bytes {
    let cue = Cue {
        id: u64::from(script.byte() % 8),
        start: time,
        end: time + Duration::from_millis(script.short().into()),
        text: "…".into(),
    };
    // Numbers and text always have a JSON form.
    serde_json::to_vec(&cue).unwrap_or_default().into()
}
