//! The measurement of schemes against single description coding.

use std::time::Duration;

use gibbon_codec::{
    Error,
    measure::{Clip, MeasureOptions, Table, measure},
};
use gibbon_media::Scheme;

fn measured(clip: &str, options: &MeasureOptions) -> Result<(Table, usize), Error> {
    let media = format!("{}/../../media/{clip}", env!("CARGO_MANIFEST_DIR"));
    let captions =
        Some(media.replace(".mp4", ".vtt").into()).filter(|f: &std::path::PathBuf| f.exists());
    let mut steps = Vec::new();
    let table =
        measure(&[Clip { media, captions }], options, |progress| steps.push(progress.done))?;
    assert_eq!(steps, (0..steps.len()).collect::<Vec<_>>());
    Ok((table, steps.len() - 1))
}

#[test]
fn each_scheme_is_measured_against_a_single_description_of_the_same_groups() {
    let options = MeasureOptions { duration: Duration::from_secs(3), ..MeasureOptions::default() };
    let (table, runs) = measured("session.mp4", &options).unwrap();
    assert_eq!(runs, 16);

    let rows = |scheme| table.rows.iter().filter(move |row| row.variant.scheme == scheme);
    let duplicate = rows(Scheme::Duplicate).next().unwrap();
    assert!((duplicate.overhead.unwrap() - 100.0).abs() < 1e-6);
    assert_eq!((duplicate.lost, duplicate.side), ([duplicate.central; 2], None));

    assert_eq!(rows(Scheme::Alternating).count(), 2);
    for row in rows(Scheme::Alternating) {
        assert_eq!(row.central, duplicate.central, "the primaries are the single description");
        assert!((2.0..60.0).contains(&row.overhead.unwrap()), "{row:?}");
        assert!(
            (row.kbps / (duplicate.kbps / 2.0) - 1.0 - row.overhead.unwrap() / 100.0).abs() < 0.2
        );
        let side = row.side.unwrap();
        assert!(side < row.central - 2.0 && row.lost.iter().all(|lost| *lost < row.central));
        assert!(row.lost.iter().any(|lost| *lost > side), "half the groups are unharmed: {row:?}");
    }

    let [repeated, blended]: [_; 2] =
        rows(Scheme::Temporal).collect::<Vec<_>>().try_into().unwrap();
    assert!((5.0..100.0).contains(&repeated.overhead.unwrap()), "{repeated:?}");
    assert_eq!(repeated.overhead, blended.overhead);
    assert!(blended.side.unwrap() > repeated.side.unwrap());

    let markdown = table.to_string();
    assert!(
        markdown.contains("| session.mp4 | temporal, missing frames blended | +"),
        "{markdown}"
    );
}

#[test]
fn sound_and_text_count_once_for_each_description() {
    let options = MeasureOptions {
        schemes: vec![Scheme::Duplicate],
        duration: Duration::from_secs(5),
        size: Some((160, 90)),
        ..MeasureOptions::default()
    };
    let (table, runs) = measured("bbb.mp4", &options).unwrap();
    assert_eq!((runs, table.rows.len()), (4, 1));
    let facts = &table.clips[0];
    assert_eq!(facts.seconds, 4.0);
    // Opus is told to take 96 kbit/s on average.
    assert!((60.0..130.0).contains(&facts.audio_kbps), "{facts:?}");
    assert!((0.1..20.0).contains(&facts.text_kbps), "{facts:?}");
    let all = facts.single_kbps + facts.audio_kbps + facts.text_kbps;
    let twice = facts.audio_kbps + facts.text_kbps;
    assert!((facts.whole_percent() - 100.0 * twice / all).abs() < 1e-9);
}

#[test]
fn what_cannot_be_measured_is_named_before_anything_is_coded() {
    let options =
        MeasureOptions { duration: Duration::from_millis(2900), ..MeasureOptions::default() };
    let error = measured("session.mp4", &options).unwrap_err().to_string();
    assert!(
        error.contains("session.mp4: too short") && error.ends_with("3s are needed"),
        "{error}"
    );
    let missing = measured("nothing.mp4", &MeasureOptions::default()).unwrap_err();
    let text = missing.to_string();
    assert!(text.ends_with("nothing.mp4: No such file or directory"), "{text}");
    assert!(std::error::Error::source(&missing).is_none(), "said once is enough");
}
