//! The portal over a real socket, and a hand-off through both doors.

use std::{
    io::{BufRead, BufReader},
    sync::{Arc, Mutex},
};

use gibbon_control::{
    link::{self, NodeLink, Registration},
    node::{FromNode, NodeReport, SessionReport, ToNode},
    portal::Event,
    session::ClientReport,
    work::{InstanceSpec, Refused, WorkAnswer, WorkOrder},
};
use gibbon_coordinator::{manager::Output, portal::MAX_BODY, service::MAX_EVENTS};
use gibbon_handoff::{FromClient, FromEdge, Report, ToClient, ToEdge};
use gibbon_media::{Description, GroupId, NodeId, Role, SessionId};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    network::{catalog, id, legs, registration, serves, workers},
    running::{Running, agent, soon},
};

#[tokio::test]
async fn what_changes_something_needs_the_token() {
    let running = Running::start(false).await;
    let (sessions, session) = ("/v1/sessions", "/v1/sessions/0000000000000001");
    let handoff = "/v1/sessions/0000000000000001/handoff";
    let service = "/v1/services/0000000000000001";
    let (services, move_it) = ("/v1/services", format!("{service}/move"));
    let (token, body) = (running.token(), json!({"stream": "live/x", "service": "sd"}).to_string());
    for wrong in ["", "Bearer wrong", &token[7..]] {
        for (status, answer) in [
            running.post(sessions, wrong, &body).await,
            running.post(handoff, wrong, "{}").await,
            running.delete(session, wrong).await,
            running.post(services, wrong, &body).await,
            running.post(&move_it, wrong, "{}").await,
            running.delete(service, wrong).await,
        ] {
            assert_eq!(status, 401);
            assert!(answer["error"].as_str().unwrap().contains("--portal-token-file"));
        }
    }
    for (status, answer) in [
        running.post(sessions, &token, &body).await,
        running.post(handoff, &token, "{}").await,
        running.delete(session, &token).await,
        running.get(session).await,
        running.post(services, &token, &body).await,
        running.post("/v1/services/explain", "", &body).await,
        running.post(&move_it, &token, "{}").await,
        running.delete(service, &token).await,
        running.get(service).await,
        running.get(&format!("{service}/explain")).await,
    ] {
        assert_eq!(status, 404);
        assert!(answer["error"].as_str().unwrap().contains("GET /v1/s"), "{answer}");
    }
}

#[tokio::test]
async fn an_open_portal_lets_anybody_watch_and_nobody_move() {
    let running = Running::start(true).await;
    let body = json!({"stream": "live/x"}).to_string();
    assert_eq!(running.post("/v1/sessions", "", &body).await.0, 404, "no such stream");
    assert_eq!(running.post("/v1/services", "", &body).await.0, 404, "no such stream");
    let service = "/v1/services/0000000000000001";
    assert_eq!(running.delete(service, "").await.0, 401);
    assert_eq!(running.post(&format!("{service}/move"), "", "{}").await.0, 401);
    let handoff = "/v1/sessions/0000000000000001/handoff";
    assert_eq!(running.post(handoff, "", "{}").await.0, 401);
}

#[tokio::test]
async fn every_bad_request_gets_its_status_and_an_explanation() {
    let running = Running::start(false).await;
    let token = running.token();
    let long = json!({"stream": "a".repeat(MAX_BODY)}).to_string();
    for (expected, (status, answer)) in [
        (404, running.get("/v1/nonsense").await),
        (405, running.delete("/v1/nodes", &token).await),
        (400, running.get("/v1/sessions/xyz").await),
        (404, running.get("/v1/handoffs/0000000000000001").await),
        (400, running.post("/v1/sessions", &token, "{").await),
        (422, running.post("/v1/sessions", &token, r#"{"stream": "/"}"#).await),
        (413, running.post("/v1/sessions", &token, &long).await),
    ] {
        assert_eq!(status, expected, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{expected}");
    }
}

#[tokio::test]
async fn the_openapi_document_lists_every_route() {
    let running = Running::start(false).await;
    let (_, document) = running.get("/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let mut routes: Vec<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    routes.sort_unstable();
    assert_eq!(
        routes,
        [
            "delete /v1/nodes/{node}/drain",
            "delete /v1/nodes/{node}/maintenance",
            "delete /v1/services/{service}",
            "delete /v1/sessions/{session}",
            "get /healthz",
            "get /v1/catalogue",
            "get /v1/components",
            "get /v1/events",
            "get /v1/handoffs",
            "get /v1/handoffs/{handoff}",
            "get /v1/handoffs/{handoff}/why",
            "get /v1/nodes",
            "get /v1/services",
            "get /v1/services/{service}",
            "get /v1/services/{service}/explain",
            "get /v1/sessions",
            "get /v1/sessions/{session}",
            "get /v1/streams",
            "post /v1/nodes/{node}/drain",
            "post /v1/nodes/{node}/maintenance",
            "post /v1/services",
            "post /v1/services/explain",
            "post /v1/services/{service}/move",
            "post /v1/sessions",
            "post /v1/sessions/{session}/handoff",
        ]
    );
    assert!(document["components"]["schemas"]["SessionTicket"].is_object());
    assert_eq!(running.get("/healthz").await, (200, json!({"term": 1, "nodes_up": 0})));
}

/// Follows the events from a thread of its own.
async fn events(running: &Running) -> mpsc::UnboundedReceiver<Value> {
    let (send, receive) = mpsc::unbounded_channel();
    let url = running.url("/v1/events");
    let answer = spawn_blocking(move || agent().get(url).call().unwrap()).await.unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let Ok(line) = line else { return };
            if let Some(data) = line.strip_prefix("data: ") {
                let _ = send.send(serde_json::from_str(data).unwrap());
            }
        }
    });
    receive
}

// On one thread, so that the reader has no chance to keep up.
#[tokio::test(flavor = "current_thread")]
async fn a_slow_reader_of_events_is_told_how_many_it_missed() {
    let running = Running::start(false).await;
    let mut events = events(&running).await;
    let event = |n| Output::Event(Event::Session { session: SessionId(n), up: true });
    let many = (0..MAX_EVENTS as u64 + 10).map(event).collect();
    running.service.tell(|_, _| Ok::<_, ()>(((), many))).unwrap();
    assert_eq!(soon(events.recv()).await.unwrap(), json!({"event": "lagged", "missed": 10}));
    assert_eq!(soon(events.recv()).await.unwrap()["session"], "000000000000000a");
}

/// A scripted edge: ready and settled as soon as it is told to prefetch, and speaking for a client that
/// does at once as it is told.
struct Edge {
    link: NodeLink,
    client: Arc<Mutex<Client>>,
}

#[derive(Default)]
struct Client {
    legs: [Option<NodeId>; 2],
    revision: u64,
}

impl Client {
    fn carry_out(&mut self, order: &ToClient) -> Report {
        let answer = match order.clone() {
            ToClient::Attach { order, description, to, .. } => {
                self.legs[description.index()] = Some(to);
                FromClient::Held { order, description }
            }
            ToClient::Return { order, description, to } => {
                self.legs[description.index()] = Some(to);
                FromClient::Held { order, description }
            }
            ToClient::Finish { order, edge } => FromClient::Finished { order, edge },
        };
        self.revision += 1;
        let (order, answer) = (Some(order.clone()), Some(answer));
        Report { revision: self.revision, legs: self.legs.clone(), order, answer }
    }
}

impl Edge {
    fn start(
        running: &Running,
        name: &str,
        client: Arc<Mutex<Client>>,
        sessions: Vec<SessionReport>,
    ) -> Self {
        let register = registration(name);
        let registration = Registration::new(running.nodes, register);
        let report = NodeReport { sessions, ..NodeReport::default() };
        let endpoint = running.endpoint(name, Role::Edge);
        Self { link: link::start(endpoint, registration, move || report.clone()), client }
    }

    async fn run(mut self) {
        while let Some(message) = self.link.from_coordinator.recv().await {
            for answer in self.answers(message) {
                self.link.to_coordinator.send(answer).await.unwrap();
            }
        }
    }

    fn answers(&self, message: ToNode) -> Vec<FromNode> {
        match message {
            ToNode::Edge {
                session, order: ToEdge::Prefetch { order, description, .. }, ..
            } => {
                let ready = FromEdge::Ready { order, description, group: GroupId(7) };
                [ready, FromEdge::Settled { order, description }]
                    .map(|answer| FromNode::Edge { session, answer })
                    .into()
            }
            ToNode::Client { session, order } => {
                let hands = self.client.lock().unwrap().carry_out(&order.order);
                let report = ClientReport::new(hands);
                vec![FromNode::Client { session, report }]
            }
            _ => Vec::new(),
        }
    }
}

#[tokio::test]
async fn a_session_is_created_and_handed_off_through_both_doors() {
    let running = Running::start(false).await;
    let mut events = events(&running).await;
    let register = registration("studio");
    let registration = Registration::new(running.nodes, register);
    let studio = running.endpoint("studio", Role::Origin);
    let streams = NodeReport { streams: vec![catalog("live/bbb")], ..NodeReport::default() };
    let _studio = link::start(studio, registration, move || streams.clone());
    let client = Arc::new(Mutex::new(Client::default()));
    let edge = Edge::start(&running, "edge-b", client.clone(), vec![]);
    tokio::spawn(edge.run());

    // A viewer comes to an edge that is there only now, and so the coordinator has to know both.
    let watching = SessionId(0xabc);
    let report = vec![serves(watching, &Description::BOTH)];
    client.lock().unwrap().legs = legs("edge-a", "edge-a");
    let edge = Edge::start(&running, "edge-a", client.clone(), report);
    tokio::spawn(edge.run());
    let mut seen = Vec::new();
    while !seen.contains(&json!({"event": "session", "session": watching, "up": true})) {
        seen.push(soon(events.recv()).await.unwrap());
    }
    let listed = async |path, count: usize| while running.get(path).await.1[count - 1].is_null() {};
    soon(listed("/v1/nodes", 3)).await;
    soon(listed("/v1/streams", 1)).await;

    let body = json!({"stream": "live/bbb"}).to_string();
    let (status, ticket) = running.post("/v1/sessions", &running.token(), &body).await;
    assert_eq!((status, &ticket["edges"][0]["id"]), (201, &json!("edge-b")), "the idle edge");
    let ended = format!("/v1/sessions/{}", ticket["session"].as_str().unwrap());
    assert_eq!(running.delete(&ended, &running.token()).await.0, 204);
    assert_eq!(running.get(&ended).await.0, 404);

    let path = format!("/v1/sessions/{watching}/handoff");
    let (status, begun) = running.post(&path, &running.token(), "{}").await;
    assert_eq!((status, &begun["to"]), (202, &json!("edge-b")), "{begun}");
    let handoff = begun["handoff"].as_str().unwrap();
    loop {
        let event = soon(events.recv()).await.unwrap();
        if event["handoff"] == handoff && event["progress"]["step"] == "completed" {
            break;
        }
    }
    let (_, info) = running.get(&format!("/v1/handoffs/{handoff}")).await;
    assert_eq!((&info["outcome"], &info["reason"]), (&json!("completed"), &Value::Null));
    let (status, why) = running.get(&format!("/v1/handoffs/{handoff}/why")).await;
    assert_eq!(
        (status, &why["decided_by"], &why["cause"]),
        (200, &json!("request"), &json!("operator"))
    );
    assert_eq!(why["because"], "somebody asked for it");
    assert_eq!(running.get("/v1/handoffs/00000000000000ff/why").await.0, 404);
    let path = "/v1/nodes/edge-a/maintenance";
    let body = json!({"in_ms": 60_000}).to_string();
    assert_eq!(running.post(path, "", &body).await.0, 401);
    let (status, announced) = running.post(path, &running.token(), &body).await;
    assert_eq!((status, &announced["maintenance_in_ms"]), (202, &json!(60_000)));
    let far = json!({"in_ms": u64::MAX}).to_string();
    assert_eq!(running.post(path, &running.token(), &far).await.0, 422);
    assert_eq!(running.delete(path, &running.token()).await.0, 204);
    let (_, nodes) = running.get("/v1/nodes").await;
    assert_eq!(nodes[0]["maintenance_in_ms"], Value::Null);
    let (status, _) = running.post("/v1/nodes/studio/maintenance", &running.token(), &body).await;
    assert_eq!(status, 409);
    let (_, session) = running.get(&format!("/v1/sessions/{watching}")).await;
    assert_eq!(session["origin"], "studio");
    assert_eq!(session["edges"], json!(["edge-b", "edge-b"]));
    assert_eq!(id("edge-b").to_string(), begun["moves"][0]["to"].as_str().unwrap());
}

/// A scripted worker that runs at once what it is told to, and refuses `case`.
struct Worker {
    link: NodeLink,
    ordered: Arc<Mutex<Option<WorkOrder>>>,
}

impl Worker {
    fn start(running: &Running, name: &str) -> Self {
        let register = registration(name);
        let registration = Registration::new(running.nodes, register);
        let ordered = Arc::new(Mutex::new(None));
        let runs = ordered.clone();
        let endpoint = running.endpoint(name, Role::Worker);
        let link = link::start(endpoint, registration, move || {
            let order: Option<WorkOrder> = runs.lock().unwrap().clone();
            workers::report(order.as_ref())
        });
        Self { link, ordered }
    }

    async fn run(mut self) {
        while let Some(message) = self.link.from_coordinator.recv().await {
            let ToNode::Work(order) = message else { continue };
            let refuses = |spec: &&InstanceSpec| workers::component(spec) == "case";
            let why = "not in here".to_owned();
            let refused = order.instances.iter().filter(refuses);
            let refused = refused.map(|s| Refused { instance: s.instance, why: why.clone() });
            let answer = WorkAnswer { version: order.version, refused: refused.collect() };
            *self.ordered.lock().unwrap() = Some(order);
            self.link.to_coordinator.send(FromNode::Work(answer)).await.unwrap();
        }
    }
}

async fn reaches(running: &Running, path: &str, state: &str) -> Value {
    let wait = async {
        loop {
            let (_, info) = running.get(path).await;
            if info["state"] == state {
                return info;
            }
        }
    };
    soon(wait).await
}

#[tokio::test]
async fn a_service_is_asked_for_runs_and_ends_through_both_doors() {
    let running = Running::start(false).await;
    let token = running.token();
    let register = registration("studio");
    let registration = Registration::new(running.nodes, register);
    let studio = running.endpoint("studio", Role::Origin);
    let streams = NodeReport { streams: vec![catalog("live/bbb")], ..NodeReport::default() };
    let _studio = link::start(studio, registration, move || streams.clone());
    tokio::spawn(Worker::start(&running, "worker-1").run());
    soon(async { while running.get("/v1/components").await.1[0]["workers"] != 1 {} }).await;
    soon(async { while running.get("/v1/streams").await.1[0].is_null() {} }).await;

    for (status, body, why) in [
        (404, json!({"stream": "live/bbb", "service": "nonsense"}), "nonsense"),
        (422, json!({"stream": "live/bbb", "components": [{"component": "x"}]}), "component 1, x"),
        (422, json!({"stream": "live/bbb"}), "at least one component"),
        (
            503,
            json!({"stream": "live/bbb", "service": "sd", "standby": true}),
            "worker-1 runs the other replica",
        ),
    ] {
        let (answered, refused) = running.post("/v1/services", &token, &body.to_string()).await;
        assert_eq!(answered, status, "{refused}");
        assert!(refused["error"].as_str().unwrap().contains(why), "{refused}");
    }
    assert_eq!(running.get("/v1/services").await, (200, json!([])), "nothing is left of them");

    let body = json!({"stream": "live/bbb", "service": "sd", "keep": true}).to_string();
    let (status, explained) = running.post("/v1/services/explain", "", &body).await;
    assert_eq!((status, &explained["components"][1]["worker"]), (200, &json!("worker-1")));
    let (status, service) = running.post("/v1/services", &token, &body).await;
    assert_eq!((status, &service["state"]), (202, &json!("starting")), "{service}");
    let watch = json!({"stream": service["stream"]}).to_string();
    let (status, refused) = running.post("/v1/sessions", &token, &watch).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("is starting"), "{refused}");
    let path = format!("/v1/services/{}", service["service"].as_str().unwrap());
    let info = reaches(&running, &path, "running").await;
    assert_eq!(info["modules"][1]["component"]["component"], "mdc");
    let (_, nodes) = running.get("/v1/nodes").await;
    let worker = nodes.as_array().unwrap().iter().find(|node| node["role"] == "worker").unwrap();
    assert_eq!(
        (&worker["worker"]["cores"], &worker["worker"]["instances"]),
        (&json!(1.0), &json!(2))
    );

    let (status, refused) = running.post("/v1/nodes/worker-1/drain", &token, "{}").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("scale, mdc"), "{refused}");
    for (status, body) in [
        (422, json!({"number": 7})),
        (409, json!({"number": 1, "to": "worker-1"})),
        (404, json!({"number": 1, "to": "worker-x"})),
        (503, json!({"number": 1})),
    ] {
        let moved = running.post(&format!("{path}/move"), &token, &body.to_string()).await;
        assert_eq!(moved.0, status, "{moved:?}");
    }

    let components = json!([{"component": "case", "to": "upper"}]);
    let body = json!({"stream": "live/bbb", "components": components}).to_string();
    let (_, failing) = running.post("/v1/services", &token, &body).await;
    let failing = format!("/v1/services/{}", failing["service"].as_str().unwrap());
    let failed = reaches(&running, &failing, "failed").await;
    assert!(failed["why"].as_str().unwrap().contains("not in here"), "{failed}");

    assert_eq!(running.delete(&path, &token).await.0, 204);
    assert_eq!(running.get(&path).await.0, 404);
}
