//! The text of cues: what is to be read, between what is WebVTT's.
//!
//! W3C WebVTT, section 4.2.2 (cue text): tags are between `<` and `>`, and `&…;` are character references. A tag
//! that is open ends with its line, so that it takes nothing of the cues that are shown below.

/// A part of the text of a cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Is to be read.
    Words(&'a str),
    /// A tag, with its brackets.
    Tag(&'a str),
    /// A character reference, with `&` and `;`.
    Reference(&'a str),
}

/// The longest character reference, with `&` and `;`.
const MAX_REFERENCE: usize = 10;

/// The parts of the text of a cue, in order. Together they are the text.
pub fn parts<'a>(text: &'a str) -> impl Iterator<Item = Part<'a>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (end, part): (usize, fn(&'a str) -> Part<'a>) = match first {
            '<' => (tag(rest), Part::Tag),
            '&' => match reference(rest) {
                Some(end) => (end, Part::Reference),
                None => (1, Part::Words),
            },
            _ => (rest.find(['<', '&']).unwrap_or(rest.len()), Part::Words),
        };
        let (this, after) = rest.split_at(end);
        rest = after;
        Some(part(this))
    })
}

/// Where the tag at the start of `text` ends.
fn tag(text: &str) -> usize {
    match text.find(['>', '\n']) {
        Some(at) if text[at..].starts_with('>') => at + 1,
        Some(at) => at,
        None => text.len(),
    }
}

/// Where the character reference at the start of `text` ends, if one is there.
fn reference(text: &str) -> Option<usize> {
    let end = text.bytes().take(MAX_REFERENCE).position(|b| b == b';')?;
    let name = text[1..end].strip_prefix('#').unwrap_or(&text[1..end]);
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name.then_some(end + 1)
}

/// The text as it is to be read: without tags, character references resolved.
pub fn to_read(text: &str) -> String {
    let read = |part| match part {
        Part::Words(words) => words.to_owned(),
        Part::Tag(_) => String::new(),
        Part::Reference(reference) => resolve(reference),
    };
    parts(text).map(read).collect()
}

/// The text with what is to be read changed, and the rest as it is.
pub fn map_words(text: &str, mut change: impl FnMut(&str) -> String) -> String {
    let changed = |part| match part {
        Part::Words(words) => change(words),
        Part::Tag(other) | Part::Reference(other) => other.to_owned(),
    };
    parts(text).map(changed).collect()
}

/// Those that WebVTT names, and numbers; others stand for themselves.
fn resolve(reference: &str) -> String {
    let name = reference.trim_start_matches('&').trim_end_matches(';');
    let number = || {
        let digits = name.strip_prefix('#')?;
        let code = match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        char::from_u32(code)
    };
    let c = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "nbsp" => '\u{a0}',
        "lrm" => '\u{200e}',
        "rlm" => '\u{200f}',
        _ => match number() {
            Some(c) => c,
            None => return reference.to_owned(),
        },
    };
    c.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_go_and_references_are_resolved() {
        let cases = [
            ("<v Ann>1 &lt; 2 &amp;amp; <i>so</i>", "1 < 2 &amp; so"),
            (
                "AT&T & co; &unknown; &#65;&#x1F600; &#xD800;",
                "AT&T & co; &unknown; A\u{1F600} &#xD800;",
            ),
            ("two\nlines <00:01.000>here <open", "two\nlines here "),
            ("one <open\ntwo <i>", "one \ntwo "),
            ("", ""),
        ];
        for (text, read) in cases {
            assert_eq!(to_read(text), read, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_together_are_the_text(text in r"[<>&;#a-z1é ]{0,40}") {
            prop_assert_eq!(map_words(&text, str::to_owned), text);
        }
    }
}
