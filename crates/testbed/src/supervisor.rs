//! What systemd or Kubernetes do in production: start again what has ended.

use std::{
    collections::{BTreeMap, VecDeque},
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::Process;

/// Looks at its processes this often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Starts a process again this often at most within [`LIMIT_WITHIN`]; after that it waits.
const MAX_RESTARTS: usize = 5;
const LIMIT_WITHIN: Duration = Duration::from_secs(10);

/// A process that several look after.
pub(crate) type Shared = Arc<Mutex<Process>>;

/// Locks, even if another test thread has panicked meanwhile.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts its processes again when they have ended. Dropped, it lets them be.
#[derive(Debug)]
pub(crate) struct Supervisor {
    watched: Arc<Mutex<BTreeMap<String, Watched>>>,
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Watched {
    process: Shared,
    after: Duration,
    /// Not started again for now.
    held: bool,
    /// When it was seen to have ended, until it is started again.
    ended: Option<Instant>,
    restarts: VecDeque<Instant>,
    exits: Vec<ExitStatus>,
}

impl Supervisor {
    pub fn new() -> Self {
        let watched = Arc::new(Mutex::new(BTreeMap::new()));
        let (over, is_over) = mpsc::channel();
        let looked_at = watched.clone();
        let thread = std::thread::spawn(move || {
            let end = |waited| waited != Err(mpsc::RecvTimeoutError::Timeout);
            while !end(is_over.recv_timeout(LOOK_EVERY)) {
                let now = Instant::now();
                lock(&looked_at).values_mut().for_each(|watched: &mut Watched| watched.look(now));
            }
        });
        Self { watched, over: Some(over), thread: Some(thread) }
    }

    /// Starts `process` again so long after each of its ends.
    pub fn watch(&self, id: &str, process: Shared, after: Duration) {
        let watched = Watched {
            process,
            after,
            held: false,
            ended: None,
            restarts: VecDeque::new(),
            exits: Vec::new(),
        };
        lock(&self.watched).insert(id.to_owned(), watched);
    }

    /// Lets `id` lie when it ends, or no longer.
    pub fn hold(&self, id: &str, held: bool) {
        if let Some(watched) = lock(&self.watched).get_mut(id) {
            watched.held = held;
        }
    }

    /// How `id` has ended so far, each time.
    pub fn exits(&self, id: &str) -> Vec<ExitStatus> {
        lock(&self.watched).get(id).map(|watched| watched.exits.clone()).unwrap_or_default()
    }
}

impl Watched {
    fn look(&mut self, now: Instant) {
        // Somebody who holds the process is at work on it: next time.
        let Ok(mut process) = self.process.try_lock() else { return };
        let Ok(status) = process.ended() else { return };
        match (status, self.ended) {
            (None, _) => self.ended = None,
            (Some(status), None) => {
                self.exits.push(status);
                self.ended = Some(now);
            }
            (Some(_), Some(ended)) if !self.held && now >= ended + self.after => {
                while self.restarts.front().is_some_and(|at| now >= *at + LIMIT_WITHIN) {
                    self.restarts.pop_front();
                }
                // One that cannot be started now is tried again: the files may be in use.
                if self.restarts.len() < MAX_RESTARTS && process.restart().is_ok() {
                    self.restarts.push_back(now);
                    self.ended = None;
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{WAIT, wait_for};

    fn shell(script: &str) -> Shared {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Arc::new(Mutex::new(Process::from_command("sh", command, "none.log".into()).unwrap()))
    }

    #[test]
    fn what_ends_is_started_again_and_its_exit_is_noted() {
        let (supervisor, process) = (Supervisor::new(), shell("exec sleep 100"));
        supervisor.watch("sleeper", process.clone(), Duration::ZERO);
        lock(&process).signal(rustix::process::Signal::TERM).unwrap();
        wait_for("the exit", WAIT, || Ok(supervisor.exits("sleeper").first().copied())).unwrap();
        wait_for("another process", WAIT, || Ok(lock(&process).ended()?.is_none().then_some(())))
            .unwrap();
        assert!(!supervisor.exits("sleeper")[0].success());
    }

    #[test]
    fn what_is_held_is_left_lying_until_it_is_let_go() {
        let (supervisor, process) = (Supervisor::new(), shell("exec sleep 100"));
        supervisor.watch("sleeper", process.clone(), Duration::ZERO);
        supervisor.hold("sleeper", true);
        lock(&process).kill().unwrap();
        wait_for("the exit", WAIT, || Ok(supervisor.exits("sleeper").first().copied())).unwrap();
        // Some more looks, and it is still down.
        let looked = Instant::now();
        wait_for("looks", WAIT, || Ok((looked.elapsed() > LOOK_EVERY * 5).then_some(()))).unwrap();
        assert!(lock(&process).ended().unwrap().is_some());
        supervisor.hold("sleeper", false);
        wait_for("another process", WAIT, || Ok(lock(&process).ended()?.is_none().then_some(())))
            .unwrap();
    }

    #[test]
    fn what_ends_again_and_again_is_not_started_without_end() {
        let (supervisor, process) = (Supervisor::new(), shell("exit 7"));
        supervisor.watch("broken", process, Duration::ZERO);
        let tired =
            || Ok((supervisor.exits("broken").len() == MAX_RESTARTS + 1).then_some(Instant::now()));
        let since = wait_for("all restarts", WAIT, tired).unwrap();
        wait_for("looks", WAIT, || Ok((since.elapsed() > LOOK_EVERY * 10).then_some(()))).unwrap();
        assert_eq!(supervisor.exits("broken").len(), MAX_RESTARTS + 1);
        assert_eq!(supervisor.exits("broken")[0].code(), Some(7));
    }
}
