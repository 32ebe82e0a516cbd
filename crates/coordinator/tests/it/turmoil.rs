//! Whatever happens to services and workers, in the end what is asked for runs, and nothing else.

use std::collections::BTreeSet;

use gibbon_control::{
    services::{MoveRequest, ServiceRequest, ServiceState},
    work::Input,
};
use gibbon_media::ServiceId;
use proptest::prelude::*;

use crate::network::{
    SECOND, id,
    workers::{Scene, request},
};

const WORKERS: [&str; 4] = ["worker-a", "worker-b", "worker-c", "worker-d"];
const LISTS: [&str; 4] = [
    "scale height=180",
    "scale height=180 | grayscale",
    "scale height=180 | grayscale | case to=upper",
    "grayscale",
];

#[derive(Debug, Clone)]
enum Step {
    Ask { list: usize, standby: bool },
    End(usize),
    Move { service: usize, number: u32, to: usize },
    Drain(usize),
    Kill(usize),
    Deaf(usize),
    Silent(usize),
    Revive(usize),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0..WORKERS.len();
    prop_oneof![
        3 => (0..LISTS.len(), any::<bool>()).prop_map(|(list, standby)| Step::Ask { list, standby }),
        1 => (0usize..8).prop_map(Step::End),
        2 => (0usize..8, 1u32..4, worker.clone())
            .prop_map(|(service, number, to)| Step::Move { service, number, to }),
        1 => worker.clone().prop_map(Step::Drain),
        1 => worker.clone().prop_map(Step::Kill),
        1 => worker.clone().prop_map(Step::Deaf),
        1 => worker.clone().prop_map(Step::Silent),
        2 => worker.prop_map(Step::Revive),
        4 => (1u32..40).prop_map(Step::Pass),
    ]
}

struct Turmoil {
    scene: Scene,
    services: Vec<ServiceId>,
}

impl Turmoil {
    fn take(&mut self, step: Step) {
        let scene = &mut self.scene;
        match step {
            Step::Ask { list, standby } => {
                let asked = ServiceRequest { standby, ..request(LISTS[list]) };
                // There may be no room: then nothing is started.
                self.services.extend(scene.ask_for(&asked).ok());
            }
            Step::End(n) if n < self.services.len() => {
                let service = self.services.swap_remove(n);
                self.services.retain(|other| *other != service);
                self.end(service);
            }
            Step::Move { service, number, to } if service < self.services.len() => {
                let to = Some(id(WORKERS[to]));
                let request = MoveRequest { number, to, ..MoveRequest::default() };
                let (manager, now) = (&mut scene.network.manager, scene.network.now);
                let moved = manager.move_component(now, self.services[service], &request);
                if let Ok((_, out)) = moved {
                    scene.network.take(out);
                }
            }
            // It may be the last that can.
            Step::Drain(n) => _ = scene.drain(WORKERS[n]),
            Step::Kill(n) => scene.kill(WORKERS[n]),
            Step::Deaf(n) => scene.worker(WORKERS[n]).answers = false,
            Step::Silent(n) => scene.worker(WORKERS[n]).puts_out = false,
            Step::Revive(n) => self.revive(WORKERS[n]),
            Step::Pass(tenths) => scene.pass(SECOND / 10 * tenths),
            _ => {}
        }
    }

    fn revive(&mut self, name: &str) {
        let (manager, now) = (&mut self.scene.network.manager, self.scene.network.now);
        let out = manager.undrain(now, &id(name)).unwrap_or_default();
        self.scene.network.take(out);
        let worker = self.scene.worker(name);
        (worker.up, worker.answers, worker.puts_out, worker.draining) = (true, true, true, None);
        self.scene.add(name);
    }

    fn end(&mut self, service: ServiceId) {
        let (manager, now) = (&mut self.scene.network.manager, self.scene.network.now);
        // One that failed may be forgotten.
        let out = manager.end_service(now, service).unwrap_or_default();
        self.scene.network.take(out);
    }

    /// What every worker has been told to run, by (worker, stream).
    fn told(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for (name, worker) in &self.scene.workers {
            for spec in worker.order.iter().flat_map(|order| &order.instances) {
                told.push((name.clone(), spec.stream().to_string()));
                let Input::Instance(upstream) = &spec.input else { continue };
                let order = worker.order.as_ref().unwrap();
                assert!(order.instances.iter().any(|other| other.instance == *upstream));
            }
        }
        told
    }
}

/// Takes the steps, has all workers come back, and looks at what there is a while later.
fn in_the_end(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut turmoil = Turmoil { scene: Scene::with(&WORKERS), services: Vec::new() };
    for step in steps {
        turmoil.take(step);
    }
    WORKERS.iter().for_each(|name| turmoil.revive(name));
    // Longer than any worker is shunned, and any predecessor stays.
    turmoil.scene.pass(50 * SECOND);
    let services = turmoil.scene.network.manager.services();
    let mut wanted = BTreeSet::new();
    for service in &services {
        if service.state == ServiceState::Failed {
            continue;
        }
        prop_assert_eq!(service.state, ServiceState::Running, "{:?}", service);
        for module in &service.modules {
            prop_assert!(module.moving_to.is_none(), "{:?}", module);
            let length = module.number as usize;
            let components = service.components[..length].to_vec();
            let chain = gibbon_components::Chain { source: service.source.clone(), components };
            wanted.insert((module.worker.to_string(), chain.stream_of(module.replica).to_string()));
        }
        let replicas = if service.standby { 2 } else { 1 };
        prop_assert_eq!(service.modules.len(), service.components.len() * replicas);
    }
    let told = turmoil.told();
    let once: BTreeSet<_> = told.iter().cloned().collect();
    prop_assert_eq!(once.len(), told.len(), "a worker makes a stream twice: {:?}", told);
    prop_assert_eq!(once, wanted);
    for service in services {
        turmoil.end(service.service);
    }
    turmoil.scene.pass(SECOND);
    prop_assert!(turmoil.told().is_empty());
    let left = turmoil.scene.network.manager.streams();
    prop_assert_eq!(left.len(), 1, "only what the origin publishes");
    Ok(())
}

#[test]
fn what_another_service_brings_back_is_not_amiss_any_more() {
    let (alone, shared) =
        (Step::Ask { list: 0, standby: false }, Step::Ask { list: 2, standby: true });
    let before =
        [Step::Drain(1), Step::Drain(2), Step::Ask { list: 1, standby: false }, Step::Pass(4)];
    let after = [Step::Kill(0), alone, shared, Step::Pass(20)];
    in_the_end([&before[..], &after].concat()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_asked_for_runs_in_the_end_and_nothing_else(
        steps in prop::collection::vec(step(), 1..24)
    ) {
        in_the_end(steps)?;
    }
}
