//! How a stream comes to the nodes: what origins and the network between say of it.

use std::collections::BTreeMap;

use gibbon_media::MediaTime;

use crate::distortion::Distortions;

use super::{NodeIndex, link::Link, outlook::Domain, policy::Policy};

/// How a stream comes to one node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Feed {
    /// Whether it is there already, or would have to be fetched first.
    pub holds: bool,
    /// How late it comes there: the origin's lag and that of the links on the way, in ms.
    pub lag_ms: f64,
    /// By how much that grows each second, in ms.
    pub lag_grows_ms: f64,
    /// Probability that what it comes through (origin, upstream nodes, links) fails, per second.
    pub failure: f64,
    /// When it ends to come there, as where its origin leaves.
    pub ends_at: Option<MediaTime>,
    /// What it comes through last: nodes that share it may lack the stream together.
    pub via: Option<Domain>,
}

/// A stream as decisions see it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamOutlook {
    /// What its scheme shows with one description and with none.
    pub distortions: Distortions,
    /// What one leg of it takes, as a multiple of [`NodeOutlook::per_leg`](super::NodeOutlook::per_leg).
    pub weight: f64,
    /// How it comes to nodes that are not named.
    pub usual: Feed,
    /// How it comes to those of which more is known.
    pub feeds: BTreeMap<NodeIndex, Feed>,
}

impl StreamOutlook {
    /// A stream of which nothing is known but what its scheme shows; every node holds it.
    pub fn new(distortions: Distortions) -> Self {
        let usual = Feed { holds: true, ..Feed::default() };
        Self { distortions, weight: 1.0, usual, feeds: BTreeMap::new() }
    }

    /// How it comes to a node.
    pub fn feed(&self, node: NodeIndex) -> &Feed {
        self.feeds.get(&node).unwrap_or(&self.usual)
    }

    /// Whether it comes everywhere as ever.
    pub(super) fn quiet(&self, policy: &Policy) -> bool {
        let quiet = |feed: &Feed| {
            feed.failure <= policy.calm && feed.lag_grows_ms <= 0.0 && feed.ends_at.is_none()
        };
        quiet(&self.usual) && self.feeds.values().all(quiet)
    }
}

/// What an origin says of one of its streams.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Origin {
    /// How late it publishes, in ms.
    pub lag_ms: f64,
    /// By how much that grows each second, in ms: its encoder does not keep up.
    pub lag_grows_ms: f64,
    /// Probability that it fails, per second.
    pub failure: f64,
    /// When it ends to publish.
    pub ends_at: Option<MediaTime>,
}

impl Feed {
    /// From an origin, over these links one after the other; what is the same everywhere may be left out.
    pub fn through(origin: &Origin, links: &[Link]) -> Self {
        let works =
            |failure: f64| 1.0 - if failure.is_finite() { failure.clamp(0.0, 1.0) } else { 0.0 };
        let arrives: f64 = links.iter().map(|link| works(link.failure())).product();
        Self {
            holds: true,
            lag_ms: origin.lag_ms + links.iter().map(Link::lag_ms).sum::<f64>(),
            lag_grows_ms: origin.lag_grows_ms,
            failure: 1.0 - works(origin.failure) * arrives,
            ends_at: origin.ends_at,
            via: None,
        }
    }

    /// How late it will come, in ms. What is no number says nothing.
    pub fn lag_ms_in(&self, seconds: f64) -> f64 {
        let lag = self.lag_ms + self.lag_grows_ms * seconds;
        if lag.is_finite() { lag.max(0.0) } else { 0.0 }
    }
}
