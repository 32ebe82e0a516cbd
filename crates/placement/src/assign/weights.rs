//! What each criterion costs. All weights are here.
//!
//! | criterion | cost | so that |
//! |---|---|---|
//! | load | [`LOAD`] × mean queue u/(1−u) over what is added, as a share of the chain's cores | half full costs 100, 80 % full 400 |
//! | hop | [`HOP`] for each change of worker | a chain stays together where that leaves its worker less than some 40 % busier than others |
//! | link | [`RTT_MS`] per ms, [`LOSS`] per share lost, [`SHARE`] × (share used)² | 1 % lost is 10 ms; a full path is half a hop |
//! | location | [`CLIENT_MM`] per 1000 km from the last step to the client, [`SOURCE_MM`] from the source to the first | it costs what the path's time does: 1000 km are 10 ms |
//! | spread | [`SPREAD`] where all is in failure domains to be kept clear of | another domain is better unless its workers are some 80 % full |

use std::time::Duration;

use crate::Kilometres;

use super::worker::Path;

/// Of a load at which work waits for as much work as is done.
pub const LOAD: f64 = 100.0;
/// Of a change of worker.
pub const HOP: f64 = 40.0;
/// Of a millisecond of round-trip time.
pub const RTT_MS: f64 = 0.1;
/// Of a path that loses everything.
pub const LOSS: f64 = 100.0;
/// Of a path that is full.
pub const SHARE: f64 = 20.0;
/// Of 1000 km between the last step and the client.
pub const CLIENT_MM: f64 = 1.0;
/// Of 1000 km between the source and the first step.
pub const SOURCE_MM: f64 = 0.4;
/// Of the whole chain in failure domains to be kept clear of.
pub const SPREAD: f64 = 400.0;

/// Loads above this count as this: a queue's length has no bound.
const MAX_LOAD: f64 = 0.99;
/// Shares of a path above this count as this: its bandwidth may be more than is known.
const MAX_SHARE: f64 = 2.0;
/// A path that carries this share of its bandwidth has shown what it can carry; of an idle one the figure is a
/// lower bound.
const PROVEN_SHARE: f64 = 0.5;
/// Round-trip time of a path of which nothing is known, not even how long it is.
const UNKNOWN_RTT: Duration = Duration::from_millis(20);
/// Kilometres to which a millisecond of round-trip time is owed: light in fibre goes 200 km/ms, and back.
const KM_PER_RTT_MS: f64 = 100.0;
/// Distance between places that are not known.
const UNKNOWN_KM: f64 = 2000.0;

/// What `added` cores cost on a worker of `cores` that keeps `busy` of them busy, for a chain that needs `all`
/// cores anew: the mean length u/(1−u) of a queue M/M/1 (Kleinrock, Queueing Systems I, §3.2) while they are
/// added, weighted with their share of the chain. Convex in `added`.
pub fn load(cores: f64, busy: f64, added: f64, all: f64) -> f64 {
    if added <= 0.0 || all <= 0.0 || cores <= 0.0 {
        return 0.0;
    }
    LOAD * cores * (queue_up_to((busy + added) / cores) - queue_up_to(busy / cores)) / all
}

/// The integral of u/(1−u) from 0 to `load`.
fn queue_up_to(load: f64) -> f64 {
    let within = load.clamp(0.0, MAX_LOAD);
    let beyond = (load - MAX_LOAD).max(0.0);
    -within - (1.0 - within).ln() + beyond * MAX_LOAD / (1.0 - MAX_LOAD)
}

/// What a path costs, whatever goes over it; where it is not known, by its length.
pub fn path(path: Option<Path>, length: Option<Kilometres>) -> f64 {
    let (rtt, loss) = match path {
        Some(Path { link, .. }) => (link.rtt, link.loss),
        None => (rtt_of(length), 0.0),
    };
    rtt.as_secs_f64() * 1000.0 * RTT_MS + loss.clamp(0.0, 1.0) * LOSS
}

/// The round-trip time that a path of this length has at least.
pub fn rtt_of(length: Option<Kilometres>) -> Duration {
    length.map_or(UNKNOWN_RTT, |km| Duration::from_secs_f64(km.as_f64() / KM_PER_RTT_MS / 1000.0))
}

/// What it costs that `kbps` more go over a path; `None`: they do not fit.
pub fn share(path: Option<Path>, kbps: u64) -> Option<f64> {
    let Some(Path { link, measured: true }) = path else { return Some(0.0) };
    let bandwidth = link.bandwidth_kbps.max(1) as f64;
    let now = link.load_kbps as f64 / bandwidth;
    let then = now + kbps as f64 / bandwidth;
    let full = now >= PROVEN_SHARE && then > 1.0;
    (!full).then(|| SHARE * then.min(MAX_SHARE).powi(2))
}

/// What a distance costs at `per_mm` for 1000 km.
pub fn distance(length: Option<Kilometres>, per_mm: f64) -> f64 {
    length.map_or(UNKNOWN_KM, Kilometres::as_f64) / 1000.0 * per_mm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_convex_and_grows_without_leaps_beyond_what_there_is() {
        let costs: Vec<f64> = (0..300).map(|n| load(1.0, 0.0, f64::from(n) / 200.0, 1.0)).collect();
        let steps: Vec<f64> = costs.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
        assert!(costs.iter().all(|cost| cost.is_finite()));
    }

    #[test]
    fn what_waits_at_half_load_is_as_much_as_what_is_served() {
        let price = load(8.0, 4.0, 1e-6, 1e-6);
        assert!((price - LOAD).abs() < 1e-3, "{price}");
    }

    #[test]
    fn of_an_idle_path_the_bandwidth_is_a_lower_bound() {
        let link = |load_kbps| super::super::Link {
            rtt: Duration::from_millis(10),
            loss: 0.0,
            bandwidth_kbps: 1000,
            load_kbps,
        };
        let share = |load, measured| share(Some(Path { link: link(load), measured }), 600);
        assert!(share(0, true).is_some() && share(450, true).is_some());
        assert_eq!(share(500, true), None);
        assert_eq!(share(500, false), Some(0.0), "that is the way back");
    }
}
