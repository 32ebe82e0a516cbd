//! What clients tell of the paths to them, of themselves, and of where they are and will be.

use gibbon_media::NodeId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Absurd, FASTEST_KBPS, LONGEST_MS, figure, within};
use crate::node::Location;

/// Paths that one client tells of.
pub const MAX_PATHS: usize = 8;
/// Points of an estimate.
pub const MAX_POINTS: usize = 8;
/// Places of a declared route.
pub const MAX_ROUTE: usize = 16;

/// Slack beyond this is absurd, in ms: no playout delay is as long.
const MOST_SLACK_MS: f64 = 60_000.0;
/// A position that is less certain than this says nothing, in metres.
const LEAST_CERTAIN_M: f64 = 50_000.0;
/// An estimate that is less certain than this says nothing, in metres: a quarter of the way round the earth.
const VAGUEST_M: f64 = 10_000_000.0;

/// What a client measures and where it is: once a second at most, while there is something new.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientTelemetry {
    /// The paths from the edges that it is connected to; at most [`MAX_PATHS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathReport>,
    /// Media that are there ahead of their deadline, in ms: of the description that has less. None before anything
    /// came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_ms: Option<u64>,
    /// How far behind the live edge it plays, in ms: what slack is measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playout_delay_ms: Option<u64>,
    /// What kind of device it is, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceClass>,
    /// Where it is, or will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionReport>,
}

impl ClientTelemetry {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Leaves out what is beyond the bounds of a report.
    pub fn bounded(mut self) -> Self {
        self.paths.truncate(MAX_PATHS);
        if let Some(MotionReport::Estimate { points, route }) = &mut self.motion {
            points.truncate(MAX_POINTS);
            route.truncate(MAX_ROUTE);
        }
        self
    }
}

/// The path from one edge to the client, since the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PathReport {
    /// The edge.
    #[schema(value_type = String)]
    pub edge: NodeId,
    /// Mean round-trip time since the last report, by the client's measure, in ms; where nothing was measured, as before.
    #[serde(deserialize_with = "figure")]
    pub rtt_ms: f64,
    /// Share of packets lost on the way to the client, by the edge's account, 0 to 1.
    #[serde(deserialize_with = "figure")]
    pub loss: f64,
    /// What came over it, QUIC's own included, in kbit/s.
    pub kbps: u64,
    /// How early frames came, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
}

impl PathReport {
    /// Names the first figure that cannot be.
    pub fn check(&self) -> Result<(), Absurd> {
        within("rtt_ms", self.rtt_ms, 0.0..=LONGEST_MS)?;
        within("loss", self.loss, 0.0..=1.0)?;
        within("kbps", self.kbps as f64, 0.0..=FASTEST_KBPS)?;
        self.slack.as_ref().map_or(Ok(()), Slack::check)
    }
}

/// The time by which frames of the leading medium came before their playout deadline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Slack {
    /// Mean, in ms; below zero they came late.
    #[serde(deserialize_with = "figure")]
    pub mean_ms: f64,
    /// Standard deviation, in ms.
    #[serde(deserialize_with = "figure")]
    pub deviation_ms: f64,
    /// Share of frames that were cut off with their group and did not come at all, 0 to 1.
    #[serde(deserialize_with = "figure")]
    pub missed: f64,
}

impl Slack {
    fn check(&self) -> Result<(), Absurd> {
        within("slack.mean_ms", self.mean_ms, -MOST_SLACK_MS..=MOST_SLACK_MS)?;
        within("slack.deviation_ms", self.deviation_ms, 0.0..=MOST_SLACK_MS)?;
        within("slack.missed", self.missed, 0.0..=1.0)
    }
}

/// What kind of device a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// Carried about, on mobile networks.
    Phone,
    /// Carried about, mostly at rest.
    Tablet,
    /// On a desk or a lap.
    Computer,
    /// On a wall.
    Television,
    /// Built into a car, a bus, a train.
    Vehicle,
    /// Of a kind that this version does not know.
    #[serde(other)]
    Other,
}

impl std::str::FromStr for DeviceClass {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        let kinds = "phone, tablet, computer, television or vehicle";
        match serde_json::from_value(word.into()) {
            Ok(DeviceClass::Other) | Err(_) => Err(format!("{word:?} is no device: use {kinds}")),
            Ok(device) => Ok(device),
        }
    }
}

/// Where a client is, by what its device says, or will be, by its own estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MotionReport {
    /// Where it was last seen. What follows from several of these the coordinator estimates.
    At {
        /// Degrees north, −90 to 90.
        #[serde(deserialize_with = "figure")]
        latitude: f64,
        /// Degrees east, −180 to 180.
        #[serde(deserialize_with = "figure")]
        longitude: f64,
        /// Standard deviation along each axis, in metres.
        #[serde(deserialize_with = "figure")]
        accuracy_m: f64,
        /// How long ago that was, in ms.
        age_ms: u64,
    },
    /// Where it will be, from now on.
    Estimate {
        /// Times ahead, in order, and places; the first is now. At most [`MAX_POINTS`].
        points: Vec<MotionPoint>,
        /// Places that it says it goes to, in order, the last its destination; at most [`MAX_ROUTE`]. The points have
        /// this in them; it tells also what comes after them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        route: Vec<Location>,
    },
}

/// Where a client will be at one time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MotionPoint {
    /// So long after the report, in ms.
    pub in_ms: u64,
    /// Degrees north, −90 to 90.
    #[serde(deserialize_with = "figure")]
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    #[serde(deserialize_with = "figure")]
    pub longitude: f64,
    /// Standard deviation along each axis, in metres.
    #[serde(deserialize_with = "figure")]
    pub uncertainty_m: f64,
}

impl MotionReport {
    /// Names the first figure that cannot be. An estimate has points, which come one after the other.
    pub fn check(&self) -> Result<(), Absurd> {
        match self {
            MotionReport::At { latitude, longitude, accuracy_m, age_ms } => {
                on_earth(*latitude, *longitude)?;
                within("accuracy_m", *accuracy_m, 0.0..=LEAST_CERTAIN_M)?;
                within("age_ms", *age_ms as f64, 0.0..=LONGEST_MS)
            }
            MotionReport::Estimate { points, route } => {
                within("the number of points", points.len() as f64, 1.0..=MAX_POINTS as f64)?;
                within("the length of the route", route.len() as f64, 0.0..=MAX_ROUTE as f64)?;
                let mut earliest = 0.0;
                for point in points {
                    within("in_ms", point.in_ms as f64, earliest..=LONGEST_MS)?;
                    earliest = point.in_ms as f64 + 1.0;
                    on_earth(point.latitude, point.longitude)?;
                    within("uncertainty_m", point.uncertainty_m, 0.0..=VAGUEST_M)?;
                }
                route.iter().try_for_each(|place| on_earth(place.latitude, place.longitude))
            }
        }
    }
}

fn on_earth(latitude: f64, longitude: f64) -> Result<(), Absurd> {
    within("latitude", latitude, -90.0..=90.0)?;
    within("longitude", longitude, -180.0..=180.0)
}
