//! WebVTT captions (W3C WebVTT, <https://www.w3.org/TR/webvtt1/>).

use std::time::Duration;

/// Cues in one file.
pub const MAX_CUES: usize = 100_000;
/// Bytes of text in one cue.
pub const MAX_CUE_TEXT: usize = 4096;

/// One caption of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// When it appears, from the start of the file.
    pub start: Duration,
    /// When it disappears; after `start`.
    pub end: Duration,
    /// WebVTT cue text; lines divided by `\n`.
    pub text: String,
}

/// Why a text is not WebVTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not valid WebVTT, line {line}: {problem}")]
pub struct Invalid {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The captions of a WebVTT text in order of their start. Notes, styles, regions, cue identifiers and
/// cue settings are passed over.
pub fn parse(text: &str) -> Result<Vec<Caption>, Invalid> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line)).peekable();
    let header = lines.next().map_or("", |(_, line)| line);
    if !header.strip_prefix("WEBVTT").is_some_and(|r| r.is_empty() || r.starts_with([' ', '\t'])) {
        return Err(Invalid { line: 1, problem: "the first line must be WEBVTT" });
    }
    let mut captions = Vec::new();
    while let Some((line, content)) = lines.next() {
        let is_timing = content.contains("-->");
        let mut timing_next = || lines.peek().is_some_and(|(_, next)| next.contains("-->"));
        if !is_timing && (content.is_empty() || timing_next()) {
            // A blank line, or a cue's identifier.
            continue;
        }
        let mut body = String::new();
        let take = |(_, line): &(usize, &str)| !line.is_empty() && !line.contains("-->");
        while let Some((_, more)) = lines.next_if(take) {
            if body.len() + more.len() >= MAX_CUE_TEXT {
                return Err(Invalid { line, problem: "a cue of more than 4096 bytes" });
            }
            if !body.is_empty() {
                body.push('\n');
            }
            body.push_str(more);
        }
        if !is_timing {
            continue;
        }
        let (start, end) = timing(content).map_err(|problem| Invalid { line, problem })?;
        if captions.len() == MAX_CUES {
            return Err(Invalid { line, problem: "more than 100000 cues" });
        }
        captions.push(Caption { start, end, text: body });
    }
    captions.sort_by_key(|caption| caption.start);
    Ok(captions)
}

/// `start --> end settings…`
fn timing(line: &str) -> Result<(Duration, Duration), &'static str> {
    const SHAPE: &str = "cue times must read [hh:]mm:ss.ttt --> [hh:]mm:ss.ttt";
    let (start, rest) = line.split_once("-->").ok_or(SHAPE)?;
    let start = timestamp(start.trim()).ok_or(SHAPE)?;
    let end = rest.split_whitespace().next().and_then(timestamp).ok_or(SHAPE)?;
    if end > start { Ok((start, end)) } else { Err("a cue must end after it starts") }
}

/// `[hh:]mm:ss.ttt`
fn timestamp(text: &str) -> Option<Duration> {
    let (clock, millis) = text.split_once('.')?;
    let number = |part: &str, digits: std::ops::RangeInclusive<usize>, below: u64| {
        let plain = digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u64>().ok().filter(|n| plain && *n < below)
    };
    let parts: Vec<&str> = clock.splitn(4, ':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] => (0, minutes, seconds),
        [hours, minutes, seconds] => (number(hours, 2..=5, 100_000)?, minutes, seconds),
        _ => return None,
    };
    let seconds = hours * 3600 + number(minutes, 2..=2, 60)? * 60 + number(seconds, 2..=2, 60)?;
    Some(Duration::from_millis(seconds * 1000 + number(millis, 3..=3, 1000)?))
}

/// Cue text for players that know no WebVTT (SubRip): `<b>`, `<i>` and `<u>` stay, other tags go,
/// character references are resolved.
pub(crate) fn to_subrip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tagged)) = rest.split_once('<') {
        out.push_str(before);
        let Some((tag, after)) = tagged.split_once('>') else {
            rest = "";
            break;
        };
        if matches!(tag.trim_start_matches('/'), "b" | "i" | "u") {
            out.extend(["<", tag, ">"]);
        }
        rest = after;
    }
    out.push_str(rest);
    const REFERENCES: [(&str, &str); 6] = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&nbsp;", "\u{a0}"),
        ("&lrm;", "\u{200e}"),
        ("&rlm;", "\u{200f}"),
        ("&amp;", "&"),
    ];
    REFERENCES.iter().fold(out, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn cues_are_read_past_notes_styles_identifiers_and_settings() {
        let text = "\u{feff}WEBVTT - title\r\nKind: captions\r\n\r\nNOTE about\r\nthis\r\n\r\nSTYLE\r\n::cue{}\r\n\r\n\
            2\r\n00:02.000 --> 100:00:03.500 align:start\r\nsecond\r\nline\r\n\r\n\
            00:00:01.000 --> 00:01.001\r\n\r\n\
            first\r\n00:00.250 --> 00:02.000\r\n<i>zeroth</i>";
        let caption =
            |start, end, text: &str| Caption { start: ms(start), end: ms(end), text: text.into() };
        assert_eq!(
            parse(text),
            Ok(vec![
                caption(250, 2000, "<i>zeroth</i>"),
                caption(1000, 1001, ""),
                caption(2000, 360_003_500, "second\nline"),
            ])
        );
    }

    #[test]
    fn what_is_not_webvtt_is_refused_with_its_line() {
        let cases = [
            ("", 1),
            ("1\n00:00:01,000 --> 00:00:02,000\nsubrip", 1),
            ("WEBVTTX", 1),
            ("WEBVTT\n\n00:01 --> 00:02.000\nx", 3),
            ("WEBVTT\n\nid\n00:01.000 --> 00:61.000\nx", 4),
            ("WEBVTT\n\n00:02.000 --> 00:02.000\nx", 3),
            ("WEBVTT\n\n00:02.000 -->\nx", 3),
            ("WEBVTT\n\n00:+2.000 --> 00:03.000", 3),
        ];
        for (text, line) in cases {
            assert_eq!(parse(text).map_err(|e| e.line), Err(line), "{text:?}");
        }
    }

    #[test]
    fn the_size_of_cues_and_files_is_bounded() {
        let long = format!("WEBVTT\n\n00:00.000 --> 00:01.000\n{}", "x".repeat(MAX_CUE_TEXT));
        assert_eq!(parse(&long).map_err(|e| e.line), Err(3));
        let many = format!("WEBVTT\n\n{}", "00:00.000 --> 00:01.000\n".repeat(MAX_CUES + 1));
        assert_eq!(parse(&many).map_err(|e| e.line), Err(MAX_CUES + 3));
    }

    #[test]
    fn subrip_keeps_plain_tags_only() {
        assert_eq!(
            to_subrip("<v Ann>1 &lt; 2 &amp;amp; <i>so</i> <c.red>on</c> <broken"),
            "1 < 2 &amp; <i>so</i> on "
        );
    }
}
