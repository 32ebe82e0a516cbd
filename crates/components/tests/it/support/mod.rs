//! Runs graphs through the real `ffmpeg`.

use std::{path::Path, process::Command, time::Duration};

use gibbon_components::{
    AudioFormat, Coding, Format, Spec, Step, VideoFormat, Work, catalogue, graph,
};
use gibbon_media::FrameRate;

/// The font of the tests (package fonts-dejavu-core).
pub const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
/// Of [`everything`].
pub const SIZE: (usize, usize) = (320, 180);

/// A stream of pictures, sound and text.
pub fn everything() -> Format {
    let rate = FrameRate::new(25, 1).unwrap();
    Format {
        video: Some(VideoFormat { width: SIZE.0 as u32, height: SIZE.1 as u32, rate }),
        audio: Some(AudioFormat { channels: 2 }),
        text: Some("en".to_owned()),
        divided: false,
        coding: Coding::default(),
        group: Duration::from_secs(1),
    }
}

/// What a component does with [`everything`].
pub fn plan(component: &str) -> Step {
    let spec: Spec = component.parse().unwrap();
    catalogue::plan(&spec, &everything()).unwrap_or_else(|e| panic!("{component}: {e}"))
}

/// The graph of a component, a worker's paths put in.
pub fn graph_of(component: &str) -> String {
    filled(&plan(component).work, Path::new("/nowhere"))
}

/// The graph of `work`, the font and `assets` put in.
pub fn filled(work: &Work, assets: &Path) -> String {
    let (Work::Video { graph, .. } | Work::Audio { graph }) = work else {
        panic!("{work:?} is no graph");
    };
    graph::fill(graph, Path::new(FONT), assets).unwrap()
}

/// The luma of each picture that `graph` makes of `source`, which are all of `size`.
pub fn pictures(source: &str, graph: &str, size: (usize, usize)) -> Vec<Vec<u8>> {
    let args = ["-vf", graph, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p"];
    let raw = ffmpeg(source, &args).unwrap_or_else(|e| panic!("{graph}: {e}"));
    let (luma, whole) = (size.0 * size.1, size.0 * size.1 * 3 / 2);
    assert_eq!(raw.len() % whole, 0, "{graph} gives pictures of another size");
    raw.chunks(whole).map(|picture| picture[..luma].to_vec()).collect()
}

/// The samples that `graph` makes of `source`, interleaved.
pub fn sound(source: &str, graph: &str) -> Vec<f32> {
    let raw = ffmpeg(source, &["-af", graph, "-f", "f32le", "-c:a", "pcm_f32le"]);
    let raw = raw.unwrap_or_else(|e| panic!("{graph}: {e}"));
    raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn ffmpeg(source: &str, args: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-copyts", "-f", "lavfi", "-i", source]);
    let output = command.args(args).arg("-").output().map_err(|e| format!("ffmpeg: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && said.is_empty() { Ok(output.stdout) } else { Err(said) }
}

/// Mean of a rectangle of a picture of [`SIZE`].
pub fn mean(luma: &[u8], (left, top): (usize, usize), (width, height): (usize, usize)) -> f64 {
    let row = |y: usize| &luma[y * SIZE.0 + left..][..width];
    let sum: u64 = (top..top + height).flat_map(row).map(|&l| u64::from(l)).sum();
    sum as f64 / (width * height) as f64
}
