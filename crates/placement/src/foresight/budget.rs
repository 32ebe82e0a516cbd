//! How many hand-offs may be under way, and whose.

use gibbon_media::Priority;

/// Shares of the classes 0 to 3, 4 to 6, and 7 to 9.
const SHARES: [f64; 3] = [0.2, 0.3, 0.5];

/// A class of priorities; the higher, the more it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(usize);

impl Class {
    /// Of a priority.
    pub fn of(priority: Priority) -> Self {
        match u8::from(priority) {
            0..=3 => Class(0),
            4..=6 => Class(1),
            _ => Class(2),
        }
    }
}

/// What is left of the hand-offs that may be under way at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    left: usize,
    by_class: [usize; 3],
}

impl Budget {
    /// Of `concurrent` hand-offs so many are under way.
    pub fn new(concurrent: usize, under_way: usize) -> Self {
        let left = concurrent.saturating_sub(under_way);
        // Each class can always begin one, where any can.
        let by_class = SHARES.map(|share| ((share * left as f64) as usize).max(1));
        Self { left, by_class }
    }

    /// Whether one more may begin, out of its class's share.
    pub fn has(&self, class: Class) -> bool {
        self.by_class[class.0] > 0 && self.left > 0
    }

    /// One more begins, if it may.
    pub fn take(&mut self, class: Class) -> bool {
        let may = self.has(class);
        if may {
            self.by_class[class.0] -= 1;
            self.left -= 1;
        }
        may
    }

    /// From now on what a class has not taken is anyone's.
    pub fn share_out(&mut self) {
        self.by_class = [self.left; 3];
    }

    /// Whether none may begin.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_share_and_what_one_leaves_is_for_the_others() {
        let class = |n| Class::of(Priority::new(n).unwrap());
        let mut budget = Budget::new(110, 10);
        let taken = |budget: &mut Budget, n| (0..200).filter(|_| budget.take(class(n))).count();
        assert_eq!(taken(&mut budget, 5), 30);
        assert_eq!(taken(&mut budget, 9), 50);
        budget.share_out();
        assert_eq!(taken(&mut budget, 5), 20);
        assert!(budget.is_spent() && taken(&mut budget, 0) == 0);
        assert_eq!(taken(&mut Budget::new(10, 10), 9), 0);
        assert_eq!(taken(&mut Budget::new(10, 9), 0), 1);
    }
}
