//! Which worker runs what: the question to placement, and what becomes of its answer.

use std::collections::BTreeSet;

use gibbon_control::{
    services::{CandidateExplanation, ComponentExplanation, Term},
    work::{Input, InstanceSpec, MAX_INSTANCES},
};
use gibbon_media::{InstanceId, MediaTime, NodeId, ServiceId, StreamName};
use gibbon_placement::assign::{
    AssignRequest, Assignment, Candidate, Excluded, Fixed, NoWorker, StepNeed, WorkerState, assign,
};

use super::Manager;
use crate::{
    registry::{Assigned, position},
    services::{Expected, Instance, Service, Stand},
};

/// Candidates for each component, the best first, that are remembered with a service.
const MAX_EXPLAINED: usize = 16;

/// What a chain is to be assigned around.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Around<'a> {
    /// Instances that are to be succeeded: as if they were not there.
    pub succeeded: &'a [InstanceId],
    /// Workers that are not wanted.
    pub exclude: &'a [Excluded],
    /// Workers of the other replica.
    pub apart_from: &'a [NodeId],
}

impl Manager {
    /// All workers as placement takes them.
    pub(super) fn worker_states(&self) -> Vec<WorkerState> {
        self.registry.worker_states(|worker| self.assigned(worker))
    }

    /// What has been assigned to a worker.
    pub(super) fn assigned(&self, worker: &NodeId) -> Assigned {
        let draining = self.drains.of(worker).is_some();
        let none = Assigned { draining, ..Assigned::default() };
        self.services.at(worker).fold(none, |sum, (_, instance)| {
            let Expected { cores, memory_mib, out_kbps } = instance.expected;
            let silent = instance.spec.publish && !instance.is_published();
            Assigned {
                cores: sum.cores + cores,
                memory_mib: sum.memory_mib + memory_mib,
                kbps: sum.kbps + if silent { out_kbps } else { 0 },
                draining,
            }
        })
    }

    /// Workers for both replicas of a service, those that run already included.
    pub(super) fn plan_all(
        &self,
        now: MediaTime,
        service: &Service,
    ) -> Result<Vec<(u8, Assignment)>, NoWorker> {
        let workers = self.worker_states();
        let mut planned: Vec<(u8, Assignment)> = Vec::new();
        for replica in service.replicas() {
            let others = planned.iter().flat_map(|(_, plan)| &plan.steps);
            let apart_from: Vec<_> = others.map(|step| step.worker.clone()).collect();
            let around = Around { apart_from: &apart_from, ..Around::default() };
            let plan = self.plan(now, &workers, service, replica, &around)?;
            planned.push((replica, plan));
        }
        Ok(planned)
    }

    /// Workers for one replica of a service, those that run already included.
    pub(super) fn plan(
        &self,
        now: MediaTime,
        workers: &[WorkerState],
        service: &Service,
        replica: u8,
        around: &Around<'_>,
    ) -> Result<Assignment, NoWorker> {
        let streams = service.streams(replica).iter();
        let present: Vec<_> = streams.map(|s| self.present(s, replica, around.succeeded)).collect();
        let prefix = present.iter().take_while(|instance| instance.is_some()).count();
        let mut needs = service.needs.clone();
        let mut fixed = Vec::new();
        for (step, instance) in present.iter().enumerate() {
            let (Some(instance), Some(need)) = (instance, needs.get_mut(step)) else { continue };
            let worker = instance.worker.clone();
            match step < prefix {
                true => need.existing = Some((instance.spec.instance, worker)),
                false => fixed.push(Fixed { step, worker }),
            }
        }
        let exclude = self.excluded(now, service, replica, around);
        let apart = self.other_replica(service, replica);
        let avoid_domains: Vec<_> = apart
            .iter()
            .chain(around.apart_from)
            .filter_map(|worker| self.registry.domain(worker).cloned())
            .collect();
        let source = self.registry.source(&service.chain.source);
        let assign = |exclude: &[Excluded]| {
            let (client, priority) = (service.location.map(position), service.priority);
            let (avoid_domains, fixed) = (&avoid_domains[..], &fixed[..]);
            let request = AssignRequest { client, priority, exclude, avoid_domains, fixed };
            assign(&needs, &source, workers, &request)
        };
        let leaving = self.registry.workers().filter(|worker| self.leaves_soon(now, worker));
        let leaving: Vec<_> = leaving.map(|worker| whole(worker, "goes away soon")).collect();
        match assign(&[&exclude[..], &leaving].concat()) {
            Err(_) if !leaving.is_empty() => assign(&exclude),
            assigned => assigned,
        }
    }

    /// The instance that makes `stream`, as things will stand once those `succeeded` are.
    fn present(
        &self,
        stream: &StreamName,
        replica: u8,
        succeeded: &[InstanceId],
    ) -> Option<&Instance> {
        let active = self.services.active(stream, replica);
        active
            .filter(|instance| !succeeded.contains(&instance.spec.instance))
            .or_else(|| self.services.standing(stream, replica, Stand::Coming))
    }

    /// Workers of the other replica of a service.
    fn other_replica(&self, service: &Service, replica: u8) -> BTreeSet<NodeId> {
        let of_other = |instance: &&Instance| instance.spec.replica != replica;
        let makers = service.made().flat_map(|(_, stream)| self.services.makers(stream));
        let makers = makers.filter(of_other).map(|instance| instance.worker.clone());
        if service.standby { makers.collect() } else { BTreeSet::new() }
    }

    fn excluded(
        &self,
        now: MediaTime,
        service: &Service,
        replica: u8,
        around: &Around<'_>,
    ) -> Vec<Excluded> {
        let mut exclude = around.exclude.to_vec();
        exclude.extend(service.refusals(now).map(|refusal| Excluded {
            worker: refusal.worker.clone(),
            step: Some(refusal.step),
            why: refusal.why.clone(),
        }));
        for worker in self.other_replica(service, replica).iter().chain(around.apart_from) {
            exclude.push(whole(worker, "runs the other replica"));
        }
        for worker in self.registry.workers() {
            if self.orders.is_deaf(now, worker) {
                exclude.push(whole(worker, "does not answer"));
            }
            if self.services.at(worker).count() >= MAX_INSTANCES {
                exclude.push(whole(worker, "runs as many components as one worker may"));
            }
        }
        // A worker publishes a stream once, and makes nothing for both replicas.
        for (step, stream) in service.made() {
            exclude.extend(self.services.makers(stream).map(|instance| Excluded {
                worker: instance.worker.clone(),
                step: Some(step),
                why: "makes the same already".to_owned(),
            }));
        }
        exclude
    }

    /// Makes instances of what is not there yet. Returns them.
    pub(super) fn apply(
        &mut self,
        now: MediaTime,
        (id, replica): (ServiceId, u8),
        plan: &Assignment,
        stand: Stand,
        succeeded: &[InstanceId],
    ) -> Vec<InstanceId> {
        let Some(service) = self.services.get_mut(id) else { return Vec::new() };
        let mut explained = explain(&service.needs, replica, plan);
        explained.iter_mut().for_each(|component| component.candidates.truncate(MAX_EXPLAINED));
        service.explained[usize::from(replica.min(1))] = explained;
        let (chain, needs) = (service.chain.clone(), service.needs.clone());
        let streams = service.streams(replica).to_vec();
        let (mut made, mut upstream) = (Vec::new(), None::<(InstanceId, NodeId)>);
        for (step, (stream, need)) in streams.iter().zip(&needs).enumerate() {
            let worker = &plan.steps[step].worker;
            let present = self.present(stream, replica, succeeded);
            if let Some(instance) = present {
                upstream = Some((instance.spec.instance, instance.worker.clone()));
                continue;
            }
            let from = if step == 0 { &chain.source } else { &streams[step - 1] };
            let input = match &upstream {
                Some((instance, at)) if at == worker => Input::Instance(*instance),
                _ => Input::Stream(from.clone()),
            };
            let goes_on_raw = plan.steps.get(step + 1).is_some_and(|next| next.worker == *worker);
            let expected = Expected::of(need, matches!(input, Input::Instance(_)), goes_on_raw);
            let instance = self.next_instance();
            let spec = InstanceSpec {
                instance,
                chain: chain.prefix(step + 1),
                input,
                publish: false,
                services: Vec::new(),
                replica,
            };
            self.services.insert(Instance::new(now, spec, worker.clone(), stand, expected));
            upstream = Some((instance, worker.clone()));
            made.push(instance);
        }
        made
    }

    fn next_instance(&mut self) -> InstanceId {
        self.instances_made += 1;
        InstanceId(self.term.0.wrapping_shl(24).wrapping_add(self.instances_made))
    }
}

/// A worker that is not wanted for anything.
pub(super) fn whole(worker: &NodeId, why: &str) -> Excluded {
    Excluded { worker: worker.clone(), step: None, why: why.to_owned() }
}

/// Why components are where they are, for people.
pub(super) fn explain(
    needs: &[StepNeed],
    replica: u8,
    plan: &Assignment,
) -> Vec<ComponentExplanation> {
    let components = needs.iter().zip(&plan.steps).zip(1..);
    let explain =
        |((need, step), number): ((&StepNeed, &gibbon_placement::assign::Assigned), u32)| {
            ComponentExplanation {
                number,
                replica,
                component: need.component.clone(),
                cores: need.cores,
                worker: Some(step.worker.clone()),
                shared: step.shared.is_some(),
                candidates: step.candidates.iter().map(candidate).collect(),
            }
        };
    components.map(explain).collect()
}

fn candidate(candidate: &Candidate) -> CandidateExplanation {
    let worker = candidate.worker.clone();
    match &candidate.score {
        Ok(score) => CandidateExplanation {
            worker,
            unfit: None,
            total: score.total,
            terms: score
                .terms
                .iter()
                .map(|term| Term {
                    criterion: term.criterion.to_string(),
                    found: term.found.clone(),
                    cost: term.cost,
                })
                .collect(),
        },
        Err(unfit) => CandidateExplanation {
            worker,
            unfit: Some(unfit.to_string()),
            total: 0.0,
            terms: Vec::new(),
        },
    }
}
