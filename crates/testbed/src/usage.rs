//! What a process uses of the machine, as the kernel counts it.

use std::time::Duration;

use gibbon_monitor::machine;

/// Of one process, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time so far, its own and the kernel's for it; of all its threads.
    pub processor: Duration,
    /// Resident set, in KiB.
    pub memory_kib: u64,
}

impl Usage {
    /// Of the process `pid`; `None` if there is none. One that has ended and is not yet waited for holds nothing: that
    /// is none, too.
    pub fn of(pid: u32) -> Option<Self> {
        let memory_kib = machine::memory_kib(pid)?;
        Some(Self { processor: machine::processor_time(pid)?, memory_kib })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
