//! Chains of components, as somebody has written them.

use std::time::Duration;

use gibbon_components::{AudioFormat, Chain, Coding, Format, VideoFormat, parse};
use gibbon_media::{FrameRate, StreamName};

/// A stream of pictures, sound and text.
fn everything() -> Option<(StreamName, Format)> {
    let rate = FrameRate::new(24, 1).ok()?;
    let format = Format {
        video: Some(VideoFormat { width: 640, height: 360, rate }),
        audio: Some(AudioFormat { channels: 2 }),
        text: Some("en".to_owned()),
        divided: false,
        coding: Coding::default(),
        group: Duration::from_secs(1),
    };
    Some(("live/test".parse().ok()?, format))
}

/// A list of components. One that can be is, spelt out and written, the same again, under the same name.
pub fn chain(input: &[u8]) {
    let Some((source, format)) = everything() else { return };
    let Some(components) = std::str::from_utf8(input).ok().and_then(|text| parse(text).ok()) else {
        return;
    };
    let chain = Chain { source, components };
    if chain.check(&format).is_err() {
        return;
    }
    let spelt_out = chain.canonical().expect("what has been checked can be spelt out");
    assert!(spelt_out.check(&format).is_ok(), "{spelt_out}");
    let again: Chain = spelt_out.to_string().parse().expect("what is written can be read");
    let again = again.canonical().expect("what has been spelt out can be spelt out");
    assert_eq!((again.stream(), &again), (spelt_out.stream(), &spelt_out));
}
