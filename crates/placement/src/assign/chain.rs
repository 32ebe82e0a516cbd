//! The cheapest way through steps × workers.
//!
//! A chain is a sequence of *runs*: neighbouring steps on one worker, which pass raw frames. What a run costs
//! depends on its worker alone, what lies between two runs on both workers; so dynamic programming over (step at
//! which a run begins, its worker) finds the best sequence in O(n·W² + n²·W). A chain that comes back to a worker
//! is costed visit by visit there, which is too little, for load is convex; such a chain is costed again as a whole
//! and, where another may be better, set aside (Lawler, "A procedure for computing the K best solutions",
//! Management Science 18(7), 1972).

use std::{collections::BTreeSet, ops::Range};

use super::problem::{Need, Problem};

/// Chains that come back to a worker and are set aside, before the best of them is good enough.
const MAX_SET_ASIDE: usize = 16;
/// Costs that differ by less are the same.
const ROUNDING: f64 = 1e-9;

/// What runs and hops cost; infinite where they cannot be.
pub struct Costs {
    steps: usize,
    workers: usize,
    /// By worker, first step and end.
    runs: Vec<f64>,
    /// By step (that is entered), worker before and worker.
    hops: Vec<f64>,
}

/// Which worker may be used for which step.
type Allowed = Vec<Vec<bool>>;

/// The best that leads from the source to each place, or from each place to the client.
pub struct Ways {
    /// By step and worker: that a run begins there (what comes before it) …
    pub begun: Vec<Vec<f64>>,
    /// … and the worker of the run before.
    before: Vec<Vec<usize>>,
    /// By number of steps and worker: that these are done and the last run was there …
    done: Vec<Vec<f64>>,
    /// … and the step it began at.
    since: Vec<Vec<usize>>,
}

/// A chain and what it costs, or costs at least.
#[derive(Clone)]
struct Way {
    workers: Vec<usize>,
    cost: f64,
}

impl Costs {
    pub fn new(problem: &Problem<'_>) -> Self {
        let (n, w) = (problem.steps.len(), problem.workers.len());
        let or_never = |cost: Option<f64>| cost.unwrap_or(f64::INFINITY);
        let mut costs = Self {
            steps: n,
            workers: w,
            runs: vec![f64::INFINITY; w * (n + 1) * (n + 1)],
            hops: vec![f64::INFINITY; n * w * w],
        };
        for worker in 0..w {
            for first in 0..n {
                let fit = (first..n).take_while(|step| problem.unfit(*step, worker).is_none());
                for last in fit {
                    let at = costs.run_at(worker, first, last + 1);
                    costs.runs[at] = or_never(problem.run(worker, first..last + 1));
                }
            }
        }
        for step in 1..n {
            let usable = |step: usize| (0..w).filter(move |x| problem.unfit(step, *x).is_none());
            for from in usable(step - 1) {
                for to in usable(step).filter(|to| *to != from) {
                    let at = costs.hop_at(step, from, to);
                    costs.hops[at] = or_never(problem.hop(from, to, step));
                }
            }
        }
        costs
    }

    fn run_at(&self, worker: usize, first: usize, end: usize) -> usize {
        (worker * (self.steps + 1) + first) * (self.steps + 1) + end
    }

    fn hop_at(&self, step: usize, from: usize, to: usize) -> usize {
        (step * self.workers + from) * self.workers + to
    }

    /// What the steps from `first` up to `end` cost on a worker.
    pub fn run(&self, worker: usize, first: usize, end: usize) -> f64 {
        self.runs[self.run_at(worker, first, end)]
    }

    fn hop(&self, step: usize, from: usize, to: usize) -> f64 {
        self.hops[self.hop_at(step, from, to)]
    }

    /// From the source on.
    pub fn ways(&self, allowed: Option<&Allowed>) -> Ways {
        let (n, w) = (self.steps, self.workers);
        let never = vec![f64::INFINITY; w];
        let mut ways = Ways {
            begun: vec![never.clone(); n + 1],
            before: vec![vec![0; w]; n + 1],
            done: vec![never; n + 1],
            since: vec![vec![0; w]; n + 1],
        };
        let may = |step: usize, worker: usize| allowed.is_none_or(|a| a[step][worker]);
        ways.begun[0].fill(0.0);
        for end in 1..=n {
            for worker in 0..w {
                for first in (0..end).rev().take_while(|step| may(*step, worker)) {
                    let cost = ways.begun[first][worker] + self.run(worker, first, end);
                    if cost < ways.done[end][worker] {
                        (ways.done[end][worker], ways.since[end][worker]) = (cost, first);
                    }
                }
            }
            for from in (0..w).filter(|from| end < n && ways.done[end][*from].is_finite()) {
                for to in 0..w {
                    let cost = ways.done[end][from] + self.hop(end, from, to);
                    if cost < ways.begun[end][to] {
                        (ways.begun[end][to], ways.before[end][to]) = (cost, from);
                    }
                }
            }
        }
        ways
    }

    /// To the client: by number of steps done and worker of the last of them, what is still to come.
    pub fn rest(&self) -> Vec<Vec<f64>> {
        let (n, w) = (self.steps, self.workers);
        let mut rest = vec![vec![f64::INFINITY; w]; n + 1];
        rest[n].fill(0.0);
        for first in (1..n).rev() {
            for to in 0..w {
                let run = |end: usize| self.run(to, first, end) + rest[end][to];
                let begun = (first + 1..=n).map(run).fold(f64::INFINITY, f64::min);
                for from in (0..w).filter(|_| begun.is_finite()) {
                    let cost = self.hop(first, from, to) + begun;
                    rest[first][from] = rest[first][from].min(cost);
                }
            }
        }
        rest
    }

    fn best(&self, allowed: &Allowed) -> Option<Way> {
        let ways = self.ways(Some(allowed));
        let last = &ways.done[self.steps];
        let at = (0..self.workers).min_by(|a, b| last[*a].total_cmp(&last[*b]))?;
        let cost = last[at];
        cost.is_finite().then(|| Way { workers: ways.trace(self.steps, at), cost })
    }
}

impl Ways {
    /// The workers of the steps up to `end`, the last run being on `worker`.
    fn trace(&self, mut end: usize, mut worker: usize) -> Vec<usize> {
        let mut workers = vec![0; end];
        while end > 0 {
            let first = self.since[end][worker];
            workers[first..end].fill(worker);
            (end, worker) = (first, self.before[first][worker]);
        }
        workers
    }

    /// The worker before, where a run begins at `step` on `worker`.
    pub fn before(&self, step: usize, worker: usize) -> Option<usize> {
        (step > 0).then(|| self.before[step][worker])
    }

    /// How many steps can be done, one after the other.
    pub fn reach(&self) -> usize {
        let possible = |end: &usize| self.done[*end].iter().any(|cost| cost.is_finite());
        (1..self.done.len()).rev().find(possible).unwrap_or(0)
    }
}

/// The chain of least cost, as the worker of each step; `None`: there is none.
pub fn cheapest(problem: &Problem<'_>, costs: &Costs) -> Option<(Vec<usize>, f64)> {
    let all = vec![vec![true; costs.workers]; costs.steps];
    // What has been costed as a whole has no `Allowed` any more.
    let mut open: Vec<(Way, Option<Allowed>)> = vec![(costs.best(&all)?, Some(all))];
    let mut set_aside = 0;
    loop {
        let least = (0..open.len()).min_by(|a, b| open[*a].0.cost.total_cmp(&open[*b].0.cost))?;
        let (way, allowed) = open.swap_remove(least);
        let Some(allowed) = allowed else { return Some((way.workers, way.cost)) };
        let whole = together(problem, &way.workers).map(|more| way.cost + more);
        if whole.is_some_and(|whole| whole <= way.cost + ROUNDING) {
            return Some((way.workers, way.cost));
        }
        if let Some(cost) = whole {
            open.push((Way { cost, ..way.clone() }, None));
        }
        set_aside += 1;
        if set_aside > MAX_SET_ASIDE {
            open.retain(|(_, allowed)| allowed.is_none());
            continue;
        }
        for others in all_but(&allowed, &way.workers) {
            open.extend(costs.best(&others).map(|way| (way, Some(others))));
        }
    }
}

/// All chains that are allowed but one, divided into sets: those that differ first at step 0, at step 1 …
fn all_but(allowed: &Allowed, way: &[usize]) -> Vec<Allowed> {
    let differing_first_at = |step: usize| {
        let mut others = allowed.clone();
        for (same, worker) in others[..step].iter_mut().zip(way) {
            same.iter_mut().enumerate().for_each(|(w, may)| *may &= w == *worker);
        }
        others[step][way[step]] = false;
        others
    };
    (0..way.len()).map(differing_first_at).collect()
}

/// What is to be added to the cost of a chain because all that it puts on a worker is there together; `None`:
/// there is no room for that.
fn together(problem: &Problem<'_>, workers: &[usize]) -> Option<f64> {
    let runs = runs(workers);
    let mut cost = 0.0;
    for worker in workers.iter().copied().collect::<BTreeSet<_>>() {
        let here = runs.iter().filter(|(at, _)| *at == worker);
        let needs: Vec<Need> = here.map(|(_, run)| problem.run_need(run.clone())).collect();
        let mut all = Need::default();
        needs.iter().for_each(|need| all += *need);
        let at = problem.workers[worker];
        problem.fits(at, all).ok()?;
        let apart: f64 = needs.iter().map(|need| problem.load(at, *need)).sum();
        cost += problem.load(at, all) - apart;
    }
    Some(cost)
}

/// What a chain costs; `None`: it cannot be.
#[cfg(test)]
pub fn cost(problem: &Problem<'_>, workers: &[usize]) -> Option<f64> {
    let unfit = |(step, worker): (usize, &usize)| problem.unfit(step, *worker).is_some();
    if workers.iter().enumerate().any(unfit) {
        return None;
    }
    let runs = runs(workers);
    let mut cost = together(problem, workers)?;
    for (worker, run) in &runs {
        cost += problem.run(*worker, run.clone())?;
    }
    for pair in runs.windows(2) {
        cost += problem.hop(pair[0].0, pair[1].0, pair[1].1.start)?;
    }
    Some(cost)
}

/// The runs of a chain: the worker and the steps of each.
fn runs(workers: &[usize]) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (step, worker) in workers.iter().enumerate() {
        match runs.last_mut() {
            Some((at, run)) if at == worker => run.end = step + 1,
            _ => runs.push((*worker, step..step + 1)),
        }
    }
    runs
}
