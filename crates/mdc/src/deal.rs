//! Dealing out: which description carries which frame, and how (the encoder's side).

use gibbon_media::{Description, FrameNumber, FrameRate, GroupGrid, GroupId, Scheme};
use serde::{Deserialize, Serialize};

/// How good a coded picture is; the better one is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rendition {
    /// Full quality.
    Primary,
    /// Lower quality, to fall back on.
    Secondary,
}

/// What one description carries of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    /// In which quality.
    pub rendition: Rendition,
    /// Whether it is the first frame that the description carries in the group, so must be a keyframe.
    pub key: bool,
    /// The group of the description that it belongs to.
    pub group: GroupId,
}

/// What each description, by index, carries of video frame `n`; `None` where it is not carried at all.
/// `grids` are the catalog's (of `Catalog::grids_of`).
pub fn deal(
    scheme: Scheme,
    rate: FrameRate,
    grids: &[GroupGrid; 2],
    n: FrameNumber,
) -> [Option<Share>; 2] {
    // Frames from one that a description carries to the next.
    let step = if scheme == Scheme::Temporal { 2 } else { 1 };
    Description::BOTH.map(|description| {
        let group_of = |n| grids[description.index()].group_at(rate.time_of(n));
        let group = group_of(n);
        let rendition = rendition(scheme, description, group, n)?;
        let key = n.0.checked_sub(step).is_none_or(|before| group_of(FrameNumber(before)) != group);
        Some(Share { rendition, key, group })
    })
}

fn rendition(
    scheme: Scheme,
    description: Description,
    group: GroupId,
    n: FrameNumber,
) -> Option<Rendition> {
    let is_zero = description == Description::Zero;
    match scheme {
        Scheme::Alternating if group.is_even() == is_zero => Some(Rendition::Primary),
        Scheme::Alternating => Some(Rendition::Secondary),
        Scheme::Temporal => (n.0.is_multiple_of(2) == is_zero).then_some(Rendition::Primary),
        Scheme::Duplicate => Some(Rendition::Primary),
        Scheme::Plain => is_zero.then_some(Rendition::Primary),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use gibbon_media::Catalog;
    use proptest::prelude::*;

    use super::*;

    fn shares(scheme: Scheme, n: u64) -> [Option<Share>; 2] {
        let grids = Catalog::grids_of(scheme, Duration::from_secs(1));
        deal(scheme, FrameRate::new(10, 1).unwrap(), &grids, FrameNumber(n))
    }

    fn share(rendition: Rendition, key: bool, group: u64) -> Option<Share> {
        Some(Share { rendition, key, group: GroupId(group) })
    }

    #[test]
    fn alternating_deals_even_primary_groups_to_description_0_and_odd_ones_to_description_1() {
        use Rendition::{Primary, Secondary};
        assert_eq!(
            shares(Scheme::Alternating, 20),
            [share(Primary, true, 2), share(Secondary, true, 2)]
        );
        assert_eq!(
            shares(Scheme::Alternating, 39),
            [share(Secondary, false, 3), share(Primary, false, 3)]
        );
    }

    #[test]
    fn temporal_deals_single_frames_with_keyframes_half_a_group_apart() {
        assert_eq!(shares(Scheme::Temporal, 20), [share(Rendition::Primary, true, 2), None]);
        assert_eq!(shares(Scheme::Temporal, 22), [share(Rendition::Primary, false, 2), None]);
        assert_eq!(shares(Scheme::Temporal, 23), [None, share(Rendition::Primary, false, 1)]);
        assert_eq!(shares(Scheme::Temporal, 25), [None, share(Rendition::Primary, true, 2)]);
    }

    #[test]
    fn duplicate_carries_every_frame_twice_in_full_quality() {
        let both = share(Rendition::Primary, true, 2);
        assert_eq!(shares(Scheme::Duplicate, 20), [both, both]);
    }

    #[test]
    fn the_very_first_frame_of_time_is_a_keyframe() {
        assert_eq!(shares(Scheme::Temporal, 0), [share(Rendition::Primary, true, 0), None]);
        assert!(shares(Scheme::Temporal, 1)[1].unwrap().key);
    }

    proptest! {
        #[test]
        fn each_group_of_a_description_has_one_keyframe_and_begins_with_it(
            scheme in proptest::sample::select(Scheme::ALL.to_vec()),
            (num, den) in prop_oneof![Just((24, 1)), Just((30000, 1001)), Just((50, 1)), Just((7, 2))],
            group_ms in 300u64..3000,
            first in 0u64..1_000_000,
        ) {
            let rate = FrameRate::new(num, den).unwrap();
            let grids = Catalog::grids_of(scheme, Duration::from_millis(group_ms));
            let mut begun: [BTreeSet<GroupId>; 2] = Default::default();
            for n in first..first + 400 {
                let shares = deal(scheme, rate, &grids, FrameNumber(n));
                let primaries = shares
                    .iter()
                    .flatten()
                    .filter(|share| share.rendition == Rendition::Primary)
                    .count();
                prop_assert_eq!(primaries, if scheme == Scheme::Duplicate { 2 } else { 1 });
                for (share, begun) in shares.into_iter().zip(&mut begun) {
                    let Some(share) = share else { continue };
                    // The first group seen may have begun before `first`.
                    let new = begun.insert(share.group);
                    prop_assert!(share.key == new || (begun.len() == 1 && !share.key));
                }
            }
        }
    }
}
