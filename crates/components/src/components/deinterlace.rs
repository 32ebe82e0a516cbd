//! `deinterlace`: whole pictures of fields.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Makes a whole picture of the two fields of each, at the same rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deinterlace {
    #[serde(default)]
    first: Field,
}

/// The field that comes first in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Field {
    #[default]
    Top,
    Bottom,
}

impl Component for Deinterlace {
    const NAME: &'static str = "deinterlace";
    const ABOUT: &'static str = "takes the combs out of pictures that were made of two fields";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("first", "the field that comes first in time: top or bottom [top]")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let pictures = pictures(input)?;
        let parity = match self.first {
            Field::Top => "tff",
            Field::Bottom => "bff",
        };
        // Of all pictures: an encoder for viewers does not mark those made of fields.
        let graph = format!("bwdif=mode=send_frame:parity={parity}:deint=all");
        Ok(drawn(input, pictures, graph, 2.0))
    }
}
