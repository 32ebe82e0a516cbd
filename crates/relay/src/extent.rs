//! Where a pull ends: not within a group that it has begun, for nobody else may finish that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gibbon_media::GroupId;

/// Which groups a pull takes.
#[derive(Debug, Default)]
pub struct Extent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The newest group that it has begun.
    begun: Option<GroupId>,
    /// The last group that it takes.
    end: Option<GroupId>,
}

impl Extent {
    /// Begins a group as `admit` does, if that takes it. None: it is beyond the end, and comes from the next source.
    pub fn begin<T, E>(
        &self,
        group: GroupId,
        admit: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut state = self.lock();
        if state.end.is_some_and(|end| group > end) {
            return None;
        }
        let admitted = admit();
        if admitted.is_ok() {
            state.begun = state.begun.max(Some(group));
        }
        Some(admitted)
    }

    /// It ends after `end`, or after the group that it has begun. Returns after which.
    pub fn end_after(&self, end: GroupId) -> GroupId {
        let mut state = self.lock();
        let end = state.begun.map_or(end, |begun| begun.max(end));
        state.end = Some(end);
        end
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(extent: &Extent, group: u64) -> bool {
        extent.begin(GroupId(group), || Ok::<_, ()>(())).is_some()
    }

    #[test]
    fn what_has_begun_is_finished_and_nothing_begins_beyond_the_end() {
        let begun = Extent::default();
        assert!(takes(&begun, 5));
        assert_eq!(begun.end_after(GroupId(4)), GroupId(5));
        assert!(takes(&begun, 5) && !takes(&begun, 6), "another medium of the same group");
        let before = Extent::default();
        assert!(takes(&before, 4));
        assert_eq!(before.end_after(GroupId(4)), GroupId(4));
        assert!(!takes(&before, 5));
    }

    #[test]
    fn what_is_refused_has_not_begun() {
        let extent = Extent::default();
        assert_eq!(extent.begin(GroupId(5), || Err::<(), _>("held")), Some(Err("held")));
        assert_eq!(extent.end_after(GroupId(4)), GroupId(4));
    }
}
