//! Whatever the network does, each frame gets the verdict that a naive observer with perfect memory
//! would give, in order, once.

#![allow(clippy::unwrap_used)]

mod publisher;

use std::time::Duration;

use gibbon_mdc::{Candidate, Conceal, Config, Due, Merger, Shown, Verdict};
use gibbon_media::{Catalog, Description, FrameNumber, FrameRate, GroupId, MediaTime, Scheme};
use proptest::prelude::*;
use publisher::{Delivery, JOINED, ORIGIN, Parcel, SECOND, Viewer, catalog, ms, video};

const SECONDS: u64 = 7;

/// What happens to one frame: lost (0), a little late, very late; and perhaps sent again.
type Fate = (u8, u64, Option<u64>);

#[derive(Debug, Clone)]
struct Run {
    scheme: Scheme,
    rate: FrameRate,
    config: Config,
    /// Media published before the viewer came.
    live: Duration,
    fates: Vec<Fate>,
    /// Per group and description: lost (0), all of it late (1), untouched.
    groups: Vec<(u8, u64)>,
    /// The first producer is gone from this frame on; the second begins with this group.
    crash: u64,
    restart: u64,
    polls: Vec<u64>,
}

fn run() -> impl Strategy<Value = Run> {
    let rate = prop_oneof![Just((8, 1)), Just((15, 2)), Just((25, 3)), Just((30_000, 1001))];
    let fate = (0u8..12, 0u64..1500, proptest::option::weighted(0.1, 0u64..1500));
    (
        (proptest::sample::select(Scheme::ALL.to_vec()), rate, any::<bool>()),
        (0u64..1500, 500u64..2500),
        proptest::collection::vec(fate, 1..101),
        proptest::collection::vec((0u8..8, 0u64..1500), 1..17),
        (0u64..60, 0u64..9),
        proptest::collection::vec(1u64..400, 1..20),
    )
        .prop_map(
            |((scheme, (num, den), blend), (delay, live), fates, groups, change, polls)| {
                let conceal = if blend { Conceal::Blend } else { Conceal::Repeat };
                Run {
                    scheme,
                    rate: FrameRate::new(num, den).unwrap(),
                    config: Config { playout_delay: ms(delay), conceal },
                    live: ms(live),
                    fates,
                    groups,
                    crash: change.0,
                    restart: change.1,
                    polls,
                }
            },
        )
}

impl Run {
    fn catalog(&self) -> Catalog {
        catalog(self.scheme, self.rate)
    }

    fn number(&self, parcel: &Parcel) -> FrameNumber {
        self.rate.frame_at(parcel.frame.as_ref().unwrap().time)
    }

    fn published(&self) -> Vec<Parcel> {
        let crash = self.rate.frame_at(ORIGIN).0 + self.crash;
        let mut parcels = video(&self.catalog(), SECONDS, 1);
        parcels.retain(|parcel| self.number(parcel).0 < crash);
        let restarted = video(&self.catalog(), SECONDS, 2);
        parcels.extend(restarted.into_iter().filter(|p| p.header.group.0 >= 1000 + self.restart));
        parcels
    }

    fn deliveries(&self, viewer: &Viewer) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (parcel, (fate, late, again)) in
            self.published().into_iter().zip(self.fates.iter().cycle())
        {
            let group = usize::try_from(parcel.header.group.0).unwrap() * 2;
            let (group_fate, group_late) =
                self.groups[(group + parcel.description.index()) % self.groups.len()];
            let late = if *fate < 9 { late % 40 } else { *late };
            let late = ms(late + if group_fate == 1 { group_late } else { 0 });
            let promptly = viewer.promptly(&parcel);
            if *fate > 0 && group_fate > 0 {
                deliveries.push((promptly + late, parcel.clone()));
            }
            deliveries.extend(again.map(|again| (promptly + ms(again), parcel)));
        }
        deliveries.sort_by_key(|(at, _)| *at);
        deliveries
    }

    fn end(&self) -> Duration {
        JOINED + ms(SECONDS * 1000 + 2500) - self.live
    }
}

/// Polls at odd times, and checks of each picture shown that its chain leads up to it.
fn watch(run: &Run, viewer: &mut Viewer, deliveries: &[Delivery]) {
    let mut deliveries = deliveries.iter().peekable();
    let mut now = JOINED;
    for step in run.polls.iter().cycle() {
        now = (now + ms(*step)).min(run.end());
        while let Some((at, parcel)) = deliveries.next_if(|(at, _)| *at <= now) {
            viewer.receive(*at, parcel.clone());
        }
        while let Some(due) = viewer.merger.poll(now) {
            if let Due::Video(shown) = &due {
                check_source(run, &viewer.merger, shown);
            }
            viewer.seen.push(due);
        }
        if now == run.end() {
            break;
        }
    }
}

fn check_source(run: &Run, merger: &Merger, shown: &Shown) {
    let n = shown.number.0;
    let pictures = match shown.source {
        None => {
            assert_eq!(shown.verdict, Verdict::Frozen);
            return;
        }
        Some(Candidate::Coded(picture)) => vec![(picture, vec![n])],
        Some(Candidate::Repeat(picture)) => vec![(picture, vec![n - 1, n + 1])],
        Some(Candidate::Blend(before, after)) => vec![(before, vec![n - 1]), (after, vec![n + 1])],
    };
    for (picture, numbers) in pictures {
        let chain: Vec<_> = merger.coded(&picture.chain, 0).collect();
        let (index, frame) = &chain[usize::try_from(picture.index).unwrap()];
        assert_eq!(*index, picture.index);
        assert!(numbers.contains(&run.rate.frame_at(frame.time).0), "{shown:?}");
    }
}

/// The naive observer: looks through all deliveries for each question.
struct Oracle<'a> {
    run: &'a Run,
    deliveries: &'a [Delivery],
}

impl Oracle<'_> {
    fn arrived(&self, like: &Parcel, index: u32, by: Duration) -> bool {
        self.deliveries.iter().any(|(at, parcel)| {
            let same = parcel.description == like.description && parcel.header == like.header;
            *at <= by && same && parcel.index == index
        })
    }

    /// Whether some description (of `from`) can show frame `n`, and whether in full quality.
    fn coded(&self, n: u64, by: Duration, from: &[Description]) -> Option<bool> {
        self.deliveries
            .iter()
            .map(|(_, parcel)| parcel)
            .filter(|p| self.run.number(p) == FrameNumber(n) && from.contains(&p.description))
            .filter(|p| (0..=p.index).all(|index| self.arrived(p, index, by)))
            .map(|p| p.frame.as_ref().unwrap().flags.is_primary())
            .max()
    }

    fn verdict(&self, n: u64, by: Duration) -> Verdict {
        let neighbour = |m| {
            let other = Description::try_from(u8::try_from((n + 1) % 2).unwrap()).unwrap();
            self.run.scheme == Scheme::Temporal && self.coded(m, by, &[other]).is_some()
        };
        match self.coded(n, by, &Description::BOTH) {
            Some(true) => Verdict::Central,
            Some(false) => Verdict::Side,
            None if neighbour(n - 1) || neighbour(n + 1) => Verdict::Side,
            None => Verdict::Frozen,
        }
    }

    /// Every verdict from the first frame shown to the end.
    fn verdicts(&self, deadline_of: impl Fn(MediaTime) -> Duration) -> Vec<(u64, Verdict)> {
        let delay = self.run.config.playout_delay;
        let begin = (ORIGIN + self.run.live).back(delay);
        let all = (self.run.rate.frame_at(ORIGIN.back(2 * SECOND)).0..)
            .map(FrameNumber)
            .filter(|n| self.run.rate.time_of(*n) >= begin)
            .map(|n| (n.0, deadline_of(self.run.rate.time_of(n))))
            .take_while(|(_, deadline)| *deadline <= self.run.end());
        all.map(|(n, deadline)| (n, deadline, self.verdict(n, deadline)))
            .skip_while(|(_, deadline, verdict)| match verdict {
                Verdict::Central => false,
                Verdict::Side => *deadline < JOINED + delay / 4,
                Verdict::Frozen => true,
            })
            .map(|(n, _, verdict)| (n, verdict))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_frame_gets_the_right_verdict_in_order_and_once(run in run()) {
        let mut viewer = Viewer::joins(&run.catalog(), run.config, run.live);
        let deliveries = run.deliveries(&viewer);
        watch(&run, &mut viewer, &deliveries);
        let stats = viewer.merger.finish(run.end());
        let shown = viewer.shown();

        let oracle = Oracle { run: &run, deliveries: &deliveries };
        let expected = oracle.verdicts(|time| viewer.merger.deadline_of(time).unwrap());
        let got: Vec<_> = shown.iter().map(|shown| (shown.number.0, shown.verdict)).collect();
        prop_assert_eq!(got, expected);
        for shown in &shown {
            prop_assert_eq!(shown.time, run.rate.time_of(shown.number));
            prop_assert_eq!(Some(shown.deadline), viewer.merger.deadline_of(shown.time));
        }

        let count = |verdict| shown.iter().filter(|shown| shown.verdict == verdict).count() as u64;
        prop_assert_eq!(stats.frames.expected, shown.len() as u64);
        prop_assert_eq!(stats.frames.central, count(Verdict::Central));
        prop_assert_eq!(stats.frames.side, count(Verdict::Side));
        prop_assert_eq!(stats.frames.frozen, count(Verdict::Frozen));
        let freezes: Vec<_> = shown
            .chunk_by(|a, b| a.verdict == b.verdict)
            .filter(|run| run[0].verdict == Verdict::Frozen)
            .map(|frozen| frozen.len() as f64 * 1000.0 / run.rate.as_f64())
            .collect();
        prop_assert_eq!(stats.freezes.count, freezes.len() as u64);
        let longest = freezes.iter().copied().fold(0.0, f64::max);
        prop_assert!((stats.freezes.longest_ms as f64 - longest).abs() <= 1.0);
        prop_assert!((stats.freezes.total_ms as f64 - freezes.iter().sum::<f64>()).abs() <= 1.0);
        prop_assert_eq!(stats.refused, 0);
        let arrived = deliveries.iter().filter(|(at, _)| *at <= run.end());
        let payload = arrived.map(|(_, p)| p.frame.as_ref().unwrap().payload.len() as u64);
        prop_assert_eq!(stats.bytes.media + stats.bytes.duplicate, payload.sum::<u64>());
    }

    #[test]
    fn a_punctual_network_shows_every_frame_in_full_quality(mut run in run()) {
        run.fates = vec![(2, 30, Some(40))];
        run.groups = vec![(2, 0)];
        (run.crash, run.restart) = (u64::MAX >> 2, 0);
        run.config.playout_delay = run.config.playout_delay.max(ms(400));
        let mut viewer = Viewer::joins(&run.catalog(), run.config, run.live);
        let deliveries = run.deliveries(&viewer);
        watch(&run, &mut viewer, &deliveries);
        let stop = viewer.merger.deadline_of(ORIGIN + ms(SECONDS * 1000 - 250)).unwrap();
        let shown: Vec<_> =
            viewer.shown().into_iter().filter(|shown| shown.deadline < stop).collect();
        prop_assert!(shown.iter().all(|shown| shown.verdict == Verdict::Central));
        prop_assert!(shown.windows(2).all(|w| w[1].number.0 == w[0].number.0 + 1));
        prop_assert!(shown[0].deadline <= JOINED + ms(30) + run.rate.interval());
        prop_assert_eq!(viewer.merger.stats().playout_delay.max, run.config.playout_delay.as_millis() as u64);
    }
}

#[test]
fn frames_of_two_producers_are_never_joined() {
    let rate = FrameRate::new(8, 1).unwrap();
    let catalog = catalog(Scheme::Duplicate, rate);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let group = |p: &Parcel| p.header.group == GroupId(1001) && p.description == Description::Zero;
    // The first half of a group from one, the second from the other: no chain is whole.
    let mut parcels = video(&catalog, 3, 1);
    parcels.retain(|p| group(p) && p.index < 4);
    parcels.extend(video(&catalog, 3, 2).into_iter().filter(|p| group(p) && p.index >= 4));
    let deliveries = viewer.send(&parcels, |_| Some(Duration::ZERO));
    viewer.watch(deliveries, JOINED + ms(1990));
    let verdicts: Vec<_> = viewer.shown().iter().map(|shown| shown.verdict).collect();
    assert_eq!(verdicts, [[Verdict::Central; 4], [Verdict::Frozen; 4]].concat());
}
