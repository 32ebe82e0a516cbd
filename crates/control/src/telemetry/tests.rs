use gibbon_media::NodeId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn id() -> NodeId {
    "edge-a".parse().unwrap()
}

/// A figure as a peer may tell it: small, huge, negative, or none at all.
fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![proptest::num::f64::ANY, -1e6..1e6, Just(f64::NAN), Just(f64::MAX), 0.0..1.0]
}

/// What is read again of what was written.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(said: &T) -> T {
    serde_json::from_str(&serde_json::to_string(said).unwrap()).unwrap()
}

#[test]
fn what_cannot_be_is_named() {
    let health = NodeHealth {
        cpu: 0.4,
        cores: 4.0,
        memory_kib: 48_212,
        egress_kbps: 790,
        queue_ms: 1.2,
        maintenance_in_ms: None,
    };
    assert_eq!(health.check(), Ok(()));
    let why = NodeHealth { cpu: -3.0, ..health }.check().unwrap_err();
    assert_eq!(why.to_string(), "cpu cannot be -3: it is from 0 to 4096");
    assert!(NodeHealth { cores: 0.0, ..health }.check().is_err());
    assert!(NodeHealth { queue_ms: f64::NAN, ..health }.check().is_err());
    assert!(NodeHealth { egress_kbps: u64::MAX, ..health }.check().is_err());
}

#[test]
fn an_estimate_has_points_in_order_of_time() {
    let point = |in_ms| MotionPoint { in_ms, latitude: 48.1, longitude: 11.5, uncertainty_m: 8.0 };
    let estimate = |times: &[u64]| MotionReport::Estimate {
        points: times.iter().copied().map(point).collect(),
        route: Vec::new(),
    };
    assert_eq!(estimate(&[0, 5000, 90_000]).check(), Ok(()));
    for bad in [&[][..], &[0, 0], &[5000, 0], &[700_000], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        assert!(estimate(bad).check().is_err(), "{bad:?}");
    }
}

#[test]
fn a_device_of_a_later_version_is_another() {
    let read: DeviceClass = serde_json::from_str("\"hologram\"").unwrap();
    assert_eq!(read, DeviceClass::Other);
    assert!("hologram".parse::<DeviceClass>().is_err() && "other".parse::<DeviceClass>().is_err());
    assert_eq!("phone".parse(), Ok(DeviceClass::Phone));
}

#[test]
fn more_than_the_bounds_is_left_out() {
    let slack = None;
    let path = PathReport { edge: id(), rtt_ms: 1.0, loss: 0.0, kbps: 1, slack };
    let point = MotionPoint { in_ms: 0, latitude: 0.0, longitude: 0.0, uncertainty_m: 1.0 };
    let motion = MotionReport::Estimate { points: vec![point; 99], route: Vec::new() };
    let said = ClientTelemetry {
        paths: vec![path; 99],
        motion: Some(motion),
        ..ClientTelemetry::default()
    };
    let said = said.bounded();
    let Some(MotionReport::Estimate { points, .. }) = said.motion else { unreachable!() };
    assert_eq!((said.paths.len(), points.len()), (MAX_PATHS, MAX_POINTS));
}

proptest! {
    #[test]
    fn whatever_a_node_tells_is_read_and_what_passes_is_within_bounds(
        cpu in anything(), cores in anything(), queue_ms in anything(), loss in anything(),
        load in anything(), big in any::<u64>(),
    ) {
        let health = NodeHealth {
            cpu, cores, memory_kib: big, egress_kbps: big, queue_ms, maintenance_in_ms: Some(big),
        };
        let health = again(&health);
        if health.check().is_ok() {
            prop_assert!(health.cpu >= 0.0 && health.cores > 0.0 && health.cpu.is_finite());
            prop_assert!((0.0..=LONGEST_MS).contains(&health.queue_ms));
        }
        let link = LinkReport {
            node: id(), rtt_us: big, loss, bandwidth_kbps: big, load_kbps: big,
        };
        let link = again(&link);
        prop_assert!(link.check().is_err() || (0.0..=1.0).contains(&link.loss));
        let stream = "live/bbb".parse().unwrap();
        let publishing = again(&PublishReport { stream, lag_ms: big, load });
        prop_assert!(publishing.check().is_err() || (0.0..=1.0).contains(&publishing.load));
    }

    #[test]
    fn whatever_a_client_tells_is_read_and_what_passes_is_within_bounds(
        a in anything(), b in anything(), c in anything(), d in anything(), e in anything(),
        big in any::<u64>(),
    ) {
        let slack = Some(Slack { mean_ms: c, deviation_ms: d, missed: e });
        let path = again(&PathReport { edge: id(), rtt_ms: a, loss: b, kbps: big, slack });
        if path.check().is_ok() {
            let slack = path.slack.unwrap();
            prop_assert!(path.rtt_ms >= 0.0 && slack.deviation_ms >= 0.0 && slack.mean_ms.is_finite());
        }
        let at = MotionReport::At { latitude: a, longitude: b, accuracy_m: c, age_ms: big };
        let at = again(&at);
        if let (Ok(()), MotionReport::At { latitude, longitude, .. }) = (at.check(), at) {
            prop_assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0);
        }
    }

    #[test]
    fn whatever_stands_in_their_place_is_read_or_refused_in_words(
        key in prop_oneof![Just("paths"), Just("buffer_ms"), Just("playout_delay_ms"), Just("device"), Just("motion")],
        value in prop_oneof![
            Just(json!(null)), Just(json!(-1)), Just(json!("x")), Just(json!([[]])), Just(json!({})),
            Just(json!({ "at": { "latitude": "north" } })), Just(json!({ "estimate": { "points": 7 } })),
            Just(json!([{ "edge": "EDGE A", "rtt_ms": 1, "loss": 0, "kbps": 0 }])),
            Just(json!(1e308)), any::<u64>().prop_map(Value::from),
        ],
    ) {
        let read = serde_json::from_value::<ClientTelemetry>(json!({ key: value }));
        if let Err(why) = read {
            prop_assert!(!why.to_string().is_empty());
        }
    }
}
