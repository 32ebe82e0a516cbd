//! What components do to pictures, shown with the real `ffmpeg`.

use std::process::Command;

use crate::support::{SIZE, everything, filled, graph_of, mean, pictures, plan};

/// Left half dark, right half bright.
const HALVES: &str = "color=0x404040:s=320x180:r=25:d=0.2[l];color=0xC0C0C0:s=160x180:r=25:d=0.2[r];[l][r]overlay=x=160";

#[test]
fn sizes_and_rates_are_what_the_step_says() {
    let cases = [
        "scale height=90",
        "scale width=640",
        "scale width=100 height=100",
        "crop width=200 height=100",
        "crop width=16 height=16 x=304 y=164",
        "rate fps=50",
        "rate fps=10",
        "rate fps=24000/1001",
        "grayscale",
        "colour brightness=0.2 contrast=1.5 saturation=0 gamma=0.5",
        "denoise",
        "denoise strength=20",
        "deinterlace",
        "deinterlace first=bottom",
        "overlay text=LIVE",
        "overlay clock=true size=100 box=true position=centre",
    ];
    for component in cases {
        let video = plan(component).output.video.unwrap();
        let size = (video.width as usize, video.height as usize);
        let source = "testsrc2=s=320x180:r=25:d=2";
        let made = pictures(source, &graph_of(component), size);
        assert_eq!(made.len() as f64, (2.0 * video.rate.as_f64()).round(), "{component}");
    }
}

#[test]
fn crop_cuts_where_it_says() {
    let made = pictures(HALVES, &graph_of("crop width=16 height=16 x=150 y=0"), (16, 16));
    assert!(made[0][0] < 90 && made[0][15] > 150, "{:?}", &made[0][..16]);
}

#[test]
fn colours_go_and_brightness_rises() {
    let both = |component: &str| pictures(HALVES, &graph_of(component), SIZE).remove(0);
    let (left, right) = (mean(&both("grayscale"), (0, 0), (150, 180)), 75.0);
    assert!((left - right).abs() < 12.0, "black and white keeps luma: {left}");
    let brighter = mean(&both("colour brightness=0.3"), (0, 0), (150, 180));
    assert!(brighter > left + 50.0, "{brighter} after {left}");
    let contrast = both("colour contrast=2");
    let apart = mean(&contrast, (170, 0), (150, 180)) - mean(&contrast, (0, 0), (150, 180));
    assert!(apart > 170.0, "{apart}");
    let chroma = "color=red:s=320x180:r=25:d=0.1";
    let red = |graph: &str| {
        pictures(chroma, &format!("{graph},extractplanes=v,format=yuv420p"), (160, 90))
    };
    assert!(red("null")[0][0] > 200);
    assert!(red(&graph_of("grayscale"))[0][0].abs_diff(128) < 5);
    assert!(red(&graph_of("colour saturation=0"))[0][0].abs_diff(128) < 5);
}

#[test]
fn noise_and_combs_are_reduced() {
    let rough = |source: &str, graph: &str| {
        let last = pictures(source, graph, SIZE).pop().unwrap();
        let pairs = last.chunks(SIZE.0).zip(last.chunks(SIZE.0).skip(1));
        pairs
            .flat_map(|(a, b)| a.iter().zip(b))
            .map(|(&a, &b)| f64::from(a.abs_diff(b)))
            .sum::<f64>()
    };
    let noisy = "color=gray:s=320x180:r=25:d=0.4,noise=alls=20:allf=t";
    assert!(rough(noisy, &graph_of("denoise strength=20")) < 0.6 * rough(noisy, "null"));
    let combed = "testsrc2=s=320x180:r=50:d=0.8,interlace=lowpass=off";
    assert!(rough(combed, &graph_of("deinterlace")) < 0.9 * rough(combed, "null"));
}

#[test]
fn a_rate_repeats_or_leaves_out_the_nearest_picture() {
    // The luma of picture n is 16 + 8 n.
    let source = "color=black:s=320x180:r=25:d=0.4,format=yuv420p,geq=lum=16+8*N:cb=128:cr=128";
    let lumas = |component| -> Vec<u8> {
        let made = pictures(source, &graph_of(component), SIZE);
        made.iter().map(|picture| (picture[0] - 16) / 8).collect()
    };
    assert_eq!(lumas("rate fps=50"), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]);
    assert_eq!(lumas("rate fps=5"), [2, 7]);
}

#[test]
fn an_image_is_laid_where_it_says_as_large_as_it_says() {
    let assets = tempfile::tempdir().unwrap();
    let logo = assets.path().join("logo.png");
    let mut make = Command::new("ffmpeg");
    make.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "color=white:s=200x100:d=1"]);
    assert!(make.args(["-frames:v", "1"]).arg(&logo).status().unwrap().success());
    let made = |component: &str| {
        let step = plan(component);
        let picture =
            pictures("color=black:s=320x180:r=25:d=1", &filled(&step.work, assets.path()), SIZE);
        assert_eq!(picture.len(), 25, "the image stays for as long as there are pictures");
        picture.into_iter().next_back().unwrap()
    };
    // 20 % of 180 high, twice as wide, 4 % of 180 from the corner.
    let corner = made("overlay image=logo.png size=20");
    assert!(mean(&corner, (320 - 7 - 70, 9), (68, 32)) > 230.0);
    assert!(mean(&corner, (0, 0), (238, 180)) < 17.0);
    assert!(mean(&corner, (0, 46), (320, 134)) < 17.0);
    let pale = made("overlay image=logo.png size=20 opacity=0.5");
    let pale = mean(&pale, (320 - 7 - 70, 9), (68, 32));
    assert!((100.0..160.0).contains(&pale), "{pale}");
    // As wide as there is room, whatever the size.
    let large = made("overlay image=logo.png size=100 position=centre");
    assert!(mean(&large, (10, 80), (300, 20)) > 230.0);
}

#[test]
fn an_image_names_its_asset_and_nothing_else_does() {
    let assets = |component: &str| match plan(component).work {
        gibbon_components::Work::Video { assets, .. } => assets,
        other => panic!("{other:?}"),
    };
    assert_eq!(assets("overlay image=logo.png"), ["logo.png"]);
    assert!(assets("overlay text={asset:logo.png}").is_empty());
    assert!(everything().video.is_some());
}
