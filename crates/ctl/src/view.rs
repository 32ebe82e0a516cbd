//! How things are shown to people.

use std::time::Duration;

use gibbon_control::{
    node::{Draining, Location},
    portal::{
        Event, Foreseen, Grounds, HandoffInfo, HandoffWhy, NodeInfo, ProgressInfo, SessionInfo,
        SessionModule, StreamInfo, WhyAlternative, WhyInput,
    },
    process,
    services::ComponentMove,
    viewing::ViewerGap,
};
use gibbon_handoff::{Move, Reason};
use gibbon_media::{MediaTime, NodeId, Role, StreamName};

use crate::table::Table;

/// Stands for what is not known or not there.
pub const NONE: &str = "-";

/// `gibbonctl nodes`.
pub fn nodes(nodes: &[NodeInfo]) -> String {
    let heading = [
        "NODE",
        "ROLE",
        "ADDRESS",
        "STATE",
        "LEGS",
        "KBIT/S",
        "CORES",
        "COMPONENTS",
        "UPSTREAMS",
        "DOWNSTREAMS",
        "DOMAIN",
        "LOCATION",
    ];
    let row = |table: Table<12>, node: &NodeInfo| {
        let of = |carries: String, most: Option<String>| match (node.role, most) {
            (Role::Edge, Some(most)) => format!("{carries} of {most}"),
            (Role::Edge, None) => carries,
            _ => NONE.into(),
        };
        table.row([
            node.id.to_string(),
            node.role.to_string(),
            node.address.to_string(),
            state(node),
            of(node.legs.to_string(), Some(node.capacity_legs.to_string())),
            of(node.kbps.to_string(), node.capacity_kbps.map(|most| most.to_string())),
            node.worker.as_ref().map_or(NONE.into(), |worker| {
                format!("{:.2} of {}", worker.busy_cores, worker.offer.cores)
            }),
            node.worker.as_ref().map_or(NONE.into(), |worker| worker.instances.to_string()),
            node.upstreams.len().to_string(),
            node.downstreams.to_string(),
            node.failure_domain.clone().unwrap_or(NONE.into()),
            node.location.map_or(NONE.into(), location),
        ])
    };
    nodes.iter().fold(Table::new(heading), row).render("no node has registered")
}

fn state(node: &NodeInfo) -> String {
    let age = Duration::from_millis(node.report_age_ms);
    let leaves = match node.maintenance_in_ms {
        Some(0) => ", to be gone".into(),
        Some(ms) => format!(", leaves in {}", span(Duration::from_millis(ms))),
        None => String::new(),
    };
    match node.draining {
        _ if !node.up => format!("lost {} s ago", age.as_secs()),
        None => format!("up{leaves}"),
        Some(Draining { stay: true, .. }) => "draining, stays".into(),
        Some(_) => "draining".into(),
    }
}

/// `90 s`, `10 min`, `3 h`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// `gibbonctl streams`.
pub fn streams(streams: &[StreamInfo]) -> String {
    let heading = ["STREAM", "FROM", "MADE OF", "SCHEME", "VIDEO", "AUDIO", "TEXT", "SESSIONS"];
    let row = |table: Table<8>, stream: &StreamInfo| {
        table.row([
            stream.stream.to_string(),
            stream.origin.to_string(),
            stream.source.as_ref().map_or(NONE.into(), StreamName::to_string),
            stream.scheme.to_string(),
            stream.video.clone().unwrap_or(NONE.into()),
            if stream.audio { "yes" } else { NONE }.into(),
            stream.text.clone().unwrap_or(NONE.into()),
            stream.sessions.to_string(),
        ])
    };
    streams.iter().fold(Table::new(heading), row).render("no stream is published")
}

/// `gibbonctl sessions`.
pub fn sessions(sessions: &[SessionInfo]) -> String {
    let heading = [
        "SESSION",
        "STREAM",
        "ORIGIN",
        "MODULES",
        "DESCRIPTION 0",
        "DESCRIPTION 1",
        "PLACEMENT",
        "PRIORITY",
        "CLIENT",
        "HAND-OFF",
    ];
    let row = |table: Table<10>, session: &SessionInfo| {
        let client = if session.client.connected { "connected" } else { "away" };
        table.row([
            session.session.to_string(),
            session.stream.to_string(),
            node(session.origin.as_ref()),
            modules(&session.modules),
            node(session.edges[0].as_ref()),
            node(session.edges[1].as_ref()),
            session.placement.to_string(),
            session.priority.to_string(),
            match session.client.location {
                Some(at) => format!("{client} at {}", location(at)),
                None => client.into(),
            },
            session.handoff.map_or(NONE.into(), |id| id.to_string()),
        ])
    };
    sessions.iter().fold(Table::new(heading), row).render("no session")
}

/// `scale at worker-a | mdc at worker-b`, and the second chain after `+`.
fn modules(modules: &[SessionModule]) -> String {
    if modules.is_empty() {
        return NONE.into();
    }
    chains(modules.iter().map(|m| (m.replica, format!("{} at {}", m.component, m.worker))))
}

/// Modules, each with the replica that it is part of, in a line.
pub fn chains(modules: impl Iterator<Item = (u8, String)>) -> String {
    let mut chains: [Vec<String>; 2] = Default::default();
    modules.for_each(|(replica, module)| chains[usize::from(replica > 0)].push(module));
    let chains = chains.iter().filter(|chain| !chain.is_empty());
    chains.map(|chain| chain.join(" | ")).collect::<Vec<_>>().join(" + ")
}

/// `gibbonctl handoffs`.
pub fn handoffs(handoffs: &[HandoffInfo]) -> String {
    let heading = [
        "HAND-OFF",
        "SESSION",
        "CAUSE",
        "MOVES",
        "OUTCOME",
        "TOOK",
        "VIEWER LOST",
        "WHY THAT EDGE",
    ];
    let row = |table: Table<8>, info: &HandoffInfo| {
        table.row([
            info.handoff.to_string(),
            info.session.to_string(),
            info.cause.as_str().into(),
            moves(&info.moves),
            with_reason(info.outcome.as_str().replace('_', " "), info.reason),
            format!("{} ms", took(info).as_millis()),
            info.viewer_gap.map_or(NONE.into(), lost),
            info.selection.clone(),
        ])
    };
    handoffs.iter().fold(Table::new(heading), row).render("no hand-off")
}

/// What a viewer was not shown in full.
fn lost(gap: ViewerGap) -> String {
    let parts = [("frozen", gap.frozen_ms), ("side", gap.side_ms)];
    let parts = parts.iter().filter(|(_, ms)| *ms > 0);
    let parts: Vec<_> = parts.map(|(verdict, ms)| format!("{verdict} {ms} ms")).collect();
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}

/// `gibbonctl why`.
pub fn why(why: &HandoffWhy) -> String {
    let HandoffWhy { handoff, session, cause, grounds: why } = why;
    format!("hand-off {handoff} of session {session}: {}, {}", cause.as_str(), grounds(why))
}

/// What was decided when, and from what.
pub fn grounds(why: &Grounds) -> String {
    let (at, by) = (clock(MediaTime(why.decided_us)), why.decided_by.as_str());
    let mut text = format!("decided at {at} by {by}\nBecause {}.", why.because);
    if let Some(Foreseen { need_us, lead_ms, gain_s }) = &why.foreseen {
        let need = MediaTime(*need_us).since(MediaTime(why.decided_us)).as_secs_f64();
        let lead = *lead_ms as f64 / 1000.0;
        text += &format!(
            "\nIt was needed from {} on, {need:.1} s later; a hand-off takes {lead:.1} s, and gains {gain_s:.1} s without a picture.",
            clock(MediaTime(*need_us))
        );
    }
    if !why.inputs.is_empty() {
        let heading = ["KNOWN", "VALUE", "BY", "AGE", "WEIGHT"];
        let row = |table: Table<5>, input: &WhyInput| {
            table.row([
                input.name.clone(),
                format!("{:.1} {}", input.value, input.unit).trim_end().to_owned(),
                input.source.clone(),
                format!("{:.1} s", input.age_ms as f64 / 1000.0),
                format!("{:.2}", input.weight),
            ])
        };
        text += &format!("\n\n{}", why.inputs.iter().fold(Table::new(heading), row).render(""));
    }
    if !why.alternatives.is_empty() {
        let heading = ["WEIGHED", "COST", "WHY"];
        let row = |table: Table<3>, weighed: &WhyAlternative| {
            let [zero, one] = &weighed.edges;
            table.row([
                if zero == one { zero.to_string() } else { format!("{zero} and {one}") },
                weighed.cost.map_or(NONE.into(), |cost| format!("{cost:.2} s")),
                weighed.reason.clone(),
            ])
        };
        let table = why.alternatives.iter().fold(Table::new(heading), row);
        text += &format!("\n\n{}", table.render(""));
    }
    text
}

/// A hand-off that has begun.
pub fn handoff(info: &HandoffInfo) -> String {
    format!(
        "hand-off {} of session {}: {}\n{}",
        info.handoff,
        info.session,
        moves(&info.moves),
        info.selection
    )
}

/// How a hand-off ended.
pub fn outcome(info: &HandoffInfo) -> String {
    let outcome = with_reason(info.outcome.as_str().replace('_', " "), info.reason);
    format!("{outcome} after {} ms", took(info).as_millis())
}

/// A step of a hand-off.
pub fn step(progress: &ProgressInfo) -> String {
    format!("{}  {}", clock(MediaTime(progress.at_us)), describe(progress))
}

/// A line of `gibbonctl watch`.
pub fn event(event: &Event) -> String {
    let now = clock(process::now());
    let stands = |up| if up { "is here" } else { "is gone" };
    match event {
        Event::Node { id, up } => format!("{now}  node {id} {}", stands(*up)),
        Event::Session { session, up } => format!("{now}  session {session} {}", stands(*up)),
        Event::Handoff { handoff, session, progress } => {
            let at = clock(MediaTime(progress.at_us));
            format!("{at}  hand-off {handoff} of session {session}: {}", describe(progress))
        }
        Event::Service { service, stream, state, why, moved } => {
            let state = state.map_or("has ended", |state| state.as_str());
            let moved =
                moved.as_ref().map_or(String::new(), |m| format!("; {}", component_move(m)));
            let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            format!("{now}  service {service} ({stream}): {state}{why}{moved}")
        }
        Event::Lagged { missed } => {
            format!("{now}  {missed} events are missing here: we read too slowly")
        }
    }
}

/// What moves, from where to where, and how that stands.
pub fn component_move(moved: &ComponentMove) -> String {
    let to: Vec<&str> = moved.to.iter().map(NodeId::as_str).collect();
    let (components, step) = (moved.components.join(", "), moved.step.as_str());
    format!("move of {components} from {} to {}: {step}", moved.from, to.join(", "))
}

fn describe(progress: &ProgressInfo) -> String {
    let mut text = progress.step.replace('_', " ");
    if let Some(description) = progress.description {
        text += &format!(", description {description}");
    }
    if let Some(edge) = &progress.edge {
        text += &format!(", {edge}");
    }
    if let Some(group) = progress.group {
        text += &format!(", from group {group}");
    }
    with_reason(text, progress.reason)
}

fn with_reason(text: String, reason: Option<Reason>) -> String {
    match reason {
        Some(reason) => format!("{text} ({})", words(reason)),
        None => text,
    }
}

/// `NotInTime` as "not in time".
fn words(reason: Reason) -> String {
    let mut words = String::new();
    for letter in format!("{reason:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn moves(moves: &[Move]) -> String {
    let text = |leg: &Move| format!("{} {} -> {}", leg.description, leg.from, leg.to);
    moves.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// From the first step to the newest.
fn took(info: &HandoffInfo) -> Duration {
    match (info.progress.first(), info.progress.last()) {
        (Some(first), Some(last)) => MediaTime(last.at_us).since(MediaTime(first.at_us)),
        _ => Duration::ZERO,
    }
}

fn node(id: Option<&NodeId>) -> String {
    id.map_or(NONE.into(), NodeId::to_string)
}

fn location(at: Location) -> String {
    format!("{},{}", at.latitude, at.longitude)
}

/// Time of day, UTC.
fn clock(at: MediaTime) -> String {
    let (seconds, ms) = (at.as_micros() / 1_000_000, at.as_micros() / 1000 % 1000);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use gibbon_control::{
        portal::{ClientInfo, HandoffOutcome, WorkerInfo},
        work::WorkerOffer,
    };
    use gibbon_handoff::{Cause, InfoSender, Source};
    use gibbon_media::{Description, GroupId, HandoffId, Placement, Priority, Scheme, SessionId};

    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn progress(step: &str, at_ms: u64) -> ProgressInfo {
        ProgressInfo {
            step: step.into(),
            description: None,
            edge: None,
            group: None,
            reason: None,
            at_us: at_ms * 1000,
        }
    }

    #[test]
    fn a_session_is_origin_edge_per_description_and_client() {
        let session = SessionInfo {
            session: SessionId(0xab),
            stream: "live/bbb".parse().unwrap(),
            origin: Some(id("studio")),
            service: None,
            modules: [("scale", "worker-a", 0), ("mdc", "worker-b", 0), ("mdc", "worker-c", 1)]
                .map(|(component, worker, replica)| SessionModule {
                    component: component.into(),
                    worker: id(worker),
                    replica,
                    priority: Priority::default(),
                })
                .into(),
            edges: [Some(id("edge-a")), Some(id("edge-b"))],
            placement: Placement::Diverse,
            priority: Priority::default(),
            client: ClientInfo {
                connected: true,
                location: Some(Location { latitude: 52.5, longitude: 13.0 }),
            },
            handoff: Some(HandoffId(1)),
        };
        let lost = SessionInfo {
            edges: [None, None],
            client: ClientInfo { connected: false, location: None },
            handoff: None,
            origin: None,
            modules: Vec::new(),
            ..session.clone()
        };
        assert_eq!(
            sessions(&[session, lost]),
            "\
SESSION           STREAM    ORIGIN  MODULES                                                DESCRIPTION 0  DESCRIPTION 1  PLACEMENT  PRIORITY  CLIENT                HAND-OFF
00000000000000ab  live/bbb  studio  scale at worker-a | mdc at worker-b + mdc at worker-c  edge-a         edge-b         diverse    5         connected at 52.5,13  0000000000000001
00000000000000ab  live/bbb  -       -                                                      -              -              diverse    5         away                  -"
        );
        assert_eq!(sessions(&[]), "no session");
    }

    #[test]
    fn a_node_says_whether_it_is_up_draining_or_lost_since_when() {
        let edge = NodeInfo {
            id: id("edge-a"),
            role: Role::Edge,
            address: ([127, 0, 0, 1], 4500).into(),
            location: None,
            failure_domain: None,
            up: true,
            registered_us: 0,
            legs: 4,
            legs_by_description: [2, 2],
            capacity_legs: 200,
            kbps: 4000,
            capacity_kbps: None,
            draining: None,
            maintenance_in_ms: None,
            downstreams: 1,
            upstreams: Vec::new(),
            report_age_ms: 200,
            worker: None,
        };
        let leaving = NodeInfo {
            failure_domain: Some("rack-1".into()),
            capacity_kbps: Some(9000),
            draining: Some(Draining { within_ms: 60_000, rate: 20.0, stay: false }),
            ..edge.clone()
        };
        let announced = NodeInfo { maintenance_in_ms: Some(600_000), ..edge.clone() };
        let origin = NodeInfo {
            id: id("studio"),
            role: Role::Origin,
            up: false,
            report_age_ms: 12_900,
            ..edge.clone()
        };
        let components = vec!["scale".to_owned()];
        let worker = NodeInfo {
            id: id("mill"),
            role: Role::Worker,
            worker: Some(WorkerInfo {
                offer: WorkerOffer { components, cores: 2.0, memory_mib: 1024, uplink_kbps: None },
                busy_cores: 0.5,
                reserved_cores: 0.7,
                used_mib: 100,
                sent_kbps: 0,
                instances: 3,
                links: Vec::new(),
            }),
            ..edge.clone()
        };
        assert_eq!(
            nodes(&[edge, leaving, announced, origin, worker]),
            "\
NODE    ROLE    ADDRESS         STATE                 LEGS      KBIT/S        CORES      COMPONENTS  UPSTREAMS  DOWNSTREAMS  DOMAIN  LOCATION
edge-a  edge    127.0.0.1:4500  up                    4 of 200  4000          -          -           0          1            -       -
edge-a  edge    127.0.0.1:4500  draining              4 of 200  4000 of 9000  -          -           0          1            rack-1  -
edge-a  edge    127.0.0.1:4500  up, leaves in 10 min  4 of 200  4000          -          -           0          1            -       -
studio  origin  127.0.0.1:4500  lost 12 s ago         -         -             -          -           0          1            -       -
mill    worker  127.0.0.1:4500  up                    -         -             0.50 of 2  3           0          1            -       -"
        );
    }

    #[test]
    fn a_stream_says_what_it_is_made_of() {
        let stream = StreamInfo {
            stream: "live/bbb".parse().unwrap(),
            origin: id("studio"),
            source: None,
            scheme: Scheme::Alternating,
            video: Some("640x360@24".into()),
            audio: true,
            text: None,
            sessions: 3,
        };
        assert_eq!(
            streams(&[stream]),
            "\
STREAM    FROM    MADE OF  SCHEME       VIDEO       AUDIO  TEXT  SESSIONS
live/bbb  studio  -        alternating  640x360@24  yes    -     3"
        );
    }

    #[test]
    fn a_hand_off_says_what_moved_how_it_ended_and_why() {
        let info = HandoffInfo {
            handoff: HandoffId(1),
            session: SessionId(2),
            cause: Cause::Operator,
            from: id("edge-a"),
            to: id("edge-b"),
            moves: [Description::One, Description::Zero]
                .map(|description| Move {
                    description,
                    from: id("edge-a"),
                    to: id("edge-b"),
                    fetch: Source::Origin,
                })
                .into(),
            selection: "edge-b was asked for".into(),
            prefetch_info: InfoSender::Coordinator,
            outcome: HandoffOutcome::RolledBack,
            reason: Some(Reason::NotInTime),
            viewer_gap: Some(ViewerGap { side_ms: 80, frozen_ms: 120, longest_ms: 120 }),
            progress: vec![progress("selected", 1000), progress("rolled_back", 4250)],
        };
        assert_eq!(
            handoffs(std::slice::from_ref(&info)).lines().nth(1).unwrap(),
            "0000000000000001  0000000000000002  operator  1 edge-a -> edge-b, 0 edge-a -> edge-b  \
             rolled back (not in time)  3250 ms  frozen 120 ms, side 80 ms  edge-b was asked for"
        );
        assert_eq!(lost(ViewerGap::default()), "nothing");
        assert_eq!(outcome(&info), "rolled back (not in time) after 3250 ms");
    }

    #[test]
    fn why_is_told_in_plain_words_with_what_was_known_and_weighed() {
        let input = WhyInput {
            name: "load of edge-a".into(),
            value: 81.25,
            unit: "%".into(),
            source: "edge-a's report".into(),
            age_ms: 400,
            weight: 0.97,
        };
        let weighed = |a, b, cost, reason: &str| WhyAlternative {
            edges: [id(a), id(b)],
            cost,
            reason: reason.into(),
        };
        let known = HandoffWhy {
            handoff: HandoffId(1),
            session: SessionId(2),
            cause: Cause::Load,
            grounds: Grounds {
                because: "the load of edge-a will be 97 %".into(),
                decided_by: gibbon_control::portal::DecidedBy::Foresight,
                decided_us: 3_723_004_000,
                foreseen: Some(Foreseen { need_us: 3_735_504_000, lead_ms: 5000, gain_s: 12.25 }),
                inputs: vec![input],
                alternatives: vec![
                    weighed("edge-b", "edge-b", Some(0.5), "chosen"),
                    weighed("edge-b", "edge-c", None, "no room"),
                ],
            },
        };
        assert_eq!(
            why(&known),
            "\
hand-off 0000000000000001 of session 0000000000000002: load, decided at 01:02:03.004 by foresight
Because the load of edge-a will be 97 %.
It was needed from 01:02:15.504 on, 12.5 s later; a hand-off takes 5.0 s, and gains 12.2 s without a picture.

KNOWN           VALUE   BY               AGE    WEIGHT
load of edge-a  81.2 %  edge-a's report  0.4 s  0.97

WEIGHED            COST    WHY
edge-b             0.50 s  chosen
edge-b and edge-c  -       no room"
        );
        let told = known.grounds;
        let short = Grounds { foreseen: None, inputs: vec![], alternatives: vec![], ..told };
        assert_eq!(grounds(&short).lines().count(), 2);
    }

    #[test]
    fn a_step_says_what_happened_where_and_when() {
        let progress = ProgressInfo {
            description: Some(Description::One),
            edge: Some(id("edge-b")),
            group: Some(GroupId(77)),
            ..progress("attach_sent", 86_400_000 + 3_723_004)
        };
        assert_eq!(
            step(&progress),
            "01:02:03.004  attach sent, description 1, edge-b, from group 77"
        );
        let event =
            event(&Event::Handoff { handoff: HandoffId(1), session: SessionId(2), progress });
        assert!(event.starts_with("01:02:03.004  hand-off 0000000000000001 of session "));
    }
}
