//! What is watched, and what it takes: the rate of each programme over time, as a part of the mean rate of a stream.

use crate::{
    draw::{Draw, noise},
    scenario::{FlashCrowd, Scenario, Season},
    world::World,
};

/// Channels that everybody watches at all times.
const CHANNELS: usize = 8;
/// How much their rate varies, as a part of it.
const CHANNEL_VARIES: f64 = 0.05;
/// How much that of a live programme does.
const LIVE_VARIES: f64 = 0.08;
/// How often rates change, in s.
pub(crate) const RATE_STEP_S: u32 = 5;
/// A season's programme ends so long before the next begins, in s.
const PAUSE_S: u32 = 120;

/// A programme, as an index.
pub(crate) type Programme = u16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    /// Of a region.
    Season(u8),
    /// The crowd of this number.
    Flash(u8),
}

/// A crowd that nobody expects: when it begins to come, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub at_s: u32,
    pub region: u8,
}

#[derive(Debug)]
pub(crate) struct Programmes {
    pub kinds: Vec<Kind>,
    season: Option<Season>,
    flash: Option<FlashCrowd>,
    pub crowds: Vec<Crowd>,
}

impl Programmes {
    pub fn build(scenario: &Scenario, world: &World, seed: u64) -> Self {
        let mut draw = Draw::of(seed, "crowds");
        let crowds = scenario.flash_crowd.as_ref().map_or(0, |flash| flash.crowds);
        // Not in the first third, for predictors must have something to learn from before.
        let at = |draw: &mut Draw| f64::from(scenario.duration_s) * draw.within(0.35, 0.9);
        let crowds: Vec<_> = (0..crowds)
            .map(|_| Crowd {
                at_s: at(&mut draw) as u32,
                region: draw.index(world.regions.len()) as u8,
            })
            .collect();
        let seasonal = scenario.season.as_ref().map_or(0, |season| season.regions);
        let mut kinds = vec![Kind::Channel; CHANNELS];
        kinds.extend((0..seasonal).map(|region| Kind::Season(region as u8)));
        kinds.extend((0..crowds.len()).map(|n| Kind::Flash(n as u8)));
        Self { kinds, season: scenario.season.clone(), flash: scenario.flash_crowd.clone(), crowds }
    }

    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// A channel, drawn.
    pub fn channel(&self, draw: &mut Draw) -> Programme {
        draw.index(CHANNELS) as Programme
    }

    /// That of this kind; the first channel where there is none.
    pub fn of(&self, kind: Kind) -> Programme {
        self.kinds.iter().position(|it| *it == kind).unwrap_or(0) as Programme
    }

    /// As a part of the mean rate of a stream.
    pub fn rate(&self, programme: usize, at_s: u32) -> f32 {
        let step = u64::from(at_s / RATE_STEP_S);
        let drawn = |step: u64| noise(((programme as u64) << 32) | step);
        let varies = |share: f64| 1.0 + share * drawn(step);
        let rate = match self.kinds[programme] {
            Kind::Channel => 1.0 + CHANNEL_VARIES * drawn(step / 2),
            Kind::Season(region) => {
                let rate = self.season.as_ref().map_or(1.0, |season| season.rate(region, at_s));
                rate * varies(LIVE_VARIES)
            }
            Kind::Flash(n) => self.flash_rate(usize::from(n), at_s) * varies(LIVE_VARIES),
        };
        rate as f32
    }

    fn flash_rate(&self, n: usize, at_s: u32) -> f64 {
        let Some(flash) = &self.flash else { return 1.0 };
        let all_came = self.crowds[n].at_s + flash.within_s;
        if (all_came..all_came + flash.within_s).contains(&at_s) { flash.opening } else { 1.0 }
    }
}

impl Season {
    /// The starts of its programmes in a region.
    pub(crate) fn starts(&self, region: u8) -> impl Iterator<Item = u32> {
        let later = later(region);
        (self.first_s..=self.last_s).step_by(self.period_s as usize).map(move |at| at + later)
    }

    /// When the programme that begins at `start` ends.
    pub(crate) fn end(&self, start: u32) -> u32 {
        start + self.period_s.saturating_sub(PAUSE_S)
    }

    fn rate(&self, region: u8, at_s: u32) -> f64 {
        let at_s = at_s.saturating_sub(later(region));
        let since_first =
            at_s.checked_sub(self.first_s).filter(|_| at_s <= self.last_s + self.period_s);
        let Some(since) = since_first.map(|since| since % self.period_s) else { return self.slate };
        match since {
            since if since >= self.period_s.saturating_sub(PAUSE_S) => self.slate,
            since if since < self.opening_s => self.opening,
            _ => 1.0,
        }
    }
}

/// No two regions begin at the same second, nor all on the beat of reports.
fn later(region: u8) -> u32 {
    2 + 7 * u32::from(region) % 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_s_programme_opens_at_its_start_and_stands_still_before_and_after() {
        let season = Season {
            regions: 1,
            period_s: 1800,
            first_s: 3600,
            last_s: 7200,
            share: 0.2,
            spread_km: 3.0,
            slate: 0.4,
            opening: 1.3,
            opening_s: 90,
        };
        assert_eq!(season.starts(0).collect::<Vec<_>>(), [3602, 5402, 7202]);
        for (at, rate) in
            [(0, 0.4), (3599, 0.4), (3600, 1.3), (3690, 1.0), (5279, 1.0), (5280, 0.4), (5400, 1.3)]
        {
            assert_eq!(season.rate(0, at + 2), rate, "{at}");
        }
    }
}
