//! Cues drawn into the pictures that they are shown with.

use std::collections::{BTreeMap, VecDeque};

use gibbon_codec::{Colour, VideoFilter};
use gibbon_components::{Invalid, VideoFormat};
use gibbon_media::{Cue, MediaTime};

use super::{
    intake::PATIENCE,
    raw::{Raw, RawPicture},
    stage::Failure,
};

/// Cues that are remembered.
const MAX_CUES: usize = 4096;
/// Pictures that wait for their text, whatever their times say.
const MAX_WAITING: usize = 128;

/// The graph that draws a text; empty: nothing is drawn.
type GraphOf = Box<dyn Fn(&str) -> Result<String, Invalid> + Send>;

/// Draws cues into pictures. A picture waits until the text of its time is known, but not longer than until media
/// have come that are newer by [`PATIENCE`].
pub struct BurnIn {
    graph_of: GraphOf,
    video: Option<VideoFormat>,
    cues: BTreeMap<u64, Cue>,
    /// Until when the text is known.
    known: MediaTime,
    waiting: VecDeque<RawPicture>,
    newest: MediaTime,
    /// The text that is drawn now.
    drawn: Option<(String, Colour, VideoFilter)>,
}

impl BurnIn {
    /// Draws into pictures of the format `video`.
    pub fn new(graph_of: GraphOf, video: Option<VideoFormat>) -> Self {
        Self {
            graph_of,
            video,
            cues: BTreeMap::new(),
            known: MediaTime(0),
            waiting: VecDeque::new(),
            newest: MediaTime(0),
            drawn: None,
        }
    }

    /// Takes the next item of any medium. Text does not come out.
    pub fn process(&mut self, item: Raw, out: &mut Vec<Raw>) -> Result<(), Failure> {
        let Some(video) = self.video else { return Ok(()) };
        match item {
            Raw::Picture(picture) => {
                self.newest = self.newest.max(video.rate.time_of(picture.n));
                self.waiting.push_back(picture);
            }
            Raw::Sound(sound) => {
                self.newest = self.newest.max(sound.time);
                out.push(Raw::Sound(sound));
            }
            Raw::Text(text) => {
                self.known = self.known.max(text.until);
                self.cues.extend(text.cues.into_iter().map(|cue| (cue.id, cue)));
                while self.cues.len() > MAX_CUES {
                    self.cues.pop_first();
                }
            }
        }
        while let Some(first) = self.waiting.front() {
            let time = video.rate.time_of(first.n);
            let waits = time >= self.known && self.newest < time + PATIENCE;
            if waits && self.waiting.len() <= MAX_WAITING {
                break;
            }
            let Some(picture) = self.waiting.pop_front() else { break };
            out.push(Raw::Picture(self.draw(picture, video, time)?));
        }
        Ok(())
    }

    fn draw(
        &mut self,
        item: RawPicture,
        video: VideoFormat,
        time: MediaTime,
    ) -> Result<RawPicture, Failure> {
        let text = self.shown_at(time);
        let Some(picture) = item.picture.as_ref().filter(|_| !text.is_empty()) else {
            return Ok(RawPicture { coded: None, ..item });
        };
        let mut filter = match self.drawn.take() {
            Some((drawn, colour, filter)) if drawn == text && colour == item.colour => filter,
            _ => {
                let (size, rates) = ((video.width, video.height), (video.rate, video.rate));
                VideoFilter::new(&(self.graph_of)(&text)?, size, rates, item.colour)?
            }
        };
        let drawn = filter.push(item.n, picture)?.pop().map(|(_, picture)| picture);
        self.drawn = Some((text, item.colour, filter));
        Ok(RawPicture { picture: drawn, coded: None, ..item })
    }

    /// The text of the cues shown at `time`, the first on top. Those that are over are forgotten.
    fn shown_at(&mut self, time: MediaTime) -> String {
        self.cues.retain(|_, cue| cue.end > time);
        let mut shown: Vec<&Cue> = self.cues.values().filter(|cue| cue.start <= time).collect();
        shown.sort_by_key(|cue| (cue.start, cue.id));
        let texts: Vec<&str> = shown.iter().map(|cue| cue.text.as_str()).collect();
        texts.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use gibbon_codec::Picture;
    use gibbon_media::{FrameNumber, FrameRate};

    use super::*;
    use crate::segment::raw::{RawText, Stamp};

    fn burn_in() -> BurnIn {
        let rate = FrameRate::new(10, 1).unwrap();
        let video = VideoFormat { width: 32, height: 32, rate };
        // Paints instead of writing: as light as the text is long.
        let graph_of =
            |text: &str| Ok(format!("drawbox=t=fill:color=0x{0}{0}{0}", 10 * text.len()));
        BurnIn::new(Box::new(graph_of), Some(video))
    }

    fn picture(n: u64) -> Raw {
        Raw::Picture(RawPicture {
            n: FrameNumber(n),
            picture: Some(Picture::black(32, 32).unwrap()),
            colour: Colour::default(),
            coded: None,
            stamp: Stamp::default(),
        })
    }

    fn text(second: u64, cues: &[(u64, u64, u64, &str)]) -> Raw {
        let time = |tenths: u64| MediaTime(tenths * 100_000);
        let cue = |&(id, start, end, text): &(u64, u64, u64, &str)| Cue {
            id,
            start: time(start),
            end: time(end),
            text: text.to_owned(),
        };
        let (from, until) = (time(second * 10), time(second * 10 + 10));
        let cues = cues.iter().map(cue).collect();
        Raw::Text(RawText { from, until, follows: true, cues, stamp: Stamp::default() })
    }

    /// Number and luma of the pictures that come out.
    fn feed(stage: &mut BurnIn, item: Raw) -> Vec<(u64, u8)> {
        let mut out = Vec::new();
        stage.process(item, &mut out).unwrap();
        let shown = |item| match item {
            Raw::Picture(p) => (p.n.0, p.picture.unwrap().planes()[0][0]),
            other => panic!("{other:?}"),
        };
        out.into_iter().map(shown).collect()
    }

    #[test]
    fn a_picture_waits_for_its_text_and_shows_it_for_as_long_as_the_cue_lasts() {
        let mut stage = burn_in();
        assert_eq!(feed(&mut stage, picture(10)), []);
        let mut shown = feed(&mut stage, text(1, &[(5, 11, 13, "a"), (6, 12, 14, "b")]));
        for n in 11..16 {
            shown.extend(feed(&mut stage, picture(n)));
        }
        let numbers: Vec<u64> = shown.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [10, 11, 12, 13, 14, 15]);
        let luma: Vec<u8> = shown.iter().map(|(_, luma)| *luma).collect();
        assert!(luma[0] == luma[4] && luma[4] == luma[5], "none is shown");
        assert!(luma[1] > luma[0] && luma[1] == luma[3], "one is shown");
        assert!(luma[2] > luma[1], "two are shown");
    }

    #[test]
    fn a_picture_whose_text_does_not_come_is_shown_without() {
        let mut stage = burn_in();
        let shown: Vec<(u64, u8)> = (10..18).flat_map(|n| feed(&mut stage, picture(n))).collect();
        let numbers: Vec<u64> = shown.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [10, 11, 12, 13]);
    }
}
