//! How each worker would do for each step, in figures and in words.

use std::{ops::Range, time::Duration};

use crate::Kilometres;

use super::{
    Candidate, Criterion, Score, Term, Unfit,
    chain::{Costs, Ways},
    problem::Problem,
    weights,
    worker::Path,
};

/// All that is needed to tell what the best chain through any place costs.
pub struct Scores<'a> {
    pub problem: &'a Problem<'a>,
    pub costs: &'a Costs,
    pub ways: &'a Ways,
    /// See [`Costs::rest`].
    pub rest: &'a [Vec<f64>],
}

impl Scores<'_> {
    /// All workers for a step, the best first; of equals the one `chosen`.
    pub fn candidates(&self, step: usize, chosen: usize) -> Vec<Candidate> {
        let score = |worker| match self.problem.unfit(step, worker) {
            Some(unfit) => Err(unfit.clone()),
            None => self.score(step, worker).ok_or(Unfit::NoWayThrough),
        };
        let workers = self.problem.workers.iter().enumerate();
        let mut candidates: Vec<_> = workers
            .map(|(n, worker)| (n, Candidate { worker: worker.id.clone(), score: score(n) }))
            .collect();
        let total = |of: &Candidate| of.score.as_ref().map_or(f64::INFINITY, |score| score.total);
        candidates.sort_by(|(a, one), (b, other)| {
            total(one).total_cmp(&total(other)).then_with(|| (*a != chosen).cmp(&(*b != chosen)))
        });
        candidates.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// The best chain with a step on a worker.
    fn score(&self, step: usize, worker: usize) -> Option<Score> {
        let (total, run) = self.best_run(step, worker)?;
        let mut terms = self.terms(step, worker, &run);
        let own: f64 = terms.iter().map(|term| term.cost).sum();
        terms.push(term(Criterion::Others, "the other components and their paths", total - own));
        Some(Score { total, terms })
    }

    /// The run on a worker that a step is best part of, and what the whole chain costs with it.
    fn best_run(&self, step: usize, worker: usize) -> Option<(f64, Range<usize>)> {
        let n = self.problem.steps.len();
        let runs = (0..=step).flat_map(|first| (step + 1..=n).map(move |end| first..end));
        let costed = runs.map(|run| {
            let before = self.ways.begun[run.start][worker];
            let here = self.costs.run(worker, run.start, run.end);
            (before + here + self.rest[run.end][worker], run)
        });
        costed.filter(|(cost, _)| cost.is_finite()).min_by(|(a, _), (b, _)| a.total_cmp(b))
    }

    fn terms(&self, step: usize, worker: usize, run: &Range<usize>) -> Vec<Term> {
        let problem = self.problem;
        let mut terms = vec![self.load(step, worker, run)];
        if step == 0 && problem.is_new(0) {
            let found = path(problem.source_path(worker), problem.source_distance(worker));
            terms.push(term(
                Criterion::Link,
                format!("from the source: {found}"),
                problem.source_link(worker).unwrap_or(f64::INFINITY),
            ));
            let found = format!("{} from the source", kilometres(problem.source_distance(worker)));
            terms.push(term(Criterion::Location, found, problem.to_source(worker)));
        }
        match self.ways.before(run.start, worker) {
            Some(from) if step == run.start => terms.extend(self.hop(step, from, worker)),
            _ if step > 0 => terms.push(term(Criterion::Hop, "raw from the component before", 0.0)),
            _ => {}
        }
        let spread = problem.spread(step, worker);
        if spread > 0.0 {
            terms.push(term(Criterion::Spread, "in a failure domain of the other chain", spread));
        }
        if step + 1 == problem.steps.len() {
            let away = problem.client_distance(worker);
            let found = match problem.request.client {
                Some(_) => format!("{} from the client", kilometres(away)),
                None => "it is not known where the client is".into(),
            };
            terms.push(term(Criterion::Location, found, problem.to_client(worker)));
        }
        terms
    }

    /// The step's part in the load of its run.
    fn load(&self, step: usize, worker: usize, run: &Range<usize>) -> Term {
        let (problem, at) = (self.problem, self.problem.workers[worker]);
        let (own, all) = (problem.need_within(step, run).cores, problem.run_need(run.clone()));
        let busy = format!("{:.2} of {:.2} cores busy", at.busy_cores, at.cores);
        let found = match problem.is_new(step) {
            true => format!("{busy}, {:.2} more with this run of the chain", all.cores),
            false => format!("{busy}; runs here already"),
        };
        let share = if all.cores > 0.0 { own / all.cores } else { 0.0 };
        term(Criterion::Load, found, problem.load(at, all) * share)
    }

    fn hop(&self, step: usize, from: usize, to: usize) -> Vec<Term> {
        let problem = self.problem;
        let before = &problem.workers[from].id;
        if problem.runs_between(step) {
            return vec![term(Criterion::Hop, format!("from {before}, as it is"), 0.0)];
        }
        let found = path(problem.path(from, to), problem.distance(from, to));
        let cost = problem.hop(from, to, step).unwrap_or(f64::INFINITY) - weights::HOP;
        vec![
            term(Criterion::Hop, format!("an encode and a decode from {before}"), weights::HOP),
            term(Criterion::Link, format!("from {before}: {found}"), cost),
        ]
    }
}

fn term(criterion: Criterion, found: impl Into<String>, cost: f64) -> Term {
    Term { criterion, found: found.into(), cost }
}

/// A path in words.
fn path(path: Option<Path>, length: Option<Kilometres>) -> String {
    let ms = |rtt: Duration| rtt.as_secs_f64() * 1000.0;
    let Some(Path { link, measured }) = path else {
        return format!("no path measured, taken for {:.1} ms", ms(weights::rtt_of(length)));
    };
    let mut found = format!("{:.1} ms, {:.1} % lost", ms(link.rtt), link.loss * 100.0);
    if measured {
        found += &format!(", {} of {} kbit/s used", link.load_kbps, link.bandwidth_kbps);
    }
    found
}

fn kilometres(length: Option<Kilometres>) -> String {
    length.map_or("an unknown distance".into(), |km| km.to_string())
}
