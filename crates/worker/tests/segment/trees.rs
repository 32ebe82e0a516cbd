//! Instances that come, go and are published while others run.

use gibbon_control::work::{Input, InstanceSpec, InstanceState};
use gibbon_media::{Description, InstanceId, Medium, Scheme};

use crate::support::{FIRST, GROUPS, Published, Segment, Source, chain};

fn all(out: &Published) -> bool {
    out.has_all(Scheme::Alternating, &Medium::ALL)
}

/// The source in three parts: up to, of, and after the second group.
fn parts(source: &Source) -> [Vec<gibbon_codec::Coded>; 3] {
    let second = FIRST.next();
    let of = |part: std::cmp::Ordering| {
        let coded = source.coded.iter().filter(|coded| coded.header.group.cmp(&second) == part);
        coded.cloned().collect()
    };
    [of(std::cmp::Ordering::Less), of(std::cmp::Ordering::Equal), of(std::cmp::Ordering::Greater)]
}

/// `grayscale` on the source, on which `mdc` hangs, and later `mono` and another `mdc`, too.
fn branches() -> (Vec<InstanceSpec>, Vec<InstanceSpec>) {
    let trunk = chain("live/bbb: grayscale | mdc");
    let mut branch = chain("live/bbb: grayscale | mono | mdc").split_off(1);
    branch[0].instance = InstanceId(12);
    branch[0].input = Input::Instance(InstanceId(1));
    branch[1].instance = InstanceId(13);
    branch[1].input = Input::Instance(InstanceId(12));
    (trunk, branch)
}

#[test]
fn a_branch_joins_and_leaves_without_a_trace_in_the_others() {
    let source = Source::clip(Scheme::Alternating);
    let (trunk, branch) = branches();
    let mut alone = Segment::new(&source.catalog);
    alone.set(&trunk);
    alone.feed(&source.coded);
    let undisturbed = alone.wait(2, all);

    let [before, with, after] = parts(&source);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&trunk);
    segment.feed(&before);
    segment.wait(2, |out| out.is_complete(Description::Zero, Medium::Video, FIRST));
    segment.set(&[trunk.clone(), branch].concat());
    segment.feed(&with);
    let joined = segment.wait(13, |out| {
        Medium::ALL.iter().all(|medium| out.is_complete(Description::One, *medium, FIRST.next()))
    });
    assert!(joined.groups.keys().all(|key| key.2 >= FIRST.next()), "it begins with a group");
    assert_eq!(segment.catalog_of(13).audio.unwrap().channels, 1);
    segment.set(&trunk);
    segment.feed(&after);
    let out = segment.wait(2, all);
    let last = FIRST.0 + GROUPS - 1;
    for (key, group) in undisturbed.groups.iter().filter(|(key, _)| key.2.0 <= last) {
        assert!(out.groups[key].frames == group.frames, "{key:?}");
    }
    let status = segment.status_of(1);
    assert_eq!(status.input.passed.missing, 0);
    assert_eq!(status.state, InstanceState::Running);
}

#[test]
fn an_output_is_switched_on_and_off_without_a_trace_in_the_others() {
    let source = Source::clip(Scheme::Alternating);
    let trunk = chain("live/bbb: grayscale | mdc");
    let publishes = |on: bool| {
        let mut specs = trunk.clone();
        specs[0].publish = on;
        specs
    };
    let [before, with, after] = parts(&source);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&trunk);
    segment.feed(&before);
    segment.wait(2, |out| out.is_complete(Description::Zero, Medium::Video, FIRST));
    assert_eq!(segment.status_of(1).state, InstanceState::Running);
    segment.set(&publishes(true));
    assert_eq!(segment.status_of(1).state, InstanceState::Starting, "nothing is published yet");
    segment.feed(&with);
    segment.wait(1, |out| out.is_complete(Description::Zero, Medium::Video, FIRST.next()));
    segment.wait_for_status(1, |status| status.state == InstanceState::Running);
    assert_eq!(segment.status_of(1).output.coders, 1);
    segment.set(&publishes(false));
    segment.feed(&after);
    let out = segment.wait(2, all);
    let producers: std::collections::BTreeSet<u64> =
        out.groups.values().map(|group| group.header.producer.0).collect();
    assert_eq!(producers.len(), 1, "its encoder has not been started anew");
    assert_eq!(segment.status_of(1).output.coders, 0);
}

#[test]
fn what_cannot_run_says_why_and_leaves_the_others_alone() {
    let source = Source::clip(Scheme::Alternating);
    let mut specs = chain("live/bbb: grayscale | mdc");
    let mut bad = chain("live/bbb: grayscale | overlay image=nosuch.png | mdc").split_off(1);
    bad[0].instance = InstanceId(12);
    bad[0].input = Input::Instance(InstanceId(1));
    bad[1].instance = InstanceId(13);
    bad[1].input = Input::Instance(InstanceId(12));
    let mut orphan = bad[1].clone();
    orphan.instance = InstanceId(14);
    orphan.input = Input::Instance(InstanceId(99));
    specs.extend([bad, vec![orphan]].concat());
    let mut segment = Segment::new(&source.catalog);
    segment.set(&specs);
    segment.feed(&source.coded);
    segment.wait(2, all);
    let why = |instance| match segment.status_of(instance).state {
        InstanceState::Failed { why } => why,
        other => panic!("{other:?}"),
    };
    segment.wait_for_status(12, |s| matches!(s.state, InstanceState::Failed { .. }));
    assert!(why(12).contains("nosuch.png"), "{}", why(12));
    assert!(why(14).contains("not in this segment"), "{}", why(14));
}

#[test]
fn what_a_component_elsewhere_asked_of_the_coding_counts_here() {
    let source = Source::clip(Scheme::Plain);
    // Components before the last have worked on the input on another worker.
    let bytes = |text: &str| {
        let mut last = chain(text).pop().unwrap();
        last.input = Input::Stream("live/bbb".parse().unwrap());
        let instance = last.instance.0;
        let mut segment = Segment::new(&source.catalog);
        segment.set(&[last]);
        segment.feed(&source.coded);
        let out = segment.wait(instance, all);
        out.frames(Description::Zero, Medium::Video).map(|frame| frame.payload.len()).sum::<usize>()
    };
    let (usual, coarse) =
        (bytes("live/bbb: grayscale | mdc"), bytes("live/bbb: transcode crf=40 | mdc"));
    assert!(coarse * 3 < usual, "{coarse} and {usual} bytes");
}
