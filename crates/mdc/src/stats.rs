//! What a session has seen, in the words of the player's report (`docs/report.md`).

use gibbon_media::FrameRate;
use serde::{Deserialize, Serialize};

use crate::Verdict;

/// Counts of a session so far. The names are those of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// The playout delay, in ms.
    #[serde(rename = "playout_delay_ms")]
    pub playout_delay: DelayStats,
    /// Deadlines of video frames and what became of them.
    pub frames: FrameStats,
    /// Runs of frozen frames.
    pub freezes: FreezeStats,
    /// Sound from the first played sample on.
    pub audio: AudioStats,
    /// Cues.
    pub text: TextStats,
    /// Payload received.
    pub bytes: ByteStats,
    /// Frames refused: malformed, too far ahead, or beyond a bound on memory.
    pub refused: u64,
}

/// The playout delay, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DelayStats {
    /// At the start.
    pub initial: u64,
    /// The longest so far.
    pub max: u64,
    /// The latest.
    #[serde(rename = "final")]
    pub latest: u64,
}

/// Deadlines from the first displayed frame on; `expected = central + side + frozen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameStats {
    /// All of them.
    pub expected: u64,
    /// Shown in full quality.
    pub central: u64,
    /// Shown from one description's lower quality, or concealed.
    pub side: u64,
    /// Those of `side` that were shown while one description was chosen.
    pub side_chosen: u64,
    /// Nothing to show.
    pub frozen: u64,
}

/// Runs of frozen frames; a run lasts its number of frames × the frame interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FreezeStats {
    /// How many.
    pub count: u64,
    /// All together, in ms.
    pub total_ms: u64,
    /// The longest, in ms.
    pub longest_ms: u64,
}

/// Sound from the first played sample on, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AudioStats {
    /// What should have been played.
    pub expected_ms: u64,
    /// What of it was not there.
    pub gap_ms: u64,
}

/// Cues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TextStats {
    /// Shown.
    pub cues: u64,
    /// Learned of too late, and stretches of which no text arrived (`text` says which).
    pub missed: u64,
}

/// Payload received, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByteStats {
    /// First copies of frames, in time or late.
    pub media: u64,
    /// Frames that the same description had already brought.
    pub duplicate: u64,
}

/// Counts verdicts as they fall.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub frames: FrameStats,
    freezes: u64,
    /// Frozen frames in a row, now and at most.
    run: u64,
    longest_run: u64,
}

impl Tally {
    pub fn count(&mut self, verdict: Verdict, chosen: bool) {
        self.frames.expected += 1;
        match verdict {
            Verdict::Central => self.frames.central += 1,
            Verdict::Side => {
                self.frames.side += 1;
                self.frames.side_chosen += u64::from(chosen);
            }
            Verdict::Frozen => self.frames.frozen += 1,
        }
        if verdict == Verdict::Frozen {
            self.freezes += u64::from(self.run == 0);
            self.run += 1;
            self.longest_run = self.longest_run.max(self.run);
        } else {
            self.run = 0;
        }
    }

    pub fn freezes(&self, rate: FrameRate) -> FreezeStats {
        let ms = |frames: u64| frames * 1000 * u64::from(rate.den()) / u64::from(rate.num());
        FreezeStats {
            count: self.freezes,
            total_ms: ms(self.frames.frozen),
            longest_ms: ms(self.longest_run),
        }
    }
}
