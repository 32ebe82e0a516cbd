//! Emptying this worker: by order of the coordinator or by SIGTERM. The coordinator moves what it runs to other
//! workers, and says so by an order.

use std::{sync::Arc, time::Duration};

use gibbon_control::{
    drain::{End, Order},
    node::Draining,
};
use tokio::{sync::mpsc, time::interval};

use crate::worker::Worker;

/// How often it is looked how far the drain has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Empties this worker when that is wanted, until the process is to end; `by_signal` and `signals` as in
/// [`Drain::run`](gibbon_control::drain::Drain::run).
pub async fn run(worker: Arc<Worker>, by_signal: Draining, signals: mpsc::Receiver<()>) -> End {
    let carry_out = async |order| carry_out(&worker, order).await;
    worker.drain.run(by_signal, signals, carry_out).await
}

/// Reports, and carries `order` out if there is one; returns when the process is to end.
async fn carry_out(worker: &Worker, order: Option<Order>) -> End {
    worker.news.notify_one();
    let Some(order) = order else { return std::future::pending().await };
    let mut look = interval(LOOK_EVERY);
    let mut emptied = false;
    loop {
        let now = look.tick().await;
        if worker.segments.count() == 0 {
            if !std::mem::replace(&mut emptied, true) {
                tracing::info!("empty");
            }
            if !order.stays() {
                tracing::info!("drained");
                return End::Drained;
            }
        } else if now >= order.ends {
            let end = cut(worker);
            if !order.stays() {
                return end;
            }
            worker.drop_everything();
        }
    }
}

/// Names what is cut off.
fn cut(worker: &Worker) -> End {
    for report in worker.segments.report() {
        let spec = &report.spec;
        let services: Vec<String> = spec.services.iter().map(|s| s.service.to_string()).collect();
        tracing::warn!(instance = %spec.instance, chain = %spec.chain, ?services, "cut at the deadline");
    }
    End::Cut
}
