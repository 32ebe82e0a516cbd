//! Players that watch for as long as a run lasts, and what the portal says of their sessions.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use gibbon_control::{portal::SessionInfo, report::Report};
use gibbon_media::{Placement, SessionId};
use gibbon_testbed::{Network, Player, PlayerOptions, Setup};

/// What is watched.
pub const STREAM: &str = "live/bbb";
/// Who publishes it.
pub const ORIGIN: &str = "origin-1";
/// Origins fall behind while a machine starts many processes at once: players join after so much.
pub const HISTORY: Duration = Duration::from_secs(2);
/// No run is longer; players are told to end before.
const LONGEST: f64 = 24.0 * 3600.0;
/// What coding and two network hops may add to the playout delay, in ms.
const MAX_BEHIND_MS: u64 = 150;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Plays until it is told to end. Waits until the picture is moving: many that start at once starve each
/// other, begin late, and stay behind.
pub fn watch(network: &Network, name: &str, options: PlayerOptions) -> anyhow::Result<Player> {
    let duration = Duration::from_secs_f64(LONGEST);
    let mut player = network.play(name, &PlayerOptions { duration, ..options })?;
    player.playing()?;
    Ok(player)
}

/// Says so if a viewer saw frames later after their publication than its playout delay explains: it had
/// more time to recover than it asked for, and its numbers are better than they should be.
pub fn behind(report: &Report) -> Option<String> {
    let (latency, delay) = (report.latency_ms?.p50, report.playout_delay_ms.initial);
    let what = || format!("{latency} ms behind the origin instead of {delay} ms");
    (latency > delay + MAX_BEHIND_MS).then(what)
}

/// A viewer in a network of its own, on the same machine, that nothing befalls: what it sees is the
/// machine's doing. In the network that is hurt, a viewer would be moved sooner or later, for the load of its
/// edge if for nothing else.
#[derive(Debug)]
pub struct Control {
    // Before its network: they are dropped in this order.
    player: Player,
    network: Network,
}

impl Control {
    /// Starts it, in a folder below `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let network = Network::start(&folder.join("control"), Setup::bbb(&["edge-z"]))?;
        network.await_history(ORIGIN, HISTORY)?;
        let player = watch(&network, "viewer", PlayerOptions::new(STREAM, 0.0).no_decode())?;
        Ok(Self { player, network })
    }

    /// What it saw.
    pub fn end(mut self) -> anyhow::Result<Report> {
        let status = self.player.process.stop()?;
        ensure!(status.success(), "the control viewer ended with {status}");
        let report = self.player.report()?;
        self.network.stop()?;
        Ok(report)
    }
}

/// All players of a run and their sessions.
#[derive(Debug, Default)]
pub struct Audience {
    players: BTreeMap<String, Player>,
    sessions: BTreeMap<SessionId, String>,
}

impl Audience {
    /// These, each of which is playing.
    pub fn of(players: Vec<Player>) -> anyhow::Result<Self> {
        let mut audience = Self::default();
        for player in players {
            let name = player.process.name().to_owned();
            audience.sessions.insert(player.session()?, name.clone());
            audience.players.insert(name, player);
        }
        Ok(audience)
    }

    /// Fails if a player has ended.
    pub fn is_there(&mut self) -> anyhow::Result<()> {
        for (name, player) in &mut self.players {
            if let Some(status) = player.process.ended()? {
                bail!("{name} has ended with {status}; see its log");
            }
        }
        Ok(())
    }

    /// What the portal says of each player's session.
    pub fn sessions(&self, network: &Network) -> anyhow::Result<BTreeMap<String, SessionInfo>> {
        let known = network.portal.sessions()?.into_iter();
        let named = known.filter_map(|s| Some((self.sessions.get(&s.session)?.clone(), s)));
        Ok(named.collect())
    }

    /// Why not every session has its two legs, on two edges if it is diverse, and no hand-off under way;
    /// or all sessions, if each has.
    pub fn settled(&self, network: &Network) -> anyhow::Result<BTreeMap<String, SessionInfo>> {
        let sessions = self.sessions(network)?;
        for name in self.players.keys() {
            let session = sessions.get(name).with_context(|| format!("{name} has no session"))?;
            let [Some(zero), Some(one)] = &session.edges else {
                bail!("{name} has not both descriptions: {:?}", session.edges);
            };
            ensure!(session.handoff.is_none(), "{name} is being handed off");
            let diverse = session.placement == Placement::Diverse;
            ensure!(!diverse || zero != one, "{name} has both legs at {zero}");
        }
        let nodes = network.portal.nodes()?;
        let lost = nodes.iter().find(|node| !node.up || node.draining.is_some());
        if let Some(node) = lost {
            bail!("{} is not up, or draining", node.id);
        }
        Ok(sessions)
    }

    /// Waits until all sessions are [settled](Self::settled), for `within` at most. Fails at once if a
    /// player ends.
    pub fn settle(
        &mut self,
        network: &Network,
        within: Duration,
    ) -> anyhow::Result<BTreeMap<String, SessionInfo>> {
        let begun = Instant::now();
        loop {
            self.is_there()?;
            match self.settled(network) {
                Ok(sessions) => return Ok(sessions),
                Err(error) if begun.elapsed() > within => {
                    return Err(error.context(format!("sessions are not whole after {within:?}")));
                }
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Tells all players to end, and reads their reports.
    pub fn end(self) -> anyhow::Result<BTreeMap<String, Report>> {
        let mut reports = BTreeMap::new();
        for player in self.players.values() {
            player.process.signal(rustix::process::Signal::TERM)?;
        }
        for (name, mut player) in self.players {
            let status = player.process.stop()?;
            ensure!(status.success(), "{name} ended with {status}; see its log");
            reports.insert(name, player.report()?);
        }
        Ok(reports)
    }
}
