//! What most clients of a node see of the paths to it: told to those who have not been there for long enough to see it.

use gibbon_media::MediaTime;

use super::{
    outlook::NodeOutlook,
    policy::{Policy, halved},
    session::Session,
};

/// Fewer witnesses say nothing: one may be wrong, or lie.
const LEAST: usize = 5;

/// What is known of one node: how many clients have measured their paths for a while, and of those for whom slack
/// changes, by how much each second, in ms.
#[derive(Clone, Default)]
struct Heard {
    witnesses: usize,
    trends: Vec<f64>,
}

/// Sets [`NodeOutlook::worsens`] by what sessions have seen whose clients stand: of those that move, their own way says
/// how their paths change.
pub fn hear<'s>(
    nodes: &mut [NodeOutlook],
    sessions: impl Iterator<Item = &'s Session>,
    policy: &Policy,
    now: MediaTime,
) {
    let mut heard = vec![Heard::default(); nodes.len()];
    for session in sessions.filter(|session| !session.whereabouts().moves()) {
        for (node, path) in session.paths().iter().filter(|(_, path)| path.settled()) {
            let fresh = halved(now.since(path.measured_at()), policy.path_half_life) >= 0.5;
            let Some(heard) = heard.get_mut(node.at()).filter(|_| fresh) else { continue };
            heard.witnesses += 1;
            heard.trends.extend((path.trend() != 0.0).then(|| path.trend()));
        }
    }
    nodes.iter_mut().zip(heard).for_each(|(node, heard)| node.worsens = heard.worsens());
}

impl Heard {
    /// More than half of them see at least this; at most 0.
    fn worsens(mut self) -> f64 {
        if self.witnesses < LEAST {
            return 0.0;
        }
        self.trends.resize(self.witnesses, 0.0);
        let (_, middle, _) = self.trends.select_nth_unstable_by(self.witnesses / 2, f64::total_cmp);
        middle.min(0.0)
    }
}
