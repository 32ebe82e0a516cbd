//! How the readers of a cache learn that there is more: each has a bell, and all bells of a track ring at
//! once or, where many readers have a frame to send, at the next beat, so that what is due to one of them
//! goes out together.

use std::{
    io,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};

use crate::{lock, timer::Timer};

/// What comes within this time after a frame is sent together with it. The two descriptions of a frame leave their
/// source at once; on a machine that is half busy they come within this time of each other.
const BEAT: Duration = Duration::from_millis(1);

/// Wakes the task that answers it.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes the task.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }

    /// Says whom to wake from now on, and whether it has rung since it was last answered. Answer before
    /// looking, and no ring is missed.
    pub fn answer(&self, cx: &Context) -> bool {
        let mut waker = lock(&self.waker);
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        self.rung.swap(false, Ordering::AcqRel)
    }
}

/// The bells of all who read one description.
#[derive(Debug, Default)]
pub(super) struct Bells {
    hung: Mutex<Vec<Weak<Bell>>>,
    beat: Option<Arc<Beat>>,
    /// Whether they ring at the next beat.
    due: AtomicBool,
}

impl Bells {
    /// To be rung at the beats of `beat`.
    pub(super) fn paced(beat: Arc<Beat>) -> Self {
        Self { beat: Some(beat), ..Self::default() }
    }

    /// Adds a bell, for as long as it is kept.
    pub(super) fn hang(&self, bell: &Arc<Bell>) {
        let mut hung = lock(&self.hung);
        hung.retain(|bell| bell.strong_count() > 0);
        hung.push(Arc::downgrade(bell));
    }

    /// There is more to read.
    pub(super) fn ring(self: &Arc<Self>) {
        match &self.beat {
            None => self.ring_now(),
            Some(beat) if !self.due.swap(true, Ordering::AcqRel) => beat.add(self.clone()),
            Some(_) => {}
        }
    }

    fn ring_now(&self) {
        self.due.store(false, Ordering::Release);
        for bell in &*lock(&self.hung) {
            if let Some(bell) = bell.upgrade() {
                bell.ring();
            }
        }
    }
}

/// Rings together what becomes due at about the same time on one shard.
#[derive(Debug)]
pub struct Beat {
    due: Mutex<Vec<Arc<Bells>>>,
    began: Notify,
}

impl Beat {
    /// Beats on `runtime`, as long as that runs.
    pub fn begin(runtime: &Handle) -> io::Result<Arc<Self>> {
        let _on = runtime.enter();
        let mut timer = Timer::new()?;
        let beat = Arc::new(Self { due: Mutex::default(), began: Notify::new() });
        let beating = beat.clone();
        runtime.spawn(async move { beating.run(&mut timer).await });
        Ok(beat)
    }

    fn add(&self, bells: Arc<Bells>) {
        lock(&self.due).push(bells);
        self.began.notify_one();
    }

    async fn run(&self, timer: &mut Timer) {
        loop {
            self.began.notified().await;
            if let Err(error) = timer.sleep(BEAT).await {
                tracing::warn!(%error, "a beat is cut short");
            }
            let due = std::mem::take(&mut *lock(&self.due));
            due.iter().for_each(|bells| bells.ring_now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::AtomicUsize,
        task::{Poll, Wake},
    };

    use super::*;

    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A bell that counts how often it has been rung.
    fn counted() -> (Arc<Bell>, Arc<Rings>) {
        let (bell, rings) = (Arc::<Bell>::default(), Arc::new(Rings(AtomicUsize::new(0))));
        bell.answer(&Context::from_waker(&rings.clone().into()));
        (bell, rings)
    }

    #[test]
    fn without_a_beat_bells_ring_at_once_and_those_let_go_no_more() {
        let bells = Arc::<Bells>::default();
        let (bell, rings) = counted();
        bells.hang(&bell);
        bells.ring();
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);
        drop(bell);
        bells.ring();
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_reads_two_descriptions_is_woken_once_for_frames_of_the_same_beat() {
        let beat = Beat::begin(&Handle::current()).unwrap();
        let both = [(); 2].map(|()| Arc::new(Bells::paced(beat.clone())));
        let bell = Arc::<Bell>::default();
        both.iter().for_each(|bells| bells.hang(&bell));
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let reading = tokio::spawn(poll_fn(move |cx| {
            bell.answer(cx);
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        }));
        let polled = async |times: usize| {
            while polls.load(Ordering::Relaxed) < times {
                tokio::task::yield_now().await;
            }
        };
        polled(1).await;
        for beats in 1..=10 {
            both.iter().for_each(Bells::ring);
            both.iter().for_each(Bells::ring);
            polled(1 + beats).await;
        }
        let mut timer = Timer::new().unwrap();
        timer.sleep(BEAT * 2).await.unwrap();
        assert_eq!(polls.load(Ordering::Relaxed), 1 + 10, "once to begin with, and at each beat");
        reading.abort();
    }
}
