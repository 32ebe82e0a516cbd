//! The program as it is called.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use gibbon_testbed::{Process, WAIT, wait_for};

fn load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gibbon-load")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_the_yardstick_sends_its_watchers_count() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("yardstick.der").display().to_string();
    let serve = ["yardstick", "serve", "--listen=127.0.0.1:0", "--certificate", &certificate];
    let serve = serve.map(str::to_owned);
    let mut server = Process::start("gibbon-load", "yardstick", folder.path(), &serve).unwrap();
    let address = wait_for("the yardstick", WAIT, || {
        let log = server.log();
        Ok(log.with("yardstick is up").last().and_then(|l| Some(l.text("listen")?.to_owned())))
    });
    let address = address.unwrap();
    let watch = ["yardstick", "watch", "--server", &address, "--certificate", &certificate];
    let watched = load(&[&watch[..], &["--viewers=3", "--seconds=2"]].concat());
    assert!(watched.status.success(), "{}", text(&watched.stderr));
    let told = text(&watched.stdout);
    let frames: u64 = told.split(' ').next().unwrap().parse().unwrap();
    // Three viewers, two descriptions, 15 frames/s, less what joining takes.
    assert!((90..=180).contains(&frames), "{told}");
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_shipped_scenario_is_printed_as_it_can_be_run() {
    let listed = text(&load(&["scenarios"]).stdout);
    for name in
        ["smoke", "fanout", "edge-delay", "handoff-storm", "rolling-restart", "chaos", "capacity"]
    {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
        assert!(text(&load(&["scenarios", name]).stdout).contains("[[phase]]"));
    }
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_started() {
    for (arguments, why) in [
        (&["run", "nowhere.toml"][..], "neither a shipped scenario nor a file"),
        (&["run", "smoke", "--fail-if", "frosen>0"], "no figure \"frosen\""),
        (&["scenarios", "nothing"], "no shipped scenario"),
    ] {
        let refused = load(arguments);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(load(&["run", "smoke", "--fail-if", "frozen>"]).status.code(), Some(2));
}

#[test]
fn help_teaches_by_examples() {
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["source", "--help"],
        &["yardstick", "compare", "--help"],
    ] {
        let help = text(&load(command).stdout);
        assert!(help.contains("Examples:"), "{help}");
    }
}
