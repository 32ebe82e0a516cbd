//! The encoders of a stream's pictures, one per bitstream that is made.

use bytes::Bytes;
use gibbon_mdc::{Rendition, Share};
use gibbon_media::{Catalog, Description, FrameNumber, Scheme, VideoTrack};

use crate::{
    Bitrate, CoderConfig, Error, Picture, RateControl, Scaler, VideoEncoder, VideoSettings,
};

/// The bit rate that CRF may reach, in bits per pixel: a bound, far above what film takes.
const MAX_BITS_PER_PIXEL: f64 = 1.0;

/// The encoders of a stream, one per bitstream that is made.
pub(crate) struct Renditions {
    scheme: Scheme,
    encoders: Vec<(Scaler, VideoEncoder)>,
    /// What each encoder made of the current picture.
    payloads: Vec<Option<Bytes>>,
    coded: u64,
}

impl Renditions {
    /// Opens the encoders for the pictures of a stream.
    pub(crate) fn new(
        catalog: &Catalog,
        video: &VideoTrack,
        config: &CoderConfig,
    ) -> Result<Self, Error> {
        let primary = VideoSettings {
            codec: video.codec,
            width: video.width,
            height: video.height,
            rate: video.rate,
            every: 1,
            preset: config.preset,
            control: RateControl::Mean(Bitrate(0)),
            buffer: catalog.grids[0].duration(),
            colour: config.colour,
        };
        let settings = match catalog.scheme {
            Scheme::Alternating => {
                let (width, height) = config.secondary.size((video.width, video.height));
                let coarser =
                    VideoSettings { width, height, preset: config.secondary_preset, ..primary };
                let part = config.secondary.part();
                let crf = config.crf + config.secondary.crf_offset();
                vec![
                    controlled(primary, config, config.crf, 1.0 - part),
                    controlled(coarser, config, crf, part),
                ]
            }
            Scheme::Temporal => {
                let half = VideoSettings { every: 2, ..primary };
                vec![controlled(half, config, config.crf, 0.5); 2]
            }
            Scheme::Duplicate => vec![controlled(primary, config, config.crf, 0.5)],
            Scheme::Plain => vec![controlled(primary, config, config.crf, 1.0)],
        };
        let open = |settings: &VideoSettings| {
            let scaler = Scaler::new(settings.width, settings.height);
            Ok((scaler, VideoEncoder::new(settings)?))
        };
        let encoders = settings.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        let payloads = vec![None; encoders.len()];
        Ok(Self { scheme: catalog.scheme, encoders, payloads, coded: 0 })
    }

    /// How many there are.
    pub(crate) fn coders(&self) -> u32 {
        self.encoders.len() as u32
    }

    /// Pictures that they have made.
    pub(crate) fn coded(&self) -> u64 {
        self.coded
    }

    /// Another picture is to be coded.
    pub(crate) fn next_picture(&mut self) {
        self.payloads.fill(None);
    }

    /// The bytes of `description`'s share of picture `n`; coded once for both.
    pub(crate) fn code(
        &mut self,
        n: FrameNumber,
        picture: &Picture,
        description: Description,
        share: Share,
    ) -> Result<Bytes, Error> {
        let which = match (self.scheme, share.rendition) {
            (Scheme::Temporal, _) => description.index(),
            (_, Rendition::Primary) => 0,
            (_, Rendition::Secondary) => 1,
        };
        if let Some(payload) = &self.payloads[which] {
            return Ok(payload.clone());
        }
        let (scaler, encoder) = &mut self.encoders[which];
        let payload = encoder.encode(n, &scaler.scale(picture)?, share.key)?;
        self.coded += 1;
        self.payloads[which] = Some(payload.clone());
        Ok(payload)
    }
}

/// `settings` at a quality, or at a part of the bit rate asked for. In `alternating` each description
/// carries each rendition half of the time, so that both together carry each once.
fn controlled(settings: VideoSettings, config: &CoderConfig, crf: f32, part: f64) -> VideoSettings {
    let pixels = f64::from(settings.width) * f64::from(settings.height);
    let per_second = settings.rate.as_f64() / f64::from(settings.every);
    let max = Bitrate((pixels * per_second * MAX_BITS_PER_PIXEL) as u64);
    let control = match config.bitrate {
        Some(Bitrate(total)) => RateControl::Mean(Bitrate((total as f64 * part) as u64)),
        None => RateControl::Crf { crf: crf.clamp(0.0, 51.0), max },
    };
    VideoSettings { control, ..settings }
}
