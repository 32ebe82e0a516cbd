//! What a viewer would see of a coded clip: with both descriptions, and with each of them lost.

use std::collections::VecDeque;

use gibbon_mdc::Conceal;
use gibbon_media::{Description, VideoTrack};

use crate::{Error, Picture, Scaler, VideoDecoder, quality::Distortion};

/// One frame: what went in and what each description makes of it.
pub(super) struct Moment {
    /// Whether it is to be judged; if not, it only stands beside one that is.
    pub counts: bool,
    /// What went in.
    pub source: Picture,
    /// What came out, and whether in full quality, by description.
    pub decoded: [Option<(Picture, bool)>; 2],
}

impl Moment {
    /// The best picture with both descriptions.
    fn best(&self) -> Option<&Picture> {
        let pictures = || self.decoded.iter().flatten();
        let primary = pictures().find(|(_, is_primary)| *is_primary);
        primary.or(pictures().next()).map(|(picture, _)| picture)
    }

    fn of(&self, description: usize) -> Option<&Picture> {
        self.decoded[description].as_ref().map(|(picture, _)| picture)
    }
}

/// What is seen with one description lost.
#[derive(Default)]
pub(super) struct Lost {
    /// By the description that is lost.
    pub whole: [Distortion; 2],
    /// The frames shown from a secondary or made up, whichever description is lost.
    pub side: Option<Distortion>,
}

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    /// With both descriptions.
    pub central: Distortion,
    /// With missing frames repeated, and blended.
    pub lost: [Lost; 2],
}

/// Decodes both descriptions and keeps account of what would be seen. One moment behind, so that the
/// picture after a missing one is known.
pub(super) struct Viewer {
    decoders: [VideoDecoder; 2],
    scaler: Scaler,
    /// At most three.
    moments: VecDeque<Moment>,
    seen: Seen,
}

impl Viewer {
    pub fn new(video: &VideoTrack) -> Result<Self, Error> {
        Ok(Self {
            decoders: [VideoDecoder::new(video.codec)?, VideoDecoder::new(video.codec)?],
            scaler: Scaler::new(video.width, video.height),
            moments: VecDeque::new(),
            seen: Seen::default(),
        })
    }

    /// Decodes a frame of `description`, at the size of the primary rendition.
    pub fn decode(
        &mut self,
        description: usize,
        key: bool,
        payload: &[u8],
    ) -> Result<Picture, Error> {
        let decoder = &mut self.decoders[description];
        if key {
            decoder.reset();
        }
        self.scaler.scale(&decoder.decode(payload)?)
    }

    /// Takes in a moment and judges the one before.
    pub fn see(&mut self, moment: Moment) -> Result<(), Error> {
        self.moments.push_back(moment);
        if self.moments.len() == 3 {
            self.judge(1)?;
            self.moments.pop_front();
        }
        Ok(())
    }

    /// Judges the last moment.
    pub fn finish(mut self) -> Result<Seen, Error> {
        self.judge(self.moments.len().saturating_sub(1))?;
        Ok(self.seen)
    }

    fn judge(&mut self, at: usize) -> Result<(), Error> {
        let Some(moment) = self.moments.get(at).filter(|moment| moment.counts) else {
            return Ok(());
        };
        let source = &moment.source;
        let Some(best) = moment.best() else { return Ok(()) };
        self.seen.central.add(source, best)?;
        for lost in Description::BOTH {
            let left = lost.other().index();
            let near = |at: Option<usize>| at.and_then(|at| self.moments.get(at)?.of(left));
            let (before, after) = (near(at.checked_sub(1)), near(Some(at + 1)));
            for (outcome, conceal) in
                self.seen.lost.iter_mut().zip([Conceal::Repeat, Conceal::Blend])
            {
                let shown = match (moment.of(left), before, after, conceal) {
                    (Some(picture), ..) => picture.clone(),
                    (None, Some(before), Some(after), Conceal::Blend) => before.blend(after)?,
                    (None, Some(near), ..) | (None, None, Some(near), _) => near.clone(),
                    (None, None, None, _) => continue,
                };
                outcome.whole[lost.index()].add(source, &shown)?;
                let is_primary = |(_, is_primary): &(Picture, bool)| *is_primary;
                if !moment.decoded[left].as_ref().is_some_and(is_primary) {
                    outcome.side.get_or_insert_default().add(source, &shown)?;
                }
            }
        }
        Ok(())
    }
}
