//! What the kernel tells of processes and of the machine (`man 5 proc`).

use std::{fs, time::Duration};

use crate::Page;

/// Processor time of a process so far; `None` if there is no such process.
pub fn processor_time(pid: u32) -> Option<Duration> {
    ticks_of_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(time)
}

/// Processor time of everything on the machine so far: busy, and all that there was.
pub fn machine_time() -> Option<(Duration, Duration)> {
    let (busy, all) = ticks_of_machine(&fs::read_to_string("/proc/stat").ok()?)?;
    Some((time(busy), time(all)))
}

/// Time of all processors together that the machine wanted and the one that it runs on gave to others, so far.
pub fn stolen_time() -> Option<Duration> {
    stolen_ticks(&fs::read_to_string("/proc/stat").ok()?).map(time)
}

/// Memory that a process holds (resident set), in KiB.
pub fn memory_kib(pid: u32) -> Option<u64> {
    value_of("VmRSS", &fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Memory of the machine, in MiB.
pub fn total_memory_mib() -> Option<u64> {
    Some(value_of("MemTotal", &fs::read_to_string("/proc/meminfo").ok()?)? / 1024)
}

/// What this process takes, under the names that all Prometheus clients use.
pub(crate) fn collect(page: &mut Page<'_>) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    page.counter(
        "process_cpu_seconds_total",
        "Processor time used, user and system.",
        processor_time(std::process::id()).map(|time| time.as_secs_f64()),
    );
    page.gauge(
        "process_resident_memory_bytes",
        "Memory held.",
        value_of("VmRSS", &status).map(|kib| kib * 1024),
    );
    page.gauge("process_threads", "Threads.", value_of("Threads", &status));
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count);
    page.gauge("process_open_fds", "Open file descriptors.", open.ok());
    page.gauge("process_max_fds", "File descriptors it may open.", max_fds(&limits));
}

/// The soft limit; none where there is no limit.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time, the 14th and 15th field. The second, the name, may hold anything, brackets too.
fn ticks_of_process(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(user + system)
}

/// Of the first line, all but idle and waiting for disks is busy. What guests use is counted in what users use.
fn ticks_of_machine(stat: &str) -> Option<(u64, u64)> {
    let fields = fields_of_machine(stat)?;
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.get(3..5)?.iter().sum();
    Some((all - idle, all))
}

fn stolen_ticks(stat: &str) -> Option<u64> {
    fields_of_machine(stat)?.get(7).copied()
}

/// The first line: user, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen.
fn fields_of_machine(stat: &str) -> Option<Vec<u64>> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()
}

fn value_of(name: &str, text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process_and_this_machine() {
        let pid = std::process::id();
        assert!(processor_time(pid).is_some());
        assert!(memory_kib(pid).unwrap() > 100);
        assert!(total_memory_mib().unwrap() > 100);
        let (busy, all) = machine_time().unwrap();
        assert!(Duration::ZERO < busy && busy < all);
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 0 0 0 0 0 31 11 0 0 20 0 1 0 5 0";
        assert_eq!(ticks_of_process(stat), Some(42));
        assert_eq!(ticks_of_process("7 (a"), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  10 1 20 300 40 2 3 4 5 6\ncpu0 1 2 3";
        assert_eq!(ticks_of_machine(stat), Some((40, 380)));
        assert_eq!(ticks_of_machine("cpu  1 2"), None);
    }

    #[test]
    fn what_is_stolen_is_told_apart() {
        let stat = "cpu  100 0 50 800 40 3 2 5 0 0\ncpu0 1 2 3\n";
        assert_eq!(fields_of_machine(stat).unwrap(), [100, 0, 50, 800, 40, 3, 2, 5]);
        assert_eq!(stolen_ticks(stat), Some(5));
        for garbage in ["", "cpu", "cpu 1 2 3", "cpu  a b c d e f g h", "intr 1 2 3 4 5 6 7 8"] {
            assert_eq!(stolen_ticks(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let text = "VmRSSx:\t1 kB\nVmRSS:\t  512 kB\n";
        assert_eq!(value_of("VmRSS", text), Some(512));
        assert_eq!(value_of("VmSize", text), None);
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files     1024   4096   files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files     unlimited   unlimited   files\n"), None);
    }
}
