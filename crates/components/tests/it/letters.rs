//! Letters in pictures: they are what was asked for, and cannot be more than letters.

use std::path::Path;

use gibbon_components::{Spec, Work, catalogue, graph};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::support::{self, FONT, SIZE, everything, graph_of, mean, pictures};

const BLACK: &str = "color=black:s=320x180:r=25:d=0.04";

/// What outside text might try.
const NASTY: [&str; 24] = [
    "plain",
    "it's 50% \"off\"",
    r"back\slash \\ \' \n",
    "10:30:x=5",
    "a,b;c[d]e",
    "a],drawbox=t=fill,[b",
    "{font} {asset:logo.png}",
    "%{n} %{pts} %{eif:1/0:d} %{metadata:x} %%",
    "'],null[out];[out]",
    "':fontfile=/etc/passwd:text='",
    ":textfile=/etc/passwd",
    "text=x:enable=0",
    "\\",
    "'",
    "''",
    "%",
    "x ' , y",
    "x ",
    "=",
    "#@!$^&*()+~`|/?",
    "Größe Привет 你好 שלום مرحبا",
    "\u{1F600}\u{1F468}\u{200D}\u{1F469} e\u{301}",
    "\u{202E}right to left\u{2066}",
    "\u{FEFF}\u{200B}x",
];

fn overlay(text: &str) -> String {
    let spec = json!({"component": "overlay", "text": text, "position": "left"});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let step = catalogue::plan(&spec, &everything()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    support::filled(&step.work, Path::new("/nowhere"))
}

fn captions(component: &str) -> impl Fn(&str) -> String {
    let step = support::plan(component);
    assert_eq!(step.output.text, None, "text that is burnt in is not carried any more");
    let Work::BurnIn { draw, parameters } = step.work else { panic!("{:?}", step.work) };
    move |text| {
        let graph = draw(text, &everything(), &parameters);
        graph::fill(&graph, Path::new(FONT), Path::new("/nowhere")).unwrap()
    }
}

/// The picture that has `text` in it because `drawtext` read it from a file, where nothing is to be escaped.
fn from_file(graph_of_x: &str, text: &str) -> Vec<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    assert!(graph_of_x.contains(":text=x:"));
    pictures(BLACK, &graph_of_x.replace(":text=x:", &format!(":textfile={path}:")), SIZE)
}

#[test]
fn whatever_the_text_is_it_is_drawn_and_no_more() {
    for text in NASTY {
        assert_eq!(
            pictures(BLACK, &overlay(text), SIZE),
            from_file(&overlay("x"), text),
            "{text:?}"
        );
    }
    let captions = captions("captions");
    for text in NASTY.map(|text| text.trim().replace(['<', '&'], "+")) {
        let drawn = pictures(BLACK, &captions(&text), SIZE);
        let lines = captions(&text).matches("drawtext=").count();
        // Longer ones are wrapped; what is in a line was compared above.
        if lines == 1 {
            assert_eq!(drawn, from_file(&captions("x"), &text), "{text:?}");
        }
    }
}

#[test]
fn random_text_is_drawn_and_no_more() {
    let mut runner = TestRunner::deterministic();
    let texts = prop_oneof![r#"[\\':,;\[\]{}%=a@ ]{1,16}"#, r"[^\p{Cc}\s]{1,12}"];
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() };
    runner = TestRunner::new_with_rng(config, runner.new_rng());
    let visible = texts.prop_filter("is seen", |text| !text.trim().is_empty());
    let ran = runner.run(&visible, |text| {
        prop_assert_eq!(pictures(BLACK, &overlay(&text), SIZE), from_file(&overlay("x"), &text));
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn the_clock_shows_the_media_time() {
    // 2026-11-21 08:59:59 UTC is second 1795251599.
    let source = "color=black:s=320x180:r=25:d=2,settb=1/25,setpts=N+1795251599*25";
    let clock = pictures(source, &graph_of("overlay clock=true"), SIZE);
    let written = |text: &str| {
        let component = format!(r#"overlay text="{text}""#);
        pictures(BLACK, &graph_of(&component), SIZE).remove(0)
    };
    assert_eq!(clock[0], written("08:59:59"));
    assert_eq!(clock[24], clock[0]);
    assert_eq!(clock[25], written("09:00:00"));
}

#[test]
fn letters_are_where_they_are_said_to_be() {
    let rows = [("top", 0), ("", 60), ("bottom", 120)];
    let columns = [("left", 0), ("", 110), ("right", 220)];
    for (row, top) in rows {
        for (column, left) in columns {
            let position = match (row, column) {
                ("", "") => "centre".to_owned(),
                (one, "") | ("", one) => one.to_owned(),
                (row, column) => format!("{row}-{column}"),
            };
            let component = format!("overlay text=LIVE size=12 position={position}");
            let picture = pictures(BLACK, &graph_of(&component), SIZE).remove(0);
            let whole = mean(&picture, (0, 0), SIZE) - 16.0;
            let there = (mean(&picture, (left, top), (100, 60)) - 16.0) * 6000.0 / 57_600.0;
            assert!(whole > 0.3 && there > 0.99 * whole, "{position}: {there} of {whole}");
        }
    }
}

#[test]
fn lines_of_captions_stand_apart_in_the_middle_below() {
    let draw = captions("captions size=8 box=false");
    let picture = pictures(BLACK, &draw("<v Ann>mmmm\n<i>xxxx</i>"), SIZE).remove(0);
    let lit = |y: usize| picture[y * SIZE.0..][..SIZE.0].iter().any(|&l| l > 100);
    let bands: Vec<usize> = (1..SIZE.1).filter(|&y| lit(y) && !lit(y - 1)).collect();
    assert_eq!(bands.len(), 2, "{bands:?}");
    assert!(bands[0] > 130, "{bands:?}");
    let left = (0..SIZE.0).position(|x| picture[bands[1] * SIZE.0 + x] > 100).unwrap();
    let right = (0..SIZE.0).rposition(|x| picture[bands[1] * SIZE.0 + x] > 100).unwrap();
    assert!((left + right).abs_diff(SIZE.0) <= 6, "{left} {right}");
    let top = pictures(BLACK, &captions("captions position=top")("mmmmmm"), SIZE).remove(0);
    assert!(mean(&top, (0, 0), (320, 60)) > 16.2 && mean(&top, (0, 60), (320, 120)) < 16.01);
}

#[test]
fn long_captions_are_wrapped_and_bounded() {
    let draw = captions("captions");
    assert_eq!(draw("").as_str(), "null");
    assert_eq!(draw(" \n<b></b>\n").as_str(), "null");
    let long = draw(&"wörd ".repeat(1000));
    assert_eq!(long.matches("drawtext=").count(), 6);
    let unbroken = draw(&"\u{4E00}".repeat(4096));
    assert_eq!(unbroken.matches("drawtext=").count(), 6);
    for graph in [long, unbroken] {
        let picture = pictures(BLACK, &graph, SIZE).remove(0);
        // Nothing reaches the edges.
        assert!(
            mean(&picture, (0, 0), (4, 180)) < 16.01 && mean(&picture, (316, 0), (4, 180)) < 16.01
        );
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let bad: [Value; 9] = [
        json!({"text": ""}),
        json!({"text": "   "}),
        json!({"text": "two\nlines"}),
        json!({"text": "a\0b"}),
        json!({"text": "x".repeat(201)}),
        json!({"text": "x", "clock": true}),
        json!({"text": "x", "colour": "white:x=1"}),
        json!({"image": "../logo.png"}),
        json!({"image": "logo.svg"}),
    ];
    for parameters in bad {
        let mut spec = parameters.clone();
        spec["component"] = json!("overlay");
        let spec: Spec = serde_json::from_value(spec).unwrap();
        assert!(catalogue::plan(&spec, &everything()).is_err(), "{parameters}");
    }
}
