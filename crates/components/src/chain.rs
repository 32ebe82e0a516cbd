//! A chain of components on a source: checked as a whole, and named by what it is.

use std::{fmt, str::FromStr};

use gibbon_media::StreamName;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Format, InvalidSpec, Spec, Step,
    catalogue::{self, Component},
    components::mdc::Mdc,
    spec,
};

/// Components of one chain.
pub const MAX_COMPONENTS: usize = 16;
/// What the name of a chain's output adds to the name of its source at most: `/`, 16 digits and `.1`.
const SUFFIX: usize = 19;
/// Longest name of a stream.
const MAX_NAME: usize = 128;

/// Components in the order in which media pass them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The stream that they begin with.
    pub source: StreamName,
    /// The components.
    pub components: Vec<Spec>,
}

/// Why a chain cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There is nothing to do.
    #[error("a service needs at least one component")]
    Empty,
    /// There is too much.
    #[error("a service has at most {MAX_COMPONENTS} components, not {0}")]
    TooLong(usize),
    /// The name of the source leaves no room for that of the output.
    #[error("the name {0} is too long for a service: use at most 109 bytes")]
    Name(StreamName),
    /// One of them cannot be.
    #[error("component {number}, {component}: {why}")]
    Component {
        /// From 1 on.
        number: usize,
        /// Its name.
        component: String,
        /// Why not.
        why: String,
    },
}

/// A list of components as it is written: `scale height=360 | grayscale`.
pub fn parse(text: &str) -> Result<Vec<Spec>, InvalidSpec> {
    let parts = spec::split(text, |c| c == '|').ok_or_else(|| InvalidSpec::open_quote(text))?;
    parts.iter().map(|part| part.parse()).collect()
}

impl Chain {
    /// Checks each component against what comes to it from `format`, that of the source.
    pub fn check(&self, format: &Format) -> Result<Vec<Step>, ChainError> {
        match self.components.len() {
            0 => return Err(ChainError::Empty),
            1..=MAX_COMPONENTS => {}
            n => return Err(ChainError::TooLong(n)),
        }
        if self.source.as_str().len() + SUFFIX > MAX_NAME {
            return Err(ChainError::Name(self.source.clone()));
        }
        let mut steps: Vec<Step> = Vec::new();
        for (at, spec) in self.components.iter().enumerate() {
            let input = steps.last().map_or(format, |step| &step.output);
            let refused = |why: String| ChainError::Component {
                number: at + 1,
                component: spec.component.chars().take(64).collect(),
                why,
            };
            if input.divided {
                let why = "the stream has been divided into descriptions: mdc comes last";
                return Err(refused(why.to_owned()));
            }
            steps.push(catalogue::plan(spec, input).map_err(|why| refused(why.0))?);
        }
        Ok(steps)
    }

    /// The same chain with every parameter spelt out, so that equal chains are written alike.
    pub fn canonical(self) -> Result<Self, ChainError> {
        let spelt_out = |(at, spec): (usize, Spec)| {
            catalogue::spell_out(&spec).map_err(|why| ChainError::Component {
                number: at + 1,
                component: spec.component.chars().take(64).collect(),
                why: why.0,
            })
        };
        let components = self.components.into_iter().enumerate().map(spelt_out);
        Ok(Self { components: components.collect::<Result<_, _>>()?, ..self })
    }

    /// The first `length` components.
    pub fn prefix(&self, length: usize) -> Self {
        let components = self.components[..length.min(self.components.len())].to_vec();
        Self { source: self.source.clone(), components }
    }

    /// The name of what comes out: that of the source, and 16 hexadecimal digits that stand for the
    /// components. Equal (canonical) chains have equal names.
    pub fn stream(&self) -> StreamName {
        self.stream_of(0)
    }

    /// The name of what comes out of a replica: 0, or 1 for the warm standby. A plain feed of the standby has
    /// `.1` after its name, so that neither chain reads what the other makes. A divided stream has one name:
    /// viewers take a description from each.
    pub fn stream_of(&self, replica: u8) -> StreamName {
        let json = serde_json::to_vec(&self.components).unwrap_or_default();
        let apart = if replica == 0 || self.is_divided() { "" } else { ".1" };
        let name = format!("{}/{:016x}{apart}", self.source, xxh3_64(&json));
        // Checked chains leave room for it.
        name.parse().unwrap_or_else(|_| self.source.clone())
    }

    /// Whether two descriptions come out.
    fn is_divided(&self) -> bool {
        self.components.last().is_some_and(|spec| spec.component == Mdc::NAME)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components: Vec<String> = self.components.iter().map(Spec::to_string).collect();
        write!(f, "{}: {}", self.source, components.join(" | "))
    }
}

impl FromStr for Chain {
    type Err = String;
    /// As it is written: `live/bbb: scale height=360 | mdc`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (source, components) =
            text.split_once(':').ok_or("write SOURCE: COMPONENT | COMPONENT …")?;
        let source = source.trim().parse().map_err(|e| format!("{e}"))?;
        let components = parse(components).map_err(|e| e.to_string())?;
        Ok(Self { source, components })
    }
}
