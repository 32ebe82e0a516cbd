//! Why a hand-off: kept with it for as long as it is remembered, and told to whoever asks.

use std::time::Duration;

use gibbon_control::portal::{
    self, DecidedBy, Foreseen, HandoffInfo, HandoffWhy, WhyAlternative, WhyInput,
};
use gibbon_handoff::Cause;
use gibbon_media::{MediaTime, NodeId};
use gibbon_placement::foresight;

/// Inputs and alternatives that are kept of one decision.
const MAX_KEPT: usize = 64;
/// Whoever knows it by itself.
const COORDINATOR: &str = "the coordinator";

/// What a hand-off was decided from.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounds {
    /// Why these edges, in a few words.
    pub selection: String,
    /// Why at all.
    pub told: portal::Grounds,
}

impl Grounds {
    /// Of a hand-off for a reason that needs no weighing.
    pub fn short(now: MediaTime, by: DecidedBy, because: String, selection: String) -> Self {
        Self { selection, told: plain(now, by, because) }
    }

    /// Of one that was foreseen, or that has been weighed by what is.
    pub fn weighed(now: MediaTime, by: DecidedBy, why: foresight::Why) -> Self {
        let need = now + Duration::from_millis(why.need_in_ms);
        let foreseen =
            Foreseen { need_us: need.as_micros(), lead_ms: why.lead_ms, gain_s: why.gain_s };
        let input = |input: foresight::why::Input| WhyInput {
            name: input.name,
            value: input.value,
            unit: input.unit,
            source: input.source,
            age_ms: input.age_ms,
            weight: input.weight,
        };
        let alternative = |considered: foresight::why::Considered| WhyAlternative {
            edges: considered.edges,
            cost: considered.cost,
            reason: considered.reason,
        };
        let need_in_s = why.need_in_ms as f64 / 1000.0;
        let told = portal::Grounds {
            foreseen: Some(foreseen),
            inputs: why.inputs.into_iter().take(MAX_KEPT).map(input).collect(),
            alternatives: why.alternatives.into_iter().take(MAX_KEPT).map(alternative).collect(),
            ..plain(now, by, why.prediction)
        };
        let gain_s = why.gain_s;
        Self {
            selection: format!("it gains {gain_s:.1} s, and is needed in {need_in_s:.1} s"),
            told,
        }
    }

    /// The same, with something more that was known.
    pub fn knowing(mut self, input: WhyInput) -> Self {
        if self.told.inputs.len() < MAX_KEPT {
            self.told.inputs.push(input);
        }
        self
    }

    /// For the portal.
    pub fn told(&self, of: &HandoffInfo) -> HandoffWhy {
        let HandoffInfo { handoff, session, cause, .. } = *of;
        HandoffWhy { handoff, session, cause, grounds: self.told.clone() }
    }
}

/// What needs no weighing.
pub fn plain(now: MediaTime, by: DecidedBy, because: String) -> portal::Grounds {
    portal::Grounds {
        because,
        decided_by: by,
        decided_us: now.as_micros(),
        foreseen: None,
        inputs: Vec::new(),
        alternatives: Vec::new(),
    }
}

/// Something known for sure.
pub fn fact(name: String, value: f64, unit: &str, source: String, age: Duration) -> WhyInput {
    let age_ms = age.as_millis() as u64;
    WhyInput { name, value, unit: unit.to_owned(), source, age_ms, weight: 1.0 }
}

/// The same, known by the coordinator itself.
pub fn own(name: String, value: f64, unit: &str) -> WhyInput {
    fact(name, value, unit, COORDINATOR.to_owned(), Duration::ZERO)
}

/// What has happened at an edge or a worker, that it is left for this cause.
pub fn happened(cause: Cause, edge: &NodeId) -> String {
    match cause {
        Cause::Operator => "somebody asked for it".to_owned(),
        Cause::Drain => format!("{edge} is being emptied"),
        Cause::Network => format!("the client complains of what comes from {edge}"),
        Cause::Load => format!("{edge} carries too much"),
        Cause::Location => format!("the client is far from {edge}"),
        Cause::Maintenance => format!("{edge} goes away, as announced"),
        Cause::Failure => format!("{edge} is lost, or too close to the edge of the other leg"),
    }
}

/// The cause as hand-offs have it.
pub fn cause(cause: foresight::Cause) -> Cause {
    match cause {
        foresight::Cause::Network => Cause::Network,
        foresight::Cause::Load => Cause::Load,
        foresight::Cause::Location => Cause::Location,
        foresight::Cause::Maintenance => Cause::Maintenance,
        foresight::Cause::Failure => Cause::Failure,
    }
}
