//! A segment as the process that it is.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use gibbon_media::{InstanceId, Medium, Scheme};
use gibbon_worker::ipc::{FromSegment, Message, ToSegment};

use crate::support::{Source, chain, messages, published, setup};

fn start(memory_mib: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gibbon-worker"));
    // As its worker starts it: each arena of the allocator takes address space.
    command.args(["segment", "--memory", memory_mib]).env("MALLOC_ARENA_MAX", "2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_long_chain_in_high_definition_fits_into_the_usual_limit_and_ends_with_its_input() {
    let source = Source::clip_of(Scheme::Alternating, (640, 360));
    let mut child = start("1024");
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let specs = chain(
        "live/bbb: denoise | scale width=1280 height=720 | captions | overlay text=gibbon | colour saturation=0.5 \
         | level | mdc",
    );
    let last = InstanceId(specs.len() as u64);
    let setup = ToSegment::Set(setup(&source.catalog, &specs));
    let feeder = thread::spawn(move || {
        setup.write(&mut to).unwrap();
        for message in source.coded.iter().flat_map(messages) {
            message.write(&mut to).unwrap();
        }
        to
    });
    let (mut heard, mut status) = (Vec::new(), Vec::new());
    while !published(&heard, last).has_all(Scheme::Alternating, &[Medium::Video]) {
        // Each group end may be the last: what comes between is only kept.
        loop {
            let message = FromSegment::read(&mut from).unwrap().expect("it has not ended");
            let ends = matches!(message, FromSegment::GroupEnd { .. });
            match message {
                FromSegment::Status(all) => status = all,
                other => heard.push(other),
            }
            if ends {
                break;
            }
        }
    }
    let catalog = heard.iter().find_map(|message| match message {
        FromSegment::Catalog { instance, catalog } if *instance == last => Some(catalog),
        _ => None,
    });
    let video = catalog.unwrap().video.clone().unwrap();
    assert_eq!((video.width, video.height), (1280, 720));
    assert_eq!(status.len(), specs.len(), "it says how all are: {status:?}");
    let peak = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = peak.lines().find(|line| line.starts_with("VmPeak")).unwrap().to_owned();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 900 << 10, "{peak}: there is little room left");
    drop(feeder.join().unwrap());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_not_a_message_ends_it_with_an_error() {
    let mut child = start("256");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(!child.wait().unwrap().success());
}
