//! Components on workers: the same decision as for legs on edges, with costs made of a worker's outlook and of the
//! links of the chain.

use std::time::Duration;

use gibbon_media::{MediaTime, Priority};

use super::{
    NodeIndex,
    decide::{Alternative, Move, Staying, Verdict, weigh},
    horizon::Costs,
    link::Link,
    outlook::NodeOutlook,
    pace::Pace,
    policy::Policy,
};

/// A running component.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its worker.
    pub at: NodeIndex,
    /// How much it matters: the highest priority of those that it serves.
    pub priority: Priority,
    /// What it takes, as a multiple of its worker's [`NodeOutlook::per_leg`].
    pub weight: f64,
    /// What viewers miss without it, 0 to 1: 1 where it carries both descriptions.
    pub carries: f64,
    /// How long its hand-off takes.
    pub lead: Duration,
    /// Where it is and where it might be, with the links there from the step before and to the one after.
    pub places: Vec<(NodeIndex, Vec<Link>)>,
    /// Where a hand-off of it that is under way goes.
    pub bound_for: Option<NodeIndex>,
    /// Its moves.
    pub pace: Pace,
}

/// A component that is to move now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relocation {
    /// Its place in the list.
    pub component: usize,
    /// Where it is.
    pub from: NodeIndex,
    /// Where it is to be.
    pub to: NodeIndex,
    /// When, and what for.
    pub decided: Move,
}

/// What it costs to have a component on a worker: that it is overloaded, gone or fails, and what the links there take.
/// `all`: whether overload counts, which is met by moving some of the worker's components.
pub fn costs(
    component: &Component,
    worker: &NodeOutlook,
    links: &[Link],
    all: bool,
    policy: &Policy,
    now: MediaTime,
) -> Costs {
    let carried = if component.carries.is_nan() { 1.0 } else { component.carries.clamp(0.0, 1.0) };
    let works: f64 = links.iter().map(|link| 1.0 - link.failure()).product();
    let lag: f64 = links.iter().map(Link::lag_ms).sum();
    Costs(std::array::from_fn(|k| {
        let overloaded = if all { worker.overload(k) } else { 0.0 };
        let there = match worker.gone(k, now) {
            true => 0.0,
            false => (1.0 - overloaded) * (1.0 - worker.failing()) * works,
        };
        let load = worker.load[k].load;
        let load = if load.is_nan() { 0.0 } else { load.clamp(0.0, 1.0) };
        carried * (1.0 - there) + policy.latency * lag.min(1000.0) + policy.load * load * load
    }))
}

/// Which components are to move now. `workers` have been told what to expect.
///
/// Of a worker that will be overloaded only so many leave as bring it back below [`Policy::target`] of its limit, those
/// that matter least first.
pub fn pass(
    components: &mut [Component],
    workers: &mut [NodeOutlook],
    policy: &Policy,
    now: MediaTime,
) -> Vec<Relocation> {
    workers.iter_mut().for_each(|worker| worker.begin(policy, now));
    for component in components.iter() {
        let Some(to) = component.bound_for else { continue };
        for (worker, weight) in [(component.at, -component.weight), (to, component.weight)] {
            if let Some(worker) = workers.get_mut(worker.at()) {
                worker.commit(weight, policy, now);
            }
        }
    }
    let mut excess: Vec<f64> = workers
        .iter()
        .map(|worker| worker.relief(policy, now).map_or(0.0, |relief| relief.legs))
        .collect();
    let settled =
        |component: &Component| component.bound_for.is_none() && component.at.at() < workers.len();
    let mut order: Vec<usize> =
        (0..components.len()).filter(|n| settled(&components[*n])).collect();
    order.sort_by_key(|n| (components[*n].priority, components[*n].pace.last(), *n));
    let mut moves = Vec::new();
    for n in order {
        let component = &mut components[n];
        let from = component.at;
        let relieves = excess[from.at()] > 0.0;
        let verdict = look(component, workers, relieves, policy, now);
        let wanted = !matches!(verdict, Verdict::Stay { .. });
        component.pace.wanting(wanted, now);
        if wanted && relieves {
            // Whether now or soon, this one is to go: the others need not.
            excess[from.at()] -= component.weight;
        }
        if let Verdict::Move(decided) = verdict {
            let to = decided.to[0];
            workers[to.at()].commit(component.weight, policy, now);
            moves.push(Relocation { component: n, from, to, decided });
        }
    }
    moves
}

/// Weighs one component.
fn look(
    component: &Component,
    workers: &[NodeOutlook],
    relieves: bool,
    policy: &Policy,
    now: MediaTime,
) -> Verdict {
    let stay = Verdict::Stay { look_again: policy.look_again };
    let here = &workers[component.at.at()];
    let Some((_, links)) = component.places.iter().find(|(worker, _)| *worker == component.at)
    else {
        return stay;
    };
    let staying = Staying {
        at: [component.at; 2],
        costs: costs(component, here, links, relieves, policy, now),
        leaves_at: here.leaves_within(now),
        picked: false,
        margin: policy.margin,
    };
    let open = |worker: &NodeOutlook| worker.open(component.weight, policy, now);
    let elsewhere = component.places.iter().filter(|(worker, _)| *worker != component.at);
    let fit = elsewhere.filter(|(worker, _)| workers.get(worker.at()).is_some_and(open));
    let alternatives: Vec<_> = fit
        .map(|(worker, links)| Alternative {
            to: [*worker; 2],
            costs: costs(component, &workers[worker.at()], links, true, policy, now),
            lead: component.lead,
        })
        .collect();
    weigh(&staying, &alternatives, &component.pace, policy, now)
}
