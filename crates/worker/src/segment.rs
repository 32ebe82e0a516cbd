//! A segment: components that pass raw media to each other, in a process of their own. Media only: no network, no
//! credentials.
//!
//! ```text
//! stdin ─▶ Intake ─▶ InputSocket ─▶ Stage ─┬─▶ Stage ─▶ OutputSocket ─▶ stdout
//!          orders     decodes              └─▶ OutputSocket ─▶ stdout
//! ```
//! The input socket, each component and each output socket have a thread of their own; the channels between them
//! are bounded. So what is slow slows all before it, up to the worker, which then skips to newer groups.
//!
//! Raw media carry no group ids. Which group something belongs to follows from its media time, wherever it is
//! coded; what is missing shows as a jump in time, and gives up a group.

mod burn_in;
mod gauge;
mod input_socket;
mod instance;
mod intake;
mod output_socket;
mod pictures;
mod raw;
mod sequence;
mod stage;
mod text_groups;
mod tree;

use std::{
    fs::File,
    io::{self, BufReader},
    os::fd::AsFd,
    process::{self, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Context;
pub use instance::Outlet;
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
pub use tree::{Gauges, Tree};

use crate::ipc::{FromSegment, Message, ToSegment};

/// How often a segment says how its instances are.
pub const STATUS_EVERY: Duration = Duration::from_millis(500);
/// A thread that is at one picture or packet for longer than this hangs, and the process ends.
const HANGS_AFTER: Duration = Duration::from_secs(4);

/// Runs this process as a segment, within `memory_mib` MiB of address space, until its standard input ends.
pub fn run(memory_mib: u64) -> anyhow::Result<ExitCode> {
    let bytes = Some(memory_mib.saturating_mul(1 << 20));
    setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes })
        .with_context(|| format!("cannot limit the memory of a segment to {memory_mib} MiB"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("a segment cannot be tied to its worker")?;
    // What panics in one thread leaves the others waiting: the worker starts the segment anew.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::abort();
    }));
    // As a file: what is not text is not to be searched for ends of lines.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let stdout = Mutex::new(stdout);
    let outlet: Outlet = Arc::new(move |message: FromSegment| {
        let mut stdout = stdout.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = message.write(&mut *stdout) {
            // The worker is gone.
            tracing::debug!(%error, "nobody listens");
            process::exit(0);
        }
    });
    let mut tree = Tree::new(outlet.clone());
    watch(tree.gauges(), outlet)?;
    let mut stdin = BufReader::new(io::stdin());
    while let Some(message) = ToSegment::read(&mut stdin).context("the worker speaks otherwise")? {
        tree.take(message);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how all is, as long as nothing hangs.
fn watch(gauges: Gauges, outlet: Outlet) -> io::Result<()> {
    let watch = move || {
        loop {
            thread::sleep(STATUS_EVERY);
            if let Some(instance) = gauges.hanging(HANGS_AFTER) {
                tracing::error!(%instance, "hangs: the segment ends, to be started anew");
                process::exit(1);
            }
            outlet(FromSegment::Status(gauges.status()));
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).map(drop)
}
