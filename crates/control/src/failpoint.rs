//! Points at which tests kill a process: exact to the step, where a signal would come too late or too early.
//!
//! Behind the feature `failpoints`, which release builds refuse. `GIBBON_FAILPOINT=FILE` names a file, and that
//! the point: so it can be set and taken away while the process runs.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: it has no place in a release build");

/// The process reaches the point `name`: it ends here, at once and without a word, if that was asked for.
#[cfg(feature = "failpoints")]
pub fn reach(name: impl FnOnce() -> String) {
    let file = std::env::var_os("GIBBON_FAILPOINT");
    let asked_for = file.and_then(|file| std::fs::read_to_string(file).ok());
    if asked_for.is_some_and(|asked| asked.trim() == name()) {
        std::process::abort();
    }
}

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: impl FnOnce() -> String) {}
