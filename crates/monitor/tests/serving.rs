//! What a monitor serves over HTTP.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::Parser as _;
use gibbon_monitor::{
    Monitor, Options, Probe, Sample, ask,
    prometheus_client::{metrics::histogram::Histogram, registry::Unit},
    testing::Read,
};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn served() -> (Arc<Monitor>, SocketAddr) {
    let address = free_address();
    let cli = Cli::parse_from(["test", "--metrics", &address.to_string()]);
    (cli.options.monitor("test", "1.2.3").await.unwrap(), address)
}

/// Sends `request` and returns all of the answer.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // Who is cut off may not have been read to the end.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(f).await.unwrap()
}

#[tokio::test]
async fn a_process_is_alive_at_once_and_ready_when_it_says_so() {
    let (monitor, address) = served().await;
    let probe = move |probe| blocking(move || ask(address, probe));
    assert_eq!(probe(Probe::Health).await, Ok(()));
    let starting = probe(Probe::Ready).await.unwrap_err();
    assert!(starting.contains("it is starting"), "{starting}");
    let full = Arc::new(AtomicBool::new(false));
    let check = full.clone();
    monitor.ready_unless(move || match check.load(Ordering::Relaxed) {
        true => Err("it is \"full\"".into()),
        false => Ok(()),
    });
    assert_eq!(probe(Probe::Ready).await, Ok(()));
    full.store(true, Ordering::Relaxed);
    assert_eq!(probe(Probe::Health).await, Ok(()));
    let answer = blocking(move || get(address, "/ready")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, serde_json::json!({ "ready": false, "reason": "it is \"full\"" }));
}

#[tokio::test]
async fn the_page_is_openmetrics_and_is_read_when_it_is_asked_for() {
    let (monitor, address) = served().await;
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let odd = "a \"b\" \\ c\nd";
    monitor.collect(move |page| {
        let so_far = counted.load(Ordering::Relaxed);
        page.counter("test_things_total", "Things.", [Sample::new([("kind", &odd)], so_far)]);
        page.gauge("test_depth_bytes", "Depth.", [7u32]);
        page.gauge("test_none", "There are none of it.", [0.0; 0]);
    });
    let waits = Histogram::new([0.1, 1.0]);
    monitor.register(|registry| {
        registry.register_with_unit("test_wait", "Waits", Unit::Seconds, waits.clone());
    });
    waits.observe(0.5);
    for expected in [0, 3] {
        count.store(expected, Ordering::Relaxed);
        let answer = blocking(move || get(address, "/metrics")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
        let page = Read::page(body).unwrap();
        assert_eq!(page.value("test_things_total", &[("kind", odd)]), Some(expected as f64));
        assert_eq!(page.value("test_depth_bytes", &[]), Some(7.0));
        assert_eq!(page.value("test_wait_seconds_bucket", &[("le", "1.0")]), Some(1.0));
        assert_eq!(page.value("gibbon_ready", &[]), Some(0.0));
        assert_eq!(page.value("gibbon_build_info", &[("program", "test")]), Some(1.0));
        assert!(page.value("process_resident_memory_bytes", &[]).unwrap() > 1e5);
        assert!(page.value("process_open_fds", &[]).unwrap() > 2.0);
    }
}

#[tokio::test]
async fn nonsense_is_answered_or_cut_off_and_others_are_served_on() {
    let (_monitor, address) = served().await;
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        ("\r\n\r\n", "HTTP/1.1 405 "),
        ("GET /health?x=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let answer = blocking(move || exchange(address, request)).await;
        assert!(answer.starts_with(expected), "{request:?}: {answer}");
    }
    let endless = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    assert_eq!(blocking(move || exchange(address, &endless)).await, "");
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(blocking(move || ask(address, Probe::Health)).await, Ok(()));
    drop(silent);
}

#[tokio::test]
async fn a_probe_of_nobody_says_so() {
    let address = free_address();
    let why = blocking(move || ask(address, Probe::Health)).await.unwrap_err();
    assert!(why.contains(&address.to_string()), "{why}");
}

#[test]
fn a_page_that_is_not_openmetrics_is_told_from_one_that_is() {
    let good = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 2\n# EOF\n";
    assert!(Read::page(good).is_ok());
    for bad in [
        "# HELP a A.\n# TYPE a gauge\na 2\n",
        "# HELP a A.\n# TYPE a counter\na 2\n# EOF\n",
        "# TYPE a gauge\na 2\n# EOF\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"1} 2\n# EOF\n",
        "# HELP a A.\n# TYPE a gauge\na 2\na 3\n# EOF\n",
        "# HELP a A.\n# TYPE a gauge\na 2\n# HELP a A.\n# EOF\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\n# EOF\n",
        "# HELP a A.\n# TYPE a gauge\n# UNIT a seconds\na 2\n# EOF\n",
    ] {
        assert!(Read::page(bad).is_err(), "{bad}");
    }
}
