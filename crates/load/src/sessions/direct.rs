//! The same frames straight from their source: what an edge adds to their delay is seen beside these.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context;
use gibbon_control::node::NodeAddress;
use gibbon_media::{Description, GroupId, Medium, NodeId, Role, StreamName};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    subscribe::{Event, IncomingGroup, Link, Subscription},
    wire::{MediaSet, Start, Subscribe},
};
use tokio::runtime::Runtime;

use crate::lock;

/// Frames whose arrival is remembered, the newest of them: two descriptions at 240 frames per second for 8 s.
const MAX_FRAMES: usize = 4096;
/// Where nothing has come from the source for this long, there is nothing to compare with.
const FRESH: Duration = Duration::from_secs(2);
/// A source that cannot be reached, or is lost, is tried again after this long.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Sources serve nodes only: the harness is one by this name.
const NAME: &str = "load-harness";

/// A stream, and where it is published.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who publishes it.
    pub node: NodeAddress,
    /// The stream.
    pub stream: StreamName,
    /// Folder with the network's certificates and the key of its authority.
    pub certs: PathBuf,
}

/// Where a picture stands in its stream.
pub type Place = (GroupId, u32, Description);

/// A subscription to both descriptions of a stream at its source, for as long as its runtime lasts.
#[derive(Debug)]
pub struct Direct {
    source: Source,
    arrivals: Mutex<Arrivals>,
}

#[derive(Debug, Default)]
struct Arrivals {
    pictures: BTreeMap<Place, Instant>,
    newest: Option<Instant>,
}

impl Direct {
    /// Subscribes, and does so again when the source is lost.
    pub fn follow(runtime: &Runtime, source: Source) -> anyhow::Result<Arc<Self>> {
        let id: NodeId = NAME.parse()?;
        let (certificates, identity) =
            (Certificates::in_folder(&source.certs), Identity { id, role: Role::Edge });
        let _context = runtime.enter();
        let endpoint = Endpoint::node(&certificates, &identity, ([0, 0, 0, 0], 0).into())?;
        let direct = Arc::new(Self { source, arrivals: Mutex::default() });
        let following = direct.clone();
        runtime.spawn(async move {
            loop {
                if let Err(error) = following.subscribe(&endpoint).await {
                    tracing::warn!(%error, "no frames straight from the source");
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Ok(direct)
    }

    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.source.stream
    }

    /// How much later a picture was there over an edge, at `at`, than straight from the source. Not at all, if that is
    /// yet to come: this process has read its sockets in the other order. `None` while nothing comes.
    pub fn later(&self, place: Place, at: Instant) -> Option<Duration> {
        Some(at.saturating_duration_since(lock(&self.arrivals).arrival(place, at)?))
    }

    async fn subscribe(self: &Arc<Self>, endpoint: &Endpoint) -> anyhow::Result<()> {
        let NodeAddress { id, role, address } = self.source.node.clone();
        let link = Link::new(endpoint.connect(&Identity { id, role }, address).await?);
        let [zero, one] = Description::BOTH.map(|description| self.receive(&link, description));
        tokio::try_join!(zero, one).map(drop)
    }

    async fn receive(
        self: &Arc<Self>,
        link: &Arc<Link>,
        description: Description,
    ) -> anyhow::Result<()> {
        let request = Subscribe {
            stream: self.source.stream.clone(),
            description,
            media: MediaSet::only(Medium::Video),
            start: Start::Next,
            end: None,
            priority: 1,
            patience: None,
        };
        let mut subscription = Subscription::open(link, &request).await?;
        loop {
            match subscription.next().await {
                Event::Group(group) => {
                    tokio::spawn(self.clone().take(description, group));
                }
                Event::Ended => return Ok(()),
                Event::Broken(why) => return Err(anyhow::anyhow!(why)).context("it was lost"),
            }
        }
    }

    async fn take(self: Arc<Self>, description: Description, mut group: IncomingGroup) {
        let id = group.start.header.group;
        while let Ok(Some((index, _))) = group.next_frame().await {
            lock(&self.arrivals).note((id, index, description), Instant::now());
        }
    }
}

impl Arrivals {
    fn note(&mut self, place: Place, at: Instant) {
        self.newest = Some(at);
        self.pictures.insert(place, at);
        if self.pictures.len() > MAX_FRAMES {
            self.pictures.pop_first();
        }
    }

    fn arrival(&self, place: Place, at: Instant) -> Option<Instant> {
        let newest = self.newest.filter(|newest| at.saturating_duration_since(*newest) < FRESH)?;
        match self.pictures.get(&place) {
            Some(arrival) => Some(*arrival),
            // Older ones were never seen, or are forgotten.
            None => self
                .pictures
                .last_key_value()
                .filter(|(last, _)| **last < place)
                .map(|_| at.max(newest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Description = Description::Zero;

    #[test]
    fn a_picture_is_compared_with_its_twin_from_the_source() {
        let (mut arrivals, begun) = (Arrivals::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(arrivals.arrival((GroupId(4), 0, ZERO), at(0)), None, "nothing has come yet");
        arrivals.note((GroupId(5), 0, ZERO), at(10));
        arrivals.note((GroupId(5), 1, ZERO), at(50));
        assert_eq!(arrivals.arrival((GroupId(5), 0, ZERO), at(60)), Some(at(10)));
        let ahead = (GroupId(5), 2, ZERO);
        assert_eq!(arrivals.arrival(ahead, at(60)), Some(at(60)), "it is not there yet");
        assert_eq!(arrivals.arrival((GroupId(4), 9, ZERO), at(60)), None, "it was never seen");
        assert_eq!(arrivals.arrival(ahead, at(2060)), None, "the source is silent");
    }

    #[test]
    fn the_newest_pictures_are_remembered() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        for index in 0..2 * MAX_FRAMES as u32 {
            arrivals.note((GroupId(0), index, ZERO), now);
        }
        assert_eq!(arrivals.pictures.len(), MAX_FRAMES);
        assert_eq!(arrivals.arrival((GroupId(0), 0, ZERO), now), None);
    }
}
