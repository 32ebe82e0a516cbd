//! Services that are asked for, and what is told of them.

use gibbon_components::{Format, catalogue};
use gibbon_control::{
    portal::{DecidedBy, Event, SessionModule},
    services::{
        ComponentInfo, Explanation, MoveRequest, NamedService, ParameterInfo, ServiceInfo,
        ServiceRequest,
    },
    work::{ModuleInfo, ServiceRef},
};
use gibbon_handoff::Cause;
use gibbon_media::{Catalog, MediaTime, NodeId, ServiceId, StreamName};
use gibbon_placement::assign::Excluded;

use super::{
    Manager, Output, Refusal,
    assignment::{explain, whole},
};
use crate::{
    builder::{self, Base, Built},
    services::{Instance, Service, Stand},
    why,
};

impl Manager {
    /// Somebody wants a service; `id` is what it is known by, unless the same runs already.
    pub fn create_service(
        &mut self,
        now: MediaTime,
        id: ServiceId,
        request: &ServiceRequest,
    ) -> Result<(ServiceInfo, Vec<Output>), Refusal> {
        let service = self.built(now, id, request)?;
        let asked = service.reference(id);
        let making = self.services.making(service.stream());
        let same = making.iter().find(|(_, known)| known.is_like(&service.chain, &asked));
        if let Some((same, _)) = same {
            return Ok((self.service(*same)?, Vec::new()));
        }
        if self.services.is_full() || !self.services.may_share(&service) {
            return Err(Refusal::TooManyServices);
        }
        // Where part of it is being moved it is built afterwards.
        let plans = match self.is_moving(&service) {
            true => Vec::new(),
            false => {
                self.plan_all(now, &service).map_err(|why| Refusal::NoWorker(why.to_string()))?
            }
        };
        tracing::info!(service = %id, stream = %service.stream(), chain = %service.chain, "a service is asked for");
        self.services.add(id, service);
        for (replica, plan) in plans {
            self.apply(now, (id, replica), &plan, Stand::Active, &[]);
        }
        let out = self.settle_services(now);
        Ok((self.service(id)?, out))
    }

    /// What is asked for, checked, and not taken up yet.
    fn built(
        &self,
        now: MediaTime,
        service: ServiceId,
        request: &ServiceRequest,
    ) -> Result<Service, Refusal> {
        let base = self.base(&request.stream)?;
        let Built { chain, needs } = builder::build(request, base, &self.catalogue)?;
        let ServiceRequest { service: name, priority, keep, standby, .. } = request.clone();
        let reference = ServiceRef { service, name, priority, keep, standby };
        let mut built = Service::new(now, chain, reference);
        (built.needs, built.location) = (needs, request.location);
        Ok(built)
    }

    /// What `stream` is made of. That of a service is made of what the service is.
    fn base(&self, stream: &StreamName) -> Result<Base, Refusal> {
        let chain = match self.services.making(stream).first() {
            Some((_, service)) => Some(&service.chain),
            None => self.services.makers(stream).next().map(|instance| &instance.spec.chain),
        };
        let source = chain.map_or(stream, |chain| &chain.source);
        let mut components = chain.map_or_else(Vec::new, |chain| chain.components.clone());
        components.pop_if(|spec| spec.component == builder::LAST);
        let published = self.registry.stream(source);
        let (_, catalog) = published.ok_or_else(|| Refusal::NoStream(source.clone()))?;
        Ok(Base { source: source.clone(), format: Format::of(catalog), components })
    }

    /// Ends a service at once, watched or not.
    pub fn end_service(&mut self, now: MediaTime, id: ServiceId) -> Result<Vec<Output>, Refusal> {
        let ended = self.end(id, "it was deleted").ok_or(Refusal::NoService(id))?;
        let mut out = vec![ended];
        out.extend(self.settle_services(now));
        Ok(out)
    }

    /// Forgets a service. Returns what those who watch are to be told.
    pub(super) fn end(&mut self, id: ServiceId, why: &str) -> Option<Output> {
        let service = self.services.end(id)?;
        let stream = service.stream().clone();
        tracing::info!(service = %id, %stream, why, "a service ends");
        let (state, why, moved) = (None, Some(why.to_owned()), None);
        Some(Output::Event(Event::Service { service: id, stream, state, why, moved }))
    }

    /// A component, with all that are joined to it raw, is to go to another worker.
    pub fn move_component(
        &mut self,
        now: MediaTime,
        id: ServiceId,
        request: &MoveRequest,
    ) -> Result<(ServiceInfo, Vec<Output>), Refusal> {
        let service = self.services.get(id).ok_or(Refusal::NoService(id))?;
        self.check_known(id)?;
        let MoveRequest { number, replica, to } = request;
        let at = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1));
        let stream = at.and_then(|at| service.streams(*replica).get(at));
        let instance = stream.and_then(|stream| self.services.active(stream, *replica));
        let Some(instance) = instance else {
            let what = format!("the service has no component {number} of replica {replica} now");
            return Err(Refusal::OutOfBounds(what));
        };
        let root = self.services.root_of(instance.spec.instance);
        if !self.may_move(root) {
            return Err(Refusal::Moving(id));
        }
        let exclude = match to {
            Some(to) if *to == instance.worker => return Err(Refusal::AlreadyThere(to.clone())),
            Some(to) => self.all_but(to)?,
            None => Vec::new(),
        };
        let grounds =
            why::plain(now, DecidedBy::Request, why::happened(Cause::Operator, &instance.worker));
        let begun = self.begin_move(now, root, exclude, grounds);
        let mut out = begun.map_err(|no_worker| {
            let named = to.as_ref().and_then(|to| {
                let (_, unfit) = no_worker.workers.iter().find(|(worker, _)| worker == to)?;
                Some(Refusal::Unfit { node: to.clone(), why: unfit.to_string() })
            });
            named.unwrap_or_else(|| Refusal::NoWorker(no_worker.to_string()))
        })?;
        out.extend(self.settle_services(now));
        Ok((self.service(id)?, out))
    }

    /// Every worker but `wanted`.
    pub(super) fn all_but(&self, wanted: &NodeId) -> Result<Vec<Excluded>, Refusal> {
        let workers = self.worker_states();
        if !workers.iter().any(|worker| worker.id == *wanted) {
            return Err(Refusal::NoNode(wanted.clone()));
        }
        let others = workers.iter().filter(|worker| worker.id != *wanted);
        Ok(others.map(|worker| whole(&worker.id, "is not the one asked for")).collect())
    }

    /// Why components would be where, if this were asked for.
    pub fn explain(
        &self,
        now: MediaTime,
        request: &ServiceRequest,
    ) -> Result<Explanation, Refusal> {
        let service = self.built(now, ServiceId(0), request)?;
        self.explain_plan(now, &service)
    }

    /// Why the components of a service are where they are.
    pub fn explain_service(&self, now: MediaTime, id: ServiceId) -> Result<Explanation, Refusal> {
        let service = self.services.get(id).ok_or(Refusal::NoService(id))?;
        let components: Vec<_> = service.explained.iter().flatten().cloned().collect();
        if components.is_empty() {
            // It was taken up from an earlier start, or waits.
            return self.explain_plan(now, service);
        }
        Ok(Explanation { stream: service.stream().clone(), components, moves: service.moves() })
    }

    fn explain_plan(&self, now: MediaTime, service: &Service) -> Result<Explanation, Refusal> {
        let plans = self.plan_all(now, service);
        let plans = plans.map_err(|why| Refusal::NoWorker(why.to_string()))?;
        let explained =
            plans.iter().flat_map(|(replica, plan)| explain(&service.needs, *replica, plan));
        let components = explained.collect();
        Ok(Explanation { stream: service.stream().clone(), components, moves: service.moves() })
    }

    /// All services.
    pub fn services(&self) -> Vec<ServiceInfo> {
        self.services.iter().map(|(id, service)| self.service_info(id, service)).collect()
    }

    /// One service.
    pub fn service(&self, id: ServiceId) -> Result<ServiceInfo, Refusal> {
        let service = self.services.get(id).ok_or(Refusal::NoService(id))?;
        Ok(self.service_info(id, service))
    }

    /// Services that have a name.
    pub fn catalogue(&self) -> Vec<NamedService> {
        self.catalogue.services().to_vec()
    }

    /// All components there are.
    pub fn components(&self) -> Vec<ComponentInfo> {
        let workers = self.worker_states();
        let offered = |name: &str| {
            let mut offers = 0;
            for worker in workers.iter().filter(|worker| worker.up) {
                offers += u32::from(worker.components.iter().any(|offered| offered == name));
            }
            offers
        };
        let info = |entry: &catalogue::Entry| ComponentInfo {
            component: entry.name.to_owned(),
            about: entry.about.to_owned(),
            parameters: entry
                .parameters
                .iter()
                .map(|(name, about)| ParameterInfo {
                    name: (*name).to_owned(),
                    about: (*about).to_owned(),
                })
                .collect(),
            workers: offered(entry.name),
        };
        catalogue::ALL.iter().map(info).collect()
    }

    /// Who is to be asked for `stream`, an origin or a worker, and how it is made up.
    pub(super) fn stream<'a>(
        &'a self,
        stream: &'a StreamName,
    ) -> Option<(&'a NodeId, &'a Catalog)> {
        self.registry.stream(stream).or_else(|| self.services.stream(stream))
    }

    /// The origin at the root of `stream`, the service that makes it, and the components it passes.
    pub(super) fn path_of(
        &self,
        stream: &StreamName,
    ) -> (Option<NodeId>, Option<ServiceId>, Vec<SessionModule>) {
        let making = self.services.making(stream);
        let source = making.first().map_or(stream, |(_, service)| &service.chain.source);
        let origin = self.registry.stream(source).map(|(origin, _)| origin.clone());
        let Some((id, service)) = making.first() else { return (origin, None, Vec::new()) };
        let module = |(replica, instance): (u8, &Instance)| SessionModule {
            component: instance.component().to_owned(),
            worker: instance.worker.clone(),
            replica,
            priority: self.priority_of(instance, service),
        };
        (origin, Some(*id), self.modules_of(service).map(module).collect())
    }

    /// The active instances of a service, by replica and in order.
    fn modules_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = (u8, &'a Instance)> {
        let of = move |replica| {
            let active = move |stream| self.services.active(stream, replica);
            service
                .streams(replica)
                .iter()
                .filter_map(active)
                .map(move |instance| (replica, instance))
        };
        service.replicas().flat_map(of)
    }

    fn service_info(&self, id: ServiceId, service: &Service) -> ServiceInfo {
        let (state, why) = self.services.state(service);
        ServiceInfo {
            service: id,
            name: service.name.clone(),
            source: service.chain.source.clone(),
            stream: service.stream().clone(),
            components: service.chain.components.clone(),
            state,
            why,
            priority: service.priority,
            keep: service.keep,
            standby: service.standby,
            sessions: self.sessions.watching(service.stream()),
            modules: self
                .modules_of(service)
                .filter(|_| !service.has_failed())
                .map(|(_, instance)| self.module_info(id, service, instance))
                .collect(),
        }
    }

    fn priority_of(&self, instance: &Instance, service: &Service) -> gibbon_media::Priority {
        let references = instance.spec.services.iter().map(|reference| reference.priority);
        references.fold(service.priority, Ord::max)
    }

    fn module_info(&self, id: ServiceId, service: &Service, instance: &Instance) -> ModuleInfo {
        let report = instance.report.as_ref();
        let spec = &instance.spec;
        let successor = self.services.standing(&instance.stream, spec.replica, Stand::Coming);
        let shared_with = self.services.used_by(instance).into_iter().filter(|user| *user != id);
        let component = spec.chain.components.last().cloned();
        ModuleInfo {
            number: spec.chain.components.len() as u32,
            replica: spec.replica,
            component: component.unwrap_or_else(|| service.chain.components[0].clone()),
            instance: spec.instance,
            worker: instance.worker.clone(),
            moving_to: successor.map(|successor| successor.worker.clone()),
            priority: self.priority_of(instance, service),
            shared_with: shared_with.collect(),
            state: instance.state().clone(),
            input_address: self.input_address(instance),
            output_address: match spec.publish {
                true => self.socket(Some(&instance.worker), &instance.stream),
                false => "raw".to_owned(),
            },
            input: report.map(|report| report.input.clone()).unwrap_or_default(),
            output: report.map(|report| report.output.clone()).unwrap_or_default(),
            cpu_ms: report.map_or(0, |report| report.cpu_ms),
            memory_kib: report.map_or(0, |report| report.memory_kib),
            restarts: report.map_or(0, |report| report.restarts),
        }
    }

    fn input_address(&self, instance: &Instance) -> String {
        let Some(stream) = instance.spec.reads() else {
            return instance.spec.raw_from().map_or_else(String::new, |from| format!("raw:{from}"));
        };
        let peer = instance.report.as_ref().and_then(|report| report.input.peer.clone());
        let first = || self.stream(stream).map(|(publisher, _)| publisher.clone());
        self.socket(peer.or_else(first).as_ref(), stream)
    }

    /// Where `stream` is had of `node`; a node that is not known is left out.
    fn socket(&self, node: Option<&NodeId>, stream: &StreamName) -> String {
        let address = node.and_then(|node| self.registry.address(node));
        let address = address.map_or_else(String::new, |known| known.address.to_string());
        format!("quic://{address}/{stream}")
    }
}
