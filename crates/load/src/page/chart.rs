//! A chart as SVG: axes, phases behind, lines or bars before.

use std::fmt::Write;

use super::escape;
use crate::summary::PhaseRecord;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 276.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 38.0;
/// Where the name of the upper axis stands, above those of phases.
const TITLE: f64 = 14.0;
const BOTTOM: f64 = 38.0;
/// Marks on an axis, about.
const MARKS: f64 = 5.0;
/// A phase narrower than this is marked without its name.
const NAMED_WIDTH: f64 = 40.0;
/// Width of a letter of a phase's name, about.
const LETTER: f64 = 6.5;

/// A chart under construction.
pub struct Chart {
    x: (f64, f64),
    y: f64,
    body: String,
}

impl Chart {
    /// With x over this range, and y from 0 to at least `y`.
    pub fn new(x: (f64, f64), y: f64) -> Self {
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let y = if y > 0.0 { y } else { 1.0 };
        let step = nice(y / MARKS);
        Self { x, y: (y / step).ceil() * step, body: String::new() }
    }

    fn place_x(&self, x: f64) -> f64 {
        let part = (x - self.x.0) / (self.x.1 - self.x.0);
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn place_y(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y / self.y).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    /// Every other phase is shaded; each is named where there is room.
    pub fn phases(&mut self, phases: &[PhaseRecord]) {
        for (n, phase) in phases.iter().enumerate() {
            let (from, to) = (self.place_x(phase.from_s), self.place_x(phase.to_s));
            let (width, name) = (to - from, escape(&phase.name));
            let class = if n % 2 == 0 { "class=\"phase\"" } else { "fill=\"transparent\"" };
            let height = HEIGHT - TOP - BOTTOM;
            self.put(format_args!(
                "<rect {class} x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">\
                 <title>{name}: {:.1}–{:.1} s</title></rect>",
                phase.from_s, phase.to_s
            ));
            if width >= NAMED_WIDTH.max(phase.name.len() as f64 * LETTER) {
                self.put(format_args!(
                    "<text x=\"{:.1}\" y=\"{}\">{name}</text>",
                    from + 4.0,
                    TOP - 7.0
                ));
            }
        }
    }

    /// Grid and numbers; what the axes are called.
    pub fn axes(&mut self, x_name: &str, y_name: &str) {
        self.axes_without_x(x_name, y_name);
        let step = nice((self.x.1 - self.x.0) / MARKS / 2.0);
        let mut value = (self.x.0 / step).ceil() * step;
        while value <= self.x.1 {
            self.x_mark(value, &number(value));
            value += step;
        }
    }

    /// The same without numbers below, for [`x_mark`](Self::x_mark) to set.
    pub fn axes_without_x(&mut self, x_name: &str, y_name: &str) {
        let step = nice(self.y / MARKS);
        for n in 0..=(self.y / step).round() as u32 {
            let (value, y) = (f64::from(n) * step, self.place_y(f64::from(n) * step));
            self.put(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            ));
        }
        self.names(x_name, y_name);
    }

    /// One number below the axis.
    pub fn x_mark(&mut self, value: f64, text: &str) {
        let x = self.place_x(value);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            HEIGHT - BOTTOM + 16.0
        ));
    }

    fn names(&mut self, x_name: &str, y_name: &str) {
        self.put(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{x_name}</text>\
             <text x=\"4\" y=\"{TITLE}\">{y_name}</text>",
            WIDTH - RIGHT,
            HEIGHT - 6.0
        ));
    }

    /// A line through these points; a gap where `None`.
    pub fn line(&mut self, class: &str, name: &str, points: &[(f64, Option<f64>)]) {
        let mut path = String::new();
        let mut pen = 'M';
        for (x, y) in points {
            match y {
                Some(y) => {
                    // Writing to a string cannot fail.
                    let _ = write!(path, "{pen}{:.1} {:.1}", self.place_x(*x), self.place_y(*y));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        let name = escape(name);
        self.put(format_args!(
            "<path class=\"series {class}\" d=\"{path}\"><title>{name}</title></path>"
        ));
    }

    /// A bar over a stretch of x, from one y to another, with what is told about it.
    pub fn bar(&mut self, class: &str, x: (f64, f64), y: (f64, f64), about: &str) {
        let (left, right) = (self.place_x(x.0), self.place_x(x.1));
        let (top, bottom) = (self.place_y(y.1), self.place_y(y.0));
        let (width, height) = ((right - left - 0.5).max(0.5), bottom - top);
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{}</title></rect>",
            escape(about)
        ));
    }

    fn put(&mut self, part: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(part);
        self.body.push('\n');
    }

    /// The chart.
    pub fn svg(self, about: &str) -> String {
        let about = escape(about);
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{about}\">\n{}</svg>",
            self.body
        )
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(power)
}

/// A number as short as it may be.
pub fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers() {
        for (rough, step) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (37.0, 50.0), (70.0, 100.0)] {
            assert!((nice(rough) - step).abs() < 1e-9, "{rough}: {}", nice(rough));
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, 12.0, 1500.0, 25_000.0, 3e6].map(number);
        assert_eq!(texts, ["0", "0.5", "12", "1500", "25k", "3M"]);
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_edge() {
        let chart = Chart::new((0.0, 10.0), 9.0);
        assert_eq!((chart.place_x(-5.0), chart.place_y(1e9)), (LEFT, TOP));
        assert_eq!(chart.y, 10.0);
    }
}
