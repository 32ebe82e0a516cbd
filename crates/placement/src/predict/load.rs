//! How loaded a node will be: by its trend, or by a season that is found in its own past.
//!
//! There is nothing to fit. Every period that might be there is an expert of its own, which says that what was one
//! period ago comes again; all are scored against what comes, as are three that know of no season. Each is judged by
//! its last period and nothing before it, in which a season may not have begun yet. So a season is found after two of
//! its cycles, whatever its length, and lost again when it ends.
//!
//! The past is kept at several resolutions, each four times as coarse as the one before and just as long. A season is found
//! at the finest of them that its cycle fits in, and read from the next finer one.

use std::time::Duration;

use gibbon_media::MediaTime;

use super::record::{COMPARED_AT, Errors, Record};

/// The finest resolution, unless told otherwise.
const FINEST: Duration = Duration::from_secs(1);
/// Resolutions: the coarsest is 4⁷ s, four and a half hours, for periods of up to 48 days.
const LEVELS: usize = 8;
/// How much coarser each is than the one before.
const COARSER: usize = 4;
/// Periods looked for at one resolution, in its steps: what is longer is found at the next.
const LAGS: std::ops::RangeInclusive<usize> = 64..=256;
/// Experts are scored by what they said so many steps ago.
const AHEAD: usize = 16;
/// Steps kept at one resolution: what is a period at the next coarser one.
const KEPT: usize = COARSER * (*LAGS.end() + AHEAD + 2);
/// Given up so many at a time, so that it is done rarely.
const GIVEN_UP: usize = 256;
/// Cycles of a season of which the mean is taken.
const CYCLES: usize = 2;
/// How much of what came otherwise than a period ago, just now, is taken to last.
const LASTS: f64 = 0.5;
/// A season must be so much better than the best of those who know of none.
const CONVINCING: f64 = 0.6;
/// A trend must be so much better than that all stays as it is.
const TREND_CONVINCING: f64 = 0.8;
/// Where those are off by less than this part of the mean, there is nothing to be convinced of.
const WORTH_IT: f64 = 0.01;
/// An expert has to have been scored for this part of its period.
const SCORED_FOR: f64 = 0.75;
/// Smoothing of level and trend (Holt, 1957), by second.
const LEVEL_SHARE: f64 = 0.3;
const TREND_SHARE: f64 = 0.1;
/// A trend dies away by this factor each second (Gardner and McKenzie, "Forecasting Trends in Time Series", 1985).
const DAMPED: f64 = 0.98;
/// A break in the reports longer than this ends what was known of the trend …
const BREAK: Duration = Duration::from_secs(30);
/// … and one longer than this, of all.
const FORGOTTEN: Duration = Duration::from_secs(86_400);
/// Times that are looked at for the highest load.
const PEAK_LOOKS: u32 = 32;

/// What a load will be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Most likely.
    pub load: f64,
    /// Standard deviation of the errors that such forecasts had.
    pub deviation: f64,
    /// The period that it is seen by; none where it is the trend alone.
    pub period: Option<Duration>,
}

/// The load of one node over time, in any unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    finest: Duration,
    levels: Vec<Level>,
    trend: Trend,
    /// As of the newest step.
    season: Option<Season>,
    /// When the newest step of the finest resolution began.
    at: MediaTime,
    /// What has come within it: sum and number.
    within: (f64, u32),
    /// What came last, and when.
    last: (MediaTime, f64),
    record: Record<f64>,
}

/// One resolution.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    step: Duration,
    /// Newest last; at least the last [`KEPT`], once there are so many.
    past: Vec<f64>,
    /// What will be the next step.
    coming: (f64, usize),
    /// Of each period.
    experts: Vec<Window>,
    /// Of those that know of none: the trend goes on; all stays as it is; all is as it is in the mean.
    plain: [Score; 3],
    /// Squares of their errors, added up, after each step of `past`.
    missed: Vec<[f64; 3]>,
    mean: f64,
    /// The best period of those that are convincing.
    best: Option<Season>,
}

/// How far off one was who knows of no season.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Score {
    /// Mean square of errors, discounted with age.
    square: f64,
    scored: usize,
}

/// How far off an expert was within its last period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Window {
    /// Sum of the squares of its errors.
    squares: f64,
    /// Of so many steps.
    scored: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Trend {
    level: f64,
    /// By step.
    slope: f64,
    seen: usize,
    /// Smoothing of level and trend, and what is left of the trend, by step.
    level_share: f64,
    trend_share: f64,
    damped: f64,
}

impl Load {
    /// Nothing is known yet.
    pub fn begin(now: MediaTime) -> Self {
        Self::begin_every(FINEST, now)
    }

    /// The same at a finest resolution of `step`, at least 1 ms, where reports are far between: a season of less
    /// than 64 steps is not seen.
    pub fn begin_every(step: Duration, now: MediaTime) -> Self {
        let finest = step.max(Duration::from_millis(1));
        let level = |n: u32| Level::new(finest * (COARSER as u32).pow(n));
        Self {
            finest,
            levels: (0..LEVELS as u32).map(level).collect(),
            trend: Trend::every(finest),
            season: None,
            at: now,
            within: (0.0, 0),
            last: (now, 0.0),
            record: Record::default(),
        }
    }

    /// The node reports `load`. What is no number, or comes from before, is passed over.
    pub fn update(&mut self, now: MediaTime, load: f64) {
        if !load.is_finite() || now < self.at {
            return;
        }
        self.advance(now);
        self.within = (self.within.0 + load, self.within.1 + 1);
        self.last = (now, load);
    }

    /// Ends the steps that are over. Those in which nothing was reported are as the one before.
    fn advance(&mut self, now: MediaTime) {
        let steps = (now.since(self.at).as_micros() / self.finest.as_micros()) as u64;
        if steps == 0 {
            return;
        }
        match now.since(self.at) {
            long if long > FORGOTTEN => {
                let record = std::mem::take(&mut self.record);
                *self = Self { record, ..Self::begin_every(self.finest, now) };
                return;
            }
            long if long > BREAK.max(self.finest * 2) => self.trend = Trend::every(self.finest),
            _ => {}
        }
        for _ in 0..steps {
            let last = self.levels[0].past.last().copied().unwrap_or(0.0);
            let (sum, count) = std::mem::take(&mut self.within);
            let load = if count == 0 { last } else { sum / f64::from(count) };
            self.at = self.at + self.finest;
            self.take(load);
        }
    }

    fn take(&mut self, load: f64) {
        self.trend.take(load);
        self.record.compare(self.at, &load, self.finest * 2, |a, b| (a - b).abs());
        let mut coming = Some(load);
        for level in &mut self.levels {
            let Some(load) = coming else { break };
            coming = level.take(load);
        }
        self.season = self.find_season();
        let said = self.forecast(self.at + COMPARED_AT);
        self.record.expect(self.at + COMPARED_AT, said.load, load);
    }

    /// What the load will be at `then`.
    pub fn forecast(&self, then: MediaTime) -> Forecast {
        let ahead = then.since(self.at);
        self.recurring(ahead).unwrap_or_else(|| self.go_on(ahead))
    }

    /// That of the finest resolution that is convinced of one.
    fn find_season(&self) -> Option<Season> {
        let found = self.levels.iter().enumerate().find_map(|(level, at)| Some((level, at.best?)));
        let (level, best) = found?;
        let read = match self.season {
            Some(before)
                if (before.level, before.lag) == (level, best.lag)
                    && self.levels[level].coming.1 > 0 =>
            {
                before.read
            }
            _ if level == 0 => (0, best.lag),
            _ => (level - 1, self.levels[level - 1].closest(best.lag * COARSER)),
        };
        Some(Season { level, read, ..best })
    }

    /// What comes again; `None` where there is no season, or too little of its past is kept.
    fn recurring(&self, ahead: Duration) -> Option<Forecast> {
        let season = self.season?;
        let (level, lag) = season.read;
        let read = &self.levels[level];
        // A step is of the time around its middle, and what has come after the newest is not in it yet.
        let finer = self.levels[..level].iter();
        let pending: Duration = finer.map(|finer| finer.step * finer.coming.1 as u32).sum();
        let said = |ahead: Duration| read.periodic(lag, ahead + pending + read.step / 2);
        // What this resolution smears is known to be otherwise now, and for about one step of it.
        let now = self.last.0.since(self.at);
        let smeared = self.last.1 - said(now)?;
        let since = ahead.saturating_sub(now);
        let fades = (-since.as_secs_f64() / read.step.as_secs_f64()).exp();
        Some(Forecast {
            load: said(ahead)? + fades * smeared,
            deviation: season.square.sqrt(),
            period: Some(read.step * lag as u32),
        })
    }

    /// What the load will be if there is no season: its trend goes on, or all stays as it is, or as it is in the mean;
    /// what was right most of late.
    fn go_on(&self, ahead: Duration) -> Forecast {
        // Scored at a distance of AHEAD steps of each resolution: the one that is closest to what is asked.
        let distance = |level: &&Level| {
            (level.step * AHEAD as u32).as_secs_f64().ln() - ahead.as_secs_f64().max(1.0).ln()
        };
        let scored = self.levels.iter().filter(|level| level.plain[0].scored > 0);
        let near = scored.min_by(|a, b| distance(a).abs().total_cmp(&distance(b).abs()));
        let trend = self.trend.ahead(ahead.as_secs_f64() / self.finest.as_secs_f64());
        // Nothing was right or wrong yet: all stays as it is.
        let Some(level) = near else {
            let load = self.trend.level;
            return Forecast { load, deviation: f64::INFINITY, period: None };
        };
        let [trend_square, same, mean] = level.plain.map(|score| score.square);
        let squares = [trend_square / TREND_CONVINCING.powi(2), same, mean];
        let best = (0..squares.len()).min_by(|a, b| squares[*a].total_cmp(&squares[*b]));
        let load = match best {
            Some(1) => self.trend.level,
            Some(2) => level.mean,
            _ => trend,
        };
        let deviation = [trend_square, same, mean].into_iter().fold(f64::INFINITY, f64::min).sqrt();
        Forecast { load, deviation, period: None }
    }

    /// The highest load until `then`, and when.
    pub fn peak(&self, then: MediaTime) -> (MediaTime, Forecast) {
        let span = then.since(self.at);
        let at = |n: u32| self.at + span * n / PEAK_LOOKS;
        let looks = (1..=PEAK_LOOKS).map(|n| (at(n), self.forecast(at(n))));
        let highest = looks.max_by(|(_, a), (_, b)| a.load.total_cmp(&b.load));
        highest.unwrap_or_else(|| (then, self.forecast(then)))
    }

    /// How far off forecasts of 30 s were.
    pub fn errors(&self) -> Errors {
        self.record.errors()
    }
}

/// A period that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Season {
    /// Its resolution, once that is known among the others.
    level: usize,
    /// Its steps.
    lag: usize,
    square: f64,
    /// The resolution that it is read from, and its steps there.
    read: (usize, usize),
}

impl Level {
    fn new(step: Duration) -> Self {
        Self {
            step,
            past: Vec::new(),
            coming: (0.0, 0),
            experts: vec![Window::default(); LAGS.count()],
            plain: Default::default(),
            missed: Vec::new(),
            mean: 0.0,
            best: None,
        }
    }

    /// Takes the next step. Returns that of the next coarser resolution, once it is whole.
    fn take(&mut self, load: f64) -> Option<f64> {
        self.score(load);
        if self.past.len() == KEPT + GIVEN_UP {
            self.past.drain(..GIVEN_UP);
            self.missed.drain(..GIVEN_UP);
        }
        self.past.push(load);
        self.best = self.find_best();
        self.coming = (self.coming.0 + load, self.coming.1 + 1);
        (self.coming.1 == COARSER).then(|| {
            let (sum, count) = std::mem::take(&mut self.coming);
            sum / count as f64
        })
    }

    /// So many steps ago; 1 is the newest.
    fn ago(&self, steps: usize) -> Option<f64> {
        self.past.len().checked_sub(steps).and_then(|at| self.past.get(at)).copied()
    }

    fn score(&mut self, load: f64) {
        let mut missed = self.missed.last().copied().unwrap_or_default();
        // The trend: a line through two steps, died away by half.
        if let (Some(then), Some(before)) = (self.ago(AHEAD), self.ago(2 * AHEAD)) {
            let said = [then + LASTS * (then - before), then, self.mean];
            for (n, said) in said.into_iter().enumerate() {
                self.plain[n].note(said - load, *LAGS.start());
                missed[n] += (said - load).powi(2);
            }
        }
        self.missed.push(missed);
        let share = 1.0 / (self.past.len() + 1).min(*LAGS.end()) as f64;
        self.mean += share * (load - self.mean);
        for (n, lag) in LAGS.enumerate() {
            let Some(said) = self.said(lag, 0) else { break };
            let old = self.said(lag, lag).zip(self.ago(lag)).map(|(said, load)| said - load);
            self.experts[n].note(said - load, old);
        }
    }

    /// What the expert of a period said of a step so many steps ago; 0 is the one that comes.
    fn said(&self, lag: usize, ago: usize) -> Option<f64> {
        let [before, then, then_before] =
            [lag, AHEAD, AHEAD + lag].map(|steps| self.ago(ago + steps));
        Some(before? + LASTS * (then? - then_before?))
    }

    /// The best period of those that are convincing: the one by which most is seen that the others do not see.
    fn find_best(&self) -> Option<Season> {
        let convincing = |(n, lag): (usize, usize)| {
            let Window { squares, scored } = self.experts[n];
            if (scored as f64) < SCORED_FOR * lag as f64 {
                return None;
            }
            let rival = self.rival(scored)?;
            let gain = (squares / rival).sqrt();
            (gain < CONVINCING).then_some((gain, lag, squares / scored as f64))
        };
        let best = LAGS.enumerate().filter_map(convincing).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, lag, square)| Season { level: 0, lag, square, read: (0, lag) })
    }

    /// Squares of the errors of the best of those that know of no season, over so many steps; none where they are right
    /// all the time.
    fn rival(&self, steps: usize) -> Option<f64> {
        let now = self.missed.last()?;
        let then = self.missed.len().checked_sub(steps + 1).and_then(|at| self.missed.get(at))?;
        let least =
            now.iter().zip(then).map(|(now, then)| now - then).fold(f64::INFINITY, f64::min);
        (least > steps as f64 * (WORTH_IT * self.mean).powi(2)).then_some(least)
    }

    /// What was whole periods before `ahead` of the newest step, in the mean, and half of what is otherwise than that just
    /// now.
    fn periodic(&self, lag: usize, ahead: Duration) -> Option<f64> {
        let ahead = ahead.as_secs_f64() / self.step.as_secs_f64();
        let phase = ahead.rem_euclid(lag as f64);
        let (whole, part) = (phase.floor(), phase.fract());
        // `lag` steps before the newest is the same time as that, one period ago.
        let at = |steps: f64| self.cycles_ago(lag, (lag as f64 - steps).max(0.0) as usize + 1);
        let (from, to) = (at(whole)?, at(whole + 1.0)?);
        let otherwise = |steps: usize| Some(self.ago(steps)? - self.cycles_ago(lag, lag + steps)?);
        let otherwise: f64 = (1..=COARSER).map(otherwise).sum::<Option<f64>>()?;
        Some(from + part * (to - from) + LASTS * otherwise / COARSER as f64)
    }

    /// So many steps ago and up to [`CYCLES`] periods before that, in the mean: one cycle has its noise.
    fn cycles_ago(&self, lag: usize, steps: usize) -> Option<f64> {
        let cycles = (0..CYCLES).map_while(|cycle| self.ago(steps + cycle * lag));
        let (sum, count) = cycles.fold((0.0, 0), |(sum, count), load| (sum + load, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The period closest to what has come of late, of those that are `lag` at the next coarser resolution.
    fn closest(&self, lag: usize) -> usize {
        let off = |period: &usize| {
            let pairs = self.past.iter().rev().zip(self.past.iter().rev().skip(*period)).take(lag);
            let (sum, count) = pairs.fold((0.0, 0), |(sum, count), (now, before)| {
                (sum + (now - before).powi(2), count + 1)
            });
            if count == 0 { f64::INFINITY } else { sum / f64::from(count) }
        };
        let all = lag - COARSER..=lag + COARSER;
        all.map(|period| (off(&period), period))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(lag, |(_, period)| period)
    }
}

impl Score {
    /// Remembers for about `memory` steps.
    fn note(&mut self, error: f64, memory: usize) {
        self.scored += 1;
        let share = 1.0 / self.scored.min(memory) as f64;
        self.square += share * (error * error - self.square);
    }
}

impl Window {
    /// A step comes in, and the `old` one is a period ago.
    fn note(&mut self, error: f64, old: Option<f64>) {
        self.squares += error * error;
        match old {
            // What is left of sums by rounding is nothing.
            Some(old) => self.squares = (self.squares - old * old).max(0.0),
            None => self.scored += 1,
        }
    }
}

impl Trend {
    /// Of steps of this length; what is smoothed by second is smoothed as much in that time.
    fn every(step: Duration) -> Self {
        let seconds = step.as_secs_f64();
        let share = |by_second: f64| 1.0 - (1.0 - by_second).powf(seconds);
        Self {
            level: 0.0,
            slope: 0.0,
            seen: 0,
            level_share: share(LEVEL_SHARE),
            trend_share: share(TREND_SHARE),
            damped: DAMPED.powf(seconds),
        }
    }

    fn take(&mut self, load: f64) {
        self.seen += 1;
        if self.seen == 1 {
            (self.level, self.slope) = (load, 0.0);
            return;
        }
        let before = self.level;
        let goes_on = self.damped * self.slope;
        let expected = self.level + goes_on;
        self.level = expected + self.level_share * (load - expected);
        self.slope = goes_on + self.trend_share * (self.level - before - goes_on);
    }

    /// So many steps from the newest: the damped slopes add up to a geometric series.
    fn ahead(&self, steps: f64) -> f64 {
        let damped = self.damped;
        self.level + self.slope * damped * (1.0 - damped.powf(steps)) / (1.0 - damped)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: MediaTime = MediaTime(1_000_000_000_000);

    fn at(second: u64) -> MediaTime {
        START + Duration::from_secs(second)
    }

    /// Reports every half second for so long.
    fn told(load: &mut Load, seconds: std::ops::Range<u64>, is: impl Fn(f64) -> f64) {
        for half in seconds.start * 2..seconds.end * 2 {
            load.update(START + Duration::from_millis(500) * half as u32, is(half as f64 / 2.0));
        }
    }

    /// Low, and once in a period a steep peak.
    fn peaks(period: f64) -> impl Fn(f64) -> f64 {
        move |t| {
            let phase = (t / period).fract();
            0.2 + 0.7 * (-((phase - 0.7) / 0.08).powi(2)).exp()
        }
    }

    #[test]
    fn after_two_cycles_the_third_peak_is_seen_well_before_it_comes() {
        for period in [90.0, 200.0, 1000.0, 3600.0, 86_400.0f64] {
            let mut load = Load::begin(START);
            let before_third = (2.0 * period + 0.5 * period) as u64;
            let third = (2.0 * period + 0.7 * period) as u64;
            assert!(load.peak(at(third)).1.load < 0.5);
            told(&mut load, 0..before_third, peaks(period));
            let forecast = load.forecast(at(third));
            assert!((forecast.load - 0.9).abs() < 0.1, "{period}: {forecast:?}");
            assert!(forecast.deviation < 0.1, "{period}: {forecast:?}");
            let (when, peak) = load.peak(at(third + period as u64 / 10));
            assert!(peak.load > 0.8 && when.since(at(third)).as_secs_f64() < 0.05 * period);
            let trend = load.forecast(at(before_third + 1));
            assert!((trend.load - 0.2).abs() < 0.1, "{period}: {trend:?}");
        }
    }

    #[test]
    fn a_climb_goes_on_for_a_while_and_its_uncertainty_is_told() {
        let mut load = Load::begin(START);
        told(&mut load, 0..120, |t| 0.1 + 0.004 * t);
        let forecast = load.forecast(at(150));
        assert!(forecast.period.is_none());
        assert!((forecast.load - 0.7).abs() < 0.06, "{forecast:?}");
        assert!(forecast.deviation < 0.1, "{forecast:?}");
        let errors = load.errors();
        assert!(errors.predicted < 0.7 * errors.naive, "{errors:?}");
    }

    #[test]
    fn at_a_coarse_resolution_trends_and_seasons_are_those_of_a_fine_one() {
        let mut load = Load::begin_every(Duration::from_secs(5), START);
        told(&mut load, 0..300, |t| 0.1 + 0.001 * t);
        let trend = load.forecast(at(330));
        assert!((trend.load - 0.42).abs() < 0.03, "{trend:?}");
        let mut load = Load::begin_every(Duration::from_secs(5), START);
        told(&mut load, 0..2500, peaks(1000.0));
        let peak = load.forecast(at(2700));
        assert!((peak.load - 0.9).abs() < 0.1 && peak.period.is_some(), "{peak:?}");
    }

    #[test]
    fn a_steep_rise_is_foreseen_for_when_it_comes() {
        for (period, within) in [(300u64, 3), (1800, 16), (3600, 16)] {
            let rises = |t: f64| if t as u64 % period < period / 2 { 0.2 } else { 0.8 };
            for before in [7, 20, 41, 60] {
                let third = 2 * period + period / 2;
                let mut load = Load::begin(START);
                told(&mut load, 0..third - before, rises);
                let half = |ahead: &u64| load.forecast(at(third - before + ahead)).load > 0.5;
                let crosses = (0..90).find(half).unwrap_or(90);
                assert!(crosses.abs_diff(before) <= within, "{period} s: {crosses}, not {before}");
            }
        }
    }

    #[test]
    fn what_was_before_a_season_began_does_not_hide_it() {
        // Still for a period, then every half hour a programme: it opens high, and ends before the next.
        for (period, step) in [(400.0, 1), (1800.0, 5)] {
            let programmes = |t: f64| match (t / period - 1.0, (t / period).fract()) {
                (before, _) if before < 0.0 => 0.35,
                (_, phase) if phase < 0.05 => 1.6,
                (_, phase) if phase < 0.93 => 1.0,
                _ => 0.35,
            };
            let third = 3 * period as u64;
            let mut load = Load::begin_every(Duration::from_secs(step), START);
            told(&mut load, 0..third - 30, programmes);
            let forecast = load.forecast(at(third + 12));
            assert!((forecast.load - 1.6).abs() < 0.2, "{period} s: {forecast:?}");
            let found = forecast.period.map(|period| period.as_secs_f64() / step as f64);
            assert!(found.is_some_and(|found| (found * step as f64 - period).abs() < 12.0));
        }
    }

    #[test]
    fn what_begins_with_a_rise_is_not_taken_for_a_trend() {
        let mut load = Load::begin(START);
        for second in 0..30 {
            told(&mut load, second..second + 1, |t| if t < 4.0 { 0.2 * t } else { 0.8 });
            let forecast = load.forecast(at(second + 30));
            assert!(forecast.load < 0.9, "{second} s: {forecast:?}");
        }
    }

    #[test]
    fn a_sudden_step_is_not_taken_for_a_trend() {
        for step in [1, 5] {
            let mut load = Load::begin_every(Duration::from_secs(step), START);
            told(&mut load, 0..600, |t| 0.35 + 0.005 * (t * 1.7).sin());
            for more in 1..60 {
                let now = 600 + more * step;
                told(&mut load, now - step..now, |_| 0.85);
                let forecast = load.forecast(at(now + 60));
                assert!(forecast.load < 0.9, "{more} steps of {step} s later: {forecast:?}");
            }
        }
    }

    #[test]
    fn noise_has_no_season() {
        let mut load = Load::begin(START);
        // As in splitmix64.
        let noise = |t: f64| {
            let z = ((t * 2.0) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40
        };
        told(&mut load, 0..3000, |t| 0.5 + 0.1 * (noise(t) as f64 / f64::from(1 << 24) - 0.5));
        let forecast = load.forecast(at(3020));
        assert_eq!(forecast.period, None);
        assert!((forecast.load - 0.5).abs() < 0.08, "{forecast:?}");
    }

    #[test]
    fn a_season_that_ends_is_lost() {
        let mut load = Load::begin(START);
        told(&mut load, 0..400, peaks(100.0));
        assert!(load.forecast(at(420)).period.is_some());
        told(&mut load, 400..800, |_| 0.2);
        assert!(load.peak(at(900)).1.load < 0.3);
    }

    proptest! {
        #[test]
        fn whatever_is_reported_the_forecast_is_a_number(
            reports in proptest::collection::vec((0..5_000_000u64, proptest::num::f64::ANY), 0..40),
            ahead in 0..100_000u64,
        ) {
            let mut load = Load::begin(START);
            let mut now = START;
            for (later, value) in reports {
                now = now + Duration::from_micros(later * 10);
                load.update(now, value.clamp(-1e9, 1e9));
                let forecast = load.forecast(now + Duration::from_secs(ahead));
                prop_assert!(forecast.load.is_finite() && !forecast.deviation.is_nan());
            }
        }
    }
}
