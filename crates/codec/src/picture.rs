//! Pictures: what a decoder yields and an encoder takes.

use bytes::Bytes;
use ffmpeg_next::{format::Pixel, frame};
use xxhash_rust::xxh3::Xxh3;

use crate::Error;

/// The longest side of a picture in pixels: bounds what one picture can allocate (48 MB).
pub const MAX_SIDE: u32 = 8192;

/// One picture in planar YUV 4:2:0, 8 bit, rows without padding. Cloning shares the pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// The planes Y, U and V, one after the other.
    data: Bytes,
}

impl Picture {
    /// A picture from its planes Y, U and V, one after the other. The chroma planes have half the
    /// width and height, rounded up. Sides are 1 to [`MAX_SIDE`] pixels.
    pub fn new(width: u32, height: u32, data: impl Into<Bytes>) -> Result<Self, Error> {
        let data = data.into();
        let size = |rule| Error::Size { width, height, rule };
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(size("sides are 1 to 8192 pixels"));
        }
        let (luma, chroma) = plane_lengths(width, height);
        if data.len() != luma + 2 * chroma {
            return Err(size("the planes do not have as many bytes"));
        }
        Ok(Self { width, height, data })
    }

    /// A black picture.
    pub fn black(width: u32, height: u32) -> Result<Self, Error> {
        let (luma, chroma) = plane_lengths(width.min(MAX_SIDE), height.min(MAX_SIDE));
        let mut data = vec![16; luma];
        data.resize(luma + 2 * chroma, 128);
        Self::new(width, height, data)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The planes Y, U and V, rows without padding.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (luma, chroma) = plane_lengths(self.width, self.height);
        let (y, uv) = self.data.split_at(luma);
        let (u, v) = uv.split_at(chroma);
        [y, u, v]
    }

    /// The frame hash: XXH3 (128 bit) of width and height, as 32-bit little-endian numbers, and the
    /// planes Y, U and V.
    pub fn hash(&self) -> u128 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.width.to_le_bytes());
        hasher.update(&self.height.to_le_bytes());
        hasher.update(&self.data);
        hasher.digest128()
    }

    /// The mean of two pictures of one size, rounded up: what `--conceal blend` shows between them.
    pub fn blend(&self, other: &Picture) -> Result<Picture, Error> {
        self.same_size(other)?;
        let mean = |(a, b): (&u8, &u8)| (u16::from(*a) + u16::from(*b)).div_ceil(2) as u8;
        let data: Vec<u8> = self.data.iter().zip(other.data.iter()).map(mean).collect();
        Self::new(self.width, self.height, data)
    }

    pub(crate) fn same_size(&self, other: &Picture) -> Result<(), Error> {
        if (self.width, self.height) == (other.width, other.height) {
            return Ok(());
        }
        let Picture { width, height, .. } = *other;
        Err(Error::Size { width, height, rule: "both pictures must be of one size" })
    }

    /// Copies the pixels out of a frame in planar YUV 4:2:0.
    pub(crate) fn from_frame(frame: &frame::Video) -> Result<Self, Error> {
        let (width, height) = (frame.width(), frame.height());
        if !matches!(frame.format(), Pixel::YUV420P | Pixel::YUVJ420P) {
            return Err(Error::Size { width, height, rule: "pixels must be 8-bit YUV 4:2:0" });
        }
        // Where rows stand in memory from the last to the first (`vflip`), line sizes are negative, and too large
        // for `isize` as ffmpeg-next gives them. FFmpeg's copy of such a frame has its rows in order.
        let upside_down = (0..3).any(|plane| isize::try_from(frame.stride(plane)).is_err());
        let frame = if upside_down { &frame.clone() } else { frame };
        let (luma, chroma) = plane_lengths(width, height);
        let mut data = Vec::with_capacity(luma + 2 * chroma);
        for plane in 0..3 {
            let row = frame.plane_width(plane) as usize;
            for line in frame.data(plane).chunks(frame.stride(plane)) {
                data.extend_from_slice(&line[..row]);
            }
        }
        Self::new(width, height, data)
    }

    /// Copies the pixels into a frame.
    pub(crate) fn to_frame(&self) -> frame::Video {
        let mut frame = frame::Video::new(Pixel::YUV420P, self.width, self.height);
        for (plane, pixels) in self.planes().into_iter().enumerate() {
            let row = frame.plane_width(plane) as usize;
            let stride = frame.stride(plane);
            let lines = frame.data_mut(plane).chunks_mut(stride);
            for (to, from) in lines.zip(pixels.chunks(row)) {
                to[..row].copy_from_slice(from);
            }
        }
        frame
    }
}

/// Bytes of the Y plane and of each chroma plane.
fn plane_lengths(width: u32, height: u32) -> (usize, usize) {
    let (w, h) = (width as usize, height as usize);
    (w * h, w.div_ceil(2) * h.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32) -> Picture {
        let (luma, chroma) = plane_lengths(width, height);
        let data: Vec<u8> = (0..luma + 2 * chroma).map(|i| (i * 7 % 251) as u8).collect();
        Picture::new(width, height, data).unwrap()
    }

    #[test]
    fn pixels_survive_the_way_through_a_frame_with_padded_rows_and_odd_sides() {
        crate::ffmpeg::ready();
        let picture = ramp(37, 23);
        assert_eq!(Picture::from_frame(&picture.to_frame()).unwrap(), picture);
    }

    #[test]
    fn the_hash_tells_pixels_and_shapes_apart() {
        let picture = ramp(8, 4);
        assert_eq!(picture.hash(), picture.clone().hash());
        let reshaped = Picture::new(4, 8, picture.data.clone()).unwrap();
        assert_ne!(picture.hash(), reshaped.hash());
        let mut data = picture.data.to_vec();
        data[47] ^= 1;
        assert_ne!(picture.hash(), Picture::new(8, 4, data).unwrap().hash());
    }

    #[test]
    fn a_blend_lies_half_way() {
        let of = |v: u8| Picture::new(2, 2, vec![v; 6]).unwrap();
        assert_eq!(of(10).blend(&of(21)).unwrap(), of(16));
        assert_eq!(of(255).blend(&of(255)).unwrap(), of(255));
        assert!(of(1).blend(&ramp(4, 4)).is_err());
    }

    #[test]
    fn pictures_without_or_beyond_bounds_are_refused() {
        for (width, height) in [(0, 4), (4, 0), (8193, 4), (4, u32::MAX)] {
            assert!(Picture::black(width, height).is_err(), "{width}x{height}");
        }
        assert!(Picture::new(4, 4, vec![0; 23]).is_err());
    }
}
