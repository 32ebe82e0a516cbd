//! The search for the most sessions that are served within a bound: upwards by halves until the bound is
//! broken, then by bisection. Pure.

/// The search ends when what it does not know is this part of what it knows.
const PRECISION: f64 = 0.05;

/// A search under way.
#[derive(Debug)]
pub struct Search {
    from: u32,
    to: u32,
    /// The most that were within the bound.
    good: Option<u32>,
    /// The fewest that were not.
    bad: Option<u32>,
}

impl Search {
    /// Between two numbers of sessions, both at least 1.
    pub fn new(from: u32, to: u32) -> Self {
        Self { from: from.max(1), to: to.max(from).max(1), good: None, bad: None }
    }

    /// The number to measure next; `None` when the search is over.
    pub fn next(&self) -> Option<u32> {
        match (self.good, self.bad) {
            (None, None) => Some(self.from),
            (Some(good), None) => (good < self.to).then(|| (good + good.div_ceil(2)).min(self.to)),
            // Not even the first: there is no answer within these numbers.
            (None, Some(_)) => None,
            (Some(good), Some(bad)) => {
                let unknown = bad.saturating_sub(good);
                let enough = unknown <= 1 || f64::from(unknown) <= f64::from(good) * PRECISION;
                (!enough).then(|| good + unknown / 2)
            }
        }
    }

    /// So many sessions were within the bound, or not.
    pub fn measured(&mut self, sessions: u32, within: bool) {
        let (known, better) = match within {
            true => (&mut self.good, u32::max as fn(u32, u32) -> u32),
            false => (&mut self.bad, u32::min as fn(u32, u32) -> u32),
        };
        *known = Some(known.map_or(sessions, |before| better(before, sessions)));
    }

    /// The most sessions within the bound, so far.
    pub fn found(&self) -> Option<u32> {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(from: u32, to: u32, limit: u32) -> (Option<u32>, usize) {
        let mut search = Search::new(from, to);
        let mut steps = 0;
        while let Some(sessions) = search.next() {
            search.measured(sessions, sessions <= limit);
            steps += 1;
            assert!(steps < 100, "no end: {search:?}");
        }
        (search.found(), steps)
    }

    #[test]
    fn the_bounds_of_the_search_are_kept() {
        assert_eq!(search(50, 400, 1000).0, Some(400));
        assert_eq!(search(50, 400, 10).0, None);
        assert_eq!(search(1, 1, 1), (Some(1), 1));
    }

    proptest! {
        #[test]
        fn what_is_found_is_near_the_limit_and_not_above(from in 1_u32..200, more in 0_u32..5000, limit in 1_u32..6000) {
            let to = from + more;
            let (found, steps) = search(from, to, limit);
            prop_assert!(steps < 40);
            match found {
                None => prop_assert!(limit < from),
                Some(found) => {
                    prop_assert!(found <= limit && found <= to);
                    let near = f64::from(limit.min(to)) <= f64::from(found) * (1.0 + PRECISION) + 1.0;
                    prop_assert!(near, "{} of {}", found, limit);
                }
            }
        }
    }
}
