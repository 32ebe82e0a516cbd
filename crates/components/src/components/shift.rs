//! `shift`: text earlier or later.

use gibbon_media::{Cue, MediaTime};
use serde::{Deserialize, Serialize};

use super::{cues, rewritten, untouched};
use crate::{Format, Invalid, Step, TextWork, catalogue::Component};

/// The furthest that cues may be moved, in ms.
const FURTHEST_MS: i64 = 10_000;

/// Moves cues in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    ms: i64,
}

impl Component for Shift {
    const NAME: &'static str = "shift";
    const ABOUT: &'static str = "text earlier or later than it comes";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[(
        "ms",
        "-10000 to 10000: how much later, or earlier if it is negative; text cannot be shown before it is there, \
         and what would be over by then is lost",
    )];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        cues(input)?;
        if !(-FURTHEST_MS..=FURTHEST_MS).contains(&self.ms) {
            let why = format!("ms={} is out of bounds: use -10000 to 10000", self.ms);
            return Err(Invalid::new(why));
        }
        Ok(if self.ms == 0 { untouched(input) } else { rewritten(input, *self) })
    }
}

impl TextWork for Shift {
    fn rewrite(&self, cue: Cue) -> Cue {
        let shifted = |time: MediaTime| MediaTime(time.0.saturating_add_signed(self.shift_us()));
        Cue { start: shifted(cue.start), end: shifted(cue.end), ..cue }
    }

    fn shift_us(&self) -> i64 {
        self.ms * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cue;

    #[test]
    fn a_cue_moves_whole_and_never_before_the_epoch() {
        let (start, end) = (MediaTime(2_000_000), MediaTime(3_500_000));
        let moved = |ms| {
            let cue = Shift { ms }.rewrite(Cue { start, end, ..cue("x") });
            (cue.start.0, cue.end.0)
        };
        assert_eq!(moved(250), (2_250_000, 3_750_000));
        assert_eq!(moved(-500), (1_500_000, 3_000_000));
        assert_eq!(moved(-3000), (0, 500_000));
    }
}
