//! Chains: what comes out of one, and what cannot be built.

use gibbon_components::{Chain, Format, Spec, Step, VideoFormat, Work, catalogue};
use gibbon_media::{FrameRate, Scheme};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::everything;

fn chain(components: &str) -> Chain {
    format!("live/bbb: {components}").parse().unwrap()
}

fn check(components: &str, format: &Format) -> Result<Vec<Step>, String> {
    let chain = chain(components).canonical().map_err(|e| e.to_string())?;
    chain.check(format).map_err(|e| e.to_string())
}

fn output(components: &str) -> Format {
    let steps = check(components, &everything()).unwrap_or_else(|e| panic!("{components}: {e}"));
    steps.last().unwrap().output.clone()
}

fn large(width: u32, height: u32, rate: u32) -> Format {
    let rate = FrameRate::new(rate, 1).unwrap();
    Format { video: Some(VideoFormat { width, height, rate }), ..everything() }
}

#[test]
fn each_component_says_what_it_makes() {
    let rate = |num, den| FrameRate::new(num, den).unwrap();
    let from = everything().video.unwrap();
    let sized = |width, height| VideoFormat { width, height, ..from };
    let cases = [
        ("scale height=90", sized(160, 90)),
        ("scale width=100", sized(100, 56)),
        ("scale width=1280 height=720", sized(1280, 720)),
        ("crop width=100 height=100 x=220 y=80", sized(100, 100)),
        ("rate fps=30000/1001", VideoFormat { rate: rate(30_000, 1001), ..from }),
        ("rate fps=100/2", VideoFormat { rate: rate(50, 1), ..from }),
        (
            "scale height=90 | rate fps=5 | overlay clock=true",
            VideoFormat { rate: rate(5, 1), ..sized(160, 90) },
        ),
    ];
    for (components, video) in cases {
        assert_eq!(
            output(components),
            Format { video: Some(video), ..everything() },
            "{components}"
        );
    }
    let same = "grayscale | colour gamma=1.2 | denoise | deinterlace | level | resample hertz=16000 | \
                case to=upper | mask words=[a] | shift ms=-500 | filter video=hflip | filter audio=treble=g=3";
    assert_eq!(output(same), everything());
    assert_eq!(output("mono").audio.unwrap().channels, 1);
    assert_eq!(output("captions"), Format { text: None, ..everything() });
    let divided = output("scale height=90 | mdc scheme=temporal crf=28");
    assert_eq!((divided.scheme(), divided.coding.crf), (Scheme::Temporal, Some(28.0)));
}

#[test]
fn coding_is_what_was_said_last() {
    let coded = |components| {
        let coding = output(components).coding;
        (coding.crf, coding.kbps)
    };
    assert_eq!(coded("transcode kbps=500 | grayscale"), (None, Some(500)));
    assert_eq!(coded("transcode kbps=500 | transcode crf=30"), (Some(30.0), None));
    assert_eq!(coded("transcode kbps=500 | mdc"), (None, Some(500)));
    assert_eq!(coded("transcode kbps=500 | mdc crf=20"), (Some(20.0), None));
    assert_eq!(coded("mdc"), (None, None));
}

#[test]
fn what_changes_nothing_leaves_media_untouched() {
    for component in [
        "scale height=180",
        "crop width=320 height=180",
        "rate fps=25",
        "rate fps=50/2",
        "mono | mono",
        "shift ms=0",
        "transcode crf=20",
        "mdc",
    ] {
        let steps = check(component, &everything()).unwrap();
        assert!(matches!(steps.last().unwrap().work, Work::Code), "{component}");
    }
}

#[test]
fn what_cannot_be_built_says_which_component_and_why() {
    let cases = [
        ("blur", "component 1, blur: there is no such component; there are only, scale, crop"),
        ("grayscale | scale", "component 2, scale: give width, height or both"),
        ("scale height=abc", "scale: height: invalid type: string \"abc\", expected u32"),
        ("scale height=-2", "expected u32"),
        ("scale height=90.5", "expected u32"),
        ("scale size=90", "there is no parameter \"size\"; it takes width, height"),
        ("scale height=91", "sides are even"),
        ("scale height=0", "sides are even"),
        ("scale width=14 height=16", "16 to 4096"),
        ("scale width=99999999", "is not a size"),
        ("scale width=4294967294", "is not a size"),
        ("scale height=1000", "more than 4 times as long, from 320x180"),
        ("crop width=100", "missing field `height`"),
        ("crop width=x", "crop: width: invalid type"),
        ("crop width=322 height=90", "width=322 does not lie in pictures of width 320"),
        ("crop width=100 height=100 x=222", "x=222 width=100 does not lie"),
        ("crop width=100 height=100 y=1", "at an even place"),
        ("crop width=100 height=100 x=4294967294", "does not lie"),
        ("rate", "missing field `fps`"),
        ("rate fps=0", "fps=0 is not a frame rate"),
        ("rate fps=29.97", "as 25 or 30000/1001"),
        ("rate fps=121", "use 1 to 120"),
        ("rate fps=x", "fps=x is not a frame rate"),
        ("transcode", "give crf or kbps"),
        ("transcode crf=20 kbps=500", "not both"),
        ("transcode crf=52", "0 (best) to 51"),
        ("transcode kbps=31", "32 to 100000"),
        ("grayscale strength=1", "there is no parameter \"strength\"; it takes none"),
        ("colour brightness=2", "brightness=2 is out of bounds: use -1 to 1"),
        ("colour gamma=0", "gamma=0 is out of bounds"),
        ("denoise strength=100", "use 0.5 to 20"),
        ("deinterlace first=left", "unknown variant `left`"),
        ("overlay", "give one of text, clock=true and image"),
        ("overlay text=a image=b.png", "give one of"),
        ("overlay text=a position=middle", "unknown variant `middle`"),
        ("overlay text=a size=0", "size=0 is out of bounds"),
        ("overlay text=a colour=reddish", "colour=\"reddish\" is not one"),
        ("overlay text=a opacity=1.5", "use 0 to 1"),
        ("overlay image=/etc/passwd", "is not the name of an asset"),
        ("captions | captions", "component 2, captions: it needs text"),
        ("captions | case to=upper", "component 2, case: it needs text"),
        ("captions size=50", "use 2 to 15"),
        ("level target=0", "use -30 to -14"),
        ("resample hertz=4000", "use 8000 to 48000"),
        ("case to=title", "unknown variant `title`"),
        ("mask", "missing field `words`"),
        ("mask words=[]", "give 1 to 256"),
        ("mask words=[***]", "begins and ends in a letter or digit"),
        ("shift ms=10001", "use -10000 to 10000"),
        ("filter", "give video or audio"),
        ("filter video=hflip audio=treble", "give video or audio"),
        ("mono | filter audio=extrastereo", "extrastereo needs two channels"),
        ("mdc scheme=plain", "plain does not divide"),
        ("mdc | grayscale", "component 2, grayscale: the stream has been divided"),
        ("mdc | mdc", "mdc comes last"),
        ("rate fps=1 | mdc scheme=temporal", "two pictures in a group"),
    ];
    for (components, why) in cases {
        let refused =
            check(components, &everything()).err().unwrap_or_else(|| panic!("{components}"));
        assert!(refused.contains(why), "{components}: {refused}");
    }
    let many = vec!["grayscale"; 17].join(" | ");
    assert!(check(&many, &everything()).unwrap_err().contains("at most 16"));
}

#[test]
fn media_that_are_not_there_cannot_be_worked_on() {
    let without = |format: Format, components: &[&str], why: &str| {
        for component in components {
            let refused = check(component, &format).unwrap_err();
            assert!(refused.contains(why), "{component}: {refused}");
        }
    };
    let video = [
        "scale height=90",
        "crop width=16 height=16",
        "rate fps=5",
        "transcode crf=20",
        "grayscale",
        "colour",
        "denoise",
        "deinterlace",
        "overlay text=x",
        "captions",
        "filter video=hflip",
    ];
    without(Format { video: None, ..everything() }, &video, "it needs pictures");
    let audio = ["level", "mono", "resample hertz=8000", "filter audio=treble"];
    without(Format { audio: None, ..everything() }, &audio, "it needs sound");
    let text = ["captions", "case to=upper", "mask words=[a]", "shift ms=5"];
    without(Format { text: None, ..everything() }, &text, "it needs text");
    let nothing_seen = Format { video: None, ..everything() };
    assert!(check("level | case to=upper | mdc", &nothing_seen).is_ok());
}

#[test]
fn nothing_becomes_larger_or_faster_than_a_decoder_bears() {
    let cases = [
        (large(2048, 2048, 25), "scale width=4096 height=4096", "too large"),
        (
            large(1920, 1080, 25),
            "scale width=4096 height=2304 | rate fps=60 | rate fps=120",
            "a smaller size or rate",
        ),
        (large(4096, 2304, 25), "rate fps=60", "a smaller size or rate"),
        (large(2, 4096, 25), "scale width=16", "16x32768"),
    ];
    for (format, components, why) in cases {
        let refused = check(components, &format).unwrap_err();
        assert!(refused.contains(why), "{components}: {refused}");
    }
    assert!(check("scale width=3840 height=2160 | rate fps=60", &large(1920, 1080, 25)).is_ok());
    let short = Format { group: std::time::Duration::from_millis(100), ..everything() };
    assert!(check("rate fps=5", &short).unwrap_err().contains("without pictures"));
}

#[test]
fn equal_chains_have_equal_names_and_prefixes_are_chains() {
    let name = |components: &str| chain(components).canonical().unwrap().stream();
    assert_eq!(name("denoise | mdc"), name("denoise strength=4.0 | mdc scheme=alternating"));
    assert_eq!(name("denoise strength=5"), name("denoise strength=5.0"));
    assert_eq!(name("rate fps=25"), name(r#"rate fps="50/2""#));
    assert_ne!(name("denoise"), name("denoise strength=5"));
    assert_ne!(name("denoise | grayscale"), name("grayscale | denoise"));
    let whole = chain("denoise | grayscale | mdc").canonical().unwrap();
    assert_eq!(whole.prefix(2).stream(), name("denoise | grayscale"));
    assert_eq!(whole.prefix(9), whole);
    let twice = whole.clone().canonical().unwrap();
    assert_eq!(twice, whole, "spelling out is done once");
    assert_eq!(whole.to_string().parse::<Chain>().unwrap(), whole);
}

#[test]
fn plain_feeds_of_the_standby_have_names_of_their_own_and_viewers_know_one_name() {
    let whole = chain("denoise | mdc").canonical().unwrap();
    let feed = whole.prefix(1);
    assert_eq!(feed.stream_of(0), feed.stream());
    assert_eq!(feed.stream_of(1).as_str(), format!("{}.1", feed.stream()));
    assert_eq!([0, 1].map(|replica| whole.stream_of(replica)), [whole.stream(), whole.stream()]);
}

#[test]
fn a_source_whose_name_leaves_no_room_is_refused_and_the_longest_has_names_for_all() {
    let of = |length: usize| Chain { source: "s".repeat(length).parse().unwrap(), ..chain("mono") };
    let longest = of(109);
    assert!(longest.check(&everything()).is_ok());
    assert_eq!(longest.stream_of(1).as_str().len(), 128);
    let refused = of(110).check(&everything()).unwrap_err();
    assert!(refused.to_string().contains("at most 109 bytes"), "{refused}");
}

#[test]
fn work_costs_more_the_larger_the_pictures_are() {
    for entry in catalogue::ALL.iter().filter(|entry| entry.parameters.is_empty()) {
        let spec: Spec = entry.name.parse().unwrap();
        let cores = |format| catalogue::plan(&spec, &format).unwrap().cores;
        assert!(cores(large(1920, 1080, 25)) >= cores(everything()), "{}", entry.name);
    }
    let cores = |components| check(components, &large(640, 360, 24)).unwrap().last().unwrap().cores;
    assert!((0.1..0.4).contains(&cores("mdc")), "measured: 0.2");
    assert!((0.001..0.02).contains(&cores("colour")));
    assert!(cores("denoise") > 3.0 * cores("colour"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn no_parameters_bring_a_check_down(
        at in 0..catalogue::ALL.len(),
        values in prop::collection::vec(value(), 8),
        side in prop_oneof![Just(16u32), Just(640), Just(4096), any::<u32>()],
    ) {
        let entry = &catalogue::ALL[at];
        let names = entry.parameters.iter().map(|(name, _)| (*name).to_owned());
        let parameters = names.zip(values).filter(|(_, value)| !value.is_null()).collect();
        let spec = Spec { component: entry.name.to_owned(), parameters };
        let format = large(side, side, 25);
        if let Ok(step) = catalogue::plan(&spec, &format) {
            let spelt = catalogue::spell_out(&spec).unwrap();
            let output = catalogue::plan(&spelt, &format).unwrap().output;
            prop_assert_eq!(output.video, step.output.video);
            prop_assert_eq!(catalogue::spell_out(&spelt).unwrap(), spelt.clone());
            prop_assert_eq!(spelt.to_string().parse::<Spec>(), Ok(spelt.clone()));
            let sent = serde_json::to_string(&spelt).unwrap();
            prop_assert_eq!(serde_json::from_str::<Spec>(&sent).unwrap(), spelt);
            prop_assert!(step.cores.is_finite() && step.cores >= 0.0);
        }
    }
}

/// Something that a parameter might be given; often nothing.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        3 => (-20i64..600).prop_map(Value::from),
        1 => (-100.0f64..100.0).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => prop_oneof![Just("top"), Just("upper"), Just("25"), Just("hflip"), Just("logo.png")].prop_map(Value::from),
        1 => r"\PC{0,8}".prop_map(Value::from),
        1 => prop::collection::vec(r"\PC{0,4}", 0..3).prop_map(Value::from),
    ]
}
