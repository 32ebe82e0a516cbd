//! Whole sessions as a viewer sees them.

#![allow(clippy::unwrap_used)]

mod publisher;

use std::time::Duration;

use gibbon_mdc::{
    Admission, Candidate, Conceal, Config, Due, Merger, Rendition, Sound, Stats, Verdict,
};
use gibbon_media::{
    Catalog, Description, Frame, FrameFlags, FrameRate, GroupId, MediaTime, Medium, Scheme,
};
use publisher::{
    JOINED, ORIGIN, Parcel, SECOND, Viewer, audio, catalog, cue, header, ms, text, video,
};

const ON_TIME: fn(&Parcel) -> Option<Duration> = |_| Some(ms(10));

fn stream(scheme: Scheme) -> Catalog {
    catalog(scheme, FrameRate::new(24, 1).unwrap())
}

/// Sound, text (cues 1, 2, 3) and video of ten seconds.
fn programme(catalog: &Catalog) -> Vec<Parcel> {
    let cues = [cue(1, ms(1500), ms(2500)), cue(2, ms(3100), ms(3300)), cue(3, ms(3200), ms(6100))];
    let mut parcels = video(catalog, 10, 1);
    parcels.extend(audio(catalog, 10));
    parcels.extend(text(catalog, 10, &cues));
    parcels
}

/// A viewer who joins one second into the programme and watches eight seconds of it.
fn watch(catalog: &Catalog, late: impl Fn(&Parcel) -> Option<Duration>) -> (Viewer, Stats) {
    let mut viewer = Viewer::joins(catalog, Config::default(), SECOND);
    let deliveries = viewer.send(&programme(catalog), late);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.finish(JOINED + 8 * SECOND);
    (viewer, stats)
}

fn is(p: &Parcel, medium: Medium, group: u64) -> bool {
    p.header.medium == medium && p.header.group == GroupId(group)
}

#[test]
fn with_both_descriptions_all_is_central_and_sound_and_cues_are_whole() {
    for scheme in Scheme::ALL {
        let (viewer, stats) = watch(&stream(scheme), ON_TIME);
        assert_eq!((stats.frames.side, stats.frames.frozen), (0, 0), "{scheme}");
        assert!(stats.frames.expected >= 8 * 24, "{scheme}");
        assert!(stats.audio.expected_ms >= 7880, "{scheme}");
        assert_eq!((stats.audio.gap_ms, stats.text.missed), (0, 0), "{scheme}");
        assert_eq!(viewer.cues(), [1, 2, 3], "{scheme}");
        assert_eq!((stats.bytes.duplicate, stats.refused), (0, 0), "{scheme}");
    }
}

#[test]
fn with_one_description_withheld_nothing_freezes_and_half_the_frames_are_side() {
    let divided = Scheme::ALL.into_iter().filter(|scheme| *scheme != Scheme::Plain);
    for (scheme, withheld) in divided.zip(Description::BOTH.into_iter().cycle()) {
        let catalog = stream(scheme);
        let (viewer, stats) = watch(&catalog, |p| (p.description != withheld).then_some(ms(10)));
        let expected = stats.frames.expected;
        assert!(expected >= 7 * 24, "{scheme}");
        assert_eq!((stats.frames.frozen, stats.freezes.count), (0, 0), "{scheme}");
        if scheme == Scheme::Duplicate {
            assert_eq!(stats.frames.side, 0);
        } else {
            assert!(stats.frames.side.abs_diff(expected / 2) <= 24, "{scheme}: {stats:?}");
        }
        assert_eq!(stats.frames.side_chosen, 0, "{scheme}");
        assert_eq!((stats.audio.gap_ms, stats.text.missed), (0, 0), "{scheme}");
        assert_eq!(viewer.cues(), [1, 2, 3], "{scheme}");
    }
}

#[test]
fn side_frames_of_a_viewer_who_chose_one_description_are_told_apart() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    viewer.merger.set_chosen(Some(Description::One));
    let deliveries = viewer
        .send(&programme(&catalog), |p| (p.description == Description::One).then_some(ms(10)));
    viewer.watch(deliveries, JOINED + 4 * SECOND);
    let frames = viewer.merger.stats().frames;
    // Group 1000 comes first, and of it only the secondary rendition.
    assert!(frames.side >= 47);
    assert_eq!(frames.side_chosen, frames.side);
    assert!(viewer.shown().iter().all(|s| s.side_chosen == (s.verdict == Verdict::Side)));
    assert!(viewer.shown()[0].deadline <= JOINED + ms(50));
}

#[test]
fn side_frames_are_by_choice_from_the_first_media_let_go_until_the_description_is_back() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    // Description 1 is let go from 3 s to 6 s, and its group at 7 s is lost.
    let gone = |p: &Parcel| {
        p.description == Description::One && [1003, 1004, 1005, 1007].contains(&p.header.group.0)
    };
    let all = viewer.send(&programme(&catalog), |p| (!gone(p)).then_some(ms(10)));
    let before = |at: Duration| move |(arrives, _): &(Duration, Parcel)| *arrives <= JOINED + at;
    let (deliveries, later): (_, Vec<_>) = all.into_iter().partition(before(2 * SECOND));
    let (let_go, back): (_, Vec<_>) = later.into_iter().partition(before(5 * SECOND));
    viewer.watch(deliveries, JOINED + 2 * SECOND);
    viewer.merger.choose_one(ORIGIN + 3 * SECOND);
    viewer.watch(let_go, JOINED + 5 * SECOND);
    viewer.merger.choose_both(ORIGIN + 6 * SECOND);
    viewer.watch(back, JOINED + 8 * SECOND);
    let frames = viewer.merger.stats().frames;
    // Of odd groups the primary rendition is in description 1.
    assert_eq!((frames.side, frames.side_chosen, frames.frozen), (3 * 24, 2 * 24, 0));
    let chosen =
        |s: &gibbon_mdc::Shown| s.time >= ORIGIN + 3 * SECOND && s.time < ORIGIN + 6 * SECOND;
    let mut side = viewer.shown().into_iter().filter(|s| s.verdict == Verdict::Side);
    assert!(side.all(|s| s.side_chosen == chosen(&s)));
}

#[test]
fn a_description_let_go_again_before_it_was_back_stays_let_go() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let deliveries = viewer
        .send(&programme(&catalog), |p| (p.description == Description::Zero).then_some(ms(10)));
    viewer.merger.choose_one(ORIGIN);
    viewer.merger.choose_both(ORIGIN + 2 * SECOND);
    viewer.merger.choose_one(ORIGIN + 5 * SECOND);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let frames = viewer.merger.stats().frames;
    assert!(frames.side >= 3 * 24);
    assert_eq!(frames.side_chosen, frames.side);
}

#[test]
fn a_viewer_joins_at_the_playout_position_in_the_middle_of_a_group_and_of_a_cue() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), ms(3250));
    // The second edge's answer moves nothing.
    viewer.merger.handle_accepted(JOINED + ms(5), ORIGIN + ms(3290));
    let deliveries = viewer.send(&programme(&catalog), ON_TIME);
    viewer.watch(deliveries, JOINED + 4 * SECOND);
    let shown = viewer.shown();
    assert!(shown[0].time >= ORIGIN + ms(2250) && shown[0].time <= ORIGIN + ms(2310));
    assert!(shown[0].deadline >= JOINED + ms(10));
    assert_eq!(shown[0].verdict, Verdict::Central);
    assert!(viewer.heard()[0].time() >= ORIGIN + ms(2250));
    // Cue 1 is under way, and no cue was missed for having begun before.
    assert_eq!(viewer.cues(), [1, 2, 3]);
    assert_eq!(viewer.merger.stats().text.missed, 0);
}

#[test]
fn the_order_in_which_first_bytes_arrive_does_not_show() {
    let catalog = stream(Scheme::Alternating);
    let late_primary = |by| {
        move |p: &Parcel| {
            // Description 0 carries the primary rendition of group 1000, where playback begins.
            let zero = p.description == Description::Zero;
            Some(if zero { by } else { ms(1) })
        }
    };
    let (viewer, stats) = watch(&catalog, late_primary(ms(150)));
    assert_eq!((stats.frames.side, stats.frames.frozen), (0, 0));
    assert!(viewer.shown()[0].deadline >= JOINED + ms(150));
    // But the viewer does not wait for it for ever.
    let (viewer, stats) = watch(&catalog, late_primary(ms(600)));
    assert!(viewer.shown()[0].deadline <= JOINED + ms(250 + 42));
    assert_eq!(viewer.shown()[0].verdict, Verdict::Side);
    assert_eq!(stats.frames.frozen, 0);
}

#[test]
fn outputs_come_in_order_of_their_deadlines() {
    let (viewer, _) = watch(&stream(Scheme::Temporal), ON_TIME);
    let deadline = |due: &Due| match due {
        Due::Video(shown) => shown.deadline,
        Due::Audio(sound) => viewer.merger.deadline_of(sound.time()).unwrap(),
        Due::Cue(cue) => viewer.merger.deadline_of(cue.start).unwrap(),
    };
    let deadlines: Vec<_> = viewer.seen.iter().map(deadline).collect();
    assert!(deadlines.is_sorted());
}

#[test]
fn a_restarted_encoder_goes_on_at_the_first_whole_group_not_yet_begun() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let mut parcels = video(&catalog, 10, 1);
    parcels.retain(|p| p.frame.as_ref().unwrap().time < ORIGIN + ms(3500));
    parcels.extend(video(&catalog, 10, 2).into_iter().filter(|p| p.header.group.0 >= 1004));
    let deliveries = viewer.send(&parcels, ON_TIME);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.finish(JOINED + 8 * SECOND);
    assert_eq!((stats.frames.frozen, stats.freezes.count), (12, 1));
    assert_eq!((stats.freezes.total_ms, stats.freezes.longest_ms), (500, 500));
    assert_eq!(stats.frames.central, stats.frames.expected - 12);
}

#[test]
fn deadlines_count_whether_or_not_anything_arrives() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let mut parcels = programme(&catalog);
    parcels.retain(|p| p.header.group.0 <= 1002);
    let deliveries = viewer.send(&parcels, ON_TIME);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.finish(JOINED + 8 * SECOND);
    // Three groups were seen, the first frame came too late; five are missing, and the deadline of
    // the end is the first of a sixth.
    assert_eq!((stats.frames.central, stats.frames.frozen), (71, 121));
    assert_eq!((stats.freezes.count, stats.freezes.total_ms), (1, 121_000 / 24));
    assert_eq!(stats.audio.gap_ms, 5020);
    // Cues 2 and 3 are not known of; what is known is that five text groups never came.
    assert_eq!((stats.text.cues, stats.text.missed), (1, 5));
    assert_eq!(viewer.merger.poll(JOINED + 20 * SECOND), None);
    assert_eq!(viewer.merger.next_deadline(), None);
    assert_eq!(viewer.merger.finish(JOINED + 20 * SECOND), stats);
    viewer.receive(JOINED + 8 * SECOND, programme(&catalog).pop().unwrap());
    viewer.receive(JOINED + 8 * SECOND, video(&catalog, 10, 1).pop().unwrap());
    assert_eq!(viewer.admissions.last(), Some(&Admission::Refused));
}

#[test]
fn a_hole_in_a_primary_group_is_bridged_by_the_secondary_until_the_next_group() {
    let catalog = stream(Scheme::Alternating);
    let (viewer, stats) = watch(&catalog, |p| {
        let hole = is(p, Medium::Video, 1004) && p.description == Description::Zero;
        (!(hole && p.index == 12)).then_some(ms(10))
    });
    assert_eq!((stats.frames.side, stats.frames.frozen), (12, 0));
    let side = viewer.shown().into_iter().find(|shown| shown.verdict == Verdict::Side).unwrap();
    let Some(Candidate::Coded(picture)) = side.source else { panic!("{side:?}") };
    assert_eq!((picture.chain.description, picture.index), (Description::One, 12));
    assert_eq!(picture.rendition, Rendition::Secondary);
}

#[test]
fn a_frame_after_its_deadline_does_not_help_itself_but_those_after_it() {
    let catalog = stream(Scheme::Duplicate);
    let (viewer, stats) = watch(&catalog, |p| {
        let hole = is(p, Medium::Video, 1004) && p.index == 6;
        Some(if hole { ms(1100) } else { ms(10) })
    });
    // Due 1 s after it was published; the two frames after it wait for it, 41.7 ms each.
    assert_eq!((stats.frames.frozen, stats.freezes.longest_ms), (3, 125));
    assert_eq!(stats.frames.central, stats.frames.expected - 3);
    let late =
        |viewer: &Viewer| viewer.admissions.iter().filter(|a| **a == Admission::Late).count();
    assert_eq!(late(&viewer), late(&watch(&catalog, ON_TIME).0) + 2);
}

#[test]
fn a_chain_that_a_decoder_cannot_read_does_not_count() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let deliveries = viewer.send(&video(&catalog, 3, 1), ON_TIME);
    viewer.watch(deliveries, JOINED + ms(1500));
    let n = viewer.shown().last().unwrap().number.0 + 1;
    let best = |viewer: &Viewer| viewer.merger.best(gibbon_media::FrameNumber(n));
    let Some(Candidate::Coded(picture)) = best(&viewer) else { panic!() };
    assert_eq!(picture.rendition, Rendition::Primary);
    viewer.merger.mark_undecodable(&picture.chain, picture.index);
    // A later report about what follows does not make it whole again.
    viewer.merger.mark_undecodable(&picture.chain, picture.index + 3);
    let Some(Candidate::Coded(other)) = best(&viewer) else { panic!() };
    assert_eq!(other.rendition, Rendition::Secondary);
    viewer.merger.mark_undecodable(&other.chain, 0);
    assert_eq!(best(&viewer), None);
}

#[test]
fn temporal_conceals_from_the_adjacent_frames_as_the_viewer_chose() {
    let catalog = stream(Scheme::Temporal);
    for conceal in [Conceal::Repeat, Conceal::Blend] {
        let config = Config { conceal, ..Config::default() };
        let mut viewer = Viewer::joins(&catalog, config, SECOND);
        let deliveries = viewer.send(&video(&catalog, 10, 1), |p| {
            (p.description == Description::Zero).then_some(ms(10))
        });
        viewer.watch(deliveries, JOINED + 4 * SECOND);
        let odd = viewer.shown().into_iter().rfind(|s| s.verdict == Verdict::Side);
        let n = odd.unwrap().number.0;
        assert_eq!(n % 2, 1);
        let number = |picture: gibbon_mdc::Picture| {
            let (_, frame) = viewer.merger.coded(&picture.chain, picture.index).next().unwrap();
            catalog.video.as_ref().unwrap().rate.frame_at(frame.time).0
        };
        match odd.unwrap().source.unwrap() {
            Candidate::Repeat(before) if conceal == Conceal::Repeat => {
                assert_eq!(number(before), n - 1);
            }
            Candidate::Blend(before, after) if conceal == Conceal::Blend => {
                assert_eq!((number(before), number(after)), (n - 1, n + 1));
            }
            other => panic!("{conceal:?}: {other:?}"),
        }
    }
}

#[test]
fn a_description_received_from_two_edges_counts_one_of_them_as_duplicate() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let parcels = programme(&catalog);
    let twice = |p: &&Parcel| p.description == Description::One && p.header.group.0 == 1004;
    let again: Vec<_> = parcels.iter().filter(twice).cloned().collect();
    let again_bytes: usize =
        again.iter().filter_map(|p| Some(p.frame.as_ref()?.payload.len())).sum();
    let mut deliveries = viewer.send(&parcels, ON_TIME);
    deliveries.extend(viewer.send(&again, |_| Some(ms(30))));
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.stats();
    assert_eq!(stats.bytes.duplicate, again_bytes as u64);
    assert_eq!((stats.frames.side, stats.frames.frozen, stats.audio.gap_ms), (0, 0, 0));
    assert_eq!(viewer.cues(), [1, 2, 3]);
}

#[test]
fn sound_is_played_packet_by_packet_with_each_hole_counted_and_the_decoder_primed() {
    let catalog = stream(Scheme::Alternating);
    let lost = [ORIGIN + ms(3000), ORIGIN + ms(3020), ORIGIN + ms(5000)];
    let (viewer, stats) = watch(&catalog, |p| {
        let time = p.frame.as_ref().map(|frame| frame.time);
        let hole = p.header.medium == Medium::Audio && time.is_some_and(|t| lost.contains(&t));
        // What arrives in one description is enough; too late in both is a hole.
        match (hole, p.description) {
            (false, Description::Zero) => Some(ms(10)),
            (false, Description::One) => Some(ms(200)),
            (true, Description::Zero) => None,
            (true, Description::One) => Some(ms(1001)),
        }
    });
    let heard = viewer.heard();
    for pair in heard.windows(2) {
        assert_eq!(pair[1].time(), pair[0].time() + ms(20));
    }
    let gaps: Vec<_> = heard
        .iter()
        .filter_map(|sound| match sound {
            Sound::Gap { time, length, .. } => {
                assert_eq!(*length, ms(20));
                Some(*time)
            }
            Sound::Packet { .. } => None,
        })
        .collect();
    assert_eq!(gaps, lost);
    let priming = |s: &&Sound| matches!(s, Sound::Packet { priming: true, .. });
    assert_eq!(heard.iter().take_while(priming).count(), 4);
    assert_eq!(heard.iter().filter(priming).count(), 4);
    assert_eq!(stats.audio.gap_ms, 60);
    assert_eq!(stats.audio.expected_ms, (heard.len() as u64 - 4) * 20);
}

#[test]
fn a_hole_while_the_decoder_is_primed_begins_the_sound_again_behind_it() {
    let catalog = stream(Scheme::Alternating);
    let (viewer, stats) = watch(&catalog, |p| {
        let time = p.frame.as_ref().map(|frame| frame.time);
        let hole = p.header.medium == Medium::Audio && time == Some(ORIGIN + ms(60));
        (!hole).then_some(ms(10))
    });
    let first_heard = viewer
        .heard()
        .into_iter()
        .find(|s| matches!(s, Sound::Packet { priming: false, .. }))
        .unwrap();
    assert_eq!(first_heard.time(), ORIGIN + ms(160));
    assert_eq!(stats.audio.gap_ms, 0);
}

#[test]
fn sound_goes_on_when_a_restarted_encoder_is_off_the_grid() {
    let catalog = stream(Scheme::Alternating);
    let gap_ms = |shift: fn(MediaTime) -> MediaTime| {
        let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
        let mut parcels = audio(&catalog, 10);
        for parcel in parcels.iter_mut().filter(|p| p.header.group.0 >= 1004) {
            let frame = parcel.frame.as_mut().unwrap();
            frame.time = shift(frame.time);
            let group = catalog.grid(parcel.description).group_at(frame.time);
            parcel.header = header(Medium::Audio, group, 2);
            parcel.index = u32::try_from(frame.time.0 % 1_000_000 / 20_000).unwrap();
        }
        let deliveries = viewer.send(&parcels, ON_TIME);
        viewer.watch(deliveries, JOINED + 8 * SECOND);
        let heard = viewer.heard();
        assert!(heard.is_sorted_by_key(Sound::time));
        assert!(heard.len().abs_diff(400) <= 1, "{}", heard.len());
        viewer.merger.stats().audio.gap_ms
    };
    assert_eq!(gap_ms(|time| time + ms(7)), 0);
    assert_eq!(gap_ms(|time| time.back(ms(7))), 0);
    // Nearer to the next place than to its own.
    assert_eq!(gap_ms(|time| time + ms(12)), 20);
}

#[test]
fn sound_of_two_encoders_at_once_is_not_mixed() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let mut parcels = audio(&catalog, 10);
    let mut others = parcels.clone();
    for parcel in &mut others {
        parcel.header = header(Medium::Audio, parcel.header.group, 2);
        let frame = parcel.frame.as_mut().unwrap();
        frame.time = frame.time + ms(5);
    }
    parcels.extend(others);
    let deliveries = viewer.send(&parcels, ON_TIME);
    viewer.watch(deliveries, JOINED + 4 * SECOND);
    let heard = viewer.heard();
    assert!(heard.windows(2).all(|pair| pair[1].time() == pair[0].time() + ms(20)));
}

#[test]
fn what_arrives_after_its_group_has_played_is_late() {
    let catalog = stream(Scheme::Alternating);
    let cues = [cue(1, ms(100), ms(200))];
    let mut parcels = programme(&catalog);
    parcels.extend(text(&catalog, 1, &cues));
    parcels.retain(|p| p.header.group == GroupId(1000) && p.frame.is_some());
    assert_eq!(parcels.len(), 2 * (24 + 50 + 1));
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    viewer.poll(JOINED + 2 * SECOND);
    parcels.into_iter().for_each(|parcel| viewer.receive(JOINED + 2 * SECOND, parcel));
    assert!(viewer.admissions.iter().all(|a| *a == Admission::Late));
    assert_eq!((viewer.merger.stats().text.missed, viewer.cues()), (0, vec![]));
}

#[test]
fn a_cue_learned_too_late_is_missed_once_and_still_shown_while_it_lasts() {
    let catalog = stream(Scheme::Alternating);
    // The groups in which cue 3 begins and goes on arrive after it was due; cue 2 is over by then.
    let (viewer, stats) = watch(&catalog, |p| {
        let late = p.header.medium == Medium::Text && [1003, 1004].contains(&p.header.group.0);
        Some(if late { ms(1800) } else { ms(10) })
    });
    assert_eq!(viewer.cues(), [1, 3]);
    assert_eq!((stats.text.cues, stats.text.missed), (2, 2));
}

#[test]
fn a_late_cue_takes_its_turn_when_it_is_learned_of() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    for (at, parcel) in viewer.send(&video(&catalog, 2, 1), |_| Some(ms(0))) {
        viewer.receive(at, parcel);
    }
    let mut parcels = text(&catalog, 1, &[cue(1, ms(0), ms(900))]);
    parcels.truncate(1);
    parcels.into_iter().for_each(|parcel| viewer.receive(JOINED + ms(600), parcel));
    viewer.poll(JOINED + ms(800));
    let turn = viewer.seen.iter().position(|due| matches!(due, Due::Cue(_))).unwrap();
    let before = |due: &Due| matches!(due, Due::Video(shown) if shown.deadline < JOINED + ms(600));
    assert_eq!(turn, viewer.seen.iter().filter(|due| before(due)).count());
    assert!(turn > 10 && turn + 1 < viewer.seen.len());
}

#[test]
fn a_cue_that_began_before_the_first_picture_is_not_missed_however_late_it_is_learned_of() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), ms(3000));
    let deliveries = viewer.send(&programme(&catalog), |p| {
        Some(if p.header.medium == Medium::Text { ms(300) } else { ms(10) })
    });
    viewer.watch(deliveries, JOINED + 4 * SECOND);
    // Cue 1 began at 1.5 s, playback at 2 s.
    assert_eq!(viewer.cues(), [1, 2, 3]);
    assert_eq!(viewer.merger.stats().text.missed, 0);
}

#[test]
fn a_cue_repeated_on_the_other_grid_after_it_has_ended_stays_known() {
    let catalog = stream(Scheme::Temporal);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let mut parcels = video(&catalog, 10, 1);
    parcels.extend(text(&catalog, 10, &[cue(9, ms(3600), ms(3700))]));
    // Group 1003 of description 1 lasts from 3.5 s to 4.5 s and arrives at 4.2 s.
    let deliveries = viewer.send(&parcels, |p| {
        let late = is(p, Medium::Text, 1003) && p.description == Description::One;
        Some(ms(if late { 1700 } else { 10 }))
    });
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    assert_eq!((viewer.cues(), viewer.merger.stats().text.missed), (vec![9], 0));
}

#[test]
fn a_slightly_late_cue_is_not_missed() {
    let catalog = stream(Scheme::Alternating);
    let cues = [cue(9, ms(4000), ms(4500))];
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let mut parcels = video(&catalog, 10, 1);
    parcels.extend(text(&catalog, 10, &cues));
    let deliveries =
        viewer.send(&parcels, |p| Some(if is(p, Medium::Text, 1004) { ms(1150) } else { ms(10) }));
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    assert_eq!((viewer.cues(), viewer.merger.stats().text.missed), (vec![9], 0));
}

#[test]
fn a_text_group_lost_in_both_descriptions_counts_as_a_missed_cue() {
    for scheme in [Scheme::Alternating, Scheme::Temporal] {
        // 1006 in description 0; in `temporal` description 1 covers it by 1005 and 1006.
        let lost = |p: &Parcel, groups: &[u64], description| {
            let concerned = p.header.medium == Medium::Text && p.description == description;
            concerned && groups.contains(&p.header.group.0)
        };
        let (zero, one) = (Description::Zero, Description::One);
        let missed = |of_one: &[u64]| {
            let (_, stats) = watch(&stream(scheme), |p| {
                (!lost(p, &[1006], zero) && !lost(p, of_one, one)).then_some(ms(10))
            });
            stats.text.missed
        };
        assert_eq!((missed(&[]), missed(&[1006])), (0, 1), "{scheme}");
        assert_eq!(missed(&[1005]), u64::from(scheme == Scheme::Temporal), "{scheme}");
    }
}

#[test]
fn a_stream_without_video_or_sound_still_shows_its_cues() {
    let mut catalog = stream(Scheme::Alternating);
    let parcels = programme(&catalog);
    (catalog.video, catalog.audio) = (None, None);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let lost = |p: &Parcel| (!is(p, Medium::Text, 1007)).then_some(ms(10));
    let deliveries = viewer.send(&parcels, lost);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.finish(JOINED + 8 * SECOND);
    assert_eq!(viewer.cues(), [1, 2, 3]);
    assert_eq!((stats.text.missed, stats.frames.expected), (1, 0));
    assert!(viewer.admissions.contains(&Admission::Refused));
}

#[test]
fn a_stream_of_sound_and_text_alone_knows_what_text_it_lost() {
    let mut catalog = stream(Scheme::Alternating);
    let mut parcels = audio(&catalog, 10);
    parcels.extend(text(&catalog, 10, &[]));
    catalog.video = None;
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let lost = |p: &Parcel| (!is(p, Medium::Text, 1005)).then_some(ms(10));
    let deliveries = viewer.send(&parcels, lost);
    viewer.watch(deliveries, JOINED + 8 * SECOND);
    let stats = viewer.merger.stats();
    assert_eq!((stats.text.missed, stats.audio.gap_ms), (1, 0));
    assert!(viewer.merger.slack(Description::One).unwrap().at_least(ms(990)));
}

#[test]
fn the_delay_grows_by_a_fifth_at_most_where_frames_keep_arriving_late() {
    let catalog = stream(Scheme::Alternating);
    let late = |by| move |p: &Parcel| Some(if p.header.group.0 < 1002 { ms(10) } else { by });
    // 900 ms of 1000: close, nothing frozen, and after some seconds not close any more.
    let (viewer, stats) = watch(&catalog, late(ms(900)));
    assert_eq!((stats.frames.frozen, stats.playout_delay.max), (0, 1100));
    assert!(viewer.shown().is_sorted_by_key(|shown| shown.number));
    let slack = viewer.merger.slack(Description::Zero).unwrap();
    assert!(slack.at_least(ms(199)) && !slack.at_least(ms(201)), "{slack:?}");
    // 1100 ms: frozen until the delay has grown past it.
    let (viewer, stats) = watch(&catalog, late(ms(1100)));
    assert_eq!(stats.playout_delay.initial, 1000);
    assert!((1150..=1200).contains(&stats.playout_delay.max), "{stats:?}");
    assert!(stats.frames.frozen > 0);
    assert!(viewer.shown().iter().rev().take(24).all(|s| s.verdict == Verdict::Central));
    let numbers: Vec<_> = viewer.shown().iter().map(|shown| shown.number.0).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1));
    // One late group is no reason.
    let once = |p: &Parcel| Some(if p.header.group.0 == 1004 { ms(1200) } else { ms(10) });
    assert_eq!(watch(&catalog, once).1.playout_delay.max, 1000);
}

#[test]
fn what_another_edge_sends_after_a_loss_does_not_make_the_delay_grow() {
    let catalog = stream(Scheme::Alternating);
    let watched = |resumed: bool| {
        let config = Config { playout_delay: ms(300), ..Config::default() };
        let mut viewer = Viewer::joins(&catalog, config, SECOND);
        // From 3.5 s to 4.1 s all of description 0 comes 290 ms late.
        let lost = |p: &Parcel| {
            let published = p.published(&catalog);
            let outage = ORIGIN + ms(3500)..ORIGIN + ms(4100);
            p.description == Description::Zero && outage.contains(&published)
        };
        let deliveries =
            viewer.send(&video(&catalog, 8, 1), |p| Some(if lost(p) { ms(290) } else { ms(10) }));
        if resumed {
            viewer.merger.handle_resumed(Description::Zero, ORIGIN + ms(4100));
        }
        viewer.watch(deliveries, JOINED + 6 * SECOND);
        viewer.merger.stats().playout_delay.max
    };
    assert_eq!(watched(true), 300);
    assert!(watched(false) > 300);
}

#[test]
fn what_only_serves_to_decode_does_not_count_as_slack() {
    let catalog = stream(Scheme::Alternating);
    let config = Config { playout_delay: ms(300), ..Config::default() };
    // Playback begins at 3.6 s; the group, at 3 s.
    let mut viewer = Viewer::joins(&catalog, config, ms(3900));
    let deliveries = viewer.send(&video(&catalog, 4, 1), ON_TIME);
    viewer.watch(deliveries, JOINED + ms(50));
    let slack = viewer.merger.slack(Description::One).unwrap();
    assert_eq!(slack.group, GroupId(1003));
    assert!(slack.worst_us >= -10_000 && slack.latest_us > 250_000, "{slack:?}");
}

#[test]
fn joining_does_not_make_the_delay_grow() {
    for live in (500..4500).step_by(250).map(ms) {
        let catalog = stream(Scheme::Temporal);
        let mut viewer = Viewer::joins(&catalog, Config::default(), live);
        let deliveries = viewer.send(&programme(&catalog), |_| Some(ms(60)));
        viewer.watch(deliveries, JOINED + 4 * SECOND);
        assert_eq!(viewer.merger.stats().playout_delay.max, 1000, "{live:?}");
    }
}

#[test]
fn what_is_malformed_or_beyond_a_bound_is_refused_and_counted() {
    let catalog = stream(Scheme::Alternating);
    let frame = |time, flags| Frame { time, flags, payload: b"{}".to_vec().into() };
    let good = frame(ORIGIN, FrameFlags::KEY);
    let mut early = Merger::new(catalog.clone(), Config::default());
    let first = header(Medium::Video, GroupId(1000), 1);
    let unanchored = early.handle_frame(JOINED, Description::Zero, &first, 0, good.clone());
    assert_eq!(unanchored, Admission::Refused);

    let mut merger = Viewer::joins(&catalog, Config::default(), SECOND).merger;
    let mut offer = |medium, group, producer, index, frame| {
        let header = header(medium, GroupId(group), producer);
        merger.handle_frame(JOINED, Description::Zero, &header, index, frame)
    };
    let far = MediaTime(ORIGIN.0 + 6_000_000);
    let big = Frame { payload: vec![0; 9000].into(), ..good.clone() };
    let table = [
        ("not a keyframe", Medium::Video, 1000, 0, frame(ORIGIN, FrameFlags::PRIMARY)),
        ("of another group", Medium::Video, 1001, 0, good.clone()),
        ("sound of another group", Medium::Audio, 1001, 0, good.clone()),
        ("too many frames", Medium::Video, 1000, 4096, good.clone()),
        ("too far ahead", Medium::Video, 1006, 0, frame(far, FrameFlags::KEY)),
        ("no time at all", Medium::Video, u64::MAX, 0, frame(MediaTime(u64::MAX), FrameFlags::KEY)),
        ("no cue", Medium::Text, 1000, 0, good.clone()),
        ("a huge packet", Medium::Audio, 1000, 0, big.clone()),
        ("a huge cue", Medium::Text, 1000, 0, big),
    ];
    let refusals = table.len() as u64;
    for (what, medium, group, index, frame) in table {
        assert_eq!(offer(medium, group, 1, index, frame), Admission::Refused, "{what}");
    }
    // Time that does not rise along a chain, here at index 1.
    assert_eq!(offer(Medium::Video, 1000, 1, 0, good.clone()), Admission::New);
    assert_eq!(offer(Medium::Video, 1000, 1, 1, good.clone()), Admission::Refused);
    for producer in 2..5 {
        assert_eq!(offer(Medium::Video, 1000, producer, 0, good.clone()), Admission::New);
    }
    assert_eq!(offer(Medium::Video, 1000, 5, 0, good), Admission::Refused);
    assert_eq!(merger.stats().refused, refusals + 2);
}

#[test]
fn pictures_held_are_bounded_in_bytes_and_let_go_when_played() {
    let catalog = stream(Scheme::Duplicate);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let payload = bytes::Bytes::from(vec![0; 8 << 20]);
    let mut parcels = video(&catalog, 10, 1);
    parcels.retain(|p| p.description == Description::Zero && p.header.group.0 >= 1000);
    for parcel in &mut parcels {
        parcel.frame.as_mut().unwrap().payload = payload.clone();
    }
    let (now, later): (Vec<_>, Vec<_>) = parcels.into_iter().partition(|p| p.header.group.0 < 1001);
    now.into_iter().for_each(|parcel| viewer.receive(JOINED, parcel));
    assert_eq!(
        viewer.admissions,
        [[Admission::New; 16].as_slice(), &[Admission::Refused; 8]].concat()
    );
    viewer.poll(JOINED + ms(1500));
    later.into_iter().take(16).for_each(|parcel| viewer.receive(JOINED + ms(1500), parcel));
    assert!(!viewer.admissions[24..].contains(&Admission::Refused));
}

#[test]
fn a_flood_of_cues_is_bounded_and_forgotten_when_it_has_played() {
    let catalog = stream(Scheme::Alternating);
    let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
    let flood = |second: u64| {
        let cues: Vec<_> = (0..300)
            .map(|i| cue(second * 1000 + i, ms(second * 1000), ms(second * 1000 + 500)))
            .collect();
        let parcels = text(&catalog, second + 1, &cues).into_iter();
        parcels.filter(move |p| is(p, Medium::Text, 1000 + second)).take(301)
    };
    for second in [1, 5] {
        viewer.poll(JOINED + ms(second * 1000));
        let before = viewer.admissions.len();
        flood(second).for_each(|parcel| viewer.receive(JOINED + ms(second * 1000), parcel));
        let admissions = &viewer.admissions[before..];
        let refused = admissions.iter().filter(|a| **a == Admission::Refused).count();
        assert_eq!((admissions.len(), refused), (300, 44));
    }
}

#[test]
fn a_long_session_holds_no_more_than_a_short_one() {
    for scheme in Scheme::ALL {
        let catalog = stream(scheme);
        let cues: Vec<_> = (0..30).map(|i| cue(i, ms(i * 2000), ms(i * 2000 + 900))).collect();
        let mut parcels = video(&catalog, 60, 1);
        parcels.extend(audio(&catalog, 60));
        parcels.extend(text(&catalog, 60, &cues));
        let held_after = |seconds: u64| {
            let mut viewer = Viewer::joins(&catalog, Config::default(), SECOND);
            let mut deliveries = viewer.send(&parcels, ON_TIME);
            let end = JOINED + ms(seconds * 1000);
            deliveries.retain(|(at, _)| *at <= end);
            viewer.watch(deliveries, end);
            format!("{:?}", viewer.merger).len()
        };
        let (short, long) = (held_after(6), held_after(56));
        assert!(long.abs_diff(short) < short / 20, "{scheme}: {short} and {long}");
    }
}

#[test]
fn the_counts_have_the_names_of_the_report() {
    let json = serde_json::to_value(Stats::default()).unwrap();
    for pointer in [
        "/playout_delay_ms/final",
        "/playout_delay_ms/initial",
        "/frames/side_chosen",
        "/freezes/longest_ms",
        "/audio/gap_ms",
        "/text/missed",
        "/bytes/duplicate",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer}");
    }
}
