//! A network path between processes: a UDP relay that can be impaired and cut, and changes addresses.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Direction, Impairment, shaper::Shaper};

/// Clients of a path; of more, the one that has been silent longest is forgotten.
const MAX_CLIENTS: usize = 2048;
const MAX_DATAGRAM: usize = 65_536;
/// Datagrams taken from one socket before others have their turn.
const MAX_TURN: usize = 64;

/// A path to one address. Whoever sends to [`address`](Path::address) reaches it, and is answered.
/// Dropped, it is gone.
#[derive(Debug)]
pub struct Path {
    address: SocketAddr,
    commands: Option<mpsc::Sender<Command>>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// Whose datagrams are meant, by the address they come from, or go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// This client's.
    Only(SocketAddr),
    /// Those of all but these clients.
    Except(Vec<SocketAddr>),
}

impl Whose {
    fn includes(&self, client: SocketAddr) -> bool {
        match self {
            Whose::All => true,
            Whose::Only(one) => *one == client,
            Whose::Except(others) => !others.contains(&client),
        }
    }
}

#[derive(Debug)]
enum Command {
    Aim(SocketAddr),
    Impair(Direction, Impairment),
    Cut(Whose, Direction),
    Mend(Option<(Whose, Direction)>),
    Rebind,
}

impl Path {
    /// A path to `target` that passes everything on.
    pub fn to(target: SocketAddr) -> anyhow::Result<Self> {
        let path = Self::open(1)?;
        path.aim(target);
        Ok(path)
    }

    /// A path whose target is told later, by [`aim`](Path::aim): for a process that is to advertise the
    /// path's address before it is started. Until then datagrams are dropped. What its impairments draw
    /// depends on `seed`.
    pub fn open(seed: u64) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a path")?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (commands, orders) = mpsc::channel();
        let thread = std::thread::Builder::new().name("path".into()).spawn(move || {
            let shapers = [Shaper::new(seed), Shaper::new(seed.wrapping_add(1))];
            let relay =
                Relay { socket, target: None, clients: HashMap::new(), cuts: Vec::new(), shapers };
            relay.run(&orders, woken);
        })?;
        Ok(Self { address, commands: Some(commands), wake, thread: Some(thread) })
    }

    /// Where the path begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to `target` from now on.
    pub fn aim(&self, target: SocketAddr) {
        self.order(Command::Aim(target));
    }

    /// What befalls datagrams from now on.
    pub fn impair(&self, direction: Direction, impairment: &Impairment) {
        self.order(Command::Impair(direction, impairment.clone()));
    }

    /// Delays what is sent from now on, in each direction, and does nothing else to it.
    pub fn delay(&self, delay: Duration) {
        let ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self.impair(Direction::Both, &Impairment::none().latency(ms));
    }

    /// Drops everything from now on, in both directions, or only what [`cut_off`](Path::cut_off) says.
    pub fn cut(&self, cut: bool) {
        if cut {
            self.cut_off(Whose::All, Direction::Both);
        } else {
            self.mend(Whose::All, Direction::Both);
        }
    }

    /// Drops these datagrams in this direction from now on, beside what is dropped already.
    pub fn cut_off(&self, whose: Whose, direction: Direction) {
        self.order(Command::Cut(whose, direction));
    }

    /// Takes one [`cut_off`](Path::cut_off) back.
    pub fn mend(&self, whose: Whose, direction: Direction) {
        self.order(Command::Mend(Some((whose, direction))));
    }

    /// Takes every cut back.
    pub fn mend_all(&self) {
        self.order(Command::Mend(None));
    }

    /// Gives each client a new address towards the target, as when a phone changes networks. What is sent
    /// to the old one is lost.
    pub fn rebind(&self) {
        self.order(Command::Rebind);
    }

    fn order(&self, command: Command) {
        // The relay ends with the path, not before. A wake-up that finds no room is not the first.
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
            let _ = (&self.wake).write(&[0]);
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.commands = None;
        let _ = (&self.wake).write(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Datagram {
    client: SocketAddr,
    bytes: Arc<[u8]>,
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A client's own socket towards the target.
struct Client {
    socket: UdpSocket,
    heard: Instant,
}

struct Relay {
    socket: UdpSocket,
    target: Option<SocketAddr>,
    clients: HashMap<SocketAddr, Client>,
    cuts: Vec<(Whose, Direction)>,
    /// To the target, and back.
    shapers: [Shaper<Datagram>; 2],
}

impl Relay {
    /// Sleeps in the kernel until a datagram comes, one is due, or there is an order. Ends with the path.
    fn run(mut self, orders: &mpsc::Receiver<Command>, mut woken: UnixStream) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            self.wait(&woken);
            while woken.read(&mut buffer).is_ok_and(|length| length > 0) {}
            loop {
                match orders.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.take_in(&mut buffer);
            self.send_due();
        }
    }

    fn wait(&self, woken: &UnixStream) {
        let due = self.shapers.iter().filter_map(Shaper::due).min();
        let within = due.map(|due| due.saturating_duration_since(Instant::now()));
        let within = within.and_then(|within| Timespec::try_from(within).ok());
        let sockets = self.clients.values().map(|client| &client.socket).chain([&self.socket]);
        let mut waited: Vec<PollFd<'_>> =
            sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        waited.push(PollFd::new(woken, PollFlags::IN));
        // A signal that interrupts it is one more reason to look.
        let _ = poll(&mut waited, within.as_ref());
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Aim(target) => {
                self.target = Some(target);
                self.rebind();
            }
            Command::Impair(direction, impairment) => {
                for (shaper, to_target) in self.shapers.iter_mut().zip([true, false]) {
                    if direction.includes(to_target) {
                        shaper.impair(impairment.clone());
                    }
                }
            }
            Command::Cut(whose, direction) => self.cuts.push((whose, direction)),
            Command::Mend(Some(cut)) => self.cuts.retain(|c| *c != cut),
            Command::Mend(None) => self.cuts.clear(),
            Command::Rebind => self.rebind(),
        }
    }

    fn rebind(&mut self) {
        let Some(target) = self.target else { return };
        for client in self.clients.values_mut() {
            // Without a free port the old one stays.
            if let Ok(socket) = towards(target) {
                client.socket = socket;
            }
        }
    }

    fn take_in(&mut self, buffer: &mut [u8]) {
        let now = Instant::now();
        for _ in 0..MAX_TURN {
            let Ok((length, address)) = self.socket.recv_from(buffer) else { break };
            if self.open(address, now) && !self.is_cut(address, true) {
                let datagram = Datagram { client: address, bytes: buffer[..length].into() };
                self.shapers[0].push(now, datagram);
            }
        }
        for (address, client) in &self.clients {
            for _ in 0..MAX_TURN {
                let Ok(length) = client.socket.recv(buffer) else { break };
                if !self.is_cut(*address, false) {
                    let datagram = Datagram { client: *address, bytes: buffer[..length].into() };
                    self.shapers[1].push(now, datagram);
                }
            }
        }
    }

    fn is_cut(&self, client: SocketAddr, to_target: bool) -> bool {
        self.cuts
            .iter()
            .any(|(whose, direction)| whose.includes(client) && direction.includes(to_target))
    }

    /// Whether the client has a socket towards the target now.
    fn open(&mut self, address: SocketAddr, now: Instant) -> bool {
        if let Some(client) = self.clients.get_mut(&address) {
            client.heard = now;
            return true;
        }
        if self.clients.len() >= MAX_CLIENTS {
            let longest = self.clients.iter().min_by_key(|(_, client)| client.heard);
            if let Some(silent) = longest.map(|(address, _)| *address) {
                self.clients.remove(&silent);
            }
        }
        let socket = self.target.and_then(|target| towards(target).ok());
        let client = socket.map(|socket| Client { socket, heard: now });
        client.map(|client| self.clients.insert(address, client)).is_some()
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        // What the system cannot take is lost, as on any network.
        while let Some(datagram) = self.shapers[0].pop(now) {
            let client = self.clients.get(&datagram.client);
            let _ = client.map(|client| client.socket.send(&datagram.bytes));
        }
        while let Some(datagram) = self.shapers[1].pop(now) {
            let _ = self.socket.send_to(&datagram.bytes, datagram.client);
        }
    }
}

fn towards(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for what is to come, and short enough to wait for what is not.
    const PATIENCE: Duration = Duration::from_millis(300);

    /// A client and a target with a path between them.
    struct Pair {
        client: UdpSocket,
        target: UdpSocket,
        path: Path,
    }

    impl Pair {
        fn new() -> Self {
            let socket = || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket
            };
            let (client, target) = (socket(), socket());
            let path = Path::to(target.local_addr().unwrap()).unwrap();
            Self { client, target, path }
        }

        /// Sends to the target; returns where it came from, if it came.
        fn there(&self) -> Option<SocketAddr> {
            let mut buffer = [0; 16];
            self.client.send_to(b"there", self.path.address()).unwrap();
            let (length, from) = self.target.recv_from(&mut buffer).ok()?;
            assert_eq!(&buffer[..length], b"there");
            Some(from)
        }

        /// Sends back to `address`; returns whether it came.
        fn back(&self, address: SocketAddr) -> bool {
            let mut buffer = [0; 16];
            self.target.send_to(b"back", address).unwrap();
            self.client.recv_from(&mut buffer).is_ok_and(|(length, _)| &buffer[..length] == b"back")
        }
    }

    #[test]
    fn a_path_carries_both_ways_until_it_is_cut_and_again_when_it_is_mended() {
        let pair = Pair::new();
        let from = pair.there().unwrap();
        assert!(pair.back(from));
        pair.path.cut(true);
        assert!(pair.there().is_none() && !pair.back(from));
        pair.path.cut(false);
        assert!(pair.there().is_some() && pair.back(from));
    }

    #[test]
    fn a_path_cut_one_way_carries_the_other_way() {
        let pair = Pair::new();
        let from = pair.there().unwrap();
        pair.path.cut_off(Whose::All, Direction::ToClient);
        assert_eq!(pair.there(), Some(from));
        assert!(!pair.back(from));
        pair.path.mend_all();
        pair.path.cut_off(Whose::All, Direction::ToTarget);
        assert!(pair.there().is_none() && pair.back(from));
    }

    #[test]
    fn a_cut_concerns_those_it_names() {
        let pair = Pair::new();
        let own = pair.client.local_addr().unwrap();
        pair.path.cut_off(Whose::Except(vec![own]), Direction::Both);
        assert!(pair.there().is_some());
        pair.path.cut_off(Whose::Only(own), Direction::Both);
        assert!(pair.there().is_none());
    }

    #[test]
    fn after_rebind_the_client_has_another_address() {
        let pair = Pair::new();
        let old = pair.there().unwrap();
        pair.path.rebind();
        let new = pair.there().unwrap();
        assert_ne!(old, new);
        assert!(pair.back(new) && !pair.back(old));
    }

    #[test]
    fn delay_is_kept_to_the_millisecond() {
        let pair = Pair::new();
        pair.there().unwrap();
        pair.path.impair(Direction::ToTarget, &Impairment::none().latency(50));
        let mut delays: Vec<Duration> = (0..15)
            .map(|_| {
                let sent = Instant::now();
                pair.there().unwrap();
                sent.elapsed()
            })
            .collect();
        delays.sort();
        assert!(delays[0] >= Duration::from_millis(50), "{delays:?}");
        // The median: the machine may be busy now and then.
        assert!(delays[7] < Duration::from_millis(52), "{delays:?}");
    }
}
