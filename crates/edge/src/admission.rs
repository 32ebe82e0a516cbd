//! Who is let in at a full edge, and who makes room.
//!
//! While there is room everybody is let in. At the limit a session's first description is still let in, as
//! long as one description each fits: sessions that have another hand are told to let one go, lowest
//! priority first, and among equals those that came last. A second description is let in only at the cost of sessions of strictly lower priority,
//! unless it comes by a hand-off that this edge has agreed to.

use std::cmp::Reverse;

use gibbon_media::{Description, Priority, SessionId};

/// What an edge carries at most.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Legs at once.
    pub legs: u32,
    /// What they take, in kbit/s, if that is limited.
    pub kbps: Option<u64>,
}

/// How one description of a session stands here. Each takes so many kbit/s; 0 while unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Not here.
    #[default]
    None,
    /// Room is kept for it, within a hand-off.
    Kept(u64),
    /// It is served.
    Serving(u64),
    /// It is served, and the client has just been told to let it go.
    Leaving(u64),
}

/// How one session stands here.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The session.
    pub session: SessionId,
    /// How much it matters.
    pub priority: Priority,
    /// Its descriptions here.
    pub here: [Place; 2],
    /// Orders sessions by when they took what they have here.
    pub since: u64,
    /// Which of them another edge delivers, by the client's last report.
    pub elsewhere: [bool; 2],
    /// Whether it may be told to let go: its client is connected, and has not ignored that lately.
    pub yielding: bool,
}

/// What becomes of a newcomer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is let in, and these are told to let go.
    Admit {
        /// At a full edge.
        bring_down: Vec<(SessionId, Description)>,
    },
    /// There is no room.
    Refuse,
}

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    legs: u32,
    kbps: u64,
}

impl Load {
    fn leg(kbps: u64) -> Self {
        Self { legs: 1, kbps }
    }

    fn plus(self, other: Self) -> Self {
        Self { legs: self.legs + other.legs, kbps: self.kbps.saturating_add(other.kbps) }
    }

    fn minus(self, other: Self) -> Self {
        let (legs, kbps) = (self.legs - other.legs, self.kbps.saturating_sub(other.kbps));
        Self { legs, kbps }
    }
}

impl Capacity {
    fn fits(&self, load: Load) -> bool {
        load.legs <= self.legs && self.kbps.is_none_or(|kbps| load.kbps <= kbps)
    }

    /// What may be carried until those that were told to have let go: half as much again.
    fn stretched(&self) -> Self {
        let half_more = |n: u64| n.saturating_add((n / 2).max(1));
        let legs = half_more(self.legs.into()).try_into().unwrap_or(u32::MAX);
        Self { legs, kbps: self.kbps.map(half_more) }
    }
}

impl Place {
    fn load(self) -> Load {
        match self {
            Place::None => Load::default(),
            Place::Kept(kbps) | Place::Serving(kbps) | Place::Leaving(kbps) => Load::leg(kbps),
        }
    }
}

impl Standing {
    fn holds(&self, description: Description) -> bool {
        let at = description.index();
        matches!(self.here[at], Place::Serving(_)) || self.elsewhere[at]
    }

    /// What it can let go here and still have the other: `wanted`, if it has that.
    fn spare(&self, wanted: Description) -> Option<(Description, Load)> {
        let spare = |description: Description| match self.here[description.index()] {
            Place::Serving(kbps) if self.holds(description.other()) => {
                Some((description, Load::leg(kbps)))
            }
            _ => None,
        };
        if self.yielding { spare(wanted).or_else(|| spare(wanted.other())) } else { None }
    }
}

/// Whether all that is here fits.
pub fn all_fit(capacity: Capacity, here: &[Standing]) -> bool {
    let places = here.iter().flat_map(|standing| standing.here);
    capacity.fits(places.fold(Load::default(), |load, place| load.plus(place.load())))
}

/// Whether `session` is let in with `description`, which takes `kbps`. A session that is not among those
/// `here` is taken for one without another hand.
pub fn decide(
    capacity: Capacity,
    here: &[Standing],
    session: SessionId,
    description: Description,
    kbps: u64,
) -> Decision {
    let (mut used, mut leaving, mut own) = (Load::default(), Load::default(), None);
    for standing in here {
        for at in Description::BOTH {
            let place = standing.here[at.index()];
            if (standing.session, at) == (session, description) {
                continue;
            }
            used = used.plus(place.load());
            if matches!(place, Place::Leaving(_)) {
                leaving = leaving.plus(place.load());
            }
        }
        if standing.session == session {
            own = Some(standing);
        }
    }
    if !capacity.stretched().fits(used.plus(Load { legs: 1, kbps: 0 })) {
        return Decision::Refuse;
    }
    let mut expected = used.minus(leaving).plus(Load::leg(kbps));
    // A hand-off that has been prepared is not one hand more.
    let kept = |own: &Standing| matches!(own.here[description.index()], Place::Kept(_));
    let second = own.filter(|own| own.holds(description.other()) && !kept(own));
    let below = second.map(|own| own.priority);
    let mut spares: Vec<_> = here
        .iter()
        .filter(|s| s.session != session && below.is_none_or(|own| s.priority < own))
        .filter_map(|s| s.spare(description).map(|spare| (s.priority, s.since, s.session, spare)))
        .collect();
    spares.sort_by_key(|(priority, since, ..)| (*priority, Reverse(*since)));
    let mut bring_down = Vec::new();
    for (_, _, session, (description, load)) in spares {
        if capacity.fits(expected) {
            break;
        }
        expected = expected.minus(load);
        bring_down.push((session, description));
    }
    if capacity.fits(expected) { Decision::Admit { bring_down } } else { Decision::Refuse }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(session: u64, priority: u8, here: [Place; 2]) -> Standing {
        Standing {
            session: SessionId(session),
            priority: Priority::new(priority).unwrap(),
            here,
            since: session,
            elsewhere: [false; 2],
            yielding: true,
        }
    }

    const TWO: [Place; 2] = [Place::Serving(100); 2];
    const ONE: [Place; 2] = [Place::Serving(100), Place::None];
    const NEW: u64 = 9;

    fn admitted(bring_down: &[(u64, Description)]) -> Decision {
        let bring_down = bring_down.iter().map(|(s, d)| (SessionId(*s), *d)).collect();
        Decision::Admit { bring_down }
    }

    fn first(legs: u32, here: &[Standing]) -> Decision {
        let capacity = Capacity { legs, kbps: None };
        decide(capacity, here, SessionId(NEW), Description::Zero, 100)
    }

    #[test]
    fn the_first_description_is_let_in_and_the_least_important_second_hand_makes_room() {
        use Description::{One, Zero};
        let sessions = [standing(1, 5, TWO), standing(2, 3, TWO), standing(3, 0, ONE)];
        assert_eq!(first(6, &sessions), admitted(&[]), "there is room");
        assert_eq!(first(5, &sessions), admitted(&[(2, Zero)]));
        let leaving = [Place::Leaving(100), Place::Serving(100)];
        let sessions = [standing(1, 5, TWO), standing(2, 3, leaving), standing(3, 0, ONE)];
        assert_eq!(first(5, &sessions), admitted(&[]), "one is about to leave");
        assert_eq!(first(4, &sessions), admitted(&[(1, Zero)]));
        assert_eq!(first(3, &sessions), Decision::Refuse, "one description each does not fit");
        let mut apart = standing(1, 5, [Place::None, Place::Serving(100)]);
        assert_eq!(first(1, &[apart.clone()]), Decision::Refuse);
        apart.elsewhere = [true, false];
        assert_eq!(first(1, &[apart.clone()]), admitted(&[(1, One)]));
        apart.yielding = false;
        assert_eq!(first(1, &[apart]), Decision::Refuse);
    }

    #[test]
    fn a_second_description_costs_only_sessions_of_lower_priority() {
        let one = [Place::None, Place::Serving(100)];
        for (priority, expected) in
            [(4, Decision::Refuse), (5, Decision::Refuse), (6, admitted(&[(1, Description::Zero)]))]
        {
            let sessions = [standing(1, 5, TWO), standing(NEW, priority, one)];
            assert_eq!(first(3, &sessions), expected, "{priority}");
        }
        let mut elsewhere = standing(NEW, 5, [Place::None; 2]);
        elsewhere.elsewhere = [false, true];
        assert_eq!(first(2, &[standing(1, 5, TWO), elsewhere]), Decision::Refuse);
    }

    #[test]
    fn room_that_is_kept_for_a_leg_is_its_own() {
        let kept = standing(NEW, 5, [Place::Kept(100), Place::None]);
        assert_eq!(first(2, &[standing(1, 5, ONE), kept.clone()]), admitted(&[]));
        let mut handed = kept.clone();
        handed.elsewhere = [false, true];
        assert_eq!(first(2, &[standing(1, 9, TWO), handed]), admitted(&[(1, Description::Zero)]));
        let capacity = Capacity { legs: 2, kbps: None };
        let other =
            decide(capacity, &[standing(1, 5, ONE), kept], SessionId(8), Description::Zero, 1);
        assert_eq!(other, Decision::Refuse);
    }

    #[test]
    fn bit_rate_is_a_limit_of_its_own() {
        let capacity = |kbps| Capacity { legs: 100, kbps: Some(kbps) };
        let sessions = [standing(1, 5, TWO), standing(2, 4, TWO)];
        let ask = |limit, kbps| {
            decide(capacity(limit), &sessions, SessionId(NEW), Description::One, kbps)
        };
        assert_eq!(ask(500, 100), admitted(&[]));
        assert_eq!(ask(450, 100), admitted(&[(2, Description::One)]));
        let both = [(2, Description::One), (1, Description::One)];
        assert_eq!(ask(400, 200), admitted(&both));
        assert_eq!(ask(400, 300), Decision::Refuse);
    }

    #[derive(Debug, Clone)]
    enum Happening {
        /// A new session comes with its first description.
        Comes { priority: u8 },
        /// One of those here asks for what it lacks.
        AsksAgain { which: usize },
        /// All who were told to let go have done so.
        Obeyed,
        /// A session ends.
        Ends { which: usize },
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            3 => (0..=9u8).prop_map(|priority| Happening::Comes { priority }),
            4 => any::<usize>().prop_map(|which| Happening::AsksAgain { which }),
            3 => Just(Happening::Obeyed),
            1 => any::<usize>().prop_map(|which| Happening::Ends { which }),
        ]
    }

    struct Edge {
        capacity: Capacity,
        /// Legs that fit, by whichever limit.
        room: usize,
        here: Vec<Standing>,
        sessions: u64,
    }

    const KBPS: u64 = 100;

    impl Edge {
        fn legs(&self) -> u32 {
            self.here.iter().flat_map(|s| s.here).map(|p| p.load().legs).sum()
        }

        /// Takes in a leg as decided; checks who pays for it.
        fn ask(&mut self, at: usize, description: Description) -> bool {
            let newcomer = self.here[at].clone();
            let second = newcomer.holds(description.other());
            let decision = decide(self.capacity, &self.here, newcomer.session, description, KBPS);
            let Decision::Admit { bring_down } = decision else { return false };
            let spared = |s: &&Standing| !bring_down.iter().any(|(b, _)| *b == s.session);
            for (session, description) in &bring_down {
                let victim = self.here.iter().find(|s| s.session == *session).unwrap();
                assert!(victim.holds(description.other()), "brought down to nothing");
                assert!(!second || victim.priority < newcomer.priority);
                let sooner = |s: &&Standing| {
                    (s.priority, Reverse(s.since)) < (victim.priority, Reverse(victim.since))
                };
                let asks = |s: &&Standing| s.session != newcomer.session;
                let mut others = self.here.iter().filter(spared).filter(asks).filter(sooner);
                assert!(others.all(|s| s.spare(description.other()).is_none()), "lowest first");
            }
            for (session, description) in bring_down {
                let victim = self.here.iter_mut().find(|s| s.session == session).unwrap();
                victim.here[description.index()] = Place::Leaving(KBPS);
            }
            self.here[at].here[description.index()] = Place::Serving(KBPS);
            true
        }

        fn happens(&mut self, happening: Happening) {
            match happening {
                Happening::Comes { priority } => {
                    self.sessions += 1;
                    self.here.push(standing(self.sessions, priority, [Place::None; 2]));
                    let last = self.here.len() - 1;
                    let mut places = self.here.iter().flat_map(|s| s.here);
                    let settled = !places.any(|p| matches!(p, Place::Leaving(_)));
                    let description = Description::BOTH[(self.sessions % 2) as usize];
                    let fits = self.here.len() <= self.room;
                    let admitted = self.ask(last, description);
                    assert!(admitted || !settled || !fits, "one description each fits");
                    if !admitted {
                        self.here.pop();
                    }
                }
                Happening::AsksAgain { which } if !self.here.is_empty() => {
                    let at = which % self.here.len();
                    let lacks = |d: &Description| self.here[at].here[d.index()] == Place::None;
                    if let Some(description) = Description::BOTH.into_iter().find(lacks) {
                        self.ask(at, description);
                    }
                }
                Happening::Obeyed => {
                    for place in self.here.iter_mut().flat_map(|s| s.here.iter_mut()) {
                        if matches!(place, Place::Leaving(_)) {
                            *place = Place::None;
                        }
                    }
                }
                Happening::Ends { which } if !self.here.is_empty() => {
                    self.here.remove(which % self.here.len());
                }
                Happening::AsksAgain { .. } | Happening::Ends { .. } => {}
            }
        }
    }

    proptest! {
        #[test]
        fn nobody_is_refused_who_fits_nobody_is_brought_to_nothing_and_overload_is_bounded(
            legs in 1..20u32,
            by_rate: bool,
            happenings in proptest::collection::vec(happening(), 0..120),
        ) {
            let capacity = if by_rate {
                Capacity { legs: u32::MAX, kbps: Some(KBPS * u64::from(legs)) }
            } else {
                Capacity { legs, kbps: None }
            };
            let mut edge = Edge { capacity, room: legs as usize, here: Vec::new(), sessions: 0 };
            for happening in happenings {
                edge.happens(happening);
                prop_assert!(edge.legs() <= legs + (legs / 2).max(1) + 1);
                for session in &edge.here {
                    let held = Description::BOTH.into_iter().any(|d| session.holds(d));
                    prop_assert!(held, "{session:?} has nothing");
                }
            }
        }
    }
}
