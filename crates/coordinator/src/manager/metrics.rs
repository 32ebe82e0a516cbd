//! What the manager shows of what it holds.

use std::{collections::BTreeMap, fmt::Display};

use gibbon_control::{portal::NodeInfo, services::ServiceState, viewing::Viewing};
use gibbon_media::{Description, MediaTime, Role, SessionId};
use gibbon_monitor::{Page, Sample};

use super::Manager;
use crate::{
    metrics::Metrics,
    telemetry::{Reason, Source},
};

impl Manager {
    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Fills a page with how things stand.
    pub fn collect(&self, now: MediaTime, page: &mut Page<'_>) {
        page.gauge(
            "gibbon_coordinator_term",
            "Rises with each start of the coordinator.",
            [self.term.0],
        );
        nodes(page, &self.nodes(now));
        let connected = self.sessions.iter().filter(|(_, s)| s.is_connected()).count();
        let all = self.sessions.iter().count();
        page.gauge(
            "gibbon_sessions",
            "Sessions, by whether an edge sees their client.",
            [("connected", connected), ("away", all - connected)]
                .map(|(state, count)| Sample::new([("state", &state)], count)),
        );
        page.gauge("gibbon_streams", "Streams that are published.", [self.streams().len()]);
        page.gauge("gibbon_handoffs_running", "Hand-offs under way.", [self.handoffs.running()]);
        self.collect_telemetry(now, page);
        let services = self.services();
        page.gauge(
            "gibbon_services",
            "Services, by how they are.",
            ServiceState::ALL.map(|state| {
                let count = services.iter().filter(|service| service.state == state).count();
                Sample::new([("state", &state.as_str())], count)
            }),
        );
    }

    /// What was told and refused, how old it is, and how far off what was made of it.
    fn collect_telemetry(&self, now: MediaTime, page: &mut Page<'_>) {
        let refused = Source::ALL.into_iter().flat_map(|source| {
            Reason::ALL.map(|reason| {
                let labels: [(_, &dyn Display); 2] =
                    [("source", &source.as_str()), ("reason", &reason.as_str())];
                Sample::new(labels, self.telemetry.refused().of(source, reason))
            })
        });
        page.counter(
            "gibbon_telemetry_refused_total",
            "What was told and cannot be, by who told it and what is wrong with it.",
            refused,
        );
        let ages = self.telemetry.ages(now);
        let ages = ages.iter().flat_map(|(source, ages)| {
            [("mean", ages.mean), ("oldest", ages.oldest)].map(|(of, age)| {
                Sample::new([("source", &source.as_str()), ("of", &of)], age.as_secs_f64())
            })
        });
        page.gauge(
            "gibbon_telemetry_age_seconds",
            "Time since something was told last, over all who tell something.",
            ages,
        );
        let (load, path) = self.foresee.errors();
        let errors = [
            ("load", load, 1.0),
            ("motion", self.telemetry.motion_errors(), 1.0),
            ("path", path, 1e-3),
        ];
        page.gauge(
            "gibbon_prediction_error",
            "How far off predictions of 30 s are, in the mean: of load in shares of what a node has, of motion in metres, of paths in seconds of slack.",
            errors.iter().flat_map(|(of, errors, unit)| {
                [("foresight", errors.predicted), ("naive", errors.naive)]
                    .map(|(by, error)| Sample::new([("of", of), ("by", &by)], error * unit))
            }),
        );
        page.gauge(
            "gibbon_predictions_compared",
            "Predictions that could be compared with what came.",
            errors.map(|(of, errors, _)| Sample::new([("of", &of)], errors.compared)),
        );
    }

    /// A client says what its viewer has been shown.
    pub(super) fn viewed(&mut self, id: SessionId, viewing: &Viewing) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        // Of a session that began under an earlier start of the coordinator, what was before is not ours to count.
        if let Some(before) = &session.viewed {
            if before.frames.expected > viewing.frames.expected {
                // Overtaken on another connection.
                return;
            }
            self.metrics.viewed(before, viewing);
        }
        session.viewed = Some(Viewing { handoffs: Vec::new(), ..viewing.clone() });
        for told in &viewing.handoffs {
            if let Some(cause) = self.handoffs.costs(id, told) {
                self.metrics.cost(cause, told.gap);
            }
        }
    }
}

fn nodes(page: &mut Page<'_>, nodes: &[NodeInfo]) {
    let mut counts = BTreeMap::new();
    for role in [Role::Origin, Role::Edge, Role::Worker] {
        for state in ["up", "draining", "lost"] {
            counts.insert((role.to_string(), state), 0u32);
        }
    }
    for node in nodes {
        let state = match (node.up, node.draining) {
            (false, _) => "lost",
            (true, Some(_)) => "draining",
            (true, None) => "up",
        };
        *counts.entry((node.role.to_string(), state)).or_default() += 1;
    }
    page.gauge(
        "gibbon_nodes",
        "Nodes, by role and how they are; lost ones are remembered for some minutes.",
        counts.iter().map(|((role, state), n)| Sample::new([("role", role), ("state", state)], *n)),
    );
    page.gauge(
        "gibbon_node_report_age_seconds",
        "Time since the last report of a node.",
        nodes.iter().map(|node| {
            let labels: [(_, &dyn Display); 2] = [("node", &node.id), ("role", &node.role)];
            Sample::new(labels, node.report_age_ms as f64 / 1000.0)
        }),
    );
    let edges = || nodes.iter().filter(|node| node.role == Role::Edge);
    let legs = edges().flat_map(|node| {
        Description::BOTH.map(|description| {
            let labels: [(_, &dyn Display); 2] =
                [("node", &node.id), ("description", &description)];
            Sample::new(labels, node.legs_by_description[description.index()])
        })
    });
    page.gauge("gibbon_node_legs", "Legs that an edge carries, as it reports.", legs);
    page.gauge(
        "gibbon_node_capacity_legs",
        "Legs that an edge can carry.",
        edges().map(|node| Sample::new([("node", &node.id)], node.capacity_legs)),
    );
}
