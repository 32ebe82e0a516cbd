//! Emptying this worker: by order of the coordinator or by SIGTERM. The coordinator moves what it runs to other
//! workers, and says so by an order.

use std::{sync::Arc, time::Duration};

use gibbon_control::node::Draining;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval},
};

use crate::worker::Worker;

/// How often it is looked how far the drain has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest time a drain may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whether this worker is being emptied.
#[derive(Debug)]
pub struct Drain(watch::Sender<Option<Order>>);

/// A drain under way.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Order {
    given: Draining,
    ends: Instant,
    /// By SIGTERM: the process ends, whatever the coordinator says.
    signalled: bool,
}

impl Order {
    fn stays(&self) -> bool {
        self.given.stay && !self.signalled
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Drain {
    /// How it stands, for the report: with the time that is left.
    pub fn report(&self) -> Option<Draining> {
        let order = (*self.0.borrow())?;
        let left = order.ends.saturating_duration_since(Instant::now());
        Some(Draining { within_ms: left.as_millis() as u64, stay: order.stays(), ..order.given })
    }

    /// Begins, or goes on as `given` says. The same order again changes nothing; a signal makes the process
    /// end, and never gives it more time.
    pub fn begin(&self, given: Draining, signalled: bool) {
        let ends = Instant::now() + Duration::from_millis(given.within_ms).min(LONGEST);
        let begun = self.0.send_if_modified(|current| {
            if current.is_some_and(|current| current.given == given && !signalled) {
                return false;
            }
            let before = current.filter(|_| signalled).map_or(ends, |current| current.ends);
            let signalled = signalled || current.is_some_and(|current| current.signalled);
            *current = Some(Order { given, ends: ends.min(before), signalled });
            true
        });
        if begun {
            let why = if signalled { "signal" } else { "coordinator" };
            tracing::info!(within_ms = given.within_ms, why, "draining");
        }
    }

    /// The worker is wanted again. A signal cannot be taken back.
    pub fn take_back(&self) {
        let taken_back = self
            .0
            .send_if_modified(|current| current.take_if(|current| !current.signalled).is_some());
        if taken_back {
            tracing::info!("drain taken back");
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It ran nothing.
    Drained,
    /// What it ran was cut off.
    Cut,
}

/// Waits for drains and carries them out, until the process is to end. The first of the `signals` begins one as
/// `by_signal` says, the second cuts it short.
pub async fn run(worker: Arc<Worker>, by_signal: Draining, mut signals: mpsc::Receiver<()>) -> End {
    let mut orders = worker.drain.0.subscribe();
    loop {
        let order = *orders.borrow_and_update();
        worker.news.notify_one();
        tokio::select! {
            end = carry_out(&worker, order) => return end,
            _ = orders.changed() => {}
            Some(()) = signals.recv() => {
                if order.is_some_and(|order| order.signalled) {
                    return cut(&worker);
                }
                worker.drain.begin(by_signal, true);
            }
        }
    }
}

/// Carries `order` out, if there is one; returns when the process is to end.
async fn carry_out(worker: &Worker, order: Option<Order>) -> End {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn given(within_ms: u64, stay: bool) -> Draining {
        Draining { within_ms, rate: 20.0, stay }
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_makes_the_process_end_and_never_gives_it_more_time() {
        let drain = Drain::default();
        drain.begin(given(10_000, true), false);
        tokio::time::advance(Duration::from_secs(4)).await;
        drain.begin(given(10_000, true), false);
        assert_eq!(drain.report(), Some(given(6000, true)), "the same order again");
        drain.begin(given(30_000, false), true);
        assert_eq!(drain.report(), Some(given(6000, false)));
        drain.begin(given(60_000, true), false);
        assert_eq!(drain.report(), Some(given(60_000, false)), "more time, but it ends");
        drain.take_back();
        assert_eq!(drain.report(), Some(given(60_000, false)), "a signal stands");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_by_order_can_be_taken_back() {
        let drain = Drain::default();
        drain.begin(given(10_000, false), false);
        drain.take_back();
        assert_eq!(drain.report(), None);
    }
}
