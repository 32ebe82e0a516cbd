//! What befalls edges, and when: drawn once, the same for every policy.

use crate::{
    Cause,
    draw::Draw,
    scenario::{Degradation, Maintenance, Outage, Scenario},
    world::{Edge, World},
};

/// Edges are gone for a while.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absence {
    pub edges: Vec<Edge>,
    pub from_s: u32,
    pub till_s: u32,
    /// From when on it is known; none for a loss.
    pub announced_s: Option<u32>,
    pub cause: Cause,
}

/// The paths to some edges are worse for a while.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ramp {
    pub edges: Vec<Edge>,
    pub from_s: u32,
    shape: Degradation,
    pub cause: Cause,
}

impl Ramp {
    /// What it takes of the slack at this time, in ms; none before and after.
    pub fn penalty(&self, at_s: u32) -> Option<f64> {
        let since = f64::from(at_s.checked_sub(self.from_s)?);
        let (ramp, holds) = (f64::from(self.shape.ramp_s.max(1)), f64::from(self.shape.holds_s));
        let part = (since / ramp).min((2.0 * ramp + holds - since) / ramp).min(1.0);
        (part >= 0.0).then_some(part * self.shape.worst_ms)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Happenings {
    pub absences: Vec<Absence>,
    pub ramps: Vec<Ramp>,
}

impl Happenings {
    pub fn draw(scenario: &Scenario, world: &World, seed: u64) -> Self {
        let mut all = Self::default();
        let seconds = f64::from(scenario.duration_s);
        if let Some(it) = &scenario.maintenance {
            all.maintenance(it, world);
        }
        if let Some(it) = &scenario.outage {
            all.outages(it, seconds, world, &mut Draw::of(seed, "outage"));
        }
        if let Some(it) = &scenario.degradation {
            all.degradations(
                it,
                Cause::Degradation,
                seconds,
                world,
                &mut Draw::of(seed, "degradation"),
            );
        }
        if let Some(it) = &scenario.breakdown {
            all.degradations(
                it,
                Cause::Breakdown,
                seconds,
                world,
                &mut Draw::of(seed, "breakdown"),
            );
        }
        all.absences.retain(|absence| absence.till_s < scenario.duration_s);
        all
    }

    /// Whether an edge is gone at this time, for any reason.
    pub fn is_absent(&self, edge: Edge, at_s: u32) -> bool {
        let lasts = |absence: &&Absence| (absence.from_s..absence.till_s).contains(&at_s);
        self.absences.iter().filter(lasts).any(|absence| absence.edges.contains(&edge))
    }

    /// What is wrong with the paths to each edge at this time, in ms: the worst of all that is.
    pub fn penalties(&self, edges: usize, at_s: u32) -> Vec<Option<(f32, Cause)>> {
        let mut penalties: Vec<Option<(f32, Cause)>> = vec![None; edges];
        for ramp in &self.ramps {
            let Some(ms) = ramp.penalty(at_s).map(|ms| ms as f32) else { continue };
            for edge in &ramp.edges {
                let worst = &mut penalties[usize::from(*edge)];
                if worst.is_none_or(|(worst, _)| worst < ms) {
                    *worst = Some((ms, ramp.cause));
                }
            }
        }
        penalties
    }

    /// The last regions first: seasons are in the first ones.
    fn maintenance(&mut self, it: &Maintenance, world: &World) {
        for region in world.regions.len() - it.regions..world.regions.len() {
            for (n, domain) in world.domains_of(region).take(it.domains).enumerate() {
                let from_s = it.from_s + n as u32 * it.every_s;
                self.absences.push(Absence {
                    edges: world.domains[domain].clone(),
                    from_s,
                    till_s: from_s + it.lasts_s,
                    announced_s: Some(from_s.saturating_sub(it.notice_s)),
                    cause: Cause::Maintenance,
                });
            }
        }
    }

    fn outages(&mut self, it: &Outage, seconds: f64, world: &World, draw: &mut Draw) {
        for _ in 0..it.outages {
            let domains: Vec<_> = world.domains_of(draw.index(world.regions.len())).collect();
            // One at least stays.
            let lost = it.domains.min(domains.len() - 1);
            let first = draw.index(domains.len() - lost + 1);
            let from_s = (seconds * draw.within(0.3, 0.85)) as u32;
            let edges =
                domains[first..first + lost].iter().flat_map(|domain| &world.domains[*domain]);
            self.absences.push(Absence {
                edges: edges.copied().collect(),
                from_s,
                till_s: from_s + it.lasts_s,
                announced_s: None,
                cause: Cause::Outage,
            });
        }
    }

    fn degradations(
        &mut self,
        it: &Degradation,
        cause: Cause,
        seconds: f64,
        world: &World,
        draw: &mut Draw,
    ) {
        for _ in 0..it.times {
            let edges = world.domains[draw.index(world.domains.len())].clone();
            let from_s = (seconds * draw.within(0.2, 0.9)) as u32;
            self.ramps.push(Ramp { edges, from_s, shape: it.clone(), cause });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_worse_as_slowly_as_is_said_and_well_again() {
        let shape = Degradation { times: 1, ramp_s: 100, holds_s: 50, worst_ms: 200.0 };
        let ramp = Ramp { edges: vec![1], from_s: 1000, shape, cause: Cause::Degradation };
        let told = [999, 1000, 1050, 1100, 1150, 1200, 1250, 1251].map(|at| ramp.penalty(at));
        let expected =
            [None, Some(0.0), Some(100.0), Some(200.0), Some(200.0), Some(100.0), Some(0.0), None];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_two_things_are_wrong_at_once_the_worse_counts_and_both_must_end() {
        let ramp = |from_s: u32, worst_ms: f64, cause: Cause| Ramp {
            edges: vec![1],
            from_s,
            shape: Degradation { times: 1, ramp_s: 10, holds_s: 80, worst_ms },
            cause,
        };
        let absence = |from_s: u32, till_s: u32, cause: Cause| Absence {
            edges: vec![1],
            from_s,
            till_s,
            announced_s: None,
            cause,
        };
        let all = Happenings {
            ramps: vec![ramp(0, 300.0, Cause::Degradation), ramp(50, 100.0, Cause::Breakdown)],
            absences: vec![absence(0, 50, Cause::Outage), absence(40, 90, Cause::Maintenance)],
        };
        let wrong = |at_s: u32| all.penalties(2, at_s)[1];
        assert_eq!(wrong(70), Some((300.0, Cause::Degradation)));
        assert_eq!(wrong(120), Some((100.0, Cause::Breakdown)));
        assert_eq!((wrong(151), all.penalties(2, 70)[0]), (None, None));
        assert_eq!([39, 50, 89, 90].map(|at| all.is_absent(1, at)), [true, true, true, false]);
    }
}
