//! Waiting on conditions.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::bail;

/// How long a condition may take on a slow machine before it is held to fail.
pub const WAIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks again and again until `condition` gives a value; an error names `what` was waited for.
pub fn wait_for<T>(
    what: impl Display,
    within: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        let last = match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => String::new(),
            Err(error) => format!(" (last: {error:#})"),
        };
        if begun.elapsed() > within {
            bail!("waited {within:?} in vain for {what}{last}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
