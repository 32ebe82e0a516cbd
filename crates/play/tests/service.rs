//! A player that asks a scripted portal for a service.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread::{self, JoinHandle},
};

use gibbon_control::{
    client::Portal,
    services::{ServiceInfo, ServiceRequest, ServiceState},
};
use gibbon_media::ServiceId;
use gibbon_play::service;

fn info(state: ServiceState, why: Option<&str>) -> ServiceInfo {
    ServiceInfo {
        service: ServiceId(0xab),
        name: Some("sd".into()),
        source: "live/bbb".parse().unwrap(),
        stream: "live/bbb/0123456789abcdef".parse().unwrap(),
        components: gibbon_components::parse("scale height=360 | mdc").unwrap(),
        state,
        why: why.map(str::to_owned),
        priority: Default::default(),
        keep: false,
        standby: false,
        sessions: 0,
        modules: Vec::new(),
    }
}

/// Gives one answer to each request, in order (none: the connection is cut); returns what was requested.
fn portal(answers: Vec<Option<ServiceInfo>>) -> (Portal, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || {
        answers.into_iter().map(|answer| answered(listener.accept().unwrap().0, answer)).collect()
    };
    (Portal::new(&url, Path::new("no-token")).unwrap(), thread::spawn(serve))
}

/// Reads a request and answers it; returns its first line and its body.
fn answered(mut connection: TcpStream, answer: Option<ServiceInfo>) -> String {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut header = String::new();
    while !header.ends_with("\r\n\r\n") {
        reader.read_line(&mut header).unwrap();
    }
    let lower = header.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if let Some(answer) = answer {
        let json = serde_json::to_string(&answer).unwrap();
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
        write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{json}", json.len()).unwrap();
    }
    format!("{} {}", header.lines().next().unwrap(), String::from_utf8(body).unwrap())
}

fn request() -> ServiceRequest {
    let request = ServiceRequest::new("live/bbb".parse().unwrap(), "sd").unwrap();
    ServiceRequest { location: Some("52.5,13.4".parse().unwrap()), standby: true, ..request }
}

#[tokio::test]
async fn a_service_is_waited_for_until_it_runs_though_the_portal_be_away_for_a_moment() {
    let starting = || Some(info(ServiceState::Starting, None));
    let running = Some(info(ServiceState::Running, None));
    let (portal, requests) = portal(vec![starting(), starting(), None, running]);
    let info = service::build(&portal, request()).await.unwrap();
    assert_eq!(info.stream.as_str(), "live/bbb/0123456789abcdef");
    let requests = requests.join().unwrap();
    assert!(requests[0].starts_with("POST /v1/services HTTP/1.1 "), "{}", requests[0]);
    let asked: ServiceRequest =
        serde_json::from_str(&requests[0][requests[0].find('{').unwrap()..]).unwrap();
    assert_eq!((asked.service.as_deref(), asked.standby), (Some("sd"), true));
    assert_eq!(asked.location.map(|at| at.longitude), Some(13.4));
    assert!(requests[1].starts_with("GET /v1/services/00000000000000ab HTTP/1.1"));
}

#[tokio::test]
async fn a_service_that_fails_says_why() {
    let failed = Some(info(ServiceState::Failed, Some("worker-a has no font")));
    let (portal, requests) = portal(vec![Some(info(ServiceState::Starting, None)), failed]);
    let why = service::build(&portal, request()).await.unwrap_err().to_string();
    assert_eq!(why, "service scale height=360 | mdc could not be built: worker-a has no font");
    requests.join().unwrap();
}
