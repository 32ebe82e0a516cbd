//! Why a component is to move, for people: what was known of workers and links, what was foreseen, what else was weighed.

use gibbon_control::portal::{DecidedBy, Foreseen, Grounds, WhyAlternative, WhyInput};
use gibbon_media::MediaTime;
use gibbon_placement::foresight::{
    Link, NodeIndex, NodeOutlook, Policy,
    components::{Component, Relocation, costs},
};

use crate::why::{self, fact};

/// Alternatives that are named.
const MAX_ALTERNATIVES: usize = 8;

/// Of a relocation that a pass over these workers has decided.
pub(super) fn of(
    component: &Component,
    relocation: &Relocation,
    workers: &[NodeOutlook],
    policy: &Policy,
    now: MediaTime,
) -> Grounds {
    let Relocation { from, to, decided, .. } = relocation;
    let known = |node: &NodeIndex| known(component, *node, workers, policy, now);
    let mut inputs: Vec<_> = [from, to].into_iter().flat_map(known).collect();
    let own = |name: &str, value| why::own(name.to_owned(), value, "");
    inputs.push(own("priority of the component", u8::from(component.priority).into()));
    inputs.push(own("recent moves", component.pace.recent(policy, now)));
    let foreseen = Foreseen {
        need_us: decided.need.as_micros(),
        lead_ms: decided.lead.as_millis() as u64,
        gain_s: decided.gain,
    };
    Grounds {
        because: trouble(&workers[from.at()]),
        decided_by: DecidedBy::Foresight,
        decided_us: now.as_micros(),
        foreseen: Some(foreseen),
        inputs,
        alternatives: weighed(component, relocation, workers, policy, now),
    }
}

/// What is wrong with a worker.
fn trouble(worker: &NodeOutlook) -> String {
    let (id, peak) = (&worker.id, peak(worker));
    match worker.leaves_at {
        Some(_) => format!("{id} goes away"),
        None if peak > worker.limit => {
            let (peak, limit) = (peak * 100.0, worker.limit * 100.0);
            format!("the load of {id} will be {peak:.0} %; its limit is {limit:.0} %")
        }
        None => format!("what comes to {id} comes late, or it may fail"),
    }
}

/// Its greatest predicted load, as a share of its cores.
fn peak(worker: &NodeOutlook) -> f64 {
    worker.load.iter().map(|forecast| forecast.load).fold(0.0, f64::max)
}

fn known(
    component: &Component,
    node: NodeIndex,
    workers: &[NodeOutlook],
    policy: &Policy,
    now: MediaTime,
) -> Vec<WhyInput> {
    let worker = &workers[node.at()];
    let age = worker.age(now);
    let said = |name: &str, value, unit| WhyInput {
        weight: policy.weight(age),
        ..fact(format!("{name} {}", worker.id), value, unit, format!("{}'s report", worker.id), age)
    };
    let mut inputs = vec![
        said("load of", worker.load[0].load * 100.0, "%"),
        said("predicted peak of", peak(worker) * 100.0, "%"),
    ];
    let left = worker.leaves_at.map(|at| at.since(now).as_secs_f64());
    inputs.extend(left.map(|seconds| said("time left of", seconds, "s")));
    let lag: f64 = links(component, node).iter().map(Link::lag_ms).sum();
    inputs.extend((lag > 0.0).then(|| said("lag of what comes to", lag, "ms")));
    inputs
}

fn links(component: &Component, node: NodeIndex) -> &[Link] {
    let place = component.places.iter().find(|(worker, _)| *worker == node);
    place.map_or(&[], |(_, links)| links)
}

/// The worker chosen, staying, and the others, the best first.
fn weighed(
    component: &Component,
    relocation: &Relocation,
    workers: &[NodeOutlook],
    policy: &Policy,
    now: MediaTime,
) -> Vec<WhyAlternative> {
    let place = |node: NodeIndex, reason: String| {
        let worker = &workers[node.at()];
        let cost = costs(component, worker, links(component, node), true, policy, now);
        let edges = [worker.id.clone(), worker.id.clone()];
        WhyAlternative { edges, cost: Some(cost.area()), reason }
    };
    let Relocation { from, to, decided, .. } = relocation;
    let others = component.places.iter().map(|(node, _)| *node);
    let others = others.filter(|node| node != from && node != to && node.at() < workers.len());
    let other = |node: NodeIndex| match &workers[node.at()] {
        worker if worker.open(component.weight, policy, now) => {
            place(node, "as good at best".to_owned())
        }
        _ => WhyAlternative { cost: None, ..place(node, "leaves, or has no room".to_owned()) },
    };
    let mut others: Vec<_> = others.map(other).collect();
    let rank = |weighed: &WhyAlternative| weighed.cost.unwrap_or(f64::INFINITY);
    others.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    let chosen = place(*to, format!("chosen: it gains {:.1} s", decided.gain));
    let staying = place(*from, format!("staying: {}", trouble(&workers[from.at()])));
    [chosen, staying].into_iter().chain(others).take(MAX_ALTERNATIVES).collect()
}
