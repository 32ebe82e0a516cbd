//! Points at which tests kill a process: exact to the step, where a signal would come too late or too early.
//!
//! Behind the feature `failpoints`, which release builds refuse. `GIBBON_FAILPOINT=NAME` names the point.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: it has no place in a release build");

/// The process reaches the point `name`: it ends here, at once and without a word, if that was asked for.
#[cfg(feature = "failpoints")]
pub fn reach(name: impl FnOnce() -> String) {
    use std::sync::OnceLock;
    static ASKED_FOR: OnceLock<Option<String>> = OnceLock::new();
    let asked_for = ASKED_FOR.get_or_init(|| std::env::var("GIBBON_FAILPOINT").ok());
    if asked_for.as_ref().is_some_and(|asked| *asked == name()) {
        std::process::abort();
    }
}

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: impl FnOnce() -> String) {}
