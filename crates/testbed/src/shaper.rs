//! One direction of a path, as a pure function of time: datagrams go in, and come out later or never.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use str0m_netem::{Input, Netem, Output, WithLen};

use crate::Impairment;

/// Datagrams under way in one direction; more are dropped, as a router would.
pub const MAX_UNDER_WAY: usize = 8192;
/// Between the seeds of one direction: those of others are in between.
const SEEDS_APART: u64 = 1 << 32;
/// Datagrams closer together than this share a drawn delay.
const BURST: Duration = Duration::from_millis(2);

/// Delays, drops, reorders. [`push`](Self::push) what arrives, then [`pop`](Self::pop) until there is
/// nothing, and again at [`due`](Self::due).
pub struct Shaper<T> {
    seed: u64,
    impairment: Impairment,
    rng: ChaCha8Rng,
    /// Waiting for the delay drawn for them, in order.
    drawn: VecDeque<(Instant, T)>,
    delay: Duration,
    last_arrival: Option<Instant>,
    /// Loss, fixed latency, reordering, rate.
    netem: Netem<T>,
}

impl<T: Clone + WithLen> Shaper<T> {
    /// One that passes everything on at once. What it draws later depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        let impairment = Impairment::none();
        Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            drawn: VecDeque::new(),
            delay: Duration::ZERO,
            last_arrival: None,
            netem: Netem::new(impairment.config(seed)),
            impairment,
        }
    }

    /// Changes what befalls datagrams from now on. Those under way keep their order.
    pub fn impair(&mut self, impairment: Impairment) {
        // What changes often must not draw the same again and again.
        self.seed = self.seed.wrapping_add(SEEDS_APART);
        self.rng = ChaCha8Rng::seed_from_u64(self.seed);
        self.last_arrival = None;
        self.netem.set_config(impairment.config(self.seed));
        self.impairment = impairment;
    }

    /// Takes a datagram in.
    pub fn push(&mut self, now: Instant, datagram: T) {
        if self.drawn.len() + self.netem.queue_len() >= MAX_UNDER_WAY {
            return;
        }
        let longest = self.impairment.drawn();
        if longest.is_zero() {
            self.delay = Duration::ZERO;
        } else if self.last_arrival.is_none_or(|last| now.duration_since(last) >= BURST) {
            let jitter = Duration::from_millis(u64::from(self.impairment.jitter_ms));
            // Where jitter exceeds latency, no delay is less than none.
            let drawn = self.rng.random_range(Duration::ZERO..=jitter * 2);
            self.delay = (drawn + longest).saturating_sub(jitter * 2);
        }
        self.last_arrival = Some(now);
        let behind = self.drawn.back().map_or(now, |(due, _)| *due);
        self.drawn.push_back(((now + self.delay).max(behind), datagram));
        self.feed(now);
    }

    /// Hands on what has waited for its drawn delay.
    fn feed(&mut self, now: Instant) {
        while self.drawn.front().is_some_and(|(due, _)| *due <= now) {
            let Some((due, datagram)) = self.drawn.pop_front() else { return };
            self.netem.handle_input(Input::Packet(due, datagram));
        }
    }

    /// Gives out the next datagram that is due.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.feed(now);
        self.netem.handle_input(Input::Timeout(now));
        match self.netem.poll_output()? {
            Output::Packet(datagram) => Some(datagram),
            Output::Timeout(_) => None,
        }
    }

    /// When the next datagram is due, if one is under way.
    pub fn due(&self) -> Option<Instant> {
        let inside = (!self.netem.is_empty()).then(|| self.netem.poll_timeout());
        let waiting = self.drawn.front().map(|(due, _)| *due);
        inside.into_iter().chain(waiting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `count` datagrams of 1000 bytes, one each `every`; returns for each the delay, in ms, with
    /// which it came, if it did.
    fn run(impairment: Impairment, seed: u64, count: usize, every: Duration) -> Vec<Option<f64>> {
        let (start, mut shaper) = (Instant::now(), Shaper::new(seed));
        shaper.impair(impairment);
        let mut delays = vec![None; count];
        let sent = |n: usize| start + every * n as u32;
        let mut drain = |shaper: &mut Shaper<Vec<u8>>, now: Instant| {
            while let Some(bytes) = shaper.pop(now) {
                let n = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
                delays[n] = Some((now - sent(n)).as_secs_f64() * 1000.0);
            }
        };
        for n in 0..count {
            while let Some(due) = shaper.due().filter(|due| *due < sent(n)) {
                drain(&mut shaper, due);
            }
            let mut bytes = vec![0; 1000];
            (bytes[0], bytes[1]) = ((n >> 8) as u8, n as u8);
            shaper.push(sent(n), bytes);
            drain(&mut shaper, sent(n));
        }
        while let Some(due) = shaper.due() {
            drain(&mut shaper, due);
        }
        delays
    }

    fn lost(delays: &[Option<f64>]) -> f64 {
        delays.iter().filter(|d| d.is_none()).count() as f64 / delays.len() as f64
    }

    #[test]
    fn without_impairment_everything_passes_at_once() {
        let delays = run(Impairment::none(), 1, 1000, MS);
        assert!(delays.iter().all(|d| *d == Some(0.0)));
    }

    #[test]
    fn the_same_seed_gives_the_same_decisions_and_another_seed_others() {
        let bad = Impairment::none()
            .jitter(30)
            .loss(Loss::Bursty { mean: 0.05, burst: 4.0 })
            .reorder(7)
            .rate_kbps(8000);
        let delays = run(bad.clone(), 7, 2000, 5 * MS);
        assert_eq!(delays, run(bad.clone(), 7, 2000, 5 * MS));
        assert_ne!(delays, run(bad, 8, 2000, 5 * MS));
    }

    #[test]
    fn as_much_is_lost_as_was_asked_for() {
        for (loss, least, most) in [
            (Loss::Random(0.1), 0.09, 0.11),
            (Loss::Bursty { mean: 0.05, burst: 4.0 }, 0.035, 0.065),
            (Loss::Bursty { mean: 0.01, burst: 3.0 }, 0.006, 0.014),
            (Loss::None, 0.0, 0.0),
            (Loss::Random(1.0), 1.0, 1.0),
        ] {
            let lost = lost(&run(Impairment::none().loss(loss), 3, 20_000, MS));
            assert!((least..=most).contains(&lost), "{loss:?}: {lost}");
        }
    }

    #[test]
    fn bursts_are_as_long_as_was_asked_for() {
        let loss = Loss::Bursty { mean: 0.05, burst: 5.0 };
        let delays = run(Impairment::none().loss(loss), 3, 20_000, MS);
        let bursts = delays.windows(2).filter(|w| w[0].is_some() && w[1].is_none()).count();
        let mean = lost(&delays) * delays.len() as f64 / bursts as f64;
        assert!((4.0..=6.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_limited_rate_holds_and_its_buffer_is_bounded() {
        // 8 Mbit/s offered, 2 Mbit/s pass: three quarters are lost, and no delay exceeds the buffer.
        let delays = run(Impairment::none().latency(20).rate_kbps(2000), 5, 8000, MS);
        let lost = lost(&delays);
        assert!((0.70..=0.76).contains(&lost), "{lost}");
        let longest = delays.iter().flatten().copied().fold(0.0, f64::max);
        assert!((180.0..=250.0).contains(&longest), "{longest}");
    }

    #[test]
    fn jitter_spreads_delays_around_the_latency_and_keeps_the_order() {
        let delays = run(Impairment::none().latency(100).jitter(30), 5, 2000, 50 * MS);
        let (mut least, mut most, mut sum) = (f64::MAX, 0f64, 0.0);
        for delay in delays.iter().flatten() {
            (least, most, sum) = (least.min(*delay), most.max(*delay), sum + delay);
        }
        let mean = sum / delays.len() as f64;
        assert!((70.0..73.0).contains(&least) && (127.0..=130.0).contains(&most), "{least} {most}");
        // Bursts 50 ms apart are held up by the one before now and then.
        assert!((99.0..103.0).contains(&mean), "{mean}");
        let arrivals: Vec<f64> =
            delays.iter().flatten().enumerate().map(|(n, d)| n as f64 * 50.0 + d).collect();
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn every_nth_datagram_overtakes_the_one_before() {
        let delays = run(Impairment::none().latency(50).reorder(10), 5, 100, MS);
        let overtaking = delays.iter().flatten().filter(|delay| **delay < 50.0).count();
        assert_eq!(overtaking, 10);
    }

    #[test]
    fn what_is_under_way_keeps_its_delay_when_the_impairment_ends() {
        let (start, mut shaper) = (Instant::now(), Shaper::new(1));
        shaper.impair(Impairment::none().latency(100));
        shaper.push(start, vec![1]);
        shaper.impair(Impairment::none());
        shaper.push(start, vec![2]);
        assert_eq!(shaper.pop(start), None);
        assert_eq!(shaper.pop(start + 100 * MS), Some(vec![1]));
        assert_eq!(shaper.pop(start + 100 * MS), Some(vec![2]));
    }
}
