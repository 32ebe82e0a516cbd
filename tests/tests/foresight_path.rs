//! A path that gets worse slowly (M3): whoever hangs on it has left it before anything is late.

use std::time::Duration;

use gibbon_testbed::{Direction, Impairment, Network, SET_EVERY, over};
use gibbon_tests::scene::{Scene, Stage, small, watches};

/// For so long the path is as ever.
const BEFORE: Duration = Duration::from_secs(10);
/// Then it gets longer by 25 ms each second, until frames come after their deadlines.
const WORSE: Duration = Duration::from_secs(38);
const WORSE_BY_MS: f64 = 25.0;

fn gets_worse(stage: &mut Stage) -> anyhow::Result<()> {
    let path = stage.network.access_path("edge-a")?;
    over(BEFORE + WORSE, SET_EVERY, |after| {
        let ms = WORSE_BY_MS * after.saturating_sub(BEFORE).as_secs_f64();
        path.impair(Direction::ToClient, &Impairment::none().latency(ms as u32));
    });
    Ok(())
}

#[test]
fn a_path_that_gets_worse_is_left_before_anything_is_late() -> anyhow::Result<()> {
    let mut setup = small(&["edge-a", "edge-b"]);
    setup.access_paths = vec!["edge-a".into(), "edge-b".into()];
    let scene = Scene {
        setup,
        control: watches().at("edge-b"),
        cast: |network: &Network| Ok(vec![network.play("viewer", &watches().at("edge-a"))?]),
        action: gets_worse,
    };
    scene.show(|outcome| outcome.foresight_pays())
}
