//! Help from other edges: while a relay's upstream is silent, another edge may have what does not come here.
//!
//! The upstream is not left for that. Help comes beside it, whatever arrives first is cached, and help ends
//! when the upstream has caught up.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use gibbon_control::node::NodeAddress;

use crate::{
    pull::Pull,
    relay::{Relay, Relays, Source, open},
};

/// Help is sought when nothing has come for this long: viewers at the usual playout delay notice nothing.
const SEEK_AFTER: Duration = Duration::from_millis(300);
/// Another edge has this long to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// When no edge could help, they are asked again after this and another [`SEEK_AFTER`].
const SEEK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// It is looked this often whether help is still needed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The upstream has caught up when it is not further behind than this …
const CAUGHT_UP: Duration = Duration::from_millis(200);
/// … so many looks in a row.
const CAUGHT_UP_LOOKS: u32 = 4;

/// Seeks help whenever it is needed. Returns when there are no relays any more.
pub async fn seek(relays: Weak<Relays>, relay: &Arc<Relay>) {
    if relays.upgrade().is_some_and(|relays| !relays.pulling.helped) {
        return std::future::pending().await;
    }
    loop {
        relay.silent_for(SEEK_AFTER).await;
        let Some(relays) = relays.upgrade() else { return };
        if !relay.has_begun() {
            continue;
        }
        match first_to_help(&relays, relay).await {
            Some(help) => until_caught_up(relay, help).await,
            None => tokio::time::sleep(SEEK_AGAIN_AFTER).await,
        }
    }
}

async fn first_to_help(relays: &Relays, relay: &Arc<Relay>) -> Option<Pull> {
    // One that is pulled from already is no help.
    let source = relay.source();
    let others = relays.network.other_edges();
    for node in others.into_iter().filter(|node| source.as_ref() != Some(&node.id)) {
        if let Some(help) = ask(relays, relay, node).await {
            return Some(help);
        }
        if !relay.silence.is_silent() {
            return None;
        }
    }
    None
}

async fn ask(relays: &Relays, relay: &Arc<Relay>, node: NodeAddress) -> Option<Pull> {
    let source = Source { node, regular: false };
    let opened = tokio::time::timeout(ANSWER_WITHIN, open(relays, relay, &source, None)).await;
    let (stream, description, helper) = (&relay.stream, &relay.description, &source.node.id);
    match opened {
        Ok(Ok(help)) => {
            tracing::info!(%stream, %description, %helper, "upstream silent; another edge helps");
            Some(help)
        }
        Ok(Err(why)) => {
            tracing::debug!(%stream, %description, %helper, %why, "no help");
            None
        }
        Err(_) => None,
    }
}

/// Takes help until the upstream has caught up, or help falls silent as well.
async fn until_caught_up(relay: &Relay, mut help: Pull) {
    let mut looks = 0;
    while looks < CAUGHT_UP_LOOKS {
        tokio::select! {
            _ = help.ended() => return,
            () = relay.silent_for(SEEK_AFTER) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {
                looks = if has_caught_up(relay) { looks + 1 } else { 0 };
            }
        }
    }
    tracing::info!(stream = %relay.stream, description = %relay.description, "upstream back");
}

fn has_caught_up(relay: &Relay) -> bool {
    let newest = relay.source().map(|source| relay.received_from(&source).newest());
    newest.is_some_and(|newest| newest + CAUGHT_UP >= relay.tracks.live())
}
