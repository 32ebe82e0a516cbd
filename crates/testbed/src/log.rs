//! What a process has logged, as JSON lines.

use std::{fmt, path::Path};

use serde_json::Value;

/// All lines so far, in order.
#[derive(Debug, Clone)]
pub struct Log(Vec<Line>);

/// One line.
#[derive(Debug, Clone)]
pub struct Line(Value);

impl Log {
    /// Reads a log; one that is not there yet is empty.
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // A line that is still being written, or a panic's message, is no JSON.
        Self(text.lines().filter_map(|line| serde_json::from_str(line).ok().map(Line)).collect())
    }

    /// The lines whose message is `message`.
    pub fn with<'a>(&'a self, message: &'a str) -> impl Iterator<Item = &'a Line> {
        self.0.iter().filter(move |line| line.text("message") == Some(message))
    }
}

impl Line {
    /// When it was written, as text that sorts by time.
    pub fn at(&self) -> &str {
        self.text("timestamp").unwrap_or_default()
    }

    /// A field, of the line itself or of the span it was written in.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let own = self.0.get(name);
        own.or_else(|| self.0.get("span").and_then(|span| span.get(name)))
    }

    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(Value::as_str)
    }

    /// Whether a field has this value, written as text.
    pub fn has(&self, name: &str, value: impl fmt::Display) -> bool {
        let text = |found: &Value| found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        self.field(name).map(text) == Some(value.to_string())
    }
}
