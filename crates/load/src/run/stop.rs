//! Ctrl-C and SIGTERM: the first ends the run in order, the second at once.

use std::{
    process::exit,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gibbon_control::process;
use rustix::process::{Pid, Signal, kill_process};

use crate::lock;

/// The exit code after a second signal.
const ABORTED: i32 = 130;

/// Whether the run is to end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: bool,
    /// Processes that are not to outlive this one.
    children: Vec<u32>,
}

impl Stop {
    /// Listens for signals from now on.
    pub fn listen() -> anyhow::Result<Self> {
        let stop = Self::default();
        let told = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                let mut signals = process::stop_signals();
                signals.recv().await;
                eprintln!("ending; once more to give up at once, without a report");
                told.tell();
                signals.recv().await;
                told.abort();
            });
        })?;
        Ok(stop)
    }

    fn tell(&self) {
        lock(&self.0.state).told = true;
        self.0.changed.notify_all();
    }

    fn abort(&self) {
        for child in lock(&self.0.state).children.drain(..) {
            let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        exit(ABORTED);
    }

    /// These processes are killed where the run is given up.
    pub fn mind(&self, children: Vec<u32>) {
        lock(&self.0.state).children = children;
    }

    /// Whether the run is to end.
    pub fn is_told(&self) -> bool {
        lock(&self.0.state).told
    }

    /// Sleeps, or less where the run is to end.
    pub fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = lock(&self.0.state);
        while let Some(left) =
            until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            if state.told {
                return;
            }
            let woken = self.0.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_when_the_run_is_to_end() {
        let stop = Stop::default();
        let sleeper = std::thread::spawn({
            let stop = stop.clone();
            move || stop.sleep(Duration::from_secs(3600))
        });
        stop.tell();
        sleeper.join().unwrap();
        assert!(stop.is_told());
    }

    #[test]
    fn a_sleep_lasts_as_long_as_it_is_told() {
        let begun = Instant::now();
        Stop::default().sleep(Duration::from_millis(30));
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}
