//! Which cores a process runs on: the server on one, who loads it on the others, so that neither waits for
//! the other and caches stay warm.

use anyhow::Context;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// The core that the server has.
const SERVER: usize = 0;

/// This thread and all that it starts from now on leave the server's core alone. Whether there are others.
pub fn leave_server_core() -> anyhow::Result<bool> {
    let mut cores = sched_getaffinity(None)?;
    cores.unset(SERVER);
    if cores.count() == 0 {
        return Ok(false);
    }
    sched_setaffinity(None, &cores).context("cannot choose cores")?;
    Ok(true)
}

/// Every thread of this process has the server's core, and no other.
pub fn to_server_core(pid: u32) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(SERVER);
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = thread?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        let id = id.context("a thread has no number")?;
        sched_setaffinity(Some(id), &cores).context("cannot choose cores")?;
    }
    Ok(())
}
