//! Nonsense from one changes nothing for others.

use gibbon_media::MediaTime;
use gibbon_placement::{
    Position,
    foresight::*,
    predict::{Forecast, Predicted},
};
use proptest::{num::f64::ANY, prelude::*};

use crate::scene::{PLAYOUT_MS, START, Scene, at, edge, place};

/// Ten sessions on edges 0 to 4, of which edge 0 will be overloaded and edge 1 leaves; edge 5 is empty.
fn scene() -> Scene {
    let mut scene = Scene::new(6);
    scene.climbs(0, 0.8, 0.99);
    scene.nodes[1].leaves_at = Some(at(5));
    (0..10).for_each(|n| scene.session(edge(n % 5)).wake());
    scene
}

fn decided(mut scene: Scene, of: usize) -> Vec<Decision<usize>> {
    scene.pass().moves.into_iter().filter(|decision| decision.session < of).collect()
}

proptest! {
    #[test]
    fn a_lying_client_moves_nobody_but_itself(
        samples in proptest::collection::vec((ANY, ANY, ANY, any::<u64>(), 0..9u32), 0..20),
        places in proptest::collection::vec((ANY, ANY, ANY), 10),
        said in any::<u64>(), playout in ANY,
        lies_at in 2..5u32,
    ) {
        let before = decided(scene(), 10);
        let mut scene = scene();
        let mut liar = Session::new(edge(lies_at), StreamIndex(0), playout);
        let predicted = |n: usize| Predicted {
            position: Position::new(places[n].0, places[n].1), uncertainty: places[n].2,
        };
        let ahead = Ahead { said: MediaTime(said), at: std::array::from_fn(predicted), own: true };
        liar.moves(Whereabouts::Moving(Box::new(ahead)));
        for (slack_ms, deviation_ms, missed, time, node) in samples {
            let sample = Sample { at: MediaTime(time), slack_ms, deviation_ms, missed };
            let _ = liar.measured(NodeIndex(node), sample);
        }
        scene.sessions.push(liar);
        // All others at its edge see nothing of what it says of the paths to it.
        (0..4).for_each(|_| { scene.session(edge(lies_at)); });
        let honest = scene.sessions.len() - 4..scene.sessions.len();
        honest.for_each(|n| scene.measures_for(n, 20, lies_at, |_| 700.0));
        // Sessions that name what there is not.
        scene.sessions.push(Session::new(edge(77), StreamIndex(0), PLAYOUT_MS));
        scene.sessions.push(Session::new(edge(2), StreamIndex(5), PLAYOUT_MS));
        let after = decided(scene, 10);
        prop_assert_eq!(before.len(), after.len());
        for (a, b) in before.iter().zip(&after) {
            // It may take a place, which is seen by those after it.
            prop_assert_eq!((a.session, a.need, a.cause), (b.session, b.need, b.cause));
        }
    }

    #[test]
    fn a_lying_edge_moves_nobody_who_is_not_on_it(
        load in ANY, deviation in ANY, limit in ANY, per_leg in ANY, failure in ANY, domain in ANY,
        queue_ms in ANY, reported in any::<u64>(), leaves in proptest::option::of(any::<u64>()),
    ) {
        let before = decided(scene(), 10);
        let mut scene = scene();
        let mut liar = NodeOutlook::new("liar".parse().unwrap());
        liar.load = [Forecast { load, deviation, period: None }; K];
        (liar.limit, liar.per_leg, liar.failure) = (limit, per_leg, failure);
        (liar.domain_failure, liar.queue_ms) = (domain, queue_ms);
        liar.reported = MediaTime(reported);
        liar.leaves_at = leaves.map(MediaTime);
        liar.position = Some(place(40.0));
        scene.nodes.push(liar);
        let after = decided(scene, 10);
        let who = |of: &[Decision<usize>]| of.iter().map(|d| (d.session, d.need)).collect::<Vec<_>>();
        prop_assert_eq!(who(&before), who(&after));
    }
}

#[test]
fn clocks_that_are_off_by_hours_make_a_report_old_or_new_and_no_more() {
    let mut scene = scene();
    for (n, reported) in [(2, MediaTime(0)), (3, START + std::time::Duration::from_secs(7200))] {
        scene.nodes[n].reported = reported;
    }
    let moved: Vec<_> = scene.pass().moves.iter().map(|d| d.from).collect();
    assert!(moved.iter().all(|from| *from != edge(2) && *from != edge(3)), "{moved:?}");
}
