//! Where everything stands: regions, edges, failure domains. It does not change through a run.

use gibbon_placement::Position;

use crate::{draw::Draw, scenario::Scenario};

/// Regions there are at most: the cities below.
pub const MAX_REGIONS: usize = CITIES.len();

const CITIES: [(&str, f64, f64); 20] = [
    ("berlin", 52.52, 13.40),
    ("madrid", 40.42, -3.70),
    ("rome", 41.90, 12.50),
    ("paris", 48.86, 2.35),
    ("vienna", 48.21, 16.37),
    ("hamburg", 53.55, 9.99),
    ("warsaw", 52.23, 21.01),
    ("budapest", 47.50, 19.04),
    ("barcelona", 41.39, 2.17),
    ("munich", 48.14, 11.58),
    ("milan", 45.46, 9.19),
    ("prague", 50.08, 14.44),
    ("sofia", 42.70, 23.32),
    ("brussels", 50.85, 4.35),
    ("birmingham", 52.49, -1.89),
    ("cologne", 50.94, 6.96),
    ("naples", 40.85, 14.27),
    ("turin", 45.07, 7.69),
    ("marseille", 43.30, 5.37),
    ("zagreb", 45.81, 15.98),
];
/// Kilometres of one degree of latitude, on the sphere that [`Position`] measures on.
const DEGREE_KM: f64 = 111.195;
/// Standard deviation of where edges and viewers of a city are, in km along each axis.
pub(crate) const CITY_KM: f64 = 9.0;
/// Share of edges that stand along the roads out of the city …
const ALONG_ROADS: f64 = 0.25;
/// … as far as this, in km.
const ROADS_KM: f64 = 45.0;
/// Roads out of each city.
pub(crate) const ROADS: usize = 6;

/// An edge, as an index.
pub(crate) type Edge = u16;

/// A place in a region, in km east and north of its city's centre. Regions are planes of their own: nobody goes from one
/// to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Place {
    pub x: f32,
    pub y: f32,
}

impl Place {
    pub fn new(x: f64, y: f64) -> Self {
        Self { x: x as f32, y: y as f32 }
    }

    /// In km.
    pub fn distance(self, other: Place) -> f64 {
        f64::from((self.x - other.x).hypot(self.y - other.y))
    }
}

#[derive(Debug)]
pub(crate) struct Region {
    pub name: &'static str,
    centre: (f64, f64),
    pub edges: std::ops::Range<Edge>,
    /// Viewers that its edges carry together.
    pub capacity: f64,
    /// Directions in which its roads leave, in radians.
    pub roads: [f64; ROADS],
}

impl Region {
    /// On earth.
    pub fn position(&self, place: Place) -> Position {
        let (latitude, longitude) = self.centre;
        let north = f64::from(place.y) / DEGREE_KM;
        let east = f64::from(place.x) / (DEGREE_KM * latitude.to_radians().cos());
        Position::new(latitude + north, longitude + east)
    }
}

#[derive(Debug)]
pub(crate) struct Site {
    pub region: u8,
    pub place: Place,
    pub domain: u16,
    /// Viewers at the mean rate.
    pub capacity: f32,
}

#[derive(Debug)]
pub(crate) struct World {
    pub regions: Vec<Region>,
    pub sites: Vec<Site>,
    /// The edges of each failure domain; a domain lies in one region.
    pub domains: Vec<Vec<Edge>>,
}

impl World {
    pub fn build(scenario: &Scenario, seed: u64) -> Self {
        let mut draw = Draw::of(seed, "world");
        let mut world = Self { regions: Vec::new(), sites: Vec::new(), domains: Vec::new() };
        for (n, (name, latitude, longitude)) in
            CITIES.into_iter().take(scenario.regions).enumerate()
        {
            let till = scenario.edges * (n + 1) / scenario.regions;
            let roads = std::array::from_fn(|n| {
                (n as f64 + draw.within(-0.3, 0.3)) * std::f64::consts::TAU / ROADS as f64
            });
            let from = world.sites.len();
            while world.sites.len() < till {
                world.add_domain(n as u8, scenario, &roads, till, &mut draw);
            }
            let capacity = world.sites[from..].iter().map(|site| f64::from(site.capacity)).sum();
            let edges = from as Edge..till as Edge;
            world.regions.push(Region {
                name,
                centre: (latitude, longitude),
                edges,
                capacity,
                roads,
            });
        }
        world
    }

    /// The edges of a domain stand apart; what they share is power and uplink.
    fn add_domain(
        &mut self,
        region: u8,
        scenario: &Scenario,
        roads: &[f64],
        till: usize,
        draw: &mut Draw,
    ) {
        let domain = self.domains.len() as u16;
        let mut members = Vec::new();
        while members.len() < scenario.domain_edges && self.sites.len() < till {
            let place = if draw.chance(ALONG_ROADS) {
                let (angle, far) = (roads[draw.index(roads.len())], draw.within(10.0, ROADS_KM));
                Place::new(far * angle.cos() + draw.normal(), far * angle.sin() + draw.normal())
            } else {
                Place::new(CITY_KM * draw.normal(), CITY_KM * draw.normal())
            };
            let capacity = (scenario.capacity * draw.within(2.0 / 3.0, 4.0 / 3.0)) as f32;
            members.push(self.sites.len() as Edge);
            self.sites.push(Site { region, place, domain, capacity });
        }
        self.domains.push(members);
    }

    pub fn region_of(&self, edge: Edge) -> &Region {
        &self.regions[usize::from(self.sites[usize::from(edge)].region)]
    }

    /// In km.
    pub fn distance(&self, edge: Edge, place: Place) -> f64 {
        self.sites[usize::from(edge)].place.distance(place)
    }

    /// The domains of a region.
    pub fn domains_of(&self, region: usize) -> impl Iterator<Item = usize> {
        let edges = self.regions[region].edges.clone();
        (0..self.domains.len()).filter(move |domain| edges.contains(&self.domains[*domain][0]))
    }
}
