//! `mask`: stars in the place of listed words.

use std::iter::once;

use gibbon_media::Cue;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::{cues, rewritten, text};
use crate::{Format, Invalid, Step, TextWork, catalogue::Component};

/// Words in one list.
const MAX_WORDS: usize = 256;
/// Characters of one of them.
const MAX_WORD: usize = 64;

/// Puts stars in the place of the letters of listed words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    words: Vec<String>,
}

impl Component for Mask {
    const NAME: &'static str = "mask";
    const ABOUT: &'static str = "stars in the place of listed words of the text";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[(
        "words",
        "up to 256 words or phrases of up to 64 characters, as [darn,heck]; found as whole words, whatever their case",
    )];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        cues(input)?;
        if !(1..=MAX_WORDS).contains(&self.words.len()) {
            return Err(Invalid::new(format!("words: give 1 to {MAX_WORDS} of them")));
        }
        let fits = |word: &str| {
            word.chars().count() <= MAX_WORD
                && word.trim() == word
                && word.chars().next().is_some_and(char::is_alphanumeric)
                && word.chars().last().is_some_and(in_word)
        };
        if let Some(word) = self.words.iter().find(|word| !fits(word)) {
            let word: String = word.chars().take(MAX_WORD).collect();
            let why = format!(
                "words: {word:?} is not one of up to {MAX_WORD} characters that begins and ends in a letter or digit"
            );
            return Err(Invalid::new(why));
        }
        let words = self.words.iter().map(|word| word.nfc().flat_map(folded).collect());
        Ok(rewritten(input, Masking { words: words.collect() }))
    }
}

/// The words to look for, folded.
struct Masking {
    words: Vec<Vec<char>>,
}

impl TextWork for Masking {
    fn rewrite(&self, cue: Cue) -> Cue {
        Cue { text: text::map_words(&cue.text, |words| self.mask(words)), ..cue }
    }
}

impl Masking {
    fn mask(&self, text: &str) -> String {
        // Composed, so that é is é however it was typed.
        let chars: Vec<char> = text.nfc().collect();
        let mut out = chars.clone();
        let mut at = 0;
        while at < chars.len() {
            let begins = at == 0 || !in_word(chars[at - 1]);
            let longest = self.words.iter().filter_map(|word| matched(word, &chars[at..])).max();
            match longest.filter(|_| begins) {
                Some(length) => {
                    let word = out[at..at + length].iter_mut();
                    word.filter(|c| c.is_alphanumeric()).for_each(|c| *c = '*');
                    at += length;
                }
                None => at += 1,
            }
        }
        if out == chars { text.to_owned() } else { out.into_iter().collect() }
    }
}

/// How many of `chars` are `word` as a whole word.
fn matched(word: &[char], chars: &[char]) -> Option<usize> {
    let mut expected = word.iter().copied();
    for (length, &c) in chars.iter().enumerate() {
        if expected.len() == 0 {
            return (!in_word(c)).then_some(length);
        }
        if !folded(c).all(|c| expected.next() == Some(c)) {
            return None;
        }
    }
    (expected.len() == 0).then_some(chars.len())
}

/// Part of a word: a letter, a digit, or a mark on one.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Alike whatever the case: by way of capitals, so that ß is ss and both small sigmas are one (about Unicode's
/// case folding, section 5.18 of the standard).
fn folded(c: char) -> impl Iterator<Item = char> {
    let blank = c.is_whitespace();
    let letters = c.to_uppercase().flat_map(char::to_lowercase).filter(move |_| !blank);
    letters.chain(once(' ').filter(move |_| blank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cue, everything};

    fn masked(words: &[&str], text: &str) -> String {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        match (Mask { words }).plan(&everything()).unwrap().work {
            crate::Work::Text(work) => work.rewrite(cue(text)).text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whole_words_become_stars_whatever_their_case() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["darn", "heck"], "Darn it, what the HECK?", "**** it, what the ****?"),
            (&["darn"], "darned undarn darn's 'darn'", "darned undarn ****'s '****'"),
            (&["amp", "i", "v"], "<v I>x &amp; <i>I</i> am", "<v I>x &amp; <i>*</i> am"),
            (&["café"], "Cafe\u{301} CAFÉ cafe cafés", "**** **** cafe cafés"),
            (&["cafe"], "cafe\u{301} cafe", "caf\u{e9} ****"),
            (&["strasse"], "Straße STRASSE", "****** *******"),
            (&["ΟΔΟΣ"], "οδος οδοσ", "**** ****"),
            (&["mother-in-law"], "my Mother-in-Law!", "my ******-**-***!"),
            (&["bad", "bad word"], "a bad\nword, bad", "a ***\n****, ***"),
            (&["привет"], "Привет, мир", "******, мир"),
        ];
        for (words, text, expected) in cases {
            assert_eq!(masked(words, text), *expected, "{words:?}");
        }
    }

    #[test]
    fn text_without_listed_words_stays_byte_for_byte() {
        assert_eq!(masked(&["darn"], "cafe\u{301} <b>&lt;"), "cafe\u{301} <b>&lt;");
    }
}
