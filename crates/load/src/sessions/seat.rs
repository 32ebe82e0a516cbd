//! Where one session is watched: counts what comes and what is shown.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gibbon_client::{Arrival, Happening, Stage};
use gibbon_control::process;
use gibbon_handoff::{ToClient, client::Note};
use gibbon_mdc::{Admission, Merger, Shown};
use gibbon_media::{Catalog, MediaTime, Medium};

use super::{counts::Counts, delays::Delays, direct::Direct};
use crate::stamp::Stamp;

/// The stage of one session.
#[derive(Debug)]
pub struct Seat {
    counts: Arc<Counts>,
    delays: Arc<Delays>,
    number: usize,
    probe: Option<Arc<Direct>>,
    begun: Option<Begun>,
    moves: bool,
}

/// A stream that is being watched.
#[derive(Debug)]
struct Begun {
    /// Session start, by both clocks.
    started: Instant,
    started_at: MediaTime,
    /// Frames that were due before came to catch up: how late they are says nothing.
    live_from: MediaTime,
}

impl Seat {
    /// Of the session with this number; a probe compares its delays with what comes straight from the source.
    pub fn new(
        counts: Arc<Counts>,
        delays: Arc<Delays>,
        number: usize,
        probe: Option<Arc<Direct>>,
    ) -> Self {
        Self { counts, delays, number, probe, begun: None, moves: false }
    }
}

impl Stage for Seat {
    fn begin(&mut self, _: &Catalog, _: MediaTime, started: Instant) -> anyhow::Result<()> {
        self.counts.opened();
        let live_from = process::now();
        let started_at = live_from.back(started.elapsed());
        self.begun = Some(Begun { started, started_at, live_from });
        Ok(())
    }

    fn arrived(&mut self, arrival: Arrival<'_>) {
        let Arrival { at, description, header, index, frame, admission, .. } = arrival;
        self.counts.frame(frame.payload.len());
        let Some(begun) = &self.begun else { return };
        let first = matches!(admission, Admission::New | Admission::Late);
        let stamp = Stamp::of(&frame.payload).filter(|stamp| stamp.intended >= begun.live_from);
        let Some(stamp) = stamp.filter(|_| first) else { return };
        self.delays.arrived(self.number, (begun.started_at + at).since(stamp.intended));
        let place = (header.group, index, description);
        if let Some(direct) = self.probe.as_ref().filter(|_| header.medium == Medium::Video)
            && let Some(later) = direct.later(place, begun.started + at)
        {
            self.delays.passed_edge(later);
        }
    }

    fn show(&mut self, _: &Merger, shown: Shown) {
        if !std::mem::replace(&mut self.moves, true) {
            self.counts.played();
        }
        self.counts.shown(shown.verdict, shown.side_chosen);
    }

    fn happened(&mut self, _: Duration, happening: Happening<'_>) {
        match happening {
            Happening::Ordered(ToClient::Attach { .. }) => self.counts.ordered(),
            Happening::Ordered(ToClient::Finish { .. }) => self.counts.finished(),
            Happening::Done(Note::Attached { order: Some(_), .. }) => self.counts.attached(),
            Happening::Done(Note::RolledBack { .. }) => self.counts.rolled_back(),
            Happening::Done(Note::Recovering { .. } | Note::Crossing { .. }) => self.counts.lost(),
            _ => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.begun.is_some() {
            self.counts.closed(self.moves);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gibbon_media::{
        Description, Frame, FrameFlags, GroupHeader, GroupId, NodeId, ProducerId, Scheme,
    };

    use super::*;
    use crate::source::Shape;

    fn shape() -> Shape {
        Shape {
            scheme: Scheme::Duplicate,
            fps: "25".parse().unwrap(),
            frame_bytes: 100,
            secondary_bytes: 100,
            sound: false,
            group: Duration::from_secs(1),
        }
    }

    fn arrive(seat: &mut Seat, at: Duration, intended: MediaTime, admission: Admission) {
        let edge: NodeId = "edge-a".parse().unwrap();
        let (group, producer) = (GroupId(1), ProducerId(1));
        let header = GroupHeader { medium: Medium::Video, group, producer, published_us: 0 };
        let payload = Stamp { intended, sent: intended, counter: 0 }.payload(100);
        let frame = Frame { time: intended, flags: FrameFlags::PRIMARY, payload };
        let (header, frame, description) = (&header, &frame, Description::Zero);
        let arrival = Arrival { at, edge: &edge, description, header, index: 0, frame, admission };
        seat.arrived(arrival);
    }

    #[test]
    fn the_latency_of_first_copies_of_live_frames_counts_from_when_they_were_to_be_sent() {
        let (counts, delays) = (Arc::<Counts>::default(), Arc::new(Delays::new(1).unwrap()));
        let mut seat = Seat::new(counts.clone(), delays.clone(), 0, None);
        let catalog = shape().catalog("load/a".parse().unwrap(), String::new());
        let (started, now) = (Instant::now(), process::now());
        seat.begin(&catalog, now, started).unwrap();
        let ms = Duration::from_millis;
        let live = now + ms(1000);
        arrive(&mut seat, ms(1200), live, Admission::New);
        arrive(&mut seat, ms(1900), live, Admission::Duplicate);
        arrive(&mut seat, ms(1900), now.back(ms(500)), Admission::New);
        let latency = delays.latency();
        assert_eq!(latency.len(), 1);
        assert!((150_000..=250_000).contains(&latency.max()), "{} µs", latency.max());
        let count = counts.count();
        assert_eq!((count.open, count.frames, count.bytes), (1, 3, 300));
        drop(seat);
        assert_eq!(counts.count().open, 0);
    }
}
