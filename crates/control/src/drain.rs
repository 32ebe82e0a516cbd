//! Emptying a node, by order of the coordinator or by SIGTERM: until when, and whether its process ends then. How it
//! is emptied is the node's own affair.

use std::{ops::RangeInclusive, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::node::Draining;

/// Sessions (or components) per second, whatever is asked for.
const RATES: RangeInclusive<f64> = 0.1..=10_000.0;
/// The longest time a drain may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Whether this node is being emptied.
#[derive(Debug)]
pub struct Drain(watch::Sender<Option<Order>>);

/// A drain under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// As it was given, its rate within bounds.
    pub given: Draining,
    /// What is left then is cut.
    pub ends: Instant,
    /// By SIGTERM: the process ends, whatever the coordinator says.
    signalled: bool,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was empty.
    Drained,
    /// Something was cut.
    Cut,
}

impl Order {
    /// Whether the process stays when it is empty.
    pub fn stays(&self) -> bool {
        self.given.stay && !self.signalled
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Drain {
    /// Whether it is under way.
    pub fn is_draining(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Whether the node takes work, or why not: its readiness.
    pub fn ready(&self) -> Result<(), String> {
        if self.is_draining() { Err("it is being emptied".into()) } else { Ok(()) }
    }

    /// How it stands, for the report: with the time that is left.
    pub fn report(&self) -> Option<Draining> {
        let order = (*self.0.borrow())?;
        let left = order.ends.saturating_duration_since(Instant::now());
        Some(Draining { within_ms: left.as_millis() as u64, stay: order.stays(), ..order.given })
    }

    /// The coordinator wants the node emptied: begins, or goes on as `given` says. The same order again changes
    /// nothing.
    pub fn begin(&self, given: Draining) {
        self.take(given, false);
    }

    /// The node is wanted again.
    pub fn take_back(&self) {
        if self.0.send_replace(None).is_some() {
            tracing::info!("drain taken back");
        }
    }

    /// Has each order carried out, until the process is to end: `carry_out` is called whenever there is another or
    /// none any more, and its end is that of the process. The first of the `signals` begins a drain as `by_signal`
    /// says, the second cuts it short.
    pub async fn run(
        &self,
        by_signal: Draining,
        mut signals: mpsc::Receiver<()>,
        carry_out: impl AsyncFn(Option<Order>) -> End,
    ) -> End {
        let mut orders = self.0.subscribe();
        loop {
            let order = *orders.borrow_and_update();
            tokio::select! {
                end = carry_out(order) => return end,
                _ = orders.changed() => {}
                Some(()) = signals.recv() => {
                    let again = order.is_some_and(|order| order.signalled);
                    let within_ms = if again { 0 } else { by_signal.within_ms };
                    self.take(Draining { within_ms, ..by_signal }, true);
                }
            }
        }
    }

    /// A signal makes the process end, and never gives it more time.
    fn take(&self, given: Draining, signalled: bool) {
        let given = Draining { rate: bounded(given.rate), ..given };
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
            tracing::info!(within_ms = given.within_ms, rate = given.rate, why, "draining");
        }
    }
}

fn bounded(rate: f64) -> f64 {
    if rate.is_finite() { rate.clamp(*RATES.start(), *RATES.end()) } else { *RATES.start() }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    fn given(within_ms: u64, stay: bool) -> Draining {
        Draining { within_ms, rate: 20.0, stay }
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_makes_the_process_end_and_never_gives_it_more_time() {
        let drain = Drain::default();
        drain.begin(given(10_000, true));
        tokio::time::advance(Duration::from_secs(4)).await;
        drain.begin(given(10_000, true));
        assert_eq!(drain.report(), Some(given(6000, true)), "the same order again");
        drain.take(given(30_000, false), true);
        assert_eq!(drain.report(), Some(given(6000, false)));
        drain.begin(given(60_000, true));
        assert_eq!(drain.report(), Some(given(60_000, false)), "more time, but it ends");
        drain.take_back();
        assert_eq!(drain.report(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_order_is_carried_out_until_the_next_and_a_second_signal_ends_it_at_once() {
        let (drain, seen) = (Drain::default(), RefCell::new(Vec::new()));
        let (signals, received) = mpsc::channel(1);
        let carry_out = async |order: Option<Order>| {
            let now = Instant::now();
            seen.borrow_mut().push(order.map(|order| (order.ends - now).as_secs()));
            match order {
                Some(order) if order.ends <= now => End::Cut,
                _ => pending().await,
            }
        };
        let says = async {
            let has_seen = async |count| {
                while seen.borrow().len() < count {
                    tokio::task::yield_now().await;
                }
            };
            has_seen(1).await;
            drain.begin(given(60_000, true));
            has_seen(2).await;
            drain.take_back();
            has_seen(3).await;
            signals.send(()).await.unwrap();
            has_seen(4).await;
            signals.send(()).await.unwrap();
        };
        let (end, ()) = tokio::join!(drain.run(given(30_000, false), received, carry_out), says);
        assert_eq!(end, End::Cut);
        assert_eq!(*seen.borrow(), [None, Some(60), None, Some(30), Some(0)]);
    }

    #[test]
    fn rates_that_make_no_sense_are_bounded() {
        for (asked, used) in [(f64::NAN, 0.1), (-1.0, 0.1), (0.0, 0.1), (20.0, 20.0), (1e9, 1e4)] {
            assert_eq!(bounded(asked), used);
        }
    }
}
