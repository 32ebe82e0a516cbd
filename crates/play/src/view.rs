//! The live view of a session on stderr: a few lines drawn again in place where that is a terminal, with
//! what happens scrolling by above them; else a line for each thing that happens and one of status now
//! and then. What a view says is pure ([`render`], `summary`); [`View`] only writes it.

#[cfg(test)]
mod tests;

use std::{
    io::{IsTerminal, Stderr, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crossterm::{cursor, queue, terminal};
use gibbon_client::{LEAVING, Snapshot};
use gibbon_mdc::{AudioStats, ByteStats, FrameStats, TextStats};
use gibbon_media::{Description, NodeId};

use crate::{
    report::{HandoffRecord, Recovery, Report},
    timeline::duration,
};

/// A terminal is drawn at most this often.
const REDRAW: Duration = Duration::from_millis(200);
/// Elsewhere the status is told this often.
const STATUS: Duration = Duration::from_secs(5);
/// Of what comes from outside, at most this many characters are printed.
const MAX_TEXT: usize = 300;
/// Columns of the names of rows.
const NAMES: usize = 15;
/// A terminal that does not tell its size: columns and rows.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// The lines of a live view, none wider than `width` characters, with escape codes only for `colour`.
pub fn render(snapshot: &Snapshot, width: u16, colour: bool) -> Vec<String> {
    let Snapshot { stats, .. } = snapshot;
    let ms = |ms: Option<u64>| ms.map_or("–".into(), |ms| format!("{ms} ms"));
    let details =
        format!("  session {}  {:.1} s", snapshot.session, snapshot.elapsed.as_secs_f64());
    let mut lines = vec![Line::default().and(Ink::Bold, &snapshot.stream).and(Ink::Dim, &details)];
    lines.extend(Description::BOTH.map(|description| leg(snapshot, description)));
    let times = format!("{} buffer, {} latency", ms(snapshot.buffer_ms), ms(snapshot.latency_ms));
    lines.extend([
        frames(&stats.frames),
        sound_and_text(&stats.audio, &stats.text),
        received(&stats.bytes, snapshot.elapsed),
        Line::named("in time").and(Ink::Plain, &times),
        Line::named("caption").and(Ink::Plain, snapshot.caption.as_deref().unwrap_or_default()),
    ]);
    lines.into_iter().map(|line| line.print(width.into(), colour)).collect()
}

fn leg(snapshot: &Snapshot, description: Description) -> Line {
    let line = Line::named(&format!("description {description}"));
    let line = match &snapshot.legs[description.index()] {
        Some(edge) => line.and(Ink::Plain, edge.as_str()),
        None => line.and(Ink::Bad, snapshot.without[description.index()].unwrap_or("no edge")),
    };
    match &snapshot.attaching[description.index()] {
        Some(edge) => line.and(Ink::Warn, &format!("  → {edge}")),
        None => line,
    }
}

/// The same on one line, for a log.
fn status(snapshot: &Snapshot) -> String {
    let [first, second] =
        snapshot.legs.each_ref().map(|leg| leg.as_ref().map_or("no edge", NodeId::as_str));
    let FrameStats { central, side, frozen, .. } = snapshot.stats.frames;
    let latency = snapshot.latency_ms.map(|ms| format!(", latency {ms} ms")).unwrap_or_default();
    format!(
        "0 from {first}, 1 from {second}: {central} central, {side} side, {frozen} frozen, \
         {} ms of sound missing{latency}",
        snapshot.stats.audio.gap_ms
    )
}

/// What a session was like, and which files tell more.
fn summary(report: &Report, written: &[(&str, PathBuf)]) -> Vec<Line> {
    let details = format!("  session {}  {}", report.session, duration(report.duration_ms));
    let delay = &report.playout_delay_ms;
    let mut times = format!("{} ms playout delay", delay.latest);
    if delay.max > delay.initial {
        times += &format!(" (at first {} ms, at most {} ms)", delay.initial, delay.max);
    }
    if let Some(latency) = &report.latency_ms {
        times += &format!(", latency {} ms (p50), {} ms (p99)", latency.p50, latency.p99);
    }
    let length = Duration::from_millis(report.duration_ms);
    let mut lines = vec![
        Line::default(),
        Line::default().and(Ink::Bold, report.stream.as_str()).and(Ink::Dim, &details),
        frames(&report.frames),
        sound_and_text(&report.audio, &report.text),
        received(&report.bytes, length),
        Line::named("in time").and(Ink::Plain, &times),
    ];
    if report.display.late + report.display.failed > 0 {
        let display = &report.display;
        lines.push(Line::named("player").and(
            Ink::Warn,
            &format!(
                "{} frames displayed late, by {} at most; {} not decoded",
                display.late,
                duration(display.worst_ms),
                display.failed
            ),
        ));
    }
    lines.extend(report.handoffs.iter().map(handoff));
    lines.extend(report.recoveries.iter().map(recovery));
    for (what, file) in written {
        lines.push(Line::named(what).and(Ink::Plain, &file.display().to_string()));
    }
    lines.push(conclusion(report));
    lines
}

fn frames(frames: &FrameStats) -> Line {
    let mut line = Line::named("frames").and(Ink::Good, &format!("{} central", frames.central));
    for (count, word, ink) in
        [(frames.side, "side", Ink::Warn), (frames.frozen, "frozen", Ink::Bad)]
    {
        line = line.and(if count > 0 { ink } else { Ink::Plain }, &format!("  {count} {word}"));
    }
    if frames.side_chosen > 0 {
        line = line.and(Ink::Dim, &format!("  ({} of side by choice)", frames.side_chosen));
    }
    line
}

fn sound_and_text(audio: &AudioStats, text: &TextStats) -> Line {
    let line = Line::named("sound, text");
    let line = match audio.gap_ms {
        0 => line.and(Ink::Plain, "no gap"),
        gap => line.and(Ink::Bad, &format!("{} missing", duration(gap))),
    };
    let line = line.and(Ink::Plain, &format!("  {} cues", text.cues));
    match text.missed {
        0 => line,
        missed => line.and(Ink::Bad, &format!("  {missed} missed")),
    }
}

fn received(bytes: &ByteStats, within: Duration) -> Line {
    let all = (bytes.media + bytes.duplicate) as f64;
    let rate = all * 8.0 / within.as_secs_f64().max(1e-3) / 1e6;
    let text = format!(
        "{:.1} MB, {rate:.2} Mbit/s; {:.2} MB of it twice ({:.1} %)",
        all / 1e6,
        bytes.duplicate as f64 / 1e6,
        100.0 * bytes.duplicate as f64 / all.max(1.0)
    );
    Line::named("received").and(Ink::Plain, &text)
}

/// `edge-a → edge-b  completed in 4.6 s: 1 after 1.1 s, 0 after 3.1 s; 32 frames twice`
fn handoff(record: &HandoffRecord) -> Line {
    let steps = || record.steps.iter();
    let begun = record.selected_ms.or(steps().find_map(|s| s.prefetch_sent_ms.or(s.attached_ms)));
    let since = |ms: u64| duration(ms.saturating_sub(begun.unwrap_or(ms)));
    let ink = match record.outcome.as_str() {
        "completed" => Ink::Good,
        "rolled_back" => Ink::Warn,
        "failed" => Ink::Bad,
        _ => Ink::Plain,
    };
    let mut result = record.outcome.replace('_', " ");
    if let Some(ms) = record.completed_ms {
        result += &format!(" in {}", since(ms));
    }
    if let Some(reason) = &record.reason {
        result += &format!(" ({})", reason.replace('_', " "));
    }
    let attached: Vec<String> = steps()
        .filter_map(|s| Some(format!("{} after {}", s.description, since(s.attached_ms?))))
        .collect();
    let twice: u64 = steps().map(|s| s.duplicate_frames).sum();
    Line::named("hand-off")
        .and(Ink::Plain, &format!("{} → {}  ", record.from, record.to))
        .and(ink, &result)
        .and(Ink::Plain, &format!("  {}; {twice} frames twice", attached.join(", ")))
}

fn recovery(recovery: &Recovery) -> Line {
    let Recovery { description, from, to, cause, .. } = recovery;
    let begun = recovery.last_frame_ms.unwrap_or(recovery.detected_ms);
    let text = match (to, recovery.attached_ms) {
        (Some(to), Some(ms)) => {
            format!("description {description} from {to} in {}", duration(ms.saturating_sub(begun)))
        }
        _ => format!("nobody took over description {description}"),
    };
    if cause == LEAVING {
        return Line::named("crossing")
            .and(Ink::Plain, &format!("{from} wanted to be left: {text}"));
    }
    Line::named("recovery").and(Ink::Warn, &format!("{from} lost ({cause}): {text}"))
}

/// Whether the viewer saw or heard anything amiss.
fn conclusion(report: &Report) -> Line {
    let frames = &report.frames;
    let side = frames.side - frames.side_chosen.min(frames.side);
    if frames.expected == 0 {
        return Line::default().and(Ink::Bad, "Nothing was displayed.");
    }
    let amiss: Vec<String> = [
        ("frozen frames", frames.frozen, ""),
        ("side frames", side, ""),
        ("sound missing", report.audio.gap_ms, " ms"),
        ("cues missed", report.text.missed, ""),
    ]
    .iter()
    .filter(|(_, count, _)| *count > 0)
    .map(|(what, count, unit)| format!("{what} {count}{unit}"))
    .collect();
    if amiss.is_empty() {
        Line::default().and(Ink::Good, "Undisturbed: the viewer noticed nothing.")
    } else {
        Line::default().and(Ink::Bad, &format!("Disturbed: {}.", amiss.join(", ")))
    }
}

/// How a run of text looks.
#[derive(Debug, Clone, Copy)]
enum Ink {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

impl Ink {
    /// Its escape code (ECMA-48, select graphic rendition).
    fn code(self) -> &'static str {
        match self {
            Ink::Plain => "",
            Ink::Dim => "\x1b[2m",
            Ink::Bold => "\x1b[1m",
            Ink::Good => "\x1b[32m",
            Ink::Warn => "\x1b[33m",
            Ink::Bad => "\x1b[1;31m",
        }
    }
}

/// A line of runs of text.
#[derive(Debug, Default)]
struct Line(Vec<(Ink, String)>);

impl Line {
    /// A row that begins with its name.
    fn named(name: &str) -> Self {
        Self::default().and(Ink::Dim, &format!("  {name:<NAMES$}"))
    }

    /// Nothing in `text` moves the cursor or changes colours, wherever it comes from.
    fn and(mut self, ink: Ink, text: &str) -> Self {
        let text = text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c });
        self.0.push((ink, text.collect()));
        self
    }

    fn print(&self, width: usize, colour: bool) -> String {
        let (mut line, mut left) = (String::new(), width);
        for (ink, text) in &self.0 {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            match ink.code() {
                "" => line += &text,
                _ if !colour || text.is_empty() => line += &text,
                code => line += &format!("{code}{text}\x1b[0m"),
            }
        }
        line
    }
}

/// Shows a session. It takes nothing from the terminal: the cursor stays visible and below what is drawn,
/// so whatever ends the process leaves a usable shell. Errors of writing are nobody's concern here.
#[derive(Debug)]
pub struct View<W: Write = Stderr> {
    out: W,
    /// Columns and rows of the terminal, if it is one.
    terminal: Option<fn() -> (u16, u16)>,
    colour: bool,
    /// What a terminal shows: the session as last drawn, and on how many lines.
    shown: Option<Snapshot>,
    lines: u16,
    /// When the status was told last.
    told: Duration,
    written: Vec<(&'static str, PathBuf)>,
}

impl View<Stderr> {
    /// A view on stderr: live on a terminal, in colour unless `NO_COLOR` is set (<https://no-color.org>).
    #[allow(clippy::new_without_default)] // It looks at the environment.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let terminal = std::io::stderr().is_terminal() && !dumb;
        let size: fn() -> (u16, u16) = || terminal::size().unwrap_or(UNKNOWN_SIZE);
        Self::on(std::io::stderr(), terminal.then_some(size), terminal && colour)
    }
}

impl<W: Write> View<W> {
    fn on(out: W, terminal: Option<fn() -> (u16, u16)>, colour: bool) -> Self {
        let (shown, told) = (None, Duration::ZERO);
        Self { out, terminal, colour, shown, lines: 0, told, written: Vec::new() }
    }

    /// Something has happened, `elapsed` after session start.
    pub fn event(&mut self, elapsed: Duration, text: &str) {
        let stamp = format!("{:>8.2} s  ", elapsed.as_secs_f64());
        self.scroll(&[Line::default().and(Ink::Dim, &stamp).and(Ink::Plain, text)]);
    }

    /// The session stands so. Call it as often as you like.
    pub fn update(&mut self, snapshot: &Snapshot) {
        if self.terminal.is_none() {
            if snapshot.elapsed >= self.told + STATUS {
                self.told = snapshot.elapsed;
                self.event(snapshot.elapsed, &status(snapshot));
            }
            return;
        }
        let drawn = self.shown.as_ref().map(|shown| shown.elapsed + REDRAW);
        if drawn.is_none_or(|again| snapshot.elapsed >= again) {
            self.shown = Some(snapshot.clone());
            self.scroll(&[]);
        }
    }

    /// A file is named in the summary, after `what` it holds.
    pub fn wrote(&mut self, what: &'static str, file: &Path) {
        self.written.push((what, file.to_owned()));
    }

    /// The session is over: says what it was like.
    pub fn finish(mut self, report: &Report) {
        self.shown = None;
        self.scroll(&summary(report, &self.written));
    }

    /// Prints lines that stay above what is shown, and that again.
    fn scroll(&mut self, lines: &[Line]) {
        let drawn = match self.terminal {
            Some(size) => self.draw(lines, size()),
            None => self.append(lines),
        };
        // A session goes on without its view.
        let _ = drawn.and_then(|()| self.out.flush());
    }

    fn append(&mut self, lines: &[Line]) -> std::io::Result<()> {
        for line in lines {
            writeln!(self.out, "{}", line.print(usize::MAX, self.colour))?;
        }
        Ok(())
    }

    /// One write, so that nothing flickers; lines too wide are cut, not wrapped, so that they can be
    /// counted.
    fn draw(&mut self, lines: &[Line], (width, height): (u16, u16)) -> std::io::Result<()> {
        let mut shown = match &self.shown {
            Some(snapshot) => render(snapshot, width, self.colour),
            None => Vec::new(),
        };
        shown.truncate(usize::from(height.saturating_sub(1)));
        let mut frame = Vec::new();
        queue!(frame, terminal::BeginSynchronizedUpdate)?;
        if self.lines > 0 {
            queue!(frame, cursor::MoveToPreviousLine(self.lines))?;
        }
        queue!(frame, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        for line in lines {
            writeln!(frame, "{}", line.print(usize::MAX, self.colour))?;
        }
        queue!(frame, terminal::DisableLineWrap)?;
        for line in &shown {
            writeln!(frame, "{line}")?;
        }
        queue!(frame, terminal::EnableLineWrap, terminal::EndSynchronizedUpdate)?;
        self.lines = shown.len() as u16;
        self.out.write_all(&frame)
    }
}
