//! The program as it is called.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use gibbon_media::{Description, Role};
use gibbon_monitor::testing::{Read, get};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    subscribe::{Event, Link, Subscription},
    wire::{MediaSet, Start, Subscribe},
};
use gibbon_testbed::{Process, WAIT, wait_for};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

fn load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gibbon-load")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A field of a message, once that has been logged.
fn logged(process: &Process, message: &str, field: &str) -> String {
    let look = || {
        let log = process.log();
        Ok(log.with(message).last().and_then(|line| Some(line.text(field)?.to_owned())))
    };
    wait_for(message, WAIT, look).unwrap()
}

#[test]
fn what_the_yardstick_sends_its_watchers_count() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("yardstick.der").display().to_string();
    let serve = ["yardstick", "serve", "--listen=127.0.0.1:0", "--certificate", &certificate];
    let serve = serve.map(str::to_owned);
    let mut server = Process::start("gibbon-load", "yardstick", folder.path(), &serve).unwrap();
    let address = logged(&server, "yardstick is up", "listen");
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

#[test]
fn a_source_shows_what_it_sends_as_an_origin_does() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let arguments = [
        "source".to_owned(),
        "--id=origin-1".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
        "--stream=load/a".to_owned(),
        "--metrics=127.0.0.1:0".to_owned(),
        format!("--certs={}", certs.display()),
        // Nobody is there: what is sent does not depend on it.
        "--coordinator=127.0.0.1:9".to_owned(),
    ];
    let mut source = Process::start("gibbon-load", "source", folder.path(), &arguments).unwrap();
    let metrics = logged(&source, "metrics are served", "address").parse().unwrap();
    let address = logged(&source, "origin is up", "listen").parse().unwrap();
    let request = Subscribe {
        stream: "load/a".parse().unwrap(),
        description: Description::Zero,
        media: MediaSet::ALL,
        start: Start::Next,
        end: None,
        priority: 1,
        patience: None,
    };
    let page = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let [own, publisher] = [("edge-a", Role::Edge), ("origin-1", Role::Origin)]
            .map(|(id, role)| Identity { id: id.parse().unwrap(), role });
        let certificates = Certificates::in_folder(&certs);
        let endpoint = Endpoint::node(&certificates, &own, ([127, 0, 0, 1], 0).into()).unwrap();
        let link = Link::new(endpoint.connect(&publisher, address).await.unwrap());
        let mut subscription = Subscription::open(&link, &request).await.unwrap();
        let Event::Group(mut group) = subscription.next().await else { panic!("no group") };
        assert!(group.next_frame().await.unwrap().is_some());
        // The page is asked for while the subscription lasts.
        get(metrics, "/metrics").unwrap().1
    });
    let page = Read::page(&page).unwrap();
    page.check_documented(DOCUMENT, &["Every process", "Every node", "Origin"]);
    assert_eq!(page.value("gibbon_downstreams", &[]), Some(1.0));
    assert!(page.value("gibbon_delivered_frames_total", &[]).unwrap() >= 1.0);
    assert!(source.stop().unwrap().success());
}
