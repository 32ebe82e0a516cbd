//! The catalog as it comes with an answer: JSON, and within bounds that decoders and players rely on.

use gibbon_media::{AudioTrack, Catalog, VideoTrack};

use super::{MAX_GROUP, MAX_SIDE, MIN_GROUP, Malformed};

/// The one sample rate of Opus streams (RFC 7845, section 5.1).
const SAMPLE_RATE: u32 = 48_000;
/// The shortest and the longest packet of Opus, in µs (RFC 6716, section 2.1.4; RFC 7845, section 6).
const MIN_PACKET_US: u32 = 2_500;
const MAX_PACKET_US: u32 = 120_000;

pub fn decode(json: &[u8]) -> Result<Catalog, Malformed> {
    let invalid = |why: String| Malformed::Invalid { field: "catalog", why };
    let catalog: Catalog = serde_json::from_slice(json).map_err(|e| invalid(e.to_string()))?;
    match fault(&catalog) {
        None => Ok(catalog),
        Some(why) => Err(invalid(why.into())),
    }
}

fn fault(catalog: &Catalog) -> Option<&'static str> {
    let groups = catalog.grids.iter().all(|g| (MIN_GROUP..=MAX_GROUP).contains(&g.duration()));
    let sides = |v: &VideoTrack| [v.width, v.height].iter().all(|s| (1..=MAX_SIDE).contains(s));
    let sound = |a: &AudioTrack| {
        a.sample_rate == SAMPLE_RATE
            && (1..=2).contains(&a.channels)
            && (MIN_PACKET_US..=MAX_PACKET_US).contains(&a.packet_us)
    };
    match catalog {
        _ if !groups => Some("groups last 100 ms to 10 s"),
        Catalog { video: Some(video), .. } if !sides(video) => {
            Some("pictures are 1-16384 pixels wide and high")
        }
        Catalog { audio: Some(audio), .. } if !sound(audio) => {
            Some("sound is 1 or 2 channels at 48000 Hz in packets of 2.5-120 ms")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(group_us: u64, width: u32, packet_us: u32) -> String {
        format!(
            r#"{{"stream":"live/a","scheme":"alternating","created":0,
            "grids":[{{"duration_us":{group_us},"offset_us":0}},{{"duration_us":1000000,"offset_us":0}}],
            "video":{{"codec":"h264","rate":[24,1],"width":{width},"height":360}},
            "audio":{{"sample_rate":48000,"channels":2,"packet_us":{packet_us}}},"text":null,"host":"h"}}"#
        )
    }

    #[test]
    fn a_catalog_that_no_player_could_follow_is_refused() {
        assert!(decode(json(1_000_000, 640, 20_000).as_bytes()).is_ok());
        for bad in [
            json(1, 640, 20_000),
            json(60_000_000, 640, 20_000),
            json(1_000_000, 0, 20_000),
            json(1_000_000, u32::MAX, 20_000),
            json(1_000_000, 640, 0),
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
