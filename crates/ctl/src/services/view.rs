//! How services are shown to people.

use gibbon_components::Spec;
use gibbon_control::{
    services::{
        CandidateExplanation, ComponentExplanation, ComponentInfo, Explanation, MoveWhy,
        NamedService, ServiceInfo,
    },
    work::{InstanceState, ModuleInfo, SocketReport},
};

use crate::{
    table::Table,
    view::{self, NONE, chains},
};

/// Workers of which the scores are printed, for each component; the rest is counted.
const MAX_CANDIDATES: usize = 8;

/// `gibbonctl services`.
pub fn services(services: &[ServiceInfo]) -> String {
    let heading = ["SERVICE", "NAME", "STREAM", "STATE", "SESSIONS", "PRIORITY", "MODULES"];
    let row = |table: Table<7>, info: &ServiceInfo| {
        table.row([
            info.service.to_string(),
            info.name.clone().unwrap_or(NONE.into()),
            info.stream.to_string(),
            info.state.as_str().into(),
            info.sessions.to_string(),
            info.priority.to_string(),
            info.why.clone().unwrap_or_else(|| places(&info.modules)),
        ])
    };
    services.iter().fold(Table::new(heading), row).render("no service")
}

/// Where its modules are, and where they go.
fn places(modules: &[ModuleInfo]) -> String {
    let place = |module: &ModuleInfo| {
        let to = module.moving_to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
        (module.replica, format!("{} at {}{to}", module.component.component, module.worker))
    };
    chains(modules.iter().map(place))
}

/// A service that has been asked for.
pub fn begun(info: &ServiceInfo) -> String {
    format!("{}\nwatch it with: gibbon-play {}", title(info), info.stream)
}

/// `gibbonctl services ID`.
pub fn service(info: &ServiceInfo) -> String {
    let heading = [
        "MODULE",
        "COMPONENT",
        "WORKER",
        "STATE",
        "INPUT",
        "DECODERS",
        "OUTPUT",
        "ENCODERS",
        "DELAY",
        "CPU",
        "MEMORY",
        "STARTS",
    ];
    let modules =
        info.modules.iter().fold(Table::new(heading), module).render("nothing of it runs");
    format!("{}\n{} -> {}\n\n{modules}", title(info), info.source, info.stream)
}

fn title(info: &ServiceInfo) -> String {
    let name = info.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let mut title = format!("service {}{name}: {}", info.service, list(&info.components));
    title += &format!("\n{}", info.state.as_str());
    if let Some(why) = &info.why {
        title += &format!(": {why}");
    }
    title += &format!("; priority {}", info.priority);
    for (is, word) in [(info.standby, "with a standby chain"), (info.keep, "kept until stopped")] {
        title += &if is { format!(", {word}") } else { String::new() };
    }
    title
}

fn module(table: Table<12>, module: &ModuleInfo) -> Table<12> {
    let replica = if module.replica > 0 { " (standby)" } else { "" };
    let moving = module.moving_to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
    let passed = |socket: &SocketReport| match socket.coders {
        0 => NONE.into(),
        coders => format!(
            "{coders} ({} pictures, {} sounds)",
            socket.passed.pictures, socket.passed.sounds
        ),
    };
    table.row([
        format!("{}{replica}", module.number),
        module.component.to_string(),
        format!("{}{moving}", module.worker),
        match &module.state {
            InstanceState::Starting => "starting".into(),
            InstanceState::Running => "running".into(),
            InstanceState::Restarting { why } => format!("restarting ({why})"),
            InstanceState::Failed { why } => format!("failed ({why})"),
        },
        module.input_address.clone(),
        passed(&module.input),
        module.output_address.clone(),
        passed(&module.output),
        module.output.delay_ms.map_or(NONE.into(), |ms| format!("{ms:.0} ms")),
        format!("{:.1} s", module.cpu_ms as f64 / 1000.0),
        format!("{} MiB", module.memory_kib / 1024),
        (module.restarts + 1).to_string(),
    ])
}

/// Components as they are asked for.
fn list(components: &[Spec]) -> String {
    components.iter().map(Spec::to_string).collect::<Vec<_>>().join(" | ")
}

/// `gibbonctl explain`.
pub fn explanation(explanation: &Explanation) -> String {
    let components = explanation.components.iter().map(component);
    let moves = explanation.moves.iter().map(moved);
    format!(
        "{}\n{}{}",
        explanation.stream,
        components.collect::<String>(),
        moves.collect::<String>()
    )
}

fn moved(MoveWhy { moved, grounds }: &MoveWhy) -> String {
    let (moved, why) = (view::component_move(moved), view::grounds(grounds));
    format!("\n{moved}, {why}\n")
}

fn component(component: &ComponentExplanation) -> String {
    let ComponentExplanation { number, cores, .. } = component;
    let replica = if component.replica > 0 { " of the standby chain" } else { "" };
    let assigned = match (&component.worker, component.shared) {
        (Some(worker), true) => format!("{worker}, where it runs already and is shared"),
        (Some(worker), false) => worker.to_string(),
        (None, _) => "no worker".into(),
    };
    let mut text =
        format!("\n{number} {}{replica}, {cores:.2} cores: {assigned}\n", component.component);
    let shown = component.candidates.iter().take(MAX_CANDIDATES);
    text.extend(shown.map(candidate));
    match component.candidates.len().saturating_sub(MAX_CANDIDATES) {
        0 => {}
        more => text += &format!("  and {more} more, which --json shows\n"),
    }
    text
}

fn candidate(candidate: &CandidateExplanation) -> String {
    let CandidateExplanation { worker, unfit, total, terms } = candidate;
    if let Some(why) = unfit {
        return format!("  {worker} {why}\n");
    }
    let mut text = format!("  {worker}: {total:.1} in all\n");
    for term in terms {
        text += &format!("    {:>8.1}  {:8}  {}\n", term.cost, term.criterion, term.found);
    }
    text
}

/// `gibbonctl components`.
pub fn components(components: &[ComponentInfo]) -> String {
    let component = |info: &ComponentInfo| {
        let workers = match info.workers {
            0 => "no worker offers it".into(),
            1 => "1 worker".into(),
            n => format!("{n} workers"),
        };
        let mut text = format!("{}: {} ({workers})\n", info.component, info.about);
        for parameter in &info.parameters {
            text += &format!("    {:12}  {}\n", parameter.name, parameter.about);
        }
        text
    };
    components.iter().map(component).collect()
}

/// `gibbonctl catalogue`.
pub fn catalogue(catalogue: &[NamedService]) -> String {
    let row = |table: Table<3>, named: &NamedService| {
        table.row([named.name.clone(), named.about.clone(), list(&named.components)])
    };
    let heading = ["SERVICE", "FOR", "COMPONENTS"];
    catalogue.iter().fold(Table::new(heading), row).render("the catalogue is empty")
}

#[cfg(test)]
mod tests {
    use gibbon_control::{
        portal::{DecidedBy, Grounds},
        services::{ComponentMove, MoveStep, ServiceState, Term},
        work::Passed,
    };
    use gibbon_media::{InstanceId, ServiceId};

    use super::*;

    fn module(number: u32, component: &str, worker: &str) -> ModuleInfo {
        ModuleInfo {
            number,
            replica: 0,
            component: component.parse().unwrap(),
            instance: InstanceId(u64::from(number)),
            worker: worker.parse().unwrap(),
            moving_to: None,
            priority: Default::default(),
            shared_with: Vec::new(),
            state: InstanceState::Running,
            input_address: "raw:0000000000000001".into(),
            output_address: "raw".into(),
            input: SocketReport::default(),
            output: SocketReport::default(),
            cpu_ms: 1234,
            memory_kib: 20_480,
            restarts: 0,
        }
    }

    fn info() -> ServiceInfo {
        let coded = |coders, pictures| SocketReport {
            coders,
            passed: Passed { pictures, sounds: 5, ..Passed::default() },
            delay_ms: Some(81.6),
            ..SocketReport::default()
        };
        let scale = ModuleInfo {
            input: SocketReport { delay_ms: None, ..coded(1, 240) },
            moving_to: Some("worker-c".parse().unwrap()),
            input_address: "quic://127.0.0.1:4500/live/bbb".into(),
            ..module(1, "scale height=360", "worker-a")
        };
        let standby =
            ModuleInfo { replica: 1, output: coded(2, 239), ..module(2, "mdc", "worker-b") };
        ServiceInfo {
            service: ServiceId(0x7c01 << 48),
            name: Some("sd".into()),
            source: "live/bbb".parse().unwrap(),
            stream: "live/bbb/0123456789abcdef".parse().unwrap(),
            components: gibbon_components::parse("scale height=360 | mdc").unwrap(),
            state: ServiceState::Running,
            why: None,
            priority: Default::default(),
            keep: true,
            standby: true,
            sessions: 2,
            modules: vec![scale, module(2, "mdc", "worker-a"), standby],
        }
    }

    #[test]
    fn a_service_says_where_its_modules_are_or_what_is_amiss() {
        let failed = ServiceInfo {
            name: None,
            state: ServiceState::Failed,
            why: Some("no worker has room".into()),
            modules: Vec::new(),
            ..info()
        };
        assert_eq!(
            services(&[info(), failed]),
            "\
SERVICE           NAME  STREAM                     STATE    SESSIONS  PRIORITY  MODULES
7c01000000000000  sd    live/bbb/0123456789abcdef  running  2         5         scale at worker-a -> worker-c | mdc at worker-a + mdc at worker-b
7c01000000000000  -     live/bbb/0123456789abcdef  failed   2         5         no worker has room"
        );
        assert_eq!(services(&[]), "no service");
    }

    #[test]
    fn a_service_in_full_says_what_is_coded_where() {
        let text = service(&info());
        assert!(
            text.starts_with(
                "service 7c01000000000000 (sd): scale height=360 | mdc\n\
                 running; priority 5, with a standby chain, kept until stopped\n\
                 live/bbb -> live/bbb/0123456789abcdef\n"
            ),
            "{text}"
        );
        let row = |n: usize| -> Vec<String> {
            let row = text.lines().nth(5 + n).unwrap();
            row.split("  ").map(|cell| cell.trim().to_owned()).filter(|c| !c.is_empty()).collect()
        };
        let (first, last) = (row(0), row(2));
        assert_eq!(first[2], "worker-a -> worker-c");
        assert_eq!(first[5], "1 (240 pictures, 5 sounds)", "{first:?}");
        assert_eq!((last[0].as_str(), last[5].as_str()), ("2 (standby)", "-"));
        assert_eq!(last[7..], ["2 (239 pictures, 5 sounds)", "82 ms", "1.2 s", "20 MiB", "1"]);
    }

    #[test]
    fn an_explanation_has_the_scores_of_each_worker_or_why_it_cannot_be() {
        let term = |criterion: &str, found: &str, cost| Term {
            criterion: criterion.into(),
            found: found.into(),
            cost,
        };
        let fit = CandidateExplanation {
            worker: "worker-a".parse().unwrap(),
            unfit: None,
            total: 12.5,
            terms: vec![
                term("load", "0.10 of 4.00 cores busy", 2.5),
                term("location", "877 km from the client", 10.0),
            ],
        };
        let unfit = CandidateExplanation {
            worker: "worker-b".parse().unwrap(),
            unfit: Some("is being emptied".into()),
            total: 0.0,
            terms: Vec::new(),
        };
        let one = ComponentExplanation {
            number: 1,
            replica: 1,
            component: "mdc".into(),
            cores: 0.4,
            worker: Some("worker-a".parse().unwrap()),
            shared: false,
            candidates: vec![fit, unfit.clone()],
        };
        let many = ComponentExplanation {
            number: 2,
            shared: true,
            candidates: vec![unfit; MAX_CANDIDATES + 3],
            ..one.clone()
        };
        let stream = "live/bbb/0123456789abcdef".parse().unwrap();
        let components = vec![one, many];
        let text = explanation(&Explanation { stream, components, moves: Vec::new() });
        assert!(
            text.starts_with(
                "live/bbb/0123456789abcdef\n\n\
                 1 mdc of the standby chain, 0.40 cores: worker-a\n  \
                   worker-a: 12.5 in all\n         \
                        2.5  load      0.10 of 4.00 cores busy\n        \
                       10.0  location  877 km from the client\n  \
                   worker-b is being emptied\n\n\
                 2 mdc of the standby chain, 0.40 cores: worker-a, where it runs already and is shared\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("  and 3 more, which --json shows\n"), "{text}");
    }

    #[test]
    fn an_explanation_has_the_moves_and_what_they_were_decided_from() {
        let why = MoveWhy {
            moved: ComponentMove {
                components: vec!["scale".into(), "mdc".into()],
                from: "worker-a".parse().unwrap(),
                to: vec!["worker-b".parse().unwrap(), "worker-c".parse().unwrap()],
                step: MoveStep::Completed,
            },
            grounds: Grounds {
                because: "worker-a goes away".into(),
                decided_by: DecidedBy::Foresight,
                decided_us: 3_723_004_000,
                foreseen: None,
                inputs: Vec::new(),
                alternatives: Vec::new(),
            },
        };
        let stream = "live/bbb/0123456789abcdef".parse().unwrap();
        let text = explanation(&Explanation { stream, components: vec![], moves: vec![why] });
        let told = "\n\nmove of scale, mdc from worker-a to worker-b, worker-c: completed, \
                    decided at 01:02:03.004 by foresight\nBecause worker-a goes away.\n";
        assert!(text.ends_with(told), "{text}");
    }
}
