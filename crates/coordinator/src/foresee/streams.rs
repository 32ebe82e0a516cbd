//! Streams as foresight sees them: how each comes to the edges that hold it, from its origin and over which links.

use std::collections::BTreeMap;

use gibbon_media::{Description, MediaTime, NodeId, Scheme, StreamName};
use gibbon_placement::{
    distortion::Distortions,
    foresight::{Feed, NodeIndex, Origin, StreamIndex, StreamOutlook},
};

use super::{Picture, nodes::Nodes};
use crate::telemetry::Telemetry;

/// Nodes that a stream passes on its way to an edge, at most: what is longer is a loop.
const LONGEST_WAY: usize = 8;
/// A picture that stands still, as squared error (about 20 dB).
const FROZEN: f64 = 650.0;

/// Squared errors of what is shown, by what came: those of bbb.mp4 in docs/multiple-description.md, PSNR in dB as
/// 255² / 10^(PSNR/10).
pub fn distortions(scheme: Scheme) -> Distortions {
    let of = |both: f64, one: f64| {
        let error = |psnr: f64| 255.0f64.powi(2) / 10f64.powf(psnr / 10.0);
        Distortions { central: error(both), side: [error(one); 2], neither: FROZEN }
    };
    match scheme {
        Scheme::Alternating => of(40.6, 34.7),
        Scheme::Temporal => of(41.5, 33.7),
        Scheme::Duplicate => of(40.6, 40.6),
        // All of it is description 0.
        Scheme::Plain => Distortions { side: [of(40.6, 40.6).central, FROZEN], ..of(40.6, 40.6) },
    }
}

/// From whom each node has a description.
type Sources<'a> = BTreeMap<(&'a NodeId, Description), Option<&'a NodeId>>;

/// Who publishes what an edge has, and what that lagged at the last pass, in ms.
type Publishers = BTreeMap<NodeIndex, (NodeId, f64)>;

/// The streams that are published.
#[derive(Default)]
pub struct Streams {
    /// As sweeps take them.
    pub outlooks: Vec<StreamOutlook>,
    /// The index of each.
    pub names: BTreeMap<StreamName, u32>,
    /// By index, its name, and from which publisher each edge has it in the end, with what that lagged then, in ms.
    fed: Vec<(StreamName, Publishers)>,
}

impl Streams {
    /// As if all stayed as it is, and nothing were announced.
    pub fn stay(&mut self, now: MediaTime) {
        let feeds =
            self.outlooks.iter_mut().flat_map(|o| o.feeds.values_mut().chain([&mut o.usual]));
        for feed in feeds {
            feed.lag_grows_ms = 0.0;
            feed.ends_at = feed.ends_at.filter(|at| *at <= now);
        }
    }

    /// What a stream lags now where it leaves an edge, in ms; none: the stream is not known.
    pub fn lag_ms(
        &self,
        now: MediaTime,
        telemetry: &Telemetry,
        stream: StreamIndex,
        node: NodeIndex,
    ) -> Option<f64> {
        let lag = self.outlooks.get(stream.at())?.feed(node).lag_ms_in(0.0);
        let (name, fed) = self.fed.get(stream.at())?;
        let more =
            fed.get(&node).map(|(origin, then)| telemetry.origin(now, origin, name).lag_ms - then);
        Some((lag + more.unwrap_or(0.0)).max(0.0))
    }
}

/// The streams that are published, and how each comes to the edges.
pub fn outlooks(picture: &Picture<'_>, nodes: &mut Nodes) -> Streams {
    let mut held: BTreeMap<&StreamName, Sources<'_>> = BTreeMap::new();
    for (node, report) in picture.registry.reports() {
        for upstream in &report.upstreams {
            let sources = held.entry(&upstream.stream).or_default();
            sources.insert((node, upstream.description), upstream.source.as_ref());
        }
    }
    let mut published: BTreeMap<&StreamName, (Vec<&NodeId>, Scheme)> = BTreeMap::new();
    for (node, report) in picture.registry.reports() {
        for catalog in &report.streams {
            let entry = published.entry(&catalog.stream).or_insert((Vec::new(), catalog.scheme));
            entry.0.push(node);
        }
    }
    let none = Sources::new();
    let mut streams = Streams::default();
    for (stream, (publishers, scheme)) in published {
        let sources = held.get(stream).unwrap_or(&none);
        let ways = Ways { picture, stream, publishers: &publishers, sources };
        let mut outlook = StreamOutlook::new(distortions(scheme));
        outlook.usual = ways.to_fetch();
        let fed;
        (outlook.feeds, fed) = ways.feeds(nodes);
        streams.names.insert(stream.clone(), streams.outlooks.len() as u32);
        streams.outlooks.push(outlook);
        streams.fed.push((stream.clone(), fed));
    }
    streams
}

/// How one stream goes through the network.
struct Ways<'a> {
    picture: &'a Picture<'a>,
    stream: &'a StreamName,
    publishers: &'a [&'a NodeId],
    sources: &'a Sources<'a>,
}

impl Ways<'_> {
    /// How it comes to an edge that does not hold it yet: from the publisher that is asked first.
    fn to_fetch(&self) -> Feed {
        let origin = self.publishers.first().map(|publisher| self.origin(publisher));
        Feed { holds: false, ..Feed::through(&origin.unwrap_or_default(), &[]) }
    }

    /// How it comes to each edge that holds it, and from which publisher, with what that lags.
    fn feeds(&self, nodes: &mut Nodes) -> (BTreeMap<NodeIndex, Feed>, Publishers) {
        let (mut feeds, mut fed) = (BTreeMap::<NodeIndex, Feed>::new(), Publishers::new());
        for ((holder, description), source) in self.sources {
            let (Some(node), Some(source)) = (nodes.find(holder), source) else { continue };
            let Some((mut feed, from)) = self.feed(holder, *description) else { continue };
            feed.via = Some(nodes.domain(&format!("through {source}")));
            // Of two descriptions, the one that comes worse.
            let rank = |feed: &Feed| feed.lag_ms + 1000.0 * feed.failure;
            if feeds.get(&node).is_none_or(|known| rank(&feed) > rank(known)) {
                feeds.insert(node, feed);
                fed.insert(node, (from.clone(), self.origin(from).lag_ms));
            }
        }
        (feeds, fed)
    }

    /// The way of a description to `holder`, back to who publishes it. `None`: it is not known, as while it changes.
    fn feed(&self, holder: &NodeId, description: Description) -> Option<(Feed, &NodeId)> {
        let (mut at, mut links) = (holder, Vec::new());
        for _ in 0..LONGEST_WAY {
            let source = (*self.sources.get(&(at, description))?)?;
            let link = self.picture.telemetry.link(self.picture.now, source, at);
            links.push(link.unwrap_or_default());
            if self.publishers.contains(&source) {
                return Some((Feed::through(&self.origin(source), &links), source));
            }
            at = source;
        }
        None
    }

    fn origin(&self, publisher: &NodeId) -> Origin {
        let told = self.picture.telemetry.origin(self.picture.now, publisher, self.stream);
        let ends_at = self.picture.leaves_at(publisher).or(told.ends_at);
        Origin { ends_at, ..told }
    }
}
