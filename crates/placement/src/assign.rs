//! Which worker runs which component of a chain: filter, then the chain of least total cost.
//!
//! ```text
//!  steps × workers ─▶ fit: who can run what ─▶ chain: the cheapest way through (dynamic programming)
//!                       │ why not                  │ what each criterion costs: weights
//!                       └──────────▶ scores ◀──────┘   for people, `gibbonctl explain`
//! ```

mod chain;
mod problem;
mod scores;
mod weights;
mod worker;

#[cfg(test)]
mod tests;

use std::fmt;

use gibbon_media::{InstanceId, NodeId, Priority};

use crate::Position;
use chain::Costs;
use problem::Problem;
use scores::Scores;

pub use worker::{Link, WorkerState};

/// What one component needs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepNeed {
    /// Its name.
    pub component: String,
    /// Cores that it is expected to keep busy, without its sockets.
    pub cores: f64,
    /// Cores that decompress its input, where that does not come raw.
    pub decode_cores: f64,
    /// Cores that compress its output, where that does not go on raw: always so for the last of a chain.
    pub encode_cores: f64,
    /// Memory that it is expected to take, in MiB.
    pub memory_mib: u64,
    /// What its input takes as a stream, in kbit/s: of the first component, what comes from the source.
    pub in_kbps: u64,
    /// What its output takes as a stream, in kbit/s.
    pub out_kbps: u64,
    /// A running instance of the equal prefix, and where it runs: it is shared and costs nothing more. Only the
    /// first steps of a chain have one.
    pub existing: Option<(InstanceId, NodeId)>,
}

/// Where the media come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceAt {
    /// The nodes that publish it, best first.
    pub nodes: Vec<NodeId>,
    /// Where the first of them stands, if known.
    pub position: Option<Position>,
}

/// A worker that is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// Which.
    pub worker: NodeId,
    /// Only for this step, from 0 on; none: for all that does not run there already.
    pub step: Option<usize>,
    /// Why, for people, as in "has refused it: …".
    pub why: String,
}

/// A step that runs already and stays where it is, such as the neighbours of what is moved. It costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Which, from 0 on.
    pub step: usize,
    /// Where.
    pub worker: NodeId,
}

/// What a chain is wanted for.
#[derive(Debug, Clone, Copy, Default)]
pub struct AssignRequest<'a> {
    /// Where the client is, if known.
    pub client: Option<Position>,
    /// How much it matters: the higher, the more of a worker's reserve it may take.
    pub priority: Priority,
    /// Workers that are not wanted.
    pub exclude: &'a [Excluded],
    /// Failure domains that are better kept clear of: those of the other replica.
    pub avoid_domains: &'a [String],
    /// Steps that stay where they are.
    pub fixed: &'a [Fixed],
}

/// A worker for each step.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// In order.
    pub steps: Vec<Assigned>,
    /// What the chain costs; what runs already costs nothing.
    pub total: f64,
}

/// Where one step is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    /// The worker.
    pub worker: NodeId,
    /// The running instance that is shared, if so.
    pub shared: Option<InstanceId>,
    /// Whether frames come to it raw from the step before, which is on the same worker.
    pub raw: bool,
    /// All workers, the best first, those that are unfit last.
    pub candidates: Vec<Candidate>,
}

/// How one worker would do for a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The worker.
    pub worker: NodeId,
    /// What it costs, or why it cannot be.
    pub score: Result<Score, Unfit>,
}

/// The best chain with a step on a certain worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// What the whole chain costs; the least is best.
    pub total: f64,
    /// What the step adds to it by criterion, and last what all the others cost. Their sum is `total`.
    pub terms: Vec<Term>,
}

/// One criterion's part in a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Which.
    pub criterion: Criterion,
    /// What was found, in words and figures.
    pub found: String,
    /// What it costs, weighted.
    pub cost: f64,
}

/// What decides between workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criterion {
    /// How busy the worker would be.
    Load,
    /// An encode and a decode between two workers.
    Hop,
    /// The path that media come over: time, loss, how much of it is used.
    Link,
    /// How far it is from the source (the first step) or from the client (the last).
    Location,
    /// A failure domain that is better kept clear of.
    Spread,
    /// What the other steps of the chain cost.
    Others,
}

/// Why a worker cannot run a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Unfit {
    /// It cannot be reached.
    Down,
    /// It is being emptied.
    Draining,
    /// It does not offer the component.
    NotOffered(String),
    /// It is not wanted, and why.
    Excluded(String),
    /// The step runs elsewhere already.
    RunsAt(NodeId),
    /// It has no cores left.
    Busy {
        /// Cores it keeps busy, what is promised included.
        busy: f64,
        /// Cores that are needed.
        wanted: f64,
        /// Cores that may be busy at this priority.
        limit: f64,
    },
    /// It has no memory left.
    Memory {
        /// What is in use, in MiB.
        used: u64,
        /// What is needed, in MiB.
        wanted: u64,
        /// What there is, in MiB.
        memory: u64,
    },
    /// It cannot send more.
    Uplink {
        /// What it sends, in kbit/s.
        load: u64,
        /// What would be added, in kbit/s.
        wanted: u64,
        /// What it can send, in kbit/s.
        uplink: u64,
    },
    /// Fit by itself, but not in any chain: with the steps before and after there is no room, or the paths
    /// between the workers are full.
    NoWayThrough,
}

/// A step that no worker can run.
#[derive(Debug, Clone, PartialEq)]
pub struct NoWorker {
    /// Which, from 0 on.
    pub step: usize,
    /// Its component.
    pub component: String,
    /// All workers, and why not.
    pub workers: Vec<(NodeId, Unfit)>,
}

/// Reasons that are spelt out; the rest is counted.
const MAX_NAMED: usize = 8;

/// The workers that run a chain at the least total cost; of equals the first by name.
///
/// What runs already (`existing`, `fixed`) stays there and costs nothing, whatever its worker is like.
pub fn assign(
    steps: &[StepNeed],
    source: &SourceAt,
    workers: &[WorkerState],
    request: &AssignRequest<'_>,
) -> Result<Assignment, NoWorker> {
    let problem = Problem::new(steps, source, workers, request);
    let costs = Costs::new(&problem);
    let ways = costs.ways(None);
    let Some((chosen, total)) = chain::cheapest(&problem, &costs) else {
        return Err(no_worker(&problem, ways.reach()));
    };
    let rest = costs.rest();
    let scores = Scores { problem: &problem, costs: &costs, ways: &ways, rest: &rest };
    let assigned = |(step, worker): (usize, &usize)| Assigned {
        worker: problem.workers[*worker].id.clone(),
        shared: steps[step].existing.as_ref().map(|(instance, _)| *instance),
        raw: step > 0 && chosen[step - 1] == *worker,
        candidates: scores.candidates(step, *worker),
    };
    Ok(Assignment { steps: chosen.iter().enumerate().map(assigned).collect(), total })
}

/// The step that cannot be run: one for which nobody is fit, or the one that `reach` steps lead up to.
fn no_worker(problem: &Problem<'_>, reach: usize) -> NoWorker {
    let workers = || 0..problem.workers.len();
    let nobody = |step: &usize| workers().all(|worker| problem.unfit(*step, worker).is_some());
    let last = problem.steps.len().saturating_sub(1);
    let step = (0..problem.steps.len()).find(nobody).unwrap_or(reach.min(last));
    let why = |worker| problem.unfit(step, worker).cloned().unwrap_or(Unfit::NoWayThrough);
    NoWorker {
        step,
        component: problem.steps.get(step).map_or(String::new(), |need| need.component.clone()),
        workers: workers()
            .map(|worker| (problem.workers[worker].id.clone(), why(worker)))
            .collect(),
    }
}

impl Criterion {
    /// The word for it in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Criterion::Load => "load",
            Criterion::Hop => "hop",
            Criterion::Link => "link",
            Criterion::Location => "location",
            Criterion::Spread => "spread",
            Criterion::Others => "others",
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Down => f.write_str("is down"),
            Unfit::Draining => f.write_str("is being emptied"),
            Unfit::NotOffered(component) => write!(f, "does not offer {component}"),
            Unfit::Excluded(why) => f.write_str(why),
            Unfit::RunsAt(worker) => write!(f, "is not it: the component runs at {worker} already"),
            Unfit::Busy { busy, wanted, limit } => write!(
                f,
                "has no room: {busy:.2} cores busy and {wanted:.2} wanted of {limit:.2} at this priority"
            ),
            Unfit::Memory { used, wanted, memory } => {
                write!(f, "has no memory: {used} MiB used and {wanted} wanted of {memory}")
            }
            Unfit::Uplink { load, wanted, uplink } => {
                write!(f, "cannot send more: {load} kbit/s and {wanted} wanted of {uplink}")
            }
            Unfit::NoWayThrough => f.write_str(
                "has no room together with the other components, or no path with room to theirs",
            ),
        }
    }
}

impl fmt::Display for NoWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no worker can run component {}, {}", self.step + 1, self.component)?;
        if self.workers.is_empty() {
            return f.write_str(": none is registered");
        }
        for (n, (id, unfit)) in self.workers.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{} {id} {unfit}", if n == 0 { ":" } else { "," })?;
        }
        match self.workers.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for NoWorker {}
