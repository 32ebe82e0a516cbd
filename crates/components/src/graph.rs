//! Graphs of libavfilter as text: how outside text stands in one, and how a worker's files get there.
//!
//! FFmpeg reads a graph twice: the parser of graphs takes a filter's options up to one of `[],;`, and the parser
//! of options takes a value up to `:`. Both leave out blanks at the ends, and both take a character after `\` as
//! it is and what is between `'` as it stands (`av_get_token`, libavutil/avstring.c; "Notes on filtergraph
//! escaping", ffmpeg-filters manual). So text is escaped once for each, the inner parser first.

use std::path::Path;

use crate::Invalid;

/// Stands in a graph for the path of the worker's font.
pub const FONT: &str = "{font}";
/// With the name of a file of the worker's asset folder and `}`, stands in a graph for its path.
const ASSET: &str = "{asset:";
/// Bytes of the name of an asset.
const MAX_ASSET_NAME: usize = 64;

/// `text` as the value of an option of a filter: it reaches the filter as it is, whatever is in it, and is
/// never taken for a placeholder. FFmpeg's strings end at a NUL: it is left out.
pub fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars().filter(|&c| c != '\0') {
        let blank = c.is_ascii_whitespace();
        // For the parser of options …
        let inner = blank || matches!(c, '\\' | '\'' | ':');
        if inner {
            out.push_str(r"\\");
        }
        // … and for that of graphs. Escaped braces make no placeholder.
        if inner || matches!(c, '[' | ']' | ',' | ';' | '{' | '}') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The placeholder for a file of the worker's asset folder.
pub fn asset(name: &str) -> String {
    format!("{ASSET}{name}}}")
}

/// A file of the asset folder is named without folders, so that nothing outside of it can be meant.
pub(crate) fn check_asset_name(name: &str) -> Result<(), Invalid> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_ASSET_NAME).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with('.')
    {
        return Ok(());
    }
    let name: String = name.chars().take(MAX_ASSET_NAME).collect();
    let why = "is not the name of an asset: use up to 64 letters, digits, '.', '_' and '-'";
    Err(Invalid::new(format!("{name:?} {why}")))
}

/// Puts the worker's own paths in the place of the placeholders of `graph`. A path that is not Unicode is refused.
pub fn fill(graph: &str, font: &Path, assets: &Path) -> Result<String, Invalid> {
    let as_value = |path: &Path| {
        let text = path.to_str().ok_or_else(|| {
            Invalid::new(format!("{} is not Unicode, and FFmpeg needs it so", path.display()))
        });
        text.map(value)
    };
    let mut out = String::with_capacity(graph.len());
    let mut rest = graph;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if let Some(after) = from.strip_prefix(FONT) {
            out.push_str(&as_value(font)?);
            after
        } else if let Some((name, after)) =
            from.strip_prefix(ASSET).and_then(|from| from.split_once('}'))
        {
            check_asset_name(name)?;
            out.push_str(&as_value(&assets.join(name))?);
            after
        } else {
            out.push('{');
            &from[1..]
        };
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// FFmpeg's `av_get_token`, after libavutil/avstring.c: the token, and what is left of the text.
    fn token<'a>(text: &'a str, ends: &str) -> (String, &'a str) {
        const BLANKS: [char; 4] = [' ', '\n', '\t', '\r'];
        let text = text.trim_start_matches(BLANKS);
        let (mut out, mut keep) = (String::new(), 0);
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if ends.contains(c) => {
                    out.truncate(keep.max(out.trim_end_matches(BLANKS).len()));
                    return (out, &text[at..]);
                }
                '\\' => {
                    out.push(chars.next().map_or('\\', |(_, c)| c));
                    keep = out.len();
                }
                '\'' => {
                    out.extend(chars.by_ref().map(|(_, c)| c).take_while(|&c| c != '\''));
                    keep = out.len();
                }
                c => out.push(c),
            }
        }
        out.truncate(keep.max(out.trim_end_matches(BLANKS).len()));
        (out, "")
    }

    /// What the filter is given for `value`, which stands before another option and another filter.
    fn as_read(value: &str) -> String {
        let graph = format!("{value}:size=1[out];null");
        let (options, rest) = token(&graph, "[],;");
        assert_eq!(rest, "[out];null", "{value:?} leaves its filter");
        let (read, rest) = token(&options, ":");
        assert_eq!(rest, ":size=1", "{value:?} leaves its option");
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_text_leaves_its_option(
            text in prop_oneof![r#"[\\':,;\[\]{}%= \n\ta\u{1F600}"|]{0,24}"#, r"\PC{0,24}", r"(\{font\}|\\|'){0,6}"],
        ) {
            prop_assert_eq!(as_read(&value(&text)), text.as_str());
            let (font, assets) = (Path::new("/font"), Path::new("/assets"));
            prop_assert_eq!(fill(&value(&text), font, assets).unwrap(), value(&text));
        }
    }

    #[test]
    fn a_text_that_a_c_string_cannot_hold_is_cut_of_its_nul() {
        assert_eq!(value("a\0b"), "ab");
    }

    #[test]
    fn placeholders_become_paths_and_paths_are_escaped() {
        let graph = format!(
            "movie=filename={},drawtext=fontfile={FONT}:text={}",
            asset("a-1.png"),
            value("{font}")
        );
        let filled = fill(&graph, Path::new("/it's {font}.ttf"), Path::new("/a:b")).unwrap();
        let font = value("/it's {font}.ttf");
        let expected =
            format!(r"movie=filename=/a\\\:b/a-1.png,drawtext=fontfile={font}:text=\{{font\}}");
        assert_eq!(filled, expected);
    }

    #[test]
    fn an_asset_is_never_outside_of_its_folder() {
        for bad in [
            "",
            ".",
            "..",
            "../a.png",
            "a/b.png",
            ".hidden",
            "a b",
            "ä.png",
            "a\\b",
            &"a".repeat(65),
        ] {
            assert!(check_asset_name(bad).is_err(), "{bad:?}");
            let placeholder = asset(bad);
            assert!(fill(&placeholder, Path::new("f"), Path::new("a")).is_err(), "{bad:?}");
        }
        check_asset_name("Logo_2.small-1.png").unwrap();
    }
}
