//! Workers: what they are told to run, what they say to that, and what services need next.

use std::collections::BTreeMap;

use gibbon_components::{Format, MAX_COMPONENTS};
use gibbon_control::{
    node::ToNode,
    portal::Event,
    work::{
        InstanceReport, InstanceSpec, InstanceState, MAX_INSTANCES, MAX_SERVICES as MAX_SHARED,
        ServiceRef, WorkAnswer, WorkReport, segment,
    },
};
use gibbon_media::{Catalog, InstanceId, MediaTime, NodeId, ServiceId};

use super::{Manager, Output, upkeep::LOOKS_ON_FOR};
use crate::{
    builder,
    orders::ACKNOWLEDGE_WITHIN,
    services::{BUILD_WITHIN, Expected, Instance, RUN_WITHIN, Service, Stand},
};

impl Manager {
    /// A worker's answer to an order.
    pub(super) fn worker_answers(
        &mut self,
        now: MediaTime,
        worker: &NodeId,
        answer: &WorkAnswer,
    ) -> Vec<Output> {
        self.work_changed = true;
        self.orders.answered(worker, answer.version);
        let refused: BTreeMap<_, _> = answer
            .refused
            .iter()
            .take(MAX_INSTANCES)
            .map(|refused| (refused.instance, &refused.why))
            .collect();
        let there: Vec<_> = self.services.at(worker).map(|(id, _)| id).collect();
        let mut out = Vec::new();
        for id in there {
            if let Some(why) = refused.get(&id) {
                let why = format!("has refused it: {}", brief(why));
                out.extend(self.instance_fails(now, id, &why));
            } else if let Some(instance) = self.services.instance_mut(id) {
                instance.accepted |=
                    instance.ordered.is_some_and(|(version, _)| version <= answer.version);
            }
        }
        out
    }

    /// What a worker runs and publishes.
    pub(super) fn worker_reports(
        &mut self,
        now: MediaTime,
        worker: &NodeId,
        work: &WorkReport,
        streams: &[Catalog],
    ) -> Vec<Output> {
        self.work_changed = true;
        let instances = &work.instances[..work.instances.len().min(MAX_INSTANCES)];
        if self.orders.is_of_an_earlier_term(work.version) {
            self.take_up(now, worker, instances);
        }
        let mut failed = Vec::new();
        for report in instances {
            let known = self.services.instance_mut(report.spec.instance);
            let Some(instance) = known.filter(|instance| instance.worker == *worker) else {
                continue;
            };
            let catalog = streams.iter().find(|catalog| catalog.stream == instance.stream);
            instance.is_reported(now, report, catalog);
            if let InstanceState::Failed { why } = &report.state
                && instance.stand != Stand::Leaving
            {
                failed.push((report.spec.instance, format!("cannot run it: {}", brief(why))));
            }
        }
        let fail = |(id, why): (InstanceId, String)| self.instance_fails(now, id, &why);
        failed.into_iter().flat_map(fail).collect()
    }

    /// Takes up what an earlier start of the coordinator has had started, segment by segment. Where another
    /// worker runs the same, that was being moved: the one that came first stays.
    fn take_up(&mut self, now: MediaTime, worker: &NodeId, reports: &[InstanceReport]) {
        let unknown = |report: &&InstanceReport| {
            let length = report.spec.chain.components.len();
            (1..=MAX_COMPONENTS).contains(&length)
                && self.services.instance(report.spec.instance).is_none()
        };
        let unknown: Vec<_> = reports.iter().filter(unknown).map(|r| &r.spec).collect();
        let roots = unknown.iter().filter(|spec| spec.reads().is_some());
        for root in roots {
            let segment = segment(root, &unknown);
            let runs = |spec: &InstanceSpec| self.services.active(&spec.stream(), spec.replica);
            let taken = segment.iter().any(|spec| runs(spec).is_some());
            let stand = if taken { Stand::Leaving } else { Stand::Active };
            for spec in segment {
                for reference in spec.services.iter().take(MAX_SHARED) {
                    self.take_up_service(now, spec, reference);
                }
                tracing::info!(instance = %spec.instance, %worker, chain = %spec.chain, "taken up");
                let unknown = Expected::default();
                let instance = Instance::new(now, spec.clone(), worker.clone(), stand, unknown);
                self.services.insert(Instance { accepted: true, ..instance });
            }
        }
    }

    /// A service is as long as the longest chain that works for it.
    fn take_up_service(&mut self, now: MediaTime, spec: &InstanceSpec, reference: &ServiceRef) {
        let id = reference.service;
        let longer = |known: &Service| {
            !known.is_complete()
                && known.chain.components.len() < spec.chain.components.len()
                && known.chain == spec.chain.prefix(known.chain.components.len())
        };
        let known = self.services.get(id);
        if known.is_some_and(|known| !longer(known)) || known.is_none() && self.services.is_full() {
            return;
        }
        self.services.end(id);
        self.services.add(id, Service::new(now, spec.chain.clone(), reference.clone()));
    }

    /// Looks after services: when something has changed, and from time to time.
    pub(super) fn keep_services(&mut self, now: MediaTime, sweep: bool) -> Vec<Output> {
        if !sweep && !self.work_changed {
            return Vec::new();
        }
        self.work_changed = false;
        self.services.note(now, |stream| self.sessions.watching(stream));
        self.reckon();
        let mut out = Vec::new();
        for id in self.services.over(now) {
            out.extend(self.end(id, "nobody watches"));
        }
        out.extend(self.leave_late_ones_out(now));
        out.extend(self.carry_on_moves(now));
        if !self.looks_on(now) {
            out.extend(self.empty_workers(now));
            self.build_what_is_missing(now);
        }
        out.extend(self.settle_services(now));
        out
    }

    /// Whether workers may still come back with what an earlier start has had started.
    pub(super) fn looks_on(&self, now: MediaTime) -> bool {
        self.started.is_none_or(|started| now.since(started) < LOOKS_ON_FOR)
    }

    /// What has not been acknowledged or has not run in time is withdrawn.
    fn leave_late_ones_out(&mut self, now: MediaTime) -> Vec<Output> {
        let late = |(id, instance): (InstanceId, &Instance)| {
            let (_, at) = instance.ordered?;
            let unheard = !instance.accepted && now.since(at) > ACKNOWLEDGE_WITHIN;
            unheard.then(|| (id, "did not acknowledge it in time".to_owned()))
        };
        let mut late: Vec<_> = self.services.instances().filter_map(late).collect();
        for (_, service) in self.services.iter() {
            late.extend(service.replicas().filter_map(|r| self.first_silent(now, service, r)));
        }
        let mut out = Vec::new();
        for (id, why) in late {
            out.extend(self.instance_fails(now, id, &why));
        }
        for id in self.never_ran(now) {
            self.give_up(now, id, format!("nothing came within {} s", BUILD_WITHIN.as_secs()));
        }
        out
    }

    /// The first instance of a chain that has never run, and for too long since what it reads from has.
    fn first_silent(
        &self,
        now: MediaTime,
        service: &Service,
        replica: u8,
    ) -> Option<(InstanceId, String)> {
        // Without its source nothing can run.
        self.registry.stream(&service.chain.source)?;
        let mut since = service.created;
        let active = |stream| self.services.active(stream, replica);
        for instance in service.streams(replica).iter().map_while(active) {
            if let Some(ran) = instance.runs_since {
                since = since.max(ran);
                continue;
            }
            let (_, ordered) = instance.ordered?;
            let why = || format!("ran nothing within {} s", RUN_WITHIN.as_secs());
            let late = now.since(ordered.max(since)) > RUN_WITHIN;
            return late.then(|| (instance.spec.instance, why()));
        }
        None
    }

    fn never_ran(&self, now: MediaTime) -> Vec<ServiceId> {
        let never = |(_, service): &(ServiceId, &Service)| {
            !service.has_run() && !service.has_failed() && now.since(service.created) > BUILD_WITHIN
        };
        self.services.iter().filter(never).map(|(id, _)| id).collect()
    }

    fn give_up(&mut self, now: MediaTime, id: ServiceId, why: String) {
        let Some(service) = self.services.get_mut(id) else { return };
        if service.cannot_be_built(now, why.clone()) {
            tracing::warn!(service = %id, why, "a service has failed");
        }
    }

    /// Finds workers for components that have none.
    fn build_what_is_missing(&mut self, now: MediaTime) {
        let missing = |service: &Service| {
            let lacks = |replica| {
                let lacks = |stream| self.services.active(stream, replica).is_none();
                service.streams(replica).iter().any(lacks)
            };
            !service.has_failed()
                && service.is_complete()
                && service.retry_at <= now
                && service.replicas().any(lacks)
                && !self.is_moving(service)
        };
        let missing: Vec<_> =
            self.services.iter().filter(|(_, s)| missing(s)).map(|(id, _)| id).collect();
        for id in missing {
            self.build(now, id);
        }
    }

    fn build(&mut self, now: MediaTime, id: ServiceId) {
        let Some(service) = self.services.get(id).filter(|s| !s.needs.is_empty()) else { return };
        match self.plan_all(now, service) {
            Ok(plans) => {
                for (replica, plan) in plans {
                    self.apply(now, (id, replica), &plan, Stand::Active, &[]);
                }
                if let Some(service) = self.services.get_mut(id) {
                    service.is_assigned();
                }
            }
            Err(no_worker) => self.give_up(now, id, no_worker.to_string()),
        }
    }

    /// What the components of services that were taken up need, once their sources are known.
    fn reckon(&mut self) {
        let unknown = |(_, s): &(ServiceId, &Service)| s.needs.is_empty() && s.is_complete();
        let unknown: Vec<_> = self.services.iter().filter(unknown).map(|(id, _)| id).collect();
        for id in unknown {
            let Some(service) = self.services.get_mut(id) else { continue };
            let Some((_, catalog)) = self.registry.stream(&service.chain.source) else { continue };
            match builder::checked(service.chain.clone(), &Format::of(catalog)) {
                Ok(built) => service.needs = built.needs,
                Err(why) => {
                    tracing::debug!(service = %id, %why, "what was taken up cannot be built")
                }
            }
            self.services.expect(id);
        }
    }

    /// Makes it so: withdraws what is not needed, tells workers what they are to run, everybody who is to be
    /// pulled from, and those who watch what has become of services.
    pub(super) fn settle_services(&mut self, now: MediaTime) -> Vec<Output> {
        if !self.looks_on(now) {
            self.services.settle(now);
        }
        let mut out = self.give_orders(now);
        for (service, stream, state, why) in self.services.news() {
            tracing::info!(%service, %stream, state = state.as_str(), why, "a service");
            let (state, moved) = (Some(state), None);
            out.push(Output::Event(Event::Service { service, stream, state, why, moved }));
        }
        self.spread_directory(&mut out);
        out
    }

    fn give_orders(&mut self, now: MediaTime) -> Vec<Output> {
        if self.looks_on(now) {
            return Vec::new();
        }
        let workers: Vec<_> = self.registry.workers().cloned().collect();
        let mut out = Vec::new();
        for worker in workers {
            let mut instances: Vec<_> =
                self.services.at(&worker).map(|(_, instance)| &instance.spec).collect();
            // Each after what it hangs on.
            instances.sort_by_key(|spec| (spec.chain.components.len(), spec.instance));
            let Some(order) = self.orders.order(now, &worker, &instances) else { continue };
            let ordered = (order.version, now);
            for spec in &order.instances {
                if let Some(instance) = self.services.instance_mut(spec.instance) {
                    instance.ordered.get_or_insert(ordered);
                }
            }
            out.push(Output::ToNode { node: worker, message: ToNode::Work(order) });
        }
        out
    }
}

/// What a worker says, bounded.
fn brief(why: &str) -> String {
    why.chars().take(256).collect()
}
