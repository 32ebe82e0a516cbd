//! Why viewers see less than they should, or why they might.

use serde::{Deserialize, Serialize};

/// What brings trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Programmes begin at fixed times.
    Season,
    /// Other work on an edge grows slowly, as does the audience through the day.
    Trend,
    /// Clients move.
    Motion,
    /// Edges go at an announced time.
    Maintenance,
    /// Everybody comes at once, at no time that anybody knew.
    FlashCrowd,
    /// Edges are lost together.
    Outage,
    /// The paths to some edges become slowly worse.
    Degradation,
    /// … or all at once.
    Breakdown,
}

impl Cause {
    /// Every one.
    pub const ALL: [Cause; 8] = [
        Cause::Season,
        Cause::Trend,
        Cause::Motion,
        Cause::Maintenance,
        Cause::FlashCrowd,
        Cause::Outage,
        Cause::Degradation,
        Cause::Breakdown,
    ];

    /// Whether the bar for what can be foreseen counts it.
    pub fn is_foreseeable(self) -> bool {
        matches!(self, Cause::Season | Cause::Trend | Cause::Motion | Cause::Maintenance)
    }

    /// The word for it in JSON and on the page.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Season => "season",
            Cause::Trend => "trend",
            Cause::Motion => "motion",
            Cause::Maintenance => "maintenance",
            Cause::FlashCrowd => "flash_crowd",
            Cause::Outage => "outage",
            Cause::Degradation => "degradation",
            Cause::Breakdown => "breakdown",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// A number for each cause.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ByCause(pub [f64; Cause::ALL.len()]);

impl ByCause {
    pub fn add(&mut self, cause: Cause, amount: f64) {
        self.0[cause.index()] += amount;
    }

    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}
