//! What happens in a session, and how that is put in words.

use gibbon_handoff::{ToClient, client::Note};
use gibbon_media::{Description, NodeId};

use crate::journal::reason_word;

/// Something that has happened in a session.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// An order came, for the first time.
    Ordered(&'a ToClient),
    /// The hands have done something.
    Done(&'a Note),
    /// An edge refused a description, or ended it.
    Refused {
        /// The description.
        description: Description,
        /// The edge.
        edge: &'a NodeId,
        /// What it said.
        why: &'a str,
    },
    /// A connection is gone.
    Closed {
        /// The edge it led to.
        edge: &'a NodeId,
        /// Why.
        why: &'a str,
    },
    /// An edge wants to be left.
    Leaving {
        /// The edge.
        edge: &'a NodeId,
    },
    /// A description is done without.
    Without {
        /// The description.
        description: Description,
        /// Why.
        why: &'static str,
    },
    /// A leg that had fallen silent delivers again.
    Again {
        /// Its description.
        description: Description,
        /// Its edge.
        edge: &'a NodeId,
    },
}

impl Happening<'_> {
    /// For people; none if it is nothing to tell them.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Ordered(order) => of_order(order),
            Self::Done(note) => return of_note(note),
            Self::Refused { description, edge, why } => format!("{description} of {edge}: {why}"),
            Self::Closed { edge, why } => format!("connection to {edge} closed: {why}"),
            Self::Leaving { edge } => format!("{edge} wants to be left"),
            Self::Without { description, why } => format!("description {description} {why}"),
            Self::Again { description, edge } => {
                format!("description {description} from {edge} again")
            }
        })
    }
}

fn of_order(order: &ToClient) -> String {
    match order {
        ToClient::Attach { description, from, to, start, .. } => {
            format!(
                "order: take description {description} from {to} instead of {from}, from group {start} on"
            )
        }
        ToClient::Return { description, to, .. } => {
            format!("order: take description {description} from {to} again")
        }
        ToClient::Finish { edge, .. } => format!("order: close the connection to {edge}"),
    }
}

fn of_note(note: &Note) -> Option<String> {
    Some(match note {
        Note::Attached { description, edge, .. } => {
            format!("description {description} from {edge}")
        }
        // The new leg has been told of.
        Note::Detached { .. } => return None,
        Note::RolledBack { description, reason, .. } => {
            format!("description {description} stays where it was: {}", reason_word(*reason))
        }
        Note::Recovering { description, from, cause } => {
            format!("description {description} lost {from}: {}", reason_word(*cause))
        }
        Note::Crossing { description, from, to } => {
            format!("{from} is leaving: description {description} goes to {to}")
        }
        // Told as what is done without.
        Note::LetGo { .. } | Note::Lost { .. } => return None,
    })
}
