//! What happens in a simulated day, as a TOML file says it.

use serde::{Deserialize, Serialize};

/// A world, its audience, and what befalls it. What is left out does not happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is for, in a line.
    pub description: String,
    /// Virtual seconds. Time 0 is midnight, but for `begins_s`.
    pub duration_s: u32,
    /// Time of day at the beginning, in s.
    #[serde(default)]
    pub begins_s: u32,
    /// Edges in all.
    pub edges: usize,
    /// Cities that they stand around, at most [`crate::MAX_REGIONS`].
    pub regions: usize,
    /// Edges of one failure domain.
    pub domain_edges: usize,
    /// Viewers that an edge carries at the mean rate of a stream, in the mean; edges differ by a third either way.
    pub capacity: f64,
    /// An arrival is placed where edges are filled to no more than this part of their capacity, if there is such a one.
    pub admit: f64,
    /// Sessions in all.
    pub sessions: usize,
    /// Mean length of a session, in minutes; they are log-normal, with a standard deviation of the logarithm of 1.2.
    pub mean_minutes: f64,
    /// Share of sessions with a leg at each of two edges.
    pub diverse: f64,
    /// The paths between clients and edges.
    #[serde(default)]
    pub network: Network,
    /// Programmes that begin at fixed times.
    pub season: Option<Season>,
    /// Other work at edges that grows.
    pub trend: Option<Trend>,
    /// Clients that move.
    pub motion: Option<Motion>,
    /// Announced waves of maintenance.
    pub maintenance: Option<Maintenance>,
    /// Crowds that nobody expects.
    pub flash_crowd: Option<FlashCrowd>,
    /// Losses of several failure domains at once.
    pub outage: Option<Outage>,
    /// Paths that become slowly worse.
    pub degradation: Option<Degradation>,
    /// Paths that become worse at once.
    pub breakdown: Option<Degradation>,
}

/// The paths between clients and edges: slack is what is left of the playout delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Playout delay, in ms.
    pub playout_ms: f64,
    /// What a path to an edge next door takes of it, in ms.
    pub base_ms: f64,
    /// What each km takes, in ms.
    pub per_km_ms: f64,
    /// Standard deviation of slack from second to second, in ms.
    pub jitter_ms: f64,
    /// Standard deviation of what buildings and hills take as one passes them, in ms …
    pub shadow_ms: f64,
    /// … and how far it is from one to the next, in m.
    pub shadow_m: f64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            playout_ms: 300.0,
            base_ms: 60.0,
            per_km_ms: 8.0,
            jitter_ms: 15.0,
            shadow_ms: 15.0,
            shadow_m: 400.0,
        }
    }
}

/// Programmes of so many regions, one after another, each watched in one part of the city more than elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Season {
    /// Regions that have them.
    pub regions: usize,
    /// From start to start, in s.
    pub period_s: u32,
    /// First start, in s from the beginning of the scenario.
    pub first_s: u32,
    /// No start after this.
    pub last_s: u32,
    /// Viewers of one programme at the busiest hour, as a share of the capacity of its region; they vary by a fifth.
    pub share: f64,
    /// Standard deviation of where they are, in km along each axis.
    pub spread_km: f64,
    /// Rate before the start and after the end, as a part of the mean: a picture that stands still.
    pub slate: f64,
    /// Rate from the start on …
    pub opening: f64,
    /// … for so many seconds; 1 after that.
    pub opening_s: u32,
}

/// Other work at some edges grows through some hours, and goes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    /// Share of edges.
    pub share: f64,
    /// From when on, in s.
    pub from_s: u32,
    /// How long until it is at its highest, and again until it is gone, in s.
    pub grows_s: u32,
    /// Its highest, as a part of the edge's capacity.
    pub most: f64,
}

/// Clients that move: on recorded tracks and on roads into the city.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Motion {
    /// Share of sessions.
    pub share: f64,
    /// Mean speed on roads, in m/s.
    pub speed: f64,
    /// How far roads lead out of the city, in km.
    pub reach_km: f64,
}

/// One failure domain after another is taken away, in so many regions at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Regions in which it happens.
    pub regions: usize,
    /// When the first one goes, in s.
    pub from_s: u32,
    /// From one to the next, in s.
    pub every_s: u32,
    /// How long each is gone, in s.
    pub lasts_s: u32,
    /// How long before it is announced, in s.
    pub notice_s: u32,
    /// Domains of each region.
    pub domains: usize,
}

/// Crowds, each in one region, at a time drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlashCrowd {
    /// How many.
    pub crowds: usize,
    /// Viewers of one, as a share of the capacity of its region.
    pub share: f64,
    /// They come within so many seconds.
    pub within_s: u32,
    /// The rate of what they watch rises to this part of the mean, as for an opening.
    pub opening: f64,
    /// They stay so long in the mean, in s.
    pub stay_s: f64,
}

/// Losses without warning, at times drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// How many.
    pub outages: usize,
    /// Failure domains of one region that are lost together.
    pub domains: usize,
    /// For how long, in s.
    pub lasts_s: u32,
}

/// The paths to one failure domain become worse, at times drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degradation {
    /// How often.
    pub times: usize,
    /// How long until it is at its worst, and again until it is over, in s.
    pub ramp_s: u32,
    /// How long it stays so, in s.
    pub holds_s: u32,
    /// What it takes of the slack at its worst, in ms.
    pub worst_ms: f64,
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The file is not one.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A value is out of its bounds.
    #[error("{0}")]
    Bounds(&'static str),
}

/// A scenario that is shipped.
pub struct Shipped {
    /// Its name on the command line.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),*) => {
        /// All that are shipped.
        pub const SHIPPED: &[Shipped] = &[
            $(Shipped { name: $name, text: include_str!(concat!("../scenarios/", $name, ".toml")) }),*
        ];
    };
}
shipped!("day", "season", "trend", "motion", "maintenance", "flash-crowd", "outage", "degradation");

impl Scenario {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The shipped one of this name.
    pub fn shipped(name: &str) -> Option<Result<Self, Invalid>> {
        SHIPPED.iter().find(|shipped| shipped.name == name).map(|found| Self::parse(found.text))
    }

    /// The same on so many edges, with as many sessions and regions for each.
    pub fn with_edges(mut self, edges: usize) -> Self {
        let scale = edges as f64 / self.edges as f64;
        let scaled = |n: usize, least: usize| ((n as f64 * scale).round() as usize).max(least);
        self.sessions = scaled(self.sessions, 1);
        let per_region = self.edges as f64 / self.regions as f64;
        self.edges = edges;
        self.regions = ((edges as f64 / per_region).round() as usize).max(1);
        let regions = self.regions;
        self.season
            .iter_mut()
            .for_each(|season| season.regions = scaled(season.regions, 1).min(regions));
        self.maintenance.iter_mut().for_each(|it| it.regions = scaled(it.regions, 1).min(regions));
        self.flash_crowd.iter_mut().for_each(|it| it.crowds = scaled(it.crowds, 1));
        self.outage.iter_mut().for_each(|it| it.outages = scaled(it.outages, 1));
        self.degradation.iter_mut().for_each(|it| it.times = scaled(it.times, 1));
        self.breakdown.iter_mut().for_each(|it| it.times = scaled(it.times, 1));
        self
    }

    /// The same, but it ends earlier: with as many sessions for each second.
    pub fn with_duration(mut self, seconds: u32) -> Self {
        let scale = f64::from(seconds) / f64::from(self.duration_s);
        self.sessions = ((self.sessions as f64 * scale).round() as usize).max(1);
        self.duration_s = seconds;
        self
    }

    /// The hour of the day at a second of the run.
    pub(crate) fn hour(&self, second: f64) -> f64 {
        (f64::from(self.begins_s) + second) / 3600.0 % 24.0
    }

    /// Whether it can be played.
    pub fn check(&self) -> Result<(), Invalid> {
        let good = |is: bool, what| if is { Ok(()) } else { Err(Invalid::Bounds(what)) };
        let share = |x: f64| (0.0..=1.0).contains(&x);
        good((1..=86_400 * 7).contains(&self.duration_s), "duration_s is 1 to a week")?;
        good((1..=crate::MAX_REGIONS).contains(&self.regions), "regions are 1 to 20")?;
        good(
            (self.regions..=10_000).contains(&self.edges),
            "edges are as many as regions to 10000",
        )?;
        good(self.edges / self.regions >= 4, "a region has four edges at least")?;
        good((1..=100).contains(&self.domain_edges), "domain_edges are 1 to 100")?;
        good((1.0..=100_000.0).contains(&self.capacity), "capacity is 1 to 100000")?;
        good(share(self.admit) && self.admit > 0.0, "admit is above 0, and 1 at most")?;
        good((1..=10_000_000).contains(&self.sessions), "sessions are 1 to 10 million")?;
        good((0.1..=1440.0).contains(&self.mean_minutes), "mean_minutes is 0.1 to 1440")?;
        good(share(self.diverse), "diverse is 0 to 1")?;
        good(
            self.network.jitter_ms > 0.0 && self.network.shadow_m > 0.0,
            "jitter_ms and shadow_m are above 0",
        )?;
        if let Some(season) = &self.season {
            good(season.period_s >= 60, "a season's period_s is 60 at least")?;
            good(season.regions <= self.regions, "a season has no more regions than there are")?;
        }
        if let Some(maintenance) = &self.maintenance {
            good(
                maintenance.regions <= self.regions,
                "maintenance has no more regions than there are",
            )?;
            good(maintenance.every_s >= 1, "every_s is 1 at least")?;
        }
        let moving = self.motion.as_ref();
        good(
            moving.is_none_or(|motion| share(motion.share) && motion.speed > 0.0),
            "motion: share is 0 to 1, speed above 0",
        )
    }
}
