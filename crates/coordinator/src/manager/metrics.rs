//! What the manager shows of what it holds.

use std::{collections::BTreeMap, fmt::Display};

use gibbon_control::{portal::NodeInfo, services::ServiceState, viewing::Viewing};
use gibbon_media::{Description, MediaTime, Role, SessionId};
use gibbon_monitor::{Page, Sample};

use super::Manager;
use crate::metrics::Metrics;

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
