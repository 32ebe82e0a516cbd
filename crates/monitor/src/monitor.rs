//! The monitor of one process: what it shows, and whether it is ready.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::info::Info,
    registry::Registry,
};

use crate::{Page, machine};

type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// What a process shows of itself. Neither health nor readiness depends on another process.
pub struct Monitor {
    registry: Mutex<Registry>,
    /// Whether it is ready, or why not.
    ready: Mutex<Arc<Check>>,
}

impl Monitor {
    /// Knows of the process itself, and is not ready.
    pub fn new(program: &str, version: &str) -> Arc<Self> {
        let mut registry = Registry::default();
        let build = Info::new([("program", program.to_owned()), ("version", version.to_owned())]);
        registry.register("gibbon_build", "What runs", build);
        let starting: Arc<Check> = Arc::new(|| Err("it is starting".into()));
        let monitor =
            Arc::new(Self { registry: Mutex::new(registry), ready: Mutex::new(starting) });
        let own = Arc::downgrade(&monitor);
        monitor.collect(move |page| {
            let ready = own.upgrade().is_some_and(|monitor| monitor.ready().is_ok());
            page.gauge("gibbon_ready", "Whether the process is ready, as /ready says.", [ready]);
            machine::collect(page);
        });
        monitor
    }

    /// Has metrics registered that are kept.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut lock(&self.registry));
    }

    /// Has a page filled by `collect` as well, whenever it is asked for. It is called on the process's own threads:
    /// it must not wait.
    pub fn collect(&self, collect: impl Fn(&mut Page<'_>) + Send + Sync + 'static) {
        lock(&self.registry).register_collector(Box::new(Collected(collect)));
    }

    /// The process has begun: from now on it is ready unless `check` says why not.
    pub fn ready_unless(&self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        *lock(&self.ready) = Arc::new(check);
    }

    /// Whether the process is ready, or why not.
    pub fn ready(&self) -> Result<(), String> {
        let check = lock(&self.ready).clone();
        check()
    }

    /// All metrics, as OpenMetrics text 1.0.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // A string takes all that is written.
        let _ = text::encode(&mut page, &lock(&self.registry));
        page
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Collected<F>(F);

impl<F> fmt::Debug for Collected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl<F: Fn(&mut Page<'_>) + Send + Sync + 'static> Collector for Collected<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        (self.0)(&mut page);
        page.finish()
    }
}
