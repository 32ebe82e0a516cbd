//! `only`: some of the media, without the others.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::untouched;
use crate::{Format, Invalid, Step, catalogue::Component};

/// Leaves out media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Only {
    /// What stays; in order, so that equal ones are written alike.
    media: BTreeSet<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Video,
    Audio,
    Text,
}

impl Component for Only {
    const NAME: &'static str = "only";
    const ABOUT: &'static str = "some of the media, without the others";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("media", "what stays: a list of video, audio and text, as [audio,text]")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let stays = |kind: Kind| self.media.contains(&kind);
        let mut output = input.clone();
        output.video.take_if(|_| !stays(Kind::Video));
        output.audio.take_if(|_| !stays(Kind::Audio));
        output.text.take_if(|_| !stays(Kind::Text));
        if output.video.is_none() && output.audio.is_none() && output.text.is_none() {
            return Err(Invalid::new("nothing would be left of the stream"));
        }
        Ok(Step { output, ..untouched(input) })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Spec, catalogue, testing::everything};

    #[test]
    fn what_is_not_named_is_left_out_and_something_must_stay() {
        let plan = |text: &str, input| catalogue::plan(&text.parse::<Spec>().unwrap(), input);
        let whole = everything();
        let sound = plan("only media=[audio]", &whole).unwrap().output;
        assert!(sound.audio == whole.audio && sound.video.is_none() && sound.text.is_none());
        assert!(plan("only media=[video]", &sound).is_err());
        assert!(plan("only media=[]", &whole).is_err());
        assert!(plan("only media=[smell]", &whole).is_err());
        assert!(plan("only", &whole).is_err());
        let spelt = |text: &str| catalogue::spell_out(&text.parse().unwrap()).unwrap();
        assert_eq!(spelt("only media=[text,audio,text]"), spelt("only media=[audio,text]"));
    }
}
