//! Scaling.

use ffmpeg_next::{
    format::Pixel,
    frame,
    software::scaling::{Context, Flags},
};

use crate::{Error, Picture};

/// Brings pictures of any size to one size (bicubic, the same bits on every machine).
pub struct Scaler {
    context: Option<Context>,
    width: u32,
    height: u32,
}

// SAFETY: an SwsContext is plain memory without ties to a thread; it is used through `&mut` only.
#[allow(unsafe_code)]
unsafe impl Send for Scaler {}

impl Scaler {
    /// A scaler to `width` × `height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        crate::ffmpeg::ready();
        Self { context: None, width, height }
    }

    /// The picture at this scaler's size; itself if it is of that size.
    pub fn scale(&mut self, picture: &Picture) -> Result<Picture, Error> {
        if (picture.width(), picture.height()) == (self.width, self.height) {
            return Ok(picture.clone());
        }
        self.convert(&picture.to_frame())
    }

    /// A decoder's frame, whatever its pixel format and size, as a picture of this scaler's size.
    pub(crate) fn convert(&mut self, frame: &frame::Video) -> Result<Picture, Error> {
        let mut scaled = frame::Video::empty();
        self.context_for(frame)?.run(frame, &mut scaled).map_err(Error::Convert)?;
        Picture::from_frame(&scaled)
    }

    fn context_for(&mut self, frame: &frame::Video) -> Result<&mut Context, Error> {
        let given = (frame.format(), frame.width(), frame.height());
        let fits = |context: &Context| {
            let input = context.input();
            (input.format, input.width, input.height) == given
        };
        let context = match self.context.take().filter(fits) {
            Some(context) => context,
            None => Context::get(
                given.0,
                given.1,
                given.2,
                Pixel::YUV420P,
                self.width,
                self.height,
                Flags::BICUBIC | Flags::ACCURATE_RND | Flags::BITEXACT,
            )
            .map_err(Error::Convert)?,
        };
        Ok(self.context.insert(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_stays_flat_at_any_size() {
        let grey = |w, h| {
            let y = (w * h) as usize;
            Picture::new(w, h, [vec![90; y], vec![110; y / 4], vec![140; y / 4]].concat()).unwrap()
        };
        let mut scaler = Scaler::new(64, 36);
        for (w, h) in [(128, 72), (32, 18), (64, 36), (320, 180)] {
            assert_eq!(scaler.scale(&grey(w, h)).unwrap(), grey(64, 36), "from {w}x{h}");
        }
    }
}
