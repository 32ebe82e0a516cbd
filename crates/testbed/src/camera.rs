//! A camera, for origins that take what they publish from the network: moving pictures over TCP, as late as they are to
//! be.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;

/// The pictures: small ones.
const WIDTH: usize = 176;
const HEIGHT: usize = 144;
const RATE: u32 = 24;
/// A picture that cannot be sent for so long is the end of that connection.
const SENT_WITHIN: Duration = Duration::from_secs(10);

/// Shows the same to everybody who connects, in real time from when they do, without end (YUV4MPEG2). Dropped, it is off.
#[derive(Debug)]
pub struct Camera {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    late_us: AtomicU64,
    off: AtomicBool,
}

impl Camera {
    /// One that is on time.
    pub fn on() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a camera")?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let by_all = shared.clone();
        let thread = thread::Builder::new().name("camera".into()).spawn(move || {
            thread::scope(|scope| {
                for viewer in listener.incoming().map_while(Result::ok) {
                    if by_all.off.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = &by_all;
                    // Whoever looks away ends it.
                    scope.spawn(move || show(viewer, shared));
                }
            });
        })?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// What an origin takes as its media.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// From now on each picture is sent so much later than it was taken.
    pub fn is_late(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.shared.late_us.store(us, Ordering::Relaxed);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.off.store(true, Ordering::Relaxed);
        // One more connection, so that it looks.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends each picture when it is due. An order to be less late lets the next ones go at once.
fn show(mut to: TcpStream, shared: &Shared) -> std::io::Result<()> {
    to.set_write_timeout(Some(SENT_WITHIN))?;
    to.set_nodelay(true)?;
    writeln!(to, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg")?;
    let begun = Instant::now();
    for number in 0.. {
        let late = || Duration::from_micros(shared.late_us.load(Ordering::Relaxed));
        while begun.elapsed() < Duration::from_secs(1) * number / RATE + late() {
            if shared.off.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        to.write_all(b"FRAME\n")?;
        to.write_all(&picture(number as usize))?;
    }
    Ok(())
}

/// Stripes that move to the left over a slope of grey, without colour.
fn picture(number: usize) -> Vec<u8> {
    let pixel = |at: usize| {
        let (x, y) = (at % WIDTH, at / WIDTH);
        let stripe = if (x + 2 * number) % 32 < 4 { 100 } else { 0 };
        (16 + y / 2 + stripe) as u8
    };
    let mut planes: Vec<u8> = (0..WIDTH * HEIGHT).map(pixel).collect();
    planes.resize(WIDTH * HEIGHT * 3 / 2, 128);
    planes
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use super::*;

    #[test]
    fn pictures_come_in_real_time_and_as_late_as_they_are_to_be() {
        let camera = Camera::on().unwrap();
        let mut seen = BufReader::new(TcpStream::connect(camera.address).unwrap());
        let begun = Instant::now();
        let mut header = String::new();
        seen.read_line(&mut header).unwrap();
        assert!(header.starts_with("YUV4MPEG2 W176 H144 F24:1"), "{header}");
        let mut next = || {
            let mut frame = vec![0; 6 + WIDTH * HEIGHT * 3 / 2];
            seen.read_exact(&mut frame).unwrap();
            assert_eq!(&frame[..6], b"FRAME\n");
            (frame, begun.elapsed())
        };
        let first = next().0;
        let (second, at) = next();
        assert!(first != second && at >= Duration::from_millis(41), "{at:?}");
        camera.is_late(Duration::from_millis(500));
        let (_, at) = next();
        assert!(at >= Duration::from_millis(583 - 42), "{at:?}");
    }

    #[test]
    fn a_camera_that_is_off_shows_nothing_more() {
        let camera = Camera::on().unwrap();
        let mut seen = TcpStream::connect(camera.address).unwrap();
        drop(camera);
        let mut rest = Vec::new();
        assert!(seen.read_to_end(&mut rest).is_ok());
    }
}
