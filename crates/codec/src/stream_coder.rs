//! From media to published frames: codes a programme into two descriptions.

use gibbon_media::{Catalog, GroupId, MediaTime, ProducerId};

use crate::{Coded, CoderConfig, CueSheet, Error, GroupCoder, Item};

/// Codes the items of a programme into the descriptions of a stream.
///
/// Each description begins with its first group that has not begun at `start`; what comes before is
/// left out, so that no group is published in part. Text groups are published as soon as anything at
/// or after their start is coded.
pub struct StreamCoder {
    catalog: Catalog,
    coder: GroupCoder,
    cues: CueSheet,
    /// The next text group of each description.
    text: [GroupId; 2],
}

impl StreamCoder {
    /// A coder of the stream of `catalog`, whose programme is to be started at `start`.
    pub fn new(
        catalog: Catalog,
        config: &CoderConfig,
        producer: ProducerId,
        cues: CueSheet,
        start: MediaTime,
    ) -> Result<Self, Error> {
        let mut coder = GroupCoder::new(catalog.clone(), config, producer);
        coder.start_at(start);
        coder.open()?;
        let text = catalog.grids.map(|grid| grid.first_not_begun(start));
        Ok(Self { catalog, coder, cues, text })
    }

    /// Codes the next item of the programme. `now_us` is the wall-clock time in µs since the epoch, with which
    /// the groups that begin are stamped.
    pub fn code(&mut self, item: &Item, now_us: u64) -> Result<Vec<Coded>, Error> {
        let mut coded = Vec::new();
        match item {
            Item::Video(n, picture) => {
                if let Some(video) = &self.catalog.video {
                    self.code_text(video.rate.time_of(*n), now_us, &mut coded);
                }
                coded.extend(self.coder.picture(*n, picture, now_us)?);
            }
            Item::Audio(block) => {
                self.code_text(block.time, now_us, &mut coded);
                coded.extend(self.coder.sound(block.time, &block.samples, now_us)?);
            }
        }
        Ok(coded)
    }

    /// At the end of a live programme: ends the groups that are open.
    pub fn finish(self) -> Vec<Coded> {
        self.coder.finish()
    }

    /// Publishes the text groups that have begun by `time`, whole.
    fn code_text(&mut self, time: MediaTime, now_us: u64, out: &mut Vec<Coded>) {
        if self.catalog.text.is_none() {
            return;
        }
        for &description in self.catalog.scheme.descriptions() {
            let grid = self.catalog.grid(description);
            let next = &mut self.text[description.index()];
            while grid.start_of(*next) <= time {
                let cues = self.cues.overlapping(grid.start_of(*next), grid.end_of(*next));
                out.extend(self.coder.text(description, *next, &cues, now_us));
                *next = next.next();
            }
        }
    }
}
