//! What one client reports, so often that it cannot flood the coordinator: the newest wins.

use std::time::Duration;

use gibbon_control::session::ClientReport;
use tokio::time::Instant;

/// Reports of one connection are passed on this far apart.
const APART: Duration = Duration::from_millis(50);

/// The reports of one connection.
#[derive(Debug, Default)]
pub struct Reports {
    passed: Option<Instant>,
    waiting: Option<ClientReport>,
}

impl Reports {
    /// A report has come, and is waiting. What the client says only now and then is not lost with the one that it
    /// takes the place of.
    pub fn came(&mut self, report: ClientReport) {
        let mut report = report.bounded();
        if let Some(older) = self.waiting.take().filter(|_| report.more.is_empty()) {
            report.more = older.more;
        }
        self.waiting = Some(report);
    }

    /// When the one that is waiting may be passed on; none if there is none.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting.as_ref()?;
        Some(self.passed.map_or(now, |passed| passed + APART))
    }

    /// The one that is waiting, to be passed on now.
    pub fn pass(&mut self, now: Instant) -> Option<ClientReport> {
        self.passed = Some(now);
        self.waiting.take()
    }
}

#[cfg(test)]
mod tests {
    use gibbon_handoff::Report;

    use super::*;

    #[test]
    fn the_first_report_goes_at_once_and_of_a_flood_the_newest_a_little_later() {
        let report = |revision| {
            let hands = Report { revision, legs: [None, None], order: None, answer: None };
            ClientReport::new(hands)
        };
        let (mut reports, now) = (Reports::default(), Instant::now());
        assert_eq!(reports.due(now), None);
        reports.came(report(1));
        assert_eq!(reports.due(now), Some(now));
        assert_eq!(reports.pass(now).unwrap().hands.revision, 1);
        (2..100).for_each(|revision| reports.came(report(revision)));
        assert_eq!(reports.due(now), Some(now + APART));
        assert_eq!(reports.pass(now + APART).unwrap().hands.revision, 99);
        assert_eq!(reports.due(now + APART), None);
    }

    #[test]
    fn what_is_said_only_now_and_then_is_passed_on_with_the_report_that_follows_it() {
        let report = |revision, more: &[&str]| {
            let hands = Report { revision, legs: [None, None], order: None, answer: None };
            let more = more.iter().map(|key| (key.to_string(), 1.into())).collect();
            ClientReport { more, ..ClientReport::new(hands) }
        };
        let (mut reports, now) = (Reports::default(), Instant::now());
        reports.came(report(1, &["buffer_ms"]));
        reports.came(report(2, &[]));
        let passed = reports.pass(now).unwrap();
        assert!(passed.hands.revision == 2 && passed.more.contains_key("buffer_ms"));
        reports.came(report(3, &[]));
        assert!(reports.pass(now).unwrap().more.is_empty(), "and only once");
    }
}
