//! The measurement of schemes against single description coding.

use std::time::Duration;

use gibbon_codec::measure::{MeasureOptions, measure};
use gibbon_media::Scheme;

#[test]
fn each_scheme_is_measured_against_a_single_description_of_the_same_groups() {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../../media/session.mp4").to_owned();
    let options = MeasureOptions { duration: Duration::from_secs(3), ..MeasureOptions::default() };
    let mut steps = Vec::new();
    let table = measure(&[clip], &options, |progress| steps.push(progress.done)).unwrap();
    assert_eq!(steps, (0..=16).collect::<Vec<_>>());

    let rows = |scheme| table.0.iter().filter(move |row| row.variant.scheme == scheme);
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
    println!("{markdown}");
}
