//! Metrics, health and readiness over HTTP/1.1: one request a connection. By hand, because it is all that the small
//! processes need of a web server, and everything in it is bounded.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::Monitor;

/// Callers at once; more wait to be accepted.
const MAX_CALLERS: usize = 16;
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// A caller that has not asked and read the answer by then is cut off.
const DONE_WITHIN: Duration = Duration::from_secs(5);
/// Pause after an accept that failed: it lasts while no file descriptor is left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves `monitor` for as long as the process runs.
pub async fn serve(monitor: Arc<Monitor>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CALLERS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((caller, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        let monitor = monitor.clone();
        tokio::spawn(async move {
            // Who asks badly or leaves early does without.
            let _ = tokio::time::timeout(DONE_WITHIN, attend(&monitor, caller)).await;
            drop(place);
        });
    }
}

async fn attend(monitor: &Monitor, mut caller: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = caller.read(&mut chunk).await?;
        if read == 0 || head.len() + read > MAX_HEAD {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Answer { status, kind, body } = answer(monitor, &String::from_utf8_lossy(line));
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    caller.write_all(answer.as_bytes()).await?;
    caller.shutdown().await
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

/// The answer to a request line.
fn answer(monitor: &Monitor, line: &str) -> Answer {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let ok = |kind, body| Answer { status: "200 OK", kind, body };
    match (method, path) {
        ("GET", "/metrics") => ok(OPENMETRICS, monitor.page()),
        ("GET", "/health") => ok(JSON, r#"{"alive":true}"#.into()),
        ("GET", "/ready") => match monitor.ready() {
            Ok(()) => ok(JSON, r#"{"ready":true}"#.into()),
            Err(reason) => Answer {
                status: "503 Service Unavailable",
                kind: JSON,
                body: serde_json::json!({ "ready": false, "reason": reason }).to_string(),
            },
        },
        ("GET", _) => Answer {
            status: "404 Not Found",
            kind: TEXT,
            body: "there are /metrics, /health and /ready\n".into(),
        },
        _ => Answer { status: "405 Method Not Allowed", kind: TEXT, body: "use GET\n".into() },
    }
}
