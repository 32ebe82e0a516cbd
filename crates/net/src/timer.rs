//! Waits of less than a millisecond: Tokio's timers count whole ones, and become one to two.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// A timer of the kernel.
pub(crate) struct Timer {
    set: TimerFd,
    /// The same timer, read like a pipe: it gives a number of eight bytes once it has expired.
    expired: pipe::Receiver,
}

impl Timer {
    /// On the runtime that this is called on.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let set = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let same: OwnedFd = set.as_fd().try_clone_to_owned()?;
        let expired = pipe::Receiver::from_owned_fd_unchecked(same)?;
        Ok(Self { set, expired })
    }

    /// Waits so long, and as much longer as the machine is late.
    pub(crate) async fn sleep(&mut self, time: Duration) -> io::Result<()> {
        let once = Expiration::OneShot(TimeSpec::from_duration(time));
        self.set.set(once, TimerSetTimeFlags::empty())?;
        self.expired.read_exact(&mut [0; 8]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_waits_as_long_as_it_is_told_each_time() {
        let mut timer = Timer::new().unwrap();
        for micros in [200, 50, 3000] {
            let (began, time) = (Instant::now(), Duration::from_micros(micros));
            timer.sleep(time).await.unwrap();
            assert!(began.elapsed() >= time);
        }
    }
}
