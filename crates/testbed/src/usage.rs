//! What a process uses of the machine, as the kernel counts it.

use std::time::Duration;

/// Of one process, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time so far, its own and the kernel's for it; of all its threads.
    pub processor: Duration,
    /// Resident set, in KiB.
    pub memory_kib: u64,
}

impl Usage {
    /// Of the process `pid`; `None` if there is none, or it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&stat)
    }

    /// From `/proc/PID/stat` (proc_pid_stat(5)).
    fn parse(stat: &str) -> Option<Self> {
        // The second field, the program's name in parentheses, may hold anything; the third is the state.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        let pages = field(24)?;
        // One that has ended and is not yet waited for holds nothing.
        (pages > 0).then_some(Self {
            processor: Duration::from_secs_f64(
                ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            ),
            memory_kib: pages * rustix::param::page_size() as u64 / 1024,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let usage = Usage::parse(&format!("7 (a) b) (c) S {}", numbers.join(" "))).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(usage.processor, Duration::from_secs_f64(29.0 / ticks));
        assert_eq!(usage.memory_kib, 24 * rustix::param::page_size() as u64 / 1024);
        assert_eq!(Usage::parse("7 (a) S 1 2"), None);
    }

    #[test]
    fn work_takes_processor_time() {
        let before = Usage::of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        let wait = crate::wait_for("processor time", crate::WAIT, || {
            sum = (0..10_000_000_u64).fold(sum, |sum, n| sum.rotate_left(1) ^ n);
            let now = Usage::of(std::process::id()).unwrap();
            Ok((now.processor > before.processor).then_some(()))
        });
        assert!(wait.is_ok() && before.memory_kib > 0, "{sum}");
    }
}
