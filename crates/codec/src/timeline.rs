//! Where a file's frames, samples and captions stand in media time, loop after loop.

use std::time::Duration;

use gibbon_media::{Cue, FrameNumber, FrameRate, MediaTime};

use crate::{SAMPLE_RATE, captions::Caption};

/// The shape of a loop: a whole number of frames that is a whole number of samples, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loop {
    pub(crate) frames: u64,
    pub(crate) samples: u64,
}

impl Loop {
    /// The least number of frames at `rate` that last a whole number of samples.
    pub(crate) fn step(rate: FrameRate) -> u64 {
        let per_num = u64::from(rate.den()) * u64::from(SAMPLE_RATE);
        u64::from(rate.num()) / gcd(u64::from(rate.num()), per_num)
    }

    /// The longest loop of at most `frames`; `None` if that is none.
    pub(crate) fn of(frames: u64, rate: FrameRate) -> Option<Self> {
        let frames = frames - frames % Self::step(rate);
        let samples = u128::from(frames) * u128::from(rate.den()) * u128::from(SAMPLE_RATE);
        let samples = u64::try_from(samples / u128::from(rate.num())).ok()?;
        (frames > 0).then_some(Self { frames, samples })
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Ties a file to media time: its time 0 is at a frame of the stream, and each loop follows the one
/// before without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(crate) rate: FrameRate,
    /// The frame at the file's time 0.
    pub(crate) first: FrameNumber,
    /// `None` if the input is not looped.
    pub(crate) looped: Option<Loop>,
}

impl Timeline {
    /// When the file's time 0 is for the first time.
    pub(crate) fn created(&self) -> MediaTime {
        self.rate.time_of(self.first)
    }

    /// The pass through the file that frame `n` belongs to, and its time in the file in ns.
    pub(crate) fn frame_in_file(&self, n: FrameNumber) -> (u64, i64) {
        let (pass, frame) = split(n.0.saturating_sub(self.first.0), self.looped.map(|l| l.frames));
        let nanos = u128::from(frame) * u128::from(self.rate.den()) * 1_000_000_000;
        (pass, i64::try_from(nanos / u128::from(self.rate.num())).unwrap_or(i64::MAX))
    }

    /// The pass through the file that a sample (counted from time 0 on) belongs to, and its position
    /// in the file.
    pub(crate) fn sample_in_file(&self, sample: u64) -> (u64, i64) {
        let (pass, sample) = split(sample, self.looped.map(|l| l.samples));
        (pass, i64::try_from(sample).unwrap_or(i64::MAX))
    }
}

/// The media time of a sample, counted from the stream's creation; it may lie before that.
pub(crate) fn time_of_sample(created: MediaTime, sample: i64) -> MediaTime {
    // 10⁶ / 48 000 = 125 / 6
    let micros = (i128::from(sample) * 125).div_euclid(6);
    let time = i128::from(created.0) + micros;
    MediaTime(u64::try_from(time.max(0)).unwrap_or(u64::MAX))
}

fn split(index: u64, length: Option<u64>) -> (u64, u64) {
    length.map_or((0, index), |length| (index / length, index % length))
}

/// The captions of a stream, all loops of them.
#[derive(Debug, Clone)]
pub struct CueSheet {
    timeline: Timeline,
    captions: Vec<Caption>,
}

impl CueSheet {
    /// `captions` in order of their start; what lies beyond the end of a loop is cut off.
    pub(crate) fn new(timeline: Timeline, mut captions: Vec<Caption>) -> Self {
        if let Some(looped) = timeline.looped {
            let end = Duration::from_nanos(looped.samples * 125_000 / 6);
            captions.retain(|caption| caption.start < end);
            captions.iter_mut().for_each(|caption| caption.end = caption.end.min(end));
        }
        Self { timeline, captions }
    }

    /// The cues that overlap the time from `start` up to `end`, in order of their start. In the n-th
    /// loop (from 0), the i-th caption has the id `n × captions + i`.
    pub fn overlapping(&self, start: MediaTime, end: MediaTime) -> Vec<Cue> {
        let Timeline { rate, first, looped } = self.timeline;
        let count = self.captions.len() as u64;
        if end <= self.timeline.created() || count == 0 {
            return Vec::new();
        }
        let pass_of = |n| self.timeline.frame_in_file(FrameNumber(n)).0;
        // The frame nearest to `start` may already be of the next pass.
        let passes =
            pass_of(rate.frame_at(start).0.saturating_sub(1))..=pass_of(rate.frame_at(end).0);
        let cues = passes.flat_map(|pass| {
            let frames = looped.map_or(0, |l| l.frames) * pass;
            let zero = rate.time_of(FrameNumber(first.0 + frames));
            self.captions.iter().zip(pass * count..).map(move |(caption, id)| Cue {
                id,
                start: zero + caption.start,
                end: zero + caption.end,
                text: caption.text.clone(),
            })
        });
        cues.filter(|cue| cue.start < end && cue.end > start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(num: u32, den: u32) -> FrameRate {
        FrameRate::new(num, den).unwrap()
    }

    #[test]
    fn a_loop_is_whole_in_frames_and_in_samples() {
        assert_eq!(Loop::of(720, rate(24, 1)), Some(Loop { frames: 720, samples: 1_440_000 }));
        assert_eq!(
            Loop::of(899, rate(30000, 1001)),
            Some(Loop { frames: 895, samples: 1_433_432 })
        );
        assert_eq!(Loop::of(4, rate(30000, 1001)), None);
        assert_eq!(Loop::step(rate(60, 1)), 1);
    }

    #[test]
    fn cues_of_each_loop_have_their_own_ids_and_times() {
        let timeline = Timeline {
            rate: rate(10, 1),
            first: FrameNumber(50),
            looped: Loop::of(20, rate(10, 1)),
        };
        let caption = |start, end| Caption {
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
            text: String::new(),
        };
        let sheet =
            CueSheet::new(timeline, vec![caption(0, 500), caption(400, 9000), caption(2000, 2100)]);
        let ids = |start: u64, end: u64| -> Vec<(u64, u64, u64)> {
            let cues = sheet.overlapping(MediaTime(start * 1000), MediaTime(end * 1000));
            cues.into_iter().map(|c| (c.id, c.start.0 / 1000, c.end.0 / 1000)).collect()
        };
        assert_eq!(ids(0, 5000), []);
        assert_eq!(ids(4000, 5001), [(0, 5000, 5500)]);
        assert_eq!(ids(6000, 7000), [(1, 5400, 7000)]);
        assert_eq!(ids(6999, 7001), [(1, 5400, 7000), (2, 7000, 7500)]);
        assert_eq!(ids(11_450, 11_500), [(6, 11_000, 11_500), (7, 11_400, 13_000)]);
    }
}
