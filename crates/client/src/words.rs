//! Orders, and what came of them, in words for the terminal.

use gibbon_handoff::{ToClient, client::Note};

use crate::journal::reason_word;

/// What an order asks for.
pub fn of_order(order: &ToClient) -> String {
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

/// What the hands have done, if the viewer is to be told.
pub fn of_note(note: &Note) -> Option<String> {
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
        // The engine tells why.
        Note::LetGo { .. } | Note::Lost { .. } => return None,
    })
}
