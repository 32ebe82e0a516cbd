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

/// Compares two pictures of one size: `10 log10(255² / mean squared error)` for each plane.
pub fn psnr(a: &Picture, b: &Picture) -> Result<Psnr, Error> {
    a.same_size(b)?;
    let [(ya, yb), (ua, ub), (va, vb)] =
        [0, 1, 2].map(|plane| (a.planes()[plane], b.planes()[plane]));
    let y = plane_psnr(ya, yb);
    Ok(Psnr { y, weighted: (6.0 * y + plane_psnr(ua, ub) + plane_psnr(va, vb)) / 8.0 })
}

fn plane_psnr(a: &[u8], b: &[u8]) -> f64 {
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let error: u64 = a.iter().zip(b).map(square).sum();
    if error == 0 {
        return MAX_PSNR;
    }
    (10.0 * (255.0 * 255.0 * a.len() as f64 / error as f64).log10()).min(MAX_PSNR)
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
