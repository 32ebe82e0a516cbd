//! What the viewer asked for.

use std::{path::PathBuf, time::Duration};

use gibbon_mdc::Config;
use gibbon_media::Description;

/// Where a recording goes that is piped to another program: standard output.
pub const PIPE: &str = "pipe:1";

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
    /// Decode pictures; else verdicts are by what arrives alone.
    pub decode: bool,
    /// Where frame hashes go.
    pub framehash: Option<PathBuf>,
    /// Where the recording goes: a path or [`PIPE`].
    pub record: Option<String>,
}
