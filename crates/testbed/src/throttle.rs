//! A machine with less to give than its processes want: together they get so many cores and no more.
//!
//! As the kernel's own bandwidth control does it (`cpu.max` of a control group, which not every machine that runs tests
//! lets one set): who has used up what there is stands still until there is more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use gibbon_monitor::machine;
use rustix::process::{Pid, Signal, kill_process};

/// How much can be saved up, in time at the rate that is given: the longest that processes stand still.
const SAVED: Duration = Duration::from_millis(100);
/// How often it is looked what was used. The kernel counts in hundredths of a second.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often it is looked for processes that have been started meanwhile, in looks.
const LOOK_FOR_CHILDREN: u32 = 25;

/// What is left to be used.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Quota {
    cores: f64,
    /// Processor time that is there, in s; below zero where more was used than was there.
    left: f64,
}

impl Quota {
    fn new(cores: f64) -> Self {
        Self { cores, left: cores * SAVED.as_secs_f64() }
    }

    /// `passed` has passed, and this much processor time was `used`. Whether processes may run now.
    fn passes(&mut self, passed: Duration, used: Duration) -> bool {
        let most = self.cores * SAVED.as_secs_f64();
        let more = self.cores * passed.as_secs_f64() - used.as_secs_f64();
        self.left = (self.left + more).min(most);
        self.left > 0.0
    }
}

/// Holds a process and those that it starts to a share of the machine. Dropped, it lets them go.
#[derive(Debug)]
pub struct Throttle {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Throttle {
    /// From now on the process `pid` and its children get `cores` together.
    pub fn new(pid: u32, cores: f64) -> anyhow::Result<Self> {
        let ended = Arc::<AtomicBool>::default();
        let until = ended.clone();
        let thread = std::thread::Builder::new()
            .name("throttle".into())
            .spawn(move || hold(pid, Quota::new(cores), &until))
            .context("cannot watch a process")?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hold(pid: u32, mut quota: Quota, ended: &AtomicBool) {
    let (mut pids, mut before) = (family(pid), Instant::now());
    let (mut used, mut runs) = (processor_time(&pids), true);
    for look in 1.. {
        std::thread::sleep(LOOK_EVERY);
        let (now, so_far) = (Instant::now(), processor_time(&pids));
        // Time of one that has ended is not counted any more.
        let may = quota.passes(now - before, so_far.saturating_sub(used));
        (before, used) = (now, so_far);
        let ended = ended.load(Ordering::Relaxed);
        if may != runs || ended {
            runs = may || ended;
            signal(&pids, if runs { Signal::CONT } else { Signal::STOP });
        }
        if ended {
            return;
        }
        if runs && look % LOOK_FOR_CHILDREN == 0 {
            pids = family(pid);
            used = processor_time(&pids);
        }
    }
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| text.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>());
    std::iter::once(pid).chain(children).collect()
}

fn processor_time(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|pid| machine::processor_time(*pid)).sum()
}

fn signal(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that has ended needs none.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const LOOK: Duration = Duration::from_millis(10);

    #[test]
    fn who_wants_more_than_there_is_gets_what_there_is_and_who_wants_less_is_let_alone() {
        let ran = |wants: f64| {
            let (mut quota, mut used, mut runs) = (Quota::new(0.3), Duration::ZERO, true);
            for _ in 0..1000 {
                let now = if runs { LOOK.mul_f64(wants) } else { Duration::ZERO };
                used += now;
                runs = quota.passes(LOOK, now);
            }
            used.as_secs_f64() / (1000.0 * LOOK.as_secs_f64())
        };
        assert!((ran(1.0) - 0.3).abs() < 0.01, "{}", ran(1.0));
        assert!((ran(2.0) - 0.3).abs() < 0.01, "{}", ran(2.0));
        assert!((ran(0.2) - 0.2).abs() < 1e-9, "{}", ran(0.2));
    }

    #[test]
    fn a_process_and_its_children_get_no_more_than_that_and_are_let_go_in_the_end() {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "(while :; do :; done) & while :; do :; done"]);
        let mut shell = shell.spawn().unwrap();
        let both = crate::wait_for("the child of the shell", crate::WAIT, || {
            let both = family(shell.id());
            Ok((both.len() == 2).then_some(both))
        });
        let both = both.unwrap();
        let throttle = Throttle::new(shell.id(), 0.2).unwrap();
        let (begun, before) = (Instant::now(), processor_time(&both));
        let wait = Duration::from_secs(2);
        std::thread::sleep(wait);
        let took = (processor_time(&both) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        drop(throttle);
        let held = processor_time(&both);
        let goes_on = crate::wait_for("them to go on", crate::WAIT, || {
            Ok((processor_time(&both) > held + wait / 10).then_some(()))
        });
        signal(&both, Signal::KILL);
        shell.wait().unwrap();
        goes_on.unwrap();
        assert!(took < 0.26, "{took} cores");
    }
}
