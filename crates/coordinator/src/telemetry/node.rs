//! What one node has told.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::{
    links::MAX_LINKS,
    node::NodeReport,
    telemetry::{LinkReport, NodeHealth, PublishReport},
};
use gibbon_media::{MediaTime, NodeId, StreamName};
use gibbon_placement::foresight::{Link, Origin, PathEstimate, Sample};

use super::{Rate, Reason, Refused, Source};
use crate::registry::MAX_STREAMS;

/// What is older than this says nothing any more.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Announcements further ahead than this are nonsense: a week.
const FURTHEST_MS: u64 = 7 * 86_400_000;
/// How much the newest figure counts in what is smoothed.
const SHARE: f64 = 0.3;
/// Of a link that loses less than this it is not believed that it is full: what it can carry is a lower bound …
const LOSSY: f64 = 0.02;
/// … and this is the most that it is taken to carry of that.
const MOST_UNPROVEN: f64 = 0.8;
/// Lags vary by so much, in ms.
const LAG_DEVIATION_MS: f64 = 20.0;

/// What one node has told.
#[derive(Debug, Default)]
pub(super) struct Said {
    health: Option<(NodeHealth, MediaTime)>,
    maintenance: Option<MediaTime>,
    queue_ms: f64,
    links: BTreeMap<NodeId, (Link, MediaTime)>,
    /// Its lag, as a slack below zero: so what tells a path that gets worse tells an origin that falls behind. And the
    /// lag told last, in ms.
    publishes: BTreeMap<StreamName, (PathEstimate, f64)>,
    rate: Rate,
}

impl Said {
    pub fn hear(&mut self, now: MediaTime, report: &NodeReport, refused: &mut Refused) {
        if !self.rate.allows(now) {
            return refused.count(Source::Node, Reason::TooOften);
        }
        if let Some(health) = &report.health {
            self.hear_health(now, health, refused);
        }
        if report.links.len() > MAX_LINKS {
            refused.count(Source::Link, Reason::TooMuch);
        }
        for link in report.links.iter().take(MAX_LINKS) {
            self.hear_link(now, link, refused);
        }
        self.links.retain(|_, (_, at)| now.since(*at) <= FORGOTTEN);
        if report.publishing.len() > MAX_STREAMS {
            refused.count(Source::Origin, Reason::TooMuch);
        }
        for stream in report.publishing.iter().take(MAX_STREAMS) {
            self.hear_stream(now, stream, refused);
        }
        self.publishes.retain(|_, (lag, _)| now.since(lag.measured_at()) <= FORGOTTEN);
    }

    fn hear_health(&mut self, now: MediaTime, health: &NodeHealth, refused: &mut Refused) {
        if let Err(absurd) = health.check() {
            return refused.count(Source::Node, absurd.into());
        }
        if health.maintenance_in_ms.is_some_and(|ms| ms > FURTHEST_MS) {
            return refused.count(Source::Node, Reason::OutOfBounds);
        }
        let announced = health.maintenance_in_ms.map(|ms| now + Duration::from_millis(ms));
        // Told again and again as what is left, it is one time: the first word for it stands.
        let same = |at: MediaTime, other: MediaTime| at.since(other).max(other.since(at)) < SLIPS;
        self.maintenance = match (self.maintenance, announced) {
            (Some(known), Some(at)) if same(known, at) => Some(known),
            (_, announced) => announced,
        };
        self.queue_ms += SHARE * (health.queue_ms - self.queue_ms);
        self.health = Some((*health, now));
    }

    fn hear_link(&mut self, now: MediaTime, told: &LinkReport, refused: &mut Refused) {
        if let Err(absurd) = told.check() {
            return refused.count(Source::Link, absurd.into());
        }
        let share = told.load_kbps as f64 / (told.bandwidth_kbps as f64).max(1.0);
        let most = if told.loss > LOSSY { f64::INFINITY } else { MOST_UNPROVEN };
        let new = Link {
            rtt_ms: told.rtt_us as f64 / 1000.0,
            loss: told.loss,
            load: share.min(most).min(2.0),
        };
        let known = self.links.get(&told.node).filter(|(_, at)| now.since(*at) <= FORGOTTEN);
        let smooth = known.map_or(new, |(old, _)| Link {
            rtt_ms: old.rtt_ms + SHARE * (new.rtt_ms - old.rtt_ms),
            loss: old.loss + SHARE * (new.loss - old.loss),
            load: old.load + SHARE * (new.load - old.load),
        });
        self.links.insert(told.node.clone(), (smooth, now));
    }

    fn hear_stream(&mut self, now: MediaTime, told: &PublishReport, refused: &mut Refused) {
        if let Err(absurd) = told.check() {
            return refused.count(Source::Origin, absurd.into());
        }
        let slack_ms = -(told.lag_ms as f64);
        let sample = Sample { at: now, slack_ms, deviation_ms: LAG_DEVIATION_MS, missed: 0.0 };
        let newest = told.lag_ms as f64;
        let heard = match self.publishes.get_mut(&told.stream) {
            Some((lag, last)) => lag.update(sample).map(|()| *last = newest),
            None => PathEstimate::begin(sample).map(|lag| {
                self.publishes.insert(told.stream.clone(), (lag, newest));
            }),
        };
        if heard.is_err() {
            refused.count(Source::Origin, Reason::OutOfBounds);
        }
    }

    pub fn health(&self) -> Option<(&NodeHealth, MediaTime)> {
        self.health.as_ref().map(|(health, at)| (health, *at))
    }

    pub fn maintenance(&self) -> Option<MediaTime> {
        self.maintenance
    }

    pub fn queue_ms(&self) -> f64 {
        self.queue_ms
    }

    pub fn link(&self, now: MediaTime, to: &NodeId) -> Option<Link> {
        let (link, at) = self.links.get(to)?;
        (now.since(*at) <= FORGOTTEN).then_some(*link)
    }

    pub fn publishes(&self, now: MediaTime, stream: &StreamName) -> Option<Origin> {
        let (lag, newest) = self.publishes.get(stream)?;
        (now.since(lag.measured_at()) <= FORGOTTEN).then(|| Origin {
            lag_ms: *newest,
            lag_grows_ms: (-lag.trend()).max(0.0),
            failure: 0.0,
            ends_at: self.maintenance,
        })
    }

    pub fn links_at(&self) -> impl Iterator<Item = MediaTime> {
        self.links.values().map(|(_, at)| *at)
    }

    pub fn published_at(&self) -> impl Iterator<Item = MediaTime> {
        self.publishes.values().map(|(lag, _)| lag.measured_at())
    }
}

/// By so much reports of one announcement may differ.
const SLIPS: Duration = Duration::from_secs(3);
