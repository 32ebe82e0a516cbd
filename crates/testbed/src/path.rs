//! A network path between two processes: a UDP relay that can be cut and slowed down.

use std::{
    collections::{HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Datagrams under way on a path; more are dropped, as a router would.
const MAX_UNDER_WAY: usize = 8192;
const MAX_CLIENTS: usize = 256;
const MAX_DATAGRAM: usize = 65_536;
const TICK: Duration = Duration::from_millis(1);

/// A path to one address. Whoever sends to [`address`](Path::address) reaches it, and is answered.
#[derive(Debug)]
pub struct Path {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    delay_us: AtomicU64,
    over: AtomicBool,
}

impl Path {
    /// A path to `target`, whole and without delay.
    pub fn to(target: SocketAddr) -> anyhow::Result<Self> {
        let path = Self::without_target()?;
        path.1.send(target)?;
        Ok(path.0)
    }

    /// A path whose target is told later: for a process that is to advertise the path's address before it
    /// is started. Until then datagrams are dropped.
    pub fn without_target() -> anyhow::Result<(Self, std::sync::mpsc::Sender<SocketAddr>)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let (address, state) = (socket.local_addr()?, Arc::new(State::default()));
        let (sender, target) = std::sync::mpsc::channel();
        let relay = Relay {
            socket,
            target: None,
            state: state.clone(),
            clients: HashMap::new(),
            under_way: VecDeque::new(),
        };
        let thread = std::thread::spawn(move || relay.run(&target));
        Ok((Self { address, state, thread: Some(thread) }, sender))
    }

    /// Where the path begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops everything from now on, in both directions, or nothing again.
    pub fn cut(&self, cut: bool) {
        self.state.cut.store(cut, Ordering::Relaxed);
    }

    /// Delays what is sent from now on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Relay {
    socket: UdpSocket,
    target: Option<SocketAddr>,
    state: Arc<State>,
    /// For each client a socket of its own towards the target.
    clients: HashMap<SocketAddr, UdpSocket>,
    under_way: VecDeque<Datagram>,
}

struct Datagram {
    due: Instant,
    client: SocketAddr,
    to_target: bool,
    bytes: Vec<u8>,
}

impl Relay {
    fn run(mut self, targets: &std::sync::mpsc::Receiver<SocketAddr>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        while !self.state.over.load(Ordering::Relaxed) {
            if let Ok(target) = targets.try_recv() {
                self.target = Some(target);
            }
            let busy = self.take_in(&mut buffer) | self.send_due();
            if !busy {
                std::thread::sleep(TICK);
            }
        }
    }

    fn take_in(&mut self, buffer: &mut [u8]) -> bool {
        let mut arrived = Vec::new();
        while let Ok((length, client)) = self.socket.recv_from(buffer) {
            if self.clients.contains_key(&client) || self.open(client) {
                arrived.push((client, true, buffer[..length].to_vec()));
            }
        }
        for (client, socket) in &self.clients {
            while let Ok(length) = socket.recv(buffer) {
                arrived.push((*client, false, buffer[..length].to_vec()));
            }
        }
        let due =
            Instant::now() + Duration::from_micros(self.state.delay_us.load(Ordering::Relaxed));
        let busy = !arrived.is_empty();
        let cut = self.state.cut.load(Ordering::Relaxed);
        for (client, to_target, bytes) in arrived {
            if !cut && self.under_way.len() < MAX_UNDER_WAY {
                self.under_way.push_back(Datagram { due, client, to_target, bytes });
            }
        }
        busy
    }

    fn open(&mut self, client: SocketAddr) -> bool {
        let Some(target) = self.target.filter(|_| self.clients.len() < MAX_CLIENTS) else {
            return false;
        };
        let opened = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| {
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        opened.map(|socket| self.clients.insert(client, socket)).is_ok()
    }

    fn send_due(&mut self) -> bool {
        let now = Instant::now();
        let mut busy = false;
        // A delay that is lowered lets later datagrams wait behind earlier ones: order is kept.
        while self.under_way.front().is_some_and(|datagram| datagram.due <= now) {
            let Some(datagram) = self.under_way.pop_front() else { break };
            busy = true;
            // What the system cannot take is lost, as on any network.
            let _ = if datagram.to_target {
                self.clients.get(&datagram.client).map(|s| s.send(&datagram.bytes))
            } else {
                Some(self.socket.send_to(&datagram.bytes, datagram.client))
            };
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_carries_both_ways_until_it_is_cut() {
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [&target, &client] {
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        }
        let path = Path::to(target.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        client.send_to(b"there", path.address()).unwrap();
        // The target is told in the background: the first datagrams may be dropped.
        let mut tries = 0;
        let (length, from) = loop {
            if let Ok(arrived) = target.recv_from(&mut buffer) {
                break arrived;
            }
            tries += 1;
            assert!(tries < 10, "nothing arrives");
            client.send_to(b"there", path.address()).unwrap();
        };
        assert_eq!(&buffer[..length], b"there");
        target.send_to(b"back", from).unwrap();
        let (length, _) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"back");
        path.cut(true);
        client.send_to(b"lost", path.address()).unwrap();
        assert!(target.recv_from(&mut buffer).is_err());
    }
}
