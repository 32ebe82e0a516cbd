//! How a client tells a good leg from a bad one. The one place of this crate where time is a number:
//! it is passed in, as the time since any fixed moment.

use std::time::Duration;

use crate::Reason;

/// A leg is in time when its newest frames arrived at least this share of the playout delay before
/// their deadlines (one half).
const IN_TIME_DIVISOR: u32 = 2;
/// How many frames in a row must do so; one is enough where they are a playout delay apart, or more.
const IN_TIME_FRAMES: u32 = 2;
/// A frame is late when it arrives with less than this share of the playout delay left (one eighth).
const LATE_DIVISOR: u32 = 8;
/// Time is getting short when less than this share of the playout delay is left for the next frame (one
/// third). A client whose legs are both short of it does without one.
pub const TIGHT_DIVISOR: u32 = 3;
/// A leg is late after this many late frames in a row.
const LATE_FRAMES: u32 = 3;
/// A leg is lossy when more than [`LOSSY_FRAMES`] of this many frames were lost: the width of the history.
const HISTORY_FRAMES: u32 = u64::BITS;
/// See [`HISTORY_FRAMES`].
const LOSSY_FRAMES: u32 = 3;
const _: () = assert!(LOSSY_FRAMES < HISTORY_FRAMES);
/// On probation, a path is lossy that loses more than this share of its packets, in per cent.
const LOSSY_PERCENT: u64 = 4;
/// Of this many packets at least.
const PATH_PACKETS: u64 = 100;
/// On probation, a leg is jittery whose jitter is above this and above this share of the playout delay
/// (one sixteenth).
const JITTERY_ABOVE: Duration = Duration::from_millis(50);
const JITTERY_DIVISOR: u32 = 16;
/// A leg never starves sooner than after this silence.
const STARVED_AT_LEAST: Duration = Duration::from_millis(150);
/// A leg starves after this many times its jitter.
const STARVED_JITTERS: u32 = 4;
/// A leg starves after this many frame intervals.
const STARVED_INTERVALS: u32 = 4;

/// How a leg is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No frame has come, and none is overdue.
    Waiting,
    /// Frames arrive at least half a playout delay before their deadlines.
    InTime,
    /// Frames arrive before their deadlines.
    Good,
    /// Frames arrive too close to their deadlines, or after them.
    Late,
    /// Too many frames are lost; on probation, also too many packets.
    Lossy,
    /// Frames arrive too unevenly. Only on probation.
    Jittery,
    /// Nothing arrives.
    Starved,
}

impl Verdict {
    /// The reason to leave the leg, if there is one.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Verdict::Waiting | Verdict::InTime | Verdict::Good => None,
            Verdict::Late => Some(Reason::Late),
            Verdict::Lossy => Some(Reason::Lossy),
            Verdict::Jittery => Some(Reason::Jittery),
            Verdict::Starved => Some(Reason::Starved),
        }
    }
}

/// Watches the frames of one medium of one leg: the pictures, where there are any. Feed it with what
/// arrives and what is lost, and ask for its verdict at any time.
#[derive(Debug, Clone)]
pub struct LegWatch {
    playout_delay: Duration,
    frame_interval: Duration,
    /// When the last byte came over the connection, or the first frame is due.
    heard: Duration,
    /// Arrival and deadline of the newest frame.
    last: Option<(Duration, Duration)>,
    jitter: Duration,
    in_time_run: u32,
    late_run: u32,
    /// One bit per frame, newest lowest, set when it was lost.
    losses: u64,
    path: Option<Path>,
}

/// What the edge says of the path to us.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// The counters at the beginning of the present window.
    sent: u64,
    lost: u64,
    /// Whether too much was lost in the last whole window.
    lossy: bool,
}

impl LegWatch {
    /// Watches a leg whose first frame is `due` at some moment and whose frames follow at
    /// `frame_interval`.
    pub fn new(due: Duration, playout_delay: Duration, frame_interval: Duration) -> Self {
        Self {
            playout_delay,
            frame_interval,
            heard: due,
            last: None,
            jitter: Duration::ZERO,
            in_time_run: 0,
            late_run: 0,
            losses: 0,
            path: None,
        }
    }

    /// A frame has arrived whole that is to be displayed at `deadline`.
    pub fn arrived(&mut self, now: Duration, deadline: Duration) {
        self.heard(now);
        self.update_jitter(now, deadline);
        let slack = deadline.saturating_sub(now);
        self.in_time_run = run(self.in_time_run, slack >= self.playout_delay / IN_TIME_DIVISOR);
        self.late_run = run(self.late_run, slack < self.playout_delay / LATE_DIVISOR);
        self.losses <<= 1;
    }

    /// A frame will not arrive: its group broke off.
    pub fn lost(&mut self) {
        self.in_time_run = 0;
        self.losses = self.losses << 1 | 1;
    }

    /// Some byte has come over the leg's connection.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// How many packets the edge has sent on the leg's connection, and how many of these were lost, since
    /// any fixed moment. What is told first is the base that the rest is compared to: tell it when the leg
    /// begins, 0 and 0 on a new connection.
    pub fn path(&mut self, sent: u64, lost: u64) {
        let fresh = Path { sent, lost, lossy: false };
        let path = self.path.get_or_insert(fresh);
        let (Some(more_sent), Some(more_lost)) =
            (sent.checked_sub(path.sent), lost.checked_sub(path.lost))
        else {
            // Another connection.
            *path = fresh;
            return;
        };
        if more_sent >= PATH_PACKETS {
            let lossy = more_lost.saturating_mul(100) > more_sent.saturating_mul(LOSSY_PERCENT);
            *path = Path { lossy, ..fresh };
        }
    }

    /// Mean deviation of the time between arrivals.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// How a leg is doing that has taken the place of another a short while ago: it is judged by all that
    /// is known, for there is a way back.
    pub fn verdict_on_probation(&self, now: Duration) -> Verdict {
        let verdict = self.verdict(now);
        let jittery = self.jitter > JITTERY_ABOVE.max(self.playout_delay / JITTERY_DIVISOR);
        if verdict.reason().is_some() {
            verdict
        } else if self.path.is_some_and(|path| path.lossy) {
            Verdict::Lossy
        } else if jittery {
            Verdict::Jittery
        } else {
            verdict
        }
    }

    /// How a leg is doing, by what it costs the viewer: silence, late frames, lost frames.
    pub fn verdict(&self, now: Duration) -> Verdict {
        if now.saturating_sub(self.heard) > self.patience() {
            Verdict::Starved
        } else if self.losses.count_ones() > LOSSY_FRAMES {
            Verdict::Lossy
        } else if self.last.is_none() {
            Verdict::Waiting
        } else if self.late_run >= LATE_FRAMES {
            Verdict::Late
        } else if self.in_time_run >= self.in_time_frames() {
            Verdict::InTime
        } else {
            Verdict::Good
        }
    }

    fn in_time_frames(&self) -> u32 {
        if self.frame_interval < self.playout_delay { IN_TIME_FRAMES } else { 1 }
    }

    /// Whether time is getting short: the leg is not late yet, but what is needed to relieve it takes time as
    /// well.
    pub fn is_tight(&self, now: Duration) -> bool {
        self.last.is_some_and(|(_, deadline)| {
            deadline + self.frame_interval < now + self.playout_delay / TIGHT_DIVISOR
        })
    }

    /// How long a silence may last: max(150 ms, 4 × jitter, 4 frame intervals). The verdict can change
    /// by itself only when this has passed since the last byte.
    pub fn patience(&self) -> Duration {
        STARVED_AT_LEAST
            .max(self.jitter.saturating_mul(STARVED_JITTERS))
            .max(self.frame_interval.saturating_mul(STARVED_INTERVALS))
    }

    /// RFC 3550 §6.4.1, with deadlines in the place of RTP timestamps: `J += (|D| − J) / 16`, where D is
    /// the difference between the spacing of two arrivals and that of their deadlines.
    fn update_jitter(&mut self, now: Duration, deadline: Duration) {
        if let Some((last_now, last_deadline)) = self.last {
            let d = (now + last_deadline).abs_diff(last_now + deadline);
            self.jitter = (self.jitter * 15 + d) / 16;
        }
        self.last = Some((now, deadline));
    }
}

fn run(length: u32, goes_on: bool) -> u32 {
    if goes_on { length.saturating_add(1) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYOUT: Duration = Duration::from_secs(1);
    const INTERVAL: Duration = Duration::from_millis(40);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A watch after ten frames, each with `slack` left.
    fn fed(slack: Duration) -> (LegWatch, Duration) {
        let mut watch = LegWatch::new(ms(1000), PLAYOUT, INTERVAL);
        let mut now = ms(1000);
        for _ in 0..10 {
            now += INTERVAL;
            watch.arrived(now, now + slack);
        }
        (watch, now)
    }

    #[test]
    fn the_slack_of_a_steady_leg_decides() {
        for (slack, verdict) in [
            (900, Verdict::InTime),
            (500, Verdict::InTime),
            (499, Verdict::Good),
            (125, Verdict::Good),
            (124, Verdict::Late),
            (0, Verdict::Late),
        ] {
            let (watch, now) = fed(ms(slack));
            assert_eq!(watch.verdict(now), verdict, "{slack} ms");
            assert_eq!(watch.jitter(), Duration::ZERO);
        }
    }

    #[test]
    fn nothing_is_overdue_before_the_first_frame_is() {
        let watch = LegWatch::new(ms(1000), PLAYOUT, INTERVAL);
        assert_eq!(watch.verdict(ms(0)), Verdict::Waiting);
        assert_eq!(watch.verdict(ms(1160)), Verdict::Waiting);
        assert_eq!(watch.verdict(ms(1161)), Verdict::Starved);
    }

    #[test]
    fn a_silent_leg_starves_and_any_byte_feeds_it() {
        let (mut watch, now) = fed(ms(800));
        assert_eq!(watch.verdict(now + ms(160)), Verdict::InTime);
        assert_eq!(watch.verdict(now + ms(161)), Verdict::Starved);
        watch.heard(now + ms(161));
        assert_eq!(watch.verdict(now + ms(161)), Verdict::InTime);
        let fast = LegWatch::new(ms(0), PLAYOUT, ms(4));
        assert_eq!(fast.patience(), ms(150));
    }

    #[test]
    fn a_jittery_leg_is_given_more_patience() {
        let mut watch = LegWatch::new(ms(0), PLAYOUT, INTERVAL);
        let (mut now, mut deadline) = (ms(0), ms(900));
        for n in 0..200 {
            now += if n % 2 == 0 { ms(0) } else { ms(160) };
            deadline += ms(80);
            watch.arrived(now, deadline);
        }
        // Every spacing is 80 ms off, and so the mean tends to 80 ms.
        assert!((ms(78)..=ms(80)).contains(&watch.jitter()), "{:?}", watch.jitter());
        assert_eq!(watch.patience(), watch.jitter() * 4);
    }

    #[test]
    fn time_is_short_before_a_leg_is_late() {
        for (slack, tight) in [(294, false), (293, true), (125, true)] {
            let (watch, now) = fed(ms(slack));
            assert_eq!(
                (watch.is_tight(now), watch.verdict(now)),
                (tight, Verdict::Good),
                "{slack}"
            );
        }
        // Also when nothing comes any more, but the connection is heard.
        let (mut watch, now) = fed(ms(900));
        watch.heard(now + ms(700));
        assert!(watch.is_tight(now + ms(700)) && watch.verdict(now + ms(700)) == Verdict::InTime);
    }

    #[test]
    fn one_frame_is_enough_where_frames_are_far_apart() {
        for (interval, expected) in [(40, Verdict::Good), (1000, Verdict::InTime)] {
            let mut watch = LegWatch::new(ms(0), ms(1000), ms(interval));
            watch.arrived(ms(10), ms(1500));
            assert_eq!(watch.verdict(ms(20)), expected, "{interval}");
        }
    }

    #[test]
    fn two_late_frames_are_forgiven_and_the_third_is_not() {
        let (mut watch, now) = fed(ms(800));
        watch.arrived(now, now);
        watch.arrived(now, now);
        assert_eq!(watch.verdict(now), Verdict::Good);
        watch.arrived(now, now);
        assert_eq!(watch.verdict(now), Verdict::Late);
        watch.arrived(now, now + ms(800));
        watch.arrived(now, now + ms(800));
        assert_eq!(watch.verdict(now), Verdict::InTime);
    }

    #[test]
    fn a_leg_that_loses_frames_is_lossy_until_they_are_history() {
        let (mut watch, now) = fed(ms(800));
        (0..3).for_each(|_| watch.lost());
        assert_eq!(watch.verdict(now), Verdict::Good);
        watch.lost();
        assert_eq!(watch.verdict(now), Verdict::Lossy);
        (0..HISTORY_FRAMES).for_each(|_| watch.arrived(now, now + ms(800)));
        assert_eq!(watch.verdict(now), Verdict::InTime);
    }

    #[test]
    fn a_path_that_loses_more_than_four_in_a_hundred_packets_fails_probation_only() {
        for (lost, verdict) in [(4, Verdict::InTime), (5, Verdict::Lossy)] {
            let (mut watch, now) = fed(ms(800));
            // What was lost before the leg began is of no account.
            watch.path(1000, 500);
            watch.path(1099, 500 + lost);
            assert_eq!(watch.verdict_on_probation(now), Verdict::InTime, "too few packets");
            watch.path(1100, 500 + lost);
            assert_eq!(watch.verdict_on_probation(now), verdict, "{lost} lost");
            assert_eq!(watch.verdict(now), Verdict::InTime);
            watch.path(1200, 500 + lost);
            assert_eq!(watch.verdict_on_probation(now), Verdict::InTime, "the next window");
        }
    }

    #[test]
    fn the_counters_of_another_connection_begin_anew() {
        let (mut watch, now) = fed(ms(800));
        watch.path(0, 0);
        watch.path(200, 20);
        assert_eq!(watch.verdict_on_probation(now), Verdict::Lossy);
        watch.path(10, 0);
        assert_eq!(watch.verdict_on_probation(now), Verdict::InTime);
    }

    #[test]
    fn a_leg_whose_frames_come_unevenly_fails_probation_only() {
        // Arrivals alternate between `off` too early and too late; the jitter tends to twice that.
        for (playout, off, verdict) in [
            (ms(300), 20, Verdict::InTime),
            (ms(300), 35, Verdict::Jittery),
            (ms(1000), 30, Verdict::InTime),
            (ms(1000), 40, Verdict::Jittery),
        ] {
            let mut watch = LegWatch::new(ms(0), playout, INTERVAL);
            let mut now = ms(0);
            for n in 0..200u64 {
                now = INTERVAL * n as u32 + if n % 2 == 0 { ms(100 - off) } else { ms(100 + off) };
                watch.arrived(now, INTERVAL * n as u32 + ms(100) + playout * 9 / 10);
            }
            assert_eq!(watch.verdict_on_probation(now), verdict, "{playout:?}, {off} ms");
            assert_eq!(watch.verdict(now), Verdict::InTime);
        }
    }

    #[test]
    fn a_leg_is_worse_than_its_path() {
        let (mut watch, now) = fed(ms(0));
        watch.path(0, 0);
        watch.path(100, 100);
        assert_eq!(watch.verdict_on_probation(now), Verdict::Late);
        assert_eq!(watch.verdict_on_probation(now + ms(161)), Verdict::Starved);
    }
}
