//! What the viewer asked for.

use std::time::Duration;

use gibbon_control::telemetry::DeviceClass;
use gibbon_mdc::Config;
use gibbon_media::Description;

use crate::motion::Journey;

/// What the viewer asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Playout delay and concealment.
    pub merger: Config,
    /// Receive just this description.
    pub only: Option<Description>,
    /// Keep an idle connection to the first standby where both legs are meant to be at one edge.
    pub spare: bool,
    /// End when no edge could be had for this long.
    pub give_up_after: Duration,
    /// End after this much play; none: when told to.
    pub duration: Option<Duration>,
    /// What kind of device this is, if the coordinator is to know.
    pub device: Option<DeviceClass>,
    /// Where the client is and goes, if the coordinator is to know.
    pub journey: Option<Journey>,
}

impl Default for Settings {
    /// Both descriptions, an idle connection, until told to end or until no edge could be had for a minute.
    fn default() -> Self {
        Self {
            merger: Config::default(),
            only: None,
            spare: true,
            give_up_after: Duration::from_secs(60),
            duration: None,
            device: None,
            journey: None,
        }
    }
}
