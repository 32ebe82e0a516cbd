//! Counts of all sessions together, read while they run.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gibbon_mdc::Verdict;
use serde::Serialize;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts that sessions add to.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($name: AtomicU64,)*
        }

        /// The counts at one time.
        #[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
        pub struct Count {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// So far.
            pub fn count(&self) -> Count {
                Count { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Sessions that have come.
    asked,
    /// Sessions that play: something was accepted, and they have not ended.
    open,
    /// Of these, those whose picture moves.
    playing,
    /// Sessions that could not be had, or ended before their time.
    failed,
    /// Frames delivered, of all media, and copies of them.
    frames,
    /// Payload of these, in bytes.
    bytes,
    /// Pictures shown in full quality.
    central,
    /// Pictures shown in lower quality, or concealed.
    side,
    /// Of these, while one description was chosen.
    side_chosen,
    /// Pictures that were due and not there.
    frozen,
    /// Descriptions that were ordered to another edge.
    ordered,
    /// Descriptions that have arrived at another edge on an order.
    attached,
    /// Descriptions that were ordered to another edge and went back.
    rolled_back,
    /// Connections closed on an order: hand-offs that the clients saw to their end.
    finished,
    /// Descriptions that lost their edge, or left it by themselves.
    lost,
}

impl Counts {
    /// A session has come.
    pub fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    /// A session failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A session plays.
    pub fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// The picture of a session moves for the first time.
    pub fn played(&self) {
        self.playing.fetch_add(1, Relaxed);
    }

    /// A session that played has ended; its picture `moved`.
    pub fn closed(&self, moved: bool) {
        self.open.fetch_sub(1, Relaxed);
        self.playing.fetch_sub(u64::from(moved), Relaxed);
    }

    /// A frame was delivered.
    pub fn frame(&self, bytes: usize) {
        self.frames.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A picture was due.
    pub fn shown(&self, verdict: Verdict, side_chosen: bool) {
        match verdict {
            Verdict::Central => self.central.fetch_add(1, Relaxed),
            Verdict::Side => self.side.fetch_add(1, Relaxed),
            Verdict::Frozen => self.frozen.fetch_add(1, Relaxed),
        };
        self.side_chosen.fetch_add(u64::from(side_chosen), Relaxed);
    }

    /// A description was ordered elsewhere.
    pub fn ordered(&self) {
        self.ordered.fetch_add(1, Relaxed);
    }

    /// It is there.
    pub fn attached(&self) {
        self.attached.fetch_add(1, Relaxed);
    }

    /// It went back.
    pub fn rolled_back(&self) {
        self.rolled_back.fetch_add(1, Relaxed);
    }

    /// A hand-off is over for the client.
    pub fn finished(&self) {
        self.finished.fetch_add(1, Relaxed);
    }

    /// A description has lost its edge, or leaves it.
    pub fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }
}
