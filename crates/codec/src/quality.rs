//! How far one picture is from another.

use crate::{Error, Picture};

/// What identical pictures are said to have, as their true figure is infinite.
pub const MAX_PSNR: f64 = 100.0;

/// Peak signal-to-noise ratio in dB, at most [`MAX_PSNR`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psnr {
    /// Of the luma plane.
    pub y: f64,
    /// `(6 Y + U + V) / 8`, as customary for 4:2:0 (ITU-T JVET common test conditions).
    pub weighted: f64,
}

/// Compares two pictures of one size.
pub fn psnr(a: &Picture, b: &Picture) -> Result<Psnr, Error> {
    let mut distortion = Distortion::default();
    distortion.add(a, b)?;
    Ok(distortion.psnr())
}

/// The squared error of a run of pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Distortion {
    /// Summed over the pixels of the planes Y, U and V.
    error: [u64; 3],
    pixels: [u64; 3],
}

impl Distortion {
    pub(crate) fn add(&mut self, source: &Picture, shown: &Picture) -> Result<(), Error> {
        source.same_size(shown)?;
        for (plane, (a, b)) in source.planes().into_iter().zip(shown.planes()).enumerate() {
            let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
            self.error[plane] += a.iter().zip(b).map(square).sum::<u64>();
            self.pixels[plane] += a.len() as u64;
        }
        Ok(())
    }

    /// Of all pictures as if they were one: `10 log10(255² / mean squared error)` for each plane.
    pub(crate) fn psnr(&self) -> Psnr {
        let [y, u, v] = [0, 1, 2].map(|plane| match self.error[plane] {
            0 => MAX_PSNR,
            error => {
                let mean = error as f64 / self.pixels[plane] as f64;
                (10.0 * (255.0 * 255.0 / mean).log10()).min(MAX_PSNR)
            }
        });
        Psnr { y, weighted: (6.0 * y + u + v) / 8.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_one_everywhere_is_48_13_db() {
        let of = |y: u8, uv: u8| Picture::new(2, 2, vec![y, y, y, y, uv, uv]).unwrap();
        let off_by_one = psnr(&of(100, 50), &of(101, 51)).unwrap();
        assert!(
            (off_by_one.y - 48.1308).abs() < 1e-3
                && (off_by_one.weighted - off_by_one.y).abs() < 1e-9
        );
        let chroma_right = psnr(&of(100, 50), &of(101, 50)).unwrap();
        assert!((chroma_right.weighted - (6.0 * chroma_right.y + 200.0) / 8.0).abs() < 1e-9);
        assert_eq!(psnr(&of(1, 2), &of(1, 2)).unwrap().weighted, MAX_PSNR);
    }
}
