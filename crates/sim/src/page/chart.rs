//! A chart of lines as SVG.

use std::fmt::Write;

use super::escape;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 38.0;
/// Marks on the upright axis, about; twice as many on the other.
const MARKS: f64 = 5.0;

/// A chart under construction.
pub(super) struct Chart {
    x: (f64, f64),
    y: f64,
    body: String,
}

impl Chart {
    /// With x over this range, and y from 0 to at least `y`.
    pub fn new(x: (f64, f64), y: f64) -> Self {
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let step = nice(if y > 0.0 { y } else { 1.0 } / MARKS);
        Self { x, y: (y / step).ceil().max(1.0) * step, body: String::new() }
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part = ((x - self.x.0) / (self.x.1 - self.x.0)).clamp(0.0, 1.0);
        let up = (y / self.y).clamp(0.0, 1.0);
        (LEFT + part * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))
    }

    /// Grid and numbers; what the axes are called.
    pub fn axes(&mut self, x_name: &str, y_name: &str) {
        let step = nice(self.y / MARKS);
        for n in 0..=(self.y / step).round() as u32 {
            let value = f64::from(n) * step;
            let (_, y) = self.place((self.x.0, value));
            let right = WIDTH - RIGHT;
            self.put(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            ));
            let (x, y) = (LEFT - 6.0, y + 4.0);
            self.put(format_args!(
                "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                number(value)
            ));
        }
        let step = nice((self.x.1 - self.x.0) / MARKS / 2.0);
        let mut value = (self.x.0 / step).ceil() * step;
        while value <= self.x.1 {
            let ((x, _), y) = (self.place((value, 0.0)), HEIGHT - BOTTOM + 16.0);
            self.put(format_args!(
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                number(value)
            ));
            value += step;
        }
        let (x, y) = (WIDTH - RIGHT, HEIGHT - 6.0);
        self.put(format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{x_name}</text><text x=\"4\" y=\"14\">{y_name}</text>"));
    }

    /// A line through these points.
    pub fn line(&mut self, class: &str, name: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (n, point) in points.iter().enumerate() {
            let (pen, (x, y)) = (if n == 0 { 'M' } else { 'L' }, self.place(*point));
            // Writing to a string cannot fail.
            let _ = write!(path, "{pen}{x:.1} {y:.1}");
        }
        let name = escape(name);
        self.put(format_args!(
            "<path class=\"series {class}\" d=\"{path}\"><title>{name}</title></path>"
        ));
    }

    fn put(&mut self, part: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(part);
        self.body.push('\n');
    }

    /// The chart.
    pub fn svg(self, about: &str) -> String {
        let (about, body) = (escape(about), self.body);
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{about}\">\n{body}</svg>"
        )
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(power)
}

/// A number as short as it may be.
fn number(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_and_short() {
        for (rough, step) in [(0.3, 0.5), (1.0, 1.0), (1.2, 2.0), (37.0, 50.0), (70.0, 100.0)] {
            assert!((nice(rough) - step).abs() < 1e-9, "{rough}: {}", nice(rough));
        }
        assert_eq!(
            [0.0, 0.5, 12.0, 1500.0, 25_000.0, 3e6].map(number),
            ["0", "0.5", "12", "1500", "25k", "3M"]
        );
    }

    #[test]
    fn what_lies_outside_is_drawn_at_the_edge() {
        let chart = Chart::new((0.0, 10.0), 9.0);
        assert_eq!(chart.place((-5.0, 1e9)), (LEFT, TOP));
        assert_eq!(chart.y, 10.0);
    }
}
