//! What components do to sound, shown with the real `ffmpeg`.

use crate::support::{graph_of, plan, sound};

/// Speech-like: two tones whose loudness goes up and down, `gains` for two seconds each, in dB.
fn passages(gains: &[f64]) -> String {
    let gain = |(n, db): (usize, &f64)| {
        let amplitude = 10f64.powf(db / 20.0);
        format!("{amplitude}*between(t\\,{}\\,{})", 2 * n, 2 * n + 2)
    };
    let gains: Vec<String> = gains.iter().enumerate().map(gain).collect();
    let seconds = 2 * gains.len();
    let gains = gains.join("+");
    let voice = "(0.7*sin(2*PI*220*t)+0.5*sin(2*PI*733*t))*(0.6+0.4*sin(6*PI*t))";
    let left = format!("({gains})*{voice}");
    format!("aevalsrc=exprs={left}|0.5*{left}:s=48000:d={seconds}:c=stereo,aformat=sample_fmts=flt")
}

/// The mean level of the samples from second `from` to `to`, in dB of full scale (of a sine's peak: -3).
fn level(samples: &[f32], channels: usize, from: f64, to: f64) -> f64 {
    let at = |second: f64| (second * 48_000.0) as usize * channels;
    let part = &samples[at(from)..at(to).min(samples.len())];
    let power: f64 = part.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / part.len() as f64;
    10.0 * power.max(1e-12).log10()
}

#[test]
fn quiet_and_loud_passages_come_near_the_target() {
    let source = passages(&[-30.0, -3.0, -15.0, -30.0]);
    let before = sound(&source, "anull");
    let spread = level(&before, 2, 3.0, 4.0) - level(&before, 2, 1.0, 2.0);
    assert!(spread > 25.0, "{spread}");
    for (component, target) in [("level", -20.0), ("level target=-26 gain=20", -26.0)] {
        let after = sound(&source, &graph_of(component));
        assert_eq!(after.len(), before.len(), "nothing is held back");
        for second in [1.0, 3.0, 5.0, 7.0] {
            let level = level(&after, 2, second, second + 1.0);
            assert!((level - target).abs() < 5.0, "{component}: {level} in second {second}");
        }
        let peak = after.iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
        assert!(peak <= 1.0, "{component}: the loudest sample is {peak}");
    }
}

#[test]
fn level_leaves_the_balance_of_the_channels() {
    let after = sound(&passages(&[-20.0]), &graph_of("level"));
    let channel = |n: usize| after.iter().copied().skip(n).step_by(2).collect::<Vec<_>>();
    let apart = level(&channel(0), 1, 1.0, 2.0) - level(&channel(1), 1, 1.0, 2.0);
    assert!((apart - 6.02).abs() < 0.1, "{apart}");
}

#[test]
fn mono_is_the_mean_of_both() {
    let source = "aevalsrc=exprs=0.5|-0.1:s=48000:d=0.5:c=stereo,aformat=sample_fmts=flt";
    let after = sound(source, &graph_of("mono"));
    assert_eq!(after.len(), 24_000);
    assert!(after.iter().all(|s| (s - 0.2).abs() < 1e-6));
    assert_eq!(plan("mono").output.audio.unwrap().channels, 1);
}

#[test]
fn resample_takes_the_high_tones_away_and_keeps_the_length() {
    let tone = |hertz| {
        format!("sine=f={hertz}:r=48000:d=1,aformat=sample_fmts=flt:channel_layouts=stereo")
    };
    let graph = graph_of("resample hertz=8000");
    let passed = |hertz| {
        let (before, after) = (sound(&tone(hertz), "anull"), sound(&tone(hertz), &graph));
        assert_eq!(after.len(), before.len());
        level(&after, 2, 0.2, 0.8) - level(&before, 2, 0.2, 0.8)
    };
    assert!(passed(1000).abs() < 0.5);
    assert!(passed(6000) < -40.0);
}
