//! Who can run what, and what each part of a chain costs.

use std::ops::Range;

use crate::Kilometres;

use super::{
    AssignRequest, SourceAt, StepNeed, Unfit, WorkerState,
    weights::{self, CLIENT_MM, HOP, SOURCE_MM, SPREAD},
    worker::Path,
};

/// A chain to be assigned. Steps and workers are named by their index; workers are in order of their ids, so that
/// of two that cost the same the first by name is chosen.
pub struct Problem<'a> {
    pub steps: &'a [StepNeed],
    pub workers: Vec<&'a WorkerState>,
    pub request: &'a AssignRequest<'a>,
    source: &'a SourceAt,
    /// Whether a step is new; else it runs already and costs nothing.
    new: Vec<bool>,
    /// By step and worker: why not.
    unfit: Vec<Vec<Option<Unfit>>>,
    /// Cores that the new steps need, however they are placed.
    all_cores: f64,
    /// By worker and worker.
    paths: Vec<Vec<Option<Path>>>,
    /// By worker: from the source.
    source_paths: Vec<Option<Path>>,
}

/// What steps that pass raw frames to each other take of their worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    pub cores: f64,
    memory_mib: u64,
    kbps: u64,
}

impl std::ops::AddAssign for Need {
    fn add_assign(&mut self, other: Need) {
        self.cores += other.cores;
        self.memory_mib = self.memory_mib.saturating_add(other.memory_mib);
        self.kbps = self.kbps.saturating_add(other.kbps);
    }
}

impl<'a> Problem<'a> {
    pub fn new(
        steps: &'a [StepNeed],
        source: &'a SourceAt,
        workers: &'a [WorkerState],
        request: &'a AssignRequest<'a>,
    ) -> Self {
        let mut workers: Vec<&WorkerState> = workers.iter().collect();
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        let new = (0..steps.len()).map(|step| runs_at(steps, request, step).is_none()).collect();
        let paths_from =
            |from| workers.iter().map(|to: &&WorkerState| to.link_from(from)).collect();
        let paths = workers.iter().map(|from| paths_from(from)).collect();
        let source_paths = workers.iter().map(|to| source_path(source, &workers, to)).collect();
        let mut problem = Self {
            steps,
            workers,
            request,
            source,
            new,
            unfit: Vec::new(),
            all_cores: 0.0,
            paths,
            source_paths,
        };
        problem.all_cores = (0..steps.len()).map(|step| problem.least_need(step).cores).sum();
        problem.unfit = (0..steps.len())
            .map(|step| problem.workers.iter().map(|w| problem.check(step, w).err()).collect())
            .collect();
        problem
    }

    /// Why a worker cannot run a step, whatever becomes of the other steps.
    pub fn unfit(&self, step: usize, worker: usize) -> Option<&Unfit> {
        self.unfit[step][worker].as_ref()
    }

    pub fn is_new(&self, step: usize) -> bool {
        self.new[step]
    }

    fn check(&self, step: usize, worker: &WorkerState) -> Result<(), Unfit> {
        let need = &self.steps[step];
        match runs_at(self.steps, self.request, step) {
            Some(there) if *there == worker.id => return Ok(()),
            Some(there) => return Err(Unfit::RunsAt(there.clone())),
            None => {}
        }
        if !worker.up {
            return Err(Unfit::Down);
        } else if worker.draining {
            return Err(Unfit::Draining);
        } else if !worker.components.contains(&need.component) {
            return Err(Unfit::NotOffered(need.component.clone()));
        }
        let excluded = self.request.exclude.iter().find(|excluded| {
            excluded.worker == worker.id && excluded.step.is_none_or(|only| only == step)
        });
        if let Some(excluded) = excluded {
            return Err(Unfit::Excluded(excluded.why.clone()));
        }
        self.fits(worker, self.least_need(step))
    }

    /// What one step takes where it is the `first` or the `last` of its run, and so has a socket there.
    fn own_need(&self, step: usize, first: bool, last: bool) -> Need {
        let (given, mut need) = (&self.steps[step], Need::default());
        if self.new[step] {
            need.cores = given.cores + if first { given.decode_cores } else { 0.0 };
            need.memory_mib = given.memory_mib;
        }
        // What runs already has to publish what a new step elsewhere takes.
        if last && (self.new[step] || self.new.get(step + 1).is_some_and(|new| *new)) {
            need.cores += given.encode_cores;
            need.kbps = given.out_kbps;
        }
        need
    }

    /// What one step takes wherever the others are.
    fn least_need(&self, step: usize) -> Need {
        self.own_need(step, step == 0, step + 1 == self.steps.len())
    }

    /// What one step of a run takes.
    pub fn need_within(&self, step: usize, run: &Range<usize>) -> Need {
        self.own_need(step, step == run.start, step + 1 == run.end)
    }

    /// What steps take together on one worker.
    pub fn run_need(&self, run: Range<usize>) -> Need {
        let mut need = Need::default();
        run.clone().for_each(|step| need += self.need_within(step, &run));
        need
    }

    /// Whether a worker has room.
    pub fn fits(&self, worker: &WorkerState, need: Need) -> Result<(), Unfit> {
        let (busy, limit) = (worker.busy_cores, worker.limit(self.request.priority));
        if need.cores > 0.0 && busy + need.cores > limit {
            return Err(Unfit::Busy { busy, wanted: need.cores, limit });
        }
        let (used, memory) = (worker.used_memory_mib, worker.memory_mib);
        if need.memory_mib > 0 && used.saturating_add(need.memory_mib) > memory {
            return Err(Unfit::Memory { used, wanted: need.memory_mib, memory });
        }
        match worker.uplink_kbps {
            Some(uplink)
                if need.kbps > 0 && worker.sent_kbps.saturating_add(need.kbps) > uplink =>
            {
                Err(Unfit::Uplink { load: worker.sent_kbps, wanted: need.kbps, uplink })
            }
            _ => Ok(()),
        }
    }

    /// What it costs that a worker takes this on.
    pub fn load(&self, worker: &WorkerState, need: Need) -> f64 {
        weights::load(worker.cores, worker.busy_cores, need.cores, self.all_cores)
    }

    /// Steps on one worker, with all that depends on no other worker; `None`: there is no room.
    pub fn run(&self, worker: usize, run: Range<usize>) -> Option<f64> {
        let (at, need) = (self.workers[worker], self.run_need(run.clone()));
        self.fits(at, need).ok()?;
        let spread: f64 = run.clone().map(|step| self.spread(step, worker)).sum();
        let source = match run.start {
            0 => self.source_link(worker)? + self.to_source(worker),
            _ => 0.0,
        };
        let client = if run.end == self.steps.len() { self.to_client(worker) } else { 0.0 };
        Some(self.load(at, need) + spread + source + client)
    }

    /// What is due to a step on a worker of a domain that is better kept clear of.
    pub fn spread(&self, step: usize, worker: usize) -> f64 {
        let domain = self.workers[worker].domain.as_ref();
        let avoided = domain.is_some_and(|domain| self.request.avoid_domains.contains(domain));
        if avoided && self.new[step] { SPREAD / self.steps.len() as f64 } else { 0.0 }
    }

    /// What the path from the source to the first step costs; `None`: it is full.
    pub fn source_link(&self, worker: usize) -> Option<f64> {
        if !self.new[0] {
            return Some(0.0);
        }
        let path = self.source_path(worker);
        let share = weights::share(path, self.steps[0].in_kbps)?;
        Some(weights::path(path, self.source_distance(worker)) + share)
    }

    /// What the distance from the source to the first step costs.
    pub fn to_source(&self, worker: usize) -> f64 {
        let known = self.new[0] && self.source.position.is_some();
        if known { weights::distance(self.source_distance(worker), SOURCE_MM) } else { 0.0 }
    }

    /// What the distance from the last step to the client costs.
    pub fn to_client(&self, worker: usize) -> f64 {
        let known = self.new[self.steps.len() - 1] && self.request.client.is_some();
        if known { weights::distance(self.client_distance(worker), CLIENT_MM) } else { 0.0 }
    }

    /// What it costs that `step` is on another worker than the step before; `None`: there is no path for it.
    pub fn hop(&self, from: usize, to: usize, step: usize) -> Option<f64> {
        if self.runs_between(step) {
            return Some(0.0);
        }
        let path = self.path(from, to);
        let share = weights::share(path, self.steps[step - 1].out_kbps)?;
        Some(HOP + weights::path(path, self.distance(from, to)) + share)
    }

    /// Whether both this step and the one before run already.
    pub fn runs_between(&self, step: usize) -> bool {
        !self.new[step - 1] && !self.new[step]
    }

    pub fn path(&self, from: usize, to: usize) -> Option<Path> {
        self.paths[from][to]
    }

    pub fn source_path(&self, worker: usize) -> Option<Path> {
        self.source_paths[worker]
    }

    pub fn distance(&self, from: usize, to: usize) -> Option<Kilometres> {
        let there = self.workers[to].position?;
        Some(self.workers[from].position?.distance(there))
    }

    pub fn source_distance(&self, worker: usize) -> Option<Kilometres> {
        Some(self.source.position?.distance(self.workers[worker].position?))
    }

    pub fn client_distance(&self, worker: usize) -> Option<Kilometres> {
        Some(self.request.client?.distance(self.workers[worker].position?))
    }
}

/// The path from the first of the source's nodes of which one is known. Of an origin only the way back has been
/// measured; a worker may be the source as well.
fn source_path(source: &SourceAt, workers: &[&WorkerState], to: &WorkerState) -> Option<Path> {
    source.nodes.iter().find_map(|node| {
        let publisher = workers.iter().find(|worker| worker.id == *node);
        publisher.map_or_else(|| to.link_back_to(node), |from| to.link_from(from))
    })
}

/// Where a step runs already.
fn runs_at<'a>(
    steps: &'a [StepNeed],
    request: &'a AssignRequest<'a>,
    step: usize,
) -> Option<&'a gibbon_media::NodeId> {
    let fixed = request.fixed.iter().find(|fixed| fixed.step == step).map(|fixed| &fixed.worker);
    fixed.or_else(|| steps[step].existing.as_ref().map(|(_, worker)| worker))
}
