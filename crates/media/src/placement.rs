//! How a session is placed, and how much it matters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a session's two legs are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// On one edge.
    #[default]
    Together,
    /// On two edges of different failure domains.
    Diverse,
}

impl Placement {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Placement::Together => "together",
            Placement::Diverse => "diverse",
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Placement {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "together" => Ok(Placement::Together),
            "diverse" => Ok(Placement::Diverse),
            _ => Err(format!("{s:?} is not a placement: use together or diverse")),
        }
    }
}

/// How much a session matters where there is not room for all: 0 (least) to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const MAX: Priority = Priority(9);

    /// `n` from 0 to 9.
    pub fn new(n: u8) -> Option<Self> {
        (n <= Self::MAX.0).then_some(Self(n))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority.0
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;
    fn try_from(n: u8) -> Result<Self, String> {
        Self::new(n).ok_or_else(|| format!("{n} is not a priority: use 0 (least) to 9"))
    }
}

impl FromStr for Priority {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let number: u8 = s.parse().map_err(|_| format!("{s:?} is not a priority: use 0 to 9"))?;
        number.try_into()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_read_and_bounds_are_kept() {
        for placement in [Placement::Together, Placement::Diverse] {
            assert_eq!(placement.to_string().parse(), Ok(placement));
        }
        assert!("both".parse::<Placement>().is_err());
        assert_eq!("9".parse(), Ok(Priority::MAX));
        assert!("10".parse::<Priority>().is_err() && "-1".parse::<Priority>().is_err());
        assert!(Priority::default() < Priority::MAX);
    }
}
