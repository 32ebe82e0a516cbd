//! `case`: text in capitals, small letters or as in sentences.

use gibbon_media::Cue;
use serde::{Deserialize, Serialize};

use super::{cues, rewritten, text};
use crate::{Format, Invalid, Step, TextWork, catalogue::Component};

/// Changes the case of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    to: To,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    Upper,
    Lower,
    Sentence,
}

impl Component for Case {
    const NAME: &'static str = "case";
    const ABOUT: &'static str = "text in capitals, in small letters or as in sentences";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("to", "upper, lower or sentence")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        cues(input)?;
        Ok(rewritten(input, *self))
    }
}

impl TextWork for Case {
    fn rewrite(&self, cue: Cue) -> Cue {
        let mut starts = true;
        let text = text::map_words(&cue.text, |words| match self.to {
            To::Upper => words.to_uppercase(),
            To::Lower => words.to_lowercase(),
            To::Sentence => sentences(words, &mut starts),
        });
        Cue { text, ..cue }
    }
}

/// Small letters, but the first of each sentence. `starts`: whether one starts here.
fn sentences(words: &str, starts: &mut bool) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        if c.is_alphanumeric() && *starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        *starts = matches!(c, '.' | '!' | '?' | '…') || (*starts && !c.is_alphanumeric());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cue;

    #[test]
    fn words_change_and_markup_stays() {
        let text = "<v Ann>Hello &amp; <i>STRASSE</i>. what's up? 3 Éts…\n«ÉTÉ»";
        let cases = [
            (To::Upper, "<v Ann>HELLO &amp; <i>STRASSE</i>. WHAT'S UP? 3 ÉTS…\n«ÉTÉ»"),
            (To::Lower, "<v Ann>hello &amp; <i>strasse</i>. what's up? 3 éts…\n«été»"),
            (To::Sentence, "<v Ann>Hello &amp; <i>strasse</i>. What's up? 3 éts…\n«Été»"),
        ];
        for (to, expected) in cases {
            assert_eq!(Case { to }.rewrite(cue(text)), cue(expected));
        }
    }
}
