//! Media made for a test: pictures of which a part is noise, which takes more to code and to send than the rest.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};

/// What the pictures of a clip are like.
#[derive(Debug, Clone, Copy)]
pub struct Pictures {
    /// Width and height, as FFmpeg writes them.
    pub size: &'static str,
    /// Pictures in a second.
    pub rate: u32,
    /// From the darkest to the brightest of the noise, of 255: an expression as FFmpeg's filters take them, in which `T` is
    /// the time in seconds.
    pub noise: &'static str,
}

impl Pictures {
    /// Draws a clip of so many seconds. As much of the pictures' width is noise as `part` says, from 0 to 1: another such
    /// expression.
    pub fn draw(self, file: &Path, seconds: u64, part: &str) -> anyhow::Result<()> {
        let Self { size, rate, noise } = self;
        let source = format!(
            "color=size={size}:rate={rate}:duration={seconds},\
             geq=lum='128+({noise})*(random(0)-0.5)*lt(X,W*({part}))':cb=128:cr=128"
        );
        let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "6", "-pix_fmt", "yuv420p"];
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", &source]).args(coded).arg(file);
        let output = command.output().context("ffmpeg is not installed")?;
        ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
