//! Moving components: a segment's successors run before it goes.

use gibbon_control::{
    portal::{DecidedBy, Event, Grounds},
    services::{ComponentMove, MoveStep, MoveWhy},
};
use gibbon_handoff::Cause;
use gibbon_media::{InstanceId, MediaTime, NodeId, ServiceId};
use gibbon_placement::assign::{Assignment, Excluded, NoWorker};

use super::{
    Manager, Output, Refusal,
    assignment::{Around, whole},
};
use crate::{
    drain,
    services::{Instance, MAX_TRIES, Move, REST, Service, Stand, Standing},
    why,
};

impl Manager {
    /// Whether any component of a service is being moved.
    pub(super) fn is_moving(&self, service: &Service) -> bool {
        let makers = service.made().flat_map(|(_, stream)| self.services.makers(stream));
        let mut moving = makers.map(|maker| self.services.moves.of_instance(maker.spec.instance));
        moving.any(|part_of| part_of.is_some())
    }

    /// Begins to move the segment that begins with `root`; nothing is changed if no worker can take it.
    pub(super) fn begin_move(
        &mut self,
        now: MediaTime,
        root: InstanceId,
        exclude: Vec<Excluded>,
        grounds: Grounds,
    ) -> Result<Vec<Output>, NoWorker> {
        let Some(a_move) = self.move_of(now, root, exclude) else { return Ok(Vec::new()) };
        let a_move = self.attempt(now, a_move)?;
        let moved = self.services.describe(&a_move, MoveStep::Begun);
        let because = grounds.because.clone();
        let begun = MoveWhy { moved: moved.clone(), grounds };
        for id in &a_move.services {
            if let Some(service) = self.services.get_mut(*id) {
                service.move_begins(begun.clone());
            }
        }
        let out = self.tell(&a_move.services, &moved, Some(because));
        self.services.moves.insert(root, a_move);
        Ok(out)
    }

    fn move_of(
        &self,
        now: MediaTime,
        root: InstanceId,
        mut exclude: Vec<Excluded>,
    ) -> Option<Move> {
        let from = self.services.instance(root)?.worker.clone();
        let old = self.services.hanging_on(root);
        let users = old.iter().filter_map(|id| self.services.instance(*id));
        let mut services: Vec<_> = users.flat_map(|i| self.services.used_by(i)).collect();
        services.sort_unstable();
        services.dedup();
        exclude.push(whole(&from, "is to be left"));
        Some(Move { from, old, new: Vec::new(), services, exclude, tries: 0, begun: now })
    }

    /// Has the successors started somewhere.
    fn attempt(&mut self, now: MediaTime, mut a_move: Move) -> Result<Move, NoWorker> {
        (a_move.new, a_move.begun, a_move.tries) = (Vec::new(), now, a_move.tries + 1);
        for id in a_move.services.clone() {
            match self.plan_move(now, id, &a_move) {
                Ok(Some((replica, plan))) => {
                    let made = self.apply(now, (id, replica), &plan, Stand::Coming, &a_move.old);
                    a_move.new.extend(made);
                }
                Ok(None) => {}
                Err(no_worker) => {
                    self.services.withdraw(&a_move.new);
                    return Err(no_worker);
                }
            }
        }
        Ok(a_move)
    }

    /// Workers for what a service loses by a move; none if it is not there any more.
    fn plan_move(
        &self,
        now: MediaTime,
        id: ServiceId,
        a_move: &Move,
    ) -> Result<Option<(u8, Assignment)>, NoWorker> {
        let first = a_move.old.first().and_then(|id| self.services.instance(*id));
        let (Some(service), Some(first)) = (self.services.get(id), first) else { return Ok(None) };
        let (succeeded, exclude) = (&a_move.old[..], &a_move.exclude[..]);
        let around = Around { succeeded, exclude, ..Around::default() };
        let replica = first.spec.replica;
        let plan = self.plan(now, &self.worker_states(), service, replica, &around)?;
        Ok(Some((replica, plan)))
    }

    /// Brings moves on: to their end, or to another worker.
    pub(super) fn carry_on_moves(&mut self, now: MediaTime) -> Vec<Output> {
        let stands = self.services.moves.iter();
        let stands: Vec<_> =
            stands.map(|(root, m)| (root, self.services.standing_of(now, m))).collect();
        let mut out = Vec::new();
        for (root, standing) in stands {
            match standing {
                Standing::Waiting => {}
                Standing::Ready => out.extend(self.take_over(now, root)),
                Standing::Stuck(worker, why) => {
                    out.extend(self.try_another(now, root, &worker, &why))
                }
            }
        }
        out
    }

    /// The successors take over, whether they run yet or not.
    pub(super) fn take_over(&mut self, now: MediaTime, root: InstanceId) -> Vec<Output> {
        let Some(a_move) = self.services.moves.remove(root) else { return Vec::new() };
        let completed = self.services.describe(&a_move, MoveStep::Completed);
        let out = self.tell(&a_move.services, &completed, None);
        self.services.take_over(now, &a_move);
        out
    }

    /// The successors on `worker` will not do.
    pub(super) fn try_another(
        &mut self,
        now: MediaTime,
        root: InstanceId,
        worker: &NodeId,
        why: &str,
    ) -> Vec<Output> {
        let Some(mut a_move) = self.services.moves.remove(root) else { return Vec::new() };
        let given_up = self.services.describe(&a_move, MoveStep::RolledBack);
        let services = a_move.services.clone();
        self.services.withdraw(&a_move.new);
        a_move.exclude.push(whole(worker, why));
        if a_move.tries < MAX_TRIES
            && let Ok(again) = self.attempt(now, a_move)
        {
            let begun = self.services.describe(&again, MoveStep::Begun);
            let out = self.tell(&again.services, &begun, Some(format!("{worker} {why}")));
            self.services.moves.insert(root, again);
            return out;
        }
        if let Some(instance) = self.services.instance_mut(root) {
            instance.rests_until = now + REST;
        }
        self.tell(&services, &given_up, Some(format!("{worker} {why}")))
    }

    /// Whether it is known what the components of a service need: not before its source is, if it was taken up.
    pub(super) fn check_known(&self, id: ServiceId) -> Result<(), Refusal> {
        let unknown = self.services.get(id).filter(|service| service.needs.is_empty());
        unknown.map_or(Ok(()), |service| Err(Refusal::NoStream(service.chain.source.clone())))
    }

    /// Empties workers that are draining.
    pub(super) fn empty_workers(&mut self, now: MediaTime) -> Vec<Output> {
        let roots = self.services.instances().filter(|(_, instance)| {
            let is_root = instance.spec.raw_from().is_none() && instance.stand == Stand::Active;
            is_root && instance.rests_until <= now && self.drains.of(&instance.worker).is_some()
        });
        let roots: Vec<_> = roots.map(|(id, i)| (id, i.worker.clone())).collect();
        let mut out = Vec::new();
        for (root, worker) in roots {
            let running = self.services.moves.leaving(&worker);
            if !self.may_move(root)
                || !self.drains.may_begin(now, &worker, running.min(drain::AT_ONCE))
            {
                continue;
            }
            let grounds = why::plain(now, DecidedBy::Upkeep, why::happened(Cause::Drain, &worker));
            match self.begin_move(now, root, Vec::new(), grounds) {
                Ok(begun) => out.extend(begun),
                Err(no_worker) => {
                    tracing::warn!(%worker, %no_worker, "components should move and cannot");
                    if let Some(instance) = self.services.instance_mut(root) {
                        instance.rests_until = now + REST;
                    }
                }
            }
        }
        out
    }

    /// Whether the segment that begins with `root` is not part of a move, nor any service that uses it.
    pub(super) fn may_move(&self, root: InstanceId) -> bool {
        let segment = self.services.hanging_on(root);
        let instances = segment.iter().filter_map(|id| self.services.instance(*id));
        let users: Vec<_> = instances.flat_map(|i| self.services.used_by(i)).collect();
        let services = users.iter().filter_map(|id| self.services.get(*id));
        let may = |service: &Service| !self.is_moving(service) && !service.needs.is_empty();
        !users.is_empty() && services.into_iter().all(may)
    }

    /// Whether all that runs on a worker could be moved elsewhere.
    pub(super) fn check_drain_of_worker(
        &self,
        now: MediaTime,
        worker: &NodeId,
    ) -> Result<(), Refusal> {
        if !self.registry.is_up(worker) {
            return Err(Refusal::Down(worker.clone()));
        }
        let is_root = |i: &Instance| i.spec.raw_from().is_none() && i.stand == Stand::Active;
        let roots = self.services.at(worker).filter(|(_, instance)| is_root(instance));
        for (root, _) in roots {
            let Some(a_move) = self.move_of(now, root, Vec::new()) else { continue };
            for id in &a_move.services {
                self.check_known(*id)?;
                self.plan_move(now, *id, &a_move).map_err(|no_worker| Refusal::NowhereToWork {
                    worker: worker.clone(),
                    components: self
                        .services
                        .describe(&a_move, MoveStep::Begun)
                        .components
                        .join(", "),
                    why: no_worker.to_string(),
                })?;
            }
        }
        Ok(())
    }

    fn tell(
        &mut self,
        services: &[ServiceId],
        moved: &ComponentMove,
        why: Option<String>,
    ) -> Vec<Output> {
        let ComponentMove { components, from, to, step } = moved;
        tracing::info!(?components, %from, ?to, step = step.as_str(), why, "components move");
        for id in services {
            if let Some(service) = self.services.get_mut(*id) {
                service.move_goes_on(moved);
            }
        }
        let event = |id: &ServiceId| {
            let service = self.services.get(*id)?;
            Some(Output::Event(Event::Service {
                service: *id,
                stream: service.stream().clone(),
                state: Some(self.services.state(service).0),
                why: why.clone(),
                moved: Some(moved.clone()),
            }))
        };
        services.iter().filter_map(event).collect()
    }

    /// An instance will not do: it is withdrawn, and another worker is tried.
    pub(super) fn instance_fails(
        &mut self,
        now: MediaTime,
        instance: InstanceId,
        why: &str,
    ) -> Vec<Output> {
        let Some(known) = self.services.instance(instance) else { return Vec::new() };
        let (worker, component, stand) =
            (known.worker.clone(), known.component().to_owned(), known.stand);
        tracing::warn!(%instance, %worker, component, why, "a component will not do");
        let stream = known.stream.clone();
        for id in self.services.used_by(known) {
            if let Some(service) = self.services.get_mut(id) {
                service.refused(now, &worker, &stream, why.to_owned());
            }
        }
        match (stand, self.services.moves.of_instance(instance)) {
            (Stand::Coming, Some(root)) => self.try_another(now, root, &worker, why),
            (_, part_of) => {
                let out = part_of.map_or_else(Vec::new, |root| self.take_over(now, root));
                self.services.remove(instance);
                out
            }
        }
    }

    /// What ran on a worker is gone.
    pub(super) fn worker_lost(&mut self, now: MediaTime, worker: &NodeId) -> Vec<Output> {
        let mut out = Vec::new();
        self.orders.forget(worker);
        let gone: Vec<_> = self.services.at(worker).map(|(id, i)| (id, i.stand)).collect();
        for (id, stand) in gone {
            // Its move may have been ended with one before.
            match (stand, self.services.moves.of_instance(id)) {
                (Stand::Coming, Some(root)) => {
                    out.extend(self.try_another(now, root, worker, "is down"));
                }
                (Stand::Active, Some(root)) => out.extend(self.take_over(now, root)),
                _ => {}
            }
        }
        self.services.worker_lost(worker);
        self.work_changed = true;
        out
    }
}
