//! Viewers of the network, and one beside them that nothing is done to.

use std::cell::Cell;

use anyhow::ensure;
use gibbon_control::report::Report;
use gibbon_mdc::Verdict;
use gibbon_media::Placement;
use gibbon_tests::{Run, longest, never_froze, saw};

use crate::{APART, Containers, EDGES, Player};

/// On each edge a viewer that has both descriptions there, as many that have them on two, and a control viewer.
#[derive(Debug)]
pub struct Audience {
    still: Player,
    players: Vec<Player>,
}

impl Audience {
    /// Starts them, and waits until all play. One of those that are hurt decodes.
    pub fn start(network: &Containers) -> anyhow::Result<Self> {
        let still = Player::start(network, "control", &["--edge", APART])?;
        let mut players = Vec::new();
        for edge in EDGES {
            let (together, diverse) = (format!("together-{edge}"), format!("diverse-{edge}"));
            let mut arguments = vec!["--edge", edge];
            arguments.extend((edge != EDGES[0]).then_some("--no-decode"));
            players.push(Player::start(network, &together, &arguments)?);
            let arguments = ["--placement", "diverse", "--no-decode"];
            players.push(Player::start(network, &diverse, &arguments)?);
        }
        let audience = Self { still, players };
        audience.settled(network, None)?;
        Ok(audience)
    }

    /// Waits until all that can be hurt have both descriptions, none from the edge `not`, and nothing is under way.
    pub fn settled(&self, network: &Containers, not: Option<&str>) -> anyhow::Result<()> {
        self.players.iter().try_for_each(|player| player.settled(network, not))
    }

    /// As [`judge`](Self::judge) after an edge was lost without a word, which some must have noticed.
    pub fn judge_a_loss(self) -> anyhow::Result<Run> {
        let noticed = Cell::new(0);
        let run = self.judge(|report| {
            noticed.set(noticed.get() + report.recoveries.len());
            bars_of_a_loss(report)
        })?;
        ensure!(matches!(run, Run::Void(_)) || noticed.get() > 0, "nobody had lost an edge");
        Ok(run)
    }

    /// Ends all. If the control viewer saw nothing, each report must stand up to `check`.
    pub fn judge(self, check: impl Fn(&Report) -> anyhow::Result<()>) -> anyhow::Result<Run> {
        let ended: Vec<_> = self.players.into_iter().map(Player::end).collect::<Result<_, _>>()?;
        if let Some(what) = saw(&self.still.end()?) {
            return Ok(Run::Void(format!("the control viewer saw {what}")));
        }
        ended.iter().try_for_each(check)?;
        Ok(Run::Shown)
    }
}

/// What an edge lost without a word may cost: nothing freezes for who had one description there, and who had both
/// plays again within half a second.
fn bars_of_a_loss(report: &Report) -> anyhow::Result<()> {
    let json = || serde_json::to_string(report).unwrap_or_default();
    match report.placement {
        Placement::Diverse => {
            never_froze(report)?;
            let side = longest(report, Verdict::Side);
            ensure!(side <= 1000, "side for {side} ms: {}", json());
        }
        Placement::Together => {
            let frozen = report.freezes.longest_ms;
            ensure!(frozen <= 500, "frozen for {frozen} ms: {}", json());
        }
    }
    Ok(())
}
