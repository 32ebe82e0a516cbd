//! What was told and cannot be, by who told it and what was wrong.

use std::collections::BTreeMap;

use gibbon_control::telemetry::Absurd;

/// Who tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A node, of itself.
    Node,
    /// A client, of its paths and of where it is.
    Client,
    /// A node, of its path to another one.
    Link,
    /// An origin, of what it publishes.
    Origin,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 4] = [Source::Node, Source::Client, Source::Link, Source::Origin];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Node => "node",
            Source::Client => "client",
            Source::Link => "link",
            Source::Origin => "origin",
        }
    }
}

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is not understood.
    Malformed,
    /// It is no number.
    NotANumber,
    /// It is out of bounds.
    OutOfBounds,
    /// It was so long ago that it says nothing, as by a clock that is off.
    Old,
    /// Nobody moves that fast, or leaps that far.
    Unlikely,
    /// It is told too often.
    TooOften,
    /// There is more of it than one may tell.
    TooMuch,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 7] = [
        Reason::Malformed,
        Reason::NotANumber,
        Reason::OutOfBounds,
        Reason::Old,
        Reason::Unlikely,
        Reason::TooOften,
        Reason::TooMuch,
    ];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::NotANumber => "not_a_number",
            Reason::OutOfBounds => "out_of_bounds",
            Reason::Old => "old",
            Reason::Unlikely => "unlikely",
            Reason::TooOften => "too_often",
            Reason::TooMuch => "too_much",
        }
    }
}

impl From<Absurd> for Reason {
    fn from(absurd: Absurd) -> Self {
        if absurd.is_no_number() { Reason::NotANumber } else { Reason::OutOfBounds }
    }
}

/// Counts.
#[derive(Debug, Default)]
pub struct Refused(BTreeMap<(Source, Reason), u64>);

impl Refused {
    /// Once more.
    pub fn count(&mut self, source: Source, reason: Reason) {
        *self.0.entry((source, reason)).or_default() += 1;
    }

    /// How often.
    pub fn of(&self, source: Source, reason: Reason) -> u64 {
        self.0.get(&(source, reason)).copied().unwrap_or(0)
    }
}
