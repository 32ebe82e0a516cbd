//! The filters that are allowed: each at the ends of its options, through the real `ffmpeg`.

use gibbon_components::{
    Spec,
    allowed::{AUDIO, Allowed, Kind, VIDEO},
    catalogue,
};
use serde_json::json;

use crate::support::{self, SIZE, everything, pictures, sound};

fn ends(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Number(least, most) => vec![least.to_string(), most.to_string()],
        Kind::Whole(least, most) | Kind::Odd(least, most) => {
            vec![least.to_string(), most.to_string()]
        }
        Kind::Word(words) => words.iter().map(|&word| word.to_owned()).collect(),
    }
}

/// Without options, with each option at each of its ends, and with all at either end.
fn uses(allowed: &Allowed) -> Vec<String> {
    let name = allowed.name;
    let mut uses = vec![name.to_owned()];
    for (option, kind) in allowed.options {
        uses.extend(ends(*kind).into_iter().map(|end| format!("{name}={option}={end}")));
    }
    for end in [0, 1].into_iter().filter(|_| !allowed.options.is_empty()) {
        let at =
            |(option, kind): &(&str, Kind)| format!("{option}={}", ends(*kind).swap_remove(end));
        let options: Vec<String> = allowed.options.iter().map(at).collect();
        uses.push(format!("{name}={}", options.join(":")));
    }
    uses
}

/// All uses of all filters, some in a chain, so that `ffmpeg` is not run for each.
fn chains(filters: &[Allowed]) -> Vec<String> {
    let uses: Vec<String> = filters.iter().flat_map(uses).collect();
    uses.chunks(6).map(|some| some.join(",")).collect()
}

fn graph(medium: &str, filters: &str) -> Result<String, String> {
    let spec = json!({"component": "filter", medium: filters});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let step = catalogue::plan(&spec, &everything()).map_err(|e| e.to_string())?;
    assert_eq!(step.output, everything());
    Ok(support::filled(&step.work, std::path::Path::new("/nowhere")))
}

#[test]
fn every_filter_for_pictures_keeps_their_number_and_size() {
    for filters in chains(VIDEO) {
        let graph = graph("video", &filters).unwrap();
        let made = pictures("testsrc2=s=320x180:r=25:d=0.2", &graph, SIZE);
        assert_eq!(made.len(), 5, "{filters}");
    }
}

#[test]
fn every_filter_takes_the_pictures_that_vflip_leaves_upside_down_in_memory() {
    for Allowed { name, .. } in VIDEO {
        let after =
            |flip: &str| pictures("testsrc2=s=320x180:r=25:d=0.2", &format!("{flip},{name}"), SIZE);
        assert!(after("vflip") == after("vflip,copy"), "{name}");
    }
}

#[test]
fn every_filter_for_sound_keeps_its_length_and_channels() {
    let source = "sine=f=440:r=48000:d=0.2,aformat=sample_fmts=flt:channel_layouts=stereo";
    for filters in chains(AUDIO) {
        let made = sound(source, &graph("audio", &filters).unwrap());
        assert_eq!(made.len(), 2 * 9600, "{filters}");
    }
}

#[test]
fn what_is_not_allowed_is_refused_by_name() {
    let cases = [
        ("video", "", "is not among the filters"),
        (
            "video",
            "movie=filename=/etc/passwd",
            "\"movie\" is not among the filters allowed: hflip",
        ),
        ("video", "hflip,,negate", "\"\" is not"),
        ("video", "transpose", "\"transpose\" is not"),
        ("video", "volume", "\"volume\" is not"),
        ("audio", "hflip", "\"hflip\" is not"),
        ("video", "hflip[out];[out]negate", "'[' has no place"),
        ("video", "hue=s='0'", "'\\'' has no place"),
        ("video", r"hue=s=\0", "'\\\\' has no place"),
        ("video", "hue=H=2*PI*t", "\"H\" is not among the options allowed: h, s, b"),
        ("video", "hue=s=t", "s=\"t\" does not do: use -10 to 10"),
        ("video", "gblur=sigma=1e9", "use 0 to 50"),
        ("video", "gblur=sigma=inf", "use 0 to 50"),
        ("video", "gblur=sigma=NaN", "use 0 to 50"),
        ("video", "gblur=sigma=51", "use 0 to 50"),
        ("video", "gblur=sigma", "write NAME=VALUE"),
        ("video", "gblur=2", "write NAME=VALUE"),
        ("video", "gblur=sigma=1:sigma=2", "given twice"),
        ("video", "gblur=enable=0", "\"enable\" is not among the options"),
        ("video", "unsharp=luma_msize_x=4", "an odd number from 3 to 13"),
        ("video", "curves=psfile=/etc/passwd", "\"psfile\" is not among"),
        ("video", "hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip,hflip", "at most 8 filters"),
        ("audio", "volume=volume=9", "use 0 to 8"),
        ("audio", "anull\n", "has no place"),
    ];
    for (medium, filters, why) in cases {
        let refused = graph(medium, filters).unwrap_err();
        assert!(refused.contains(why), "{filters}: {refused}");
    }
    assert!(graph("video", &"hflip,".repeat(400)).unwrap_err().contains("1024 bytes"));
}
