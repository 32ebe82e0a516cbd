//! How a run goes, while it goes: bars on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{lock, summary::Moment};

/// Without a terminal the summary is a line every so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Rates are over the last so many samples.
const RATE_OVER: usize = 4;

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Shown {
    Bars { phases: ProgressBar, counts: ProgressBar },
    Lines,
    Nothing,
}

#[derive(Debug, Default)]
struct State {
    line: Option<Instant>,
    recent: Vec<Moment>,
}

impl Progress {
    /// Of a run of so many phases.
    pub fn new(scenario: &str, phases: usize, quiet: bool) -> Self {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, false) => Shown::Lines,
            (false, true) => {
                let both = MultiProgress::new();
                let bar = ProgressBar::new(phases as u64).with_prefix(scenario.to_owned());
                Shown::Bars {
                    phases: both.add(
                        bar.with_style(style("{prefix} {bar:24} {pos}/{len} {msg}  {elapsed}")),
                    ),
                    counts: both
                        .add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}"))),
                }
            }
        };
        Self { shown, state: Mutex::default() }
    }

    /// What is going on beside the phases.
    pub fn say(&self, what: &str) {
        match &self.shown {
            Shown::Bars { phases, .. } => phases.set_message(what.to_owned()),
            Shown::Lines => eprintln!("{what}"),
            Shown::Nothing => {}
        }
    }

    /// A phase begins, after so many that are over.
    pub fn phase(&self, over: usize, name: &str) {
        if let Shown::Bars { phases, .. } = &self.shown {
            phases.set_position(over as u64);
        }
        self.say(name);
    }

    /// The newest sample.
    pub fn show(&self, sample: &Moment) {
        let mut state = lock(&self.state);
        state.recent.push(sample.clone());
        if state.recent.len() > RATE_OVER {
            state.recent.remove(0);
        }
        let line = line(&state.recent);
        match &self.shown {
            Shown::Bars { phases, counts } => {
                counts.set_message(line);
                counts.tick();
                phases.tick();
            }
            Shown::Lines if state.line.is_none_or(|last| last.elapsed() >= LINE_EVERY) => {
                state.line = Some(Instant::now());
                eprintln!("{line}");
            }
            Shown::Lines | Shown::Nothing => {}
        }
    }

    /// It is over.
    pub fn finish(&self) {
        if let Shown::Bars { phases, counts } = &self.shown {
            phases.finish_and_clear();
            counts.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are of this file, and valid.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What there is, in a line.
fn line(recent: &[Moment]) -> String {
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return String::new() };
    let (now, seconds) = (&last.count, (last.at_s - first.at_s).max(1e-3));
    let rate = (now.frames - first.count.frames) as f64 / seconds;
    let mut line = format!(
        "{:6.1} s  {} sessions, {} playing, {rate:.0} frames/s; side {}, frozen {}; legs moved {}, lost {}",
        last.at_s, now.open, now.playing, now.side, now.frozen, now.attached, now.lost,
    );
    if now.failed > 0 {
        line += &format!("; {} failed", now.failed);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::Count;

    #[test]
    fn the_line_tells_rates_over_the_last_samples() {
        let sample = |at_s, frames| Moment {
            at_s,
            count: Count { open: 3, playing: 2, frames, failed: 1, ..Count::default() },
            ..Moment::default()
        };
        let line = line(&[sample(1.0, 100), sample(2.0, 300), sample(3.0, 400)]);
        assert!(
            line.contains("3 sessions, 2 playing, 150 frames/s") && line.ends_with("1 failed"),
            "{line}"
        );
    }
}
