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
    /// End after this much play; none: when told to.
    pub duration: Option<Duration>,
    /// Decode pictures; else verdicts are by what arrives alone.
    pub decode: bool,
    /// Where frame hashes go.
    pub framehash: Option<PathBuf>,
    /// Where the recording goes: a path or [`PIPE`].
    pub record: Option<String>,
}
