//! One UDP port for several shards: each has a socket of its own, and each packet goes to the shard that its
//! connection id names, wherever it comes from. So a client whose address changes stays on its shard.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JA, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET,
        sock_filter, sock_fprog,
    },
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, setsockopt, socket,
        sockopt::{AttachReusePortCbpf, ReusePort},
    },
};

/// Shards of one node, at most.
pub const MAX_SHARDS: u8 = 16;

/// One of the shards of a node: a connection is its own whose id's first byte, modulo their number, is its
/// index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u8,
    count: u8,
}

impl Shard {
    /// That of a node which has no other.
    pub(crate) const ONLY: Shard = Shard { index: 0, count: 1 };

    /// All of `count` shards.
    pub(crate) fn all(count: u8) -> impl Iterator<Item = Shard> {
        (0..count).map(move |index| Shard { index, count })
    }

    /// Whether connection ids that begin with `first` are its own.
    pub(crate) fn owns(self, first: u8) -> bool {
        first % self.count == self.index
    }

    /// A first byte of its own, as random as `random` is.
    pub(crate) fn first_byte(self, random: u8) -> u8 {
        let least = random - random % self.count;
        least.checked_add(self.index).unwrap_or_else(|| least - self.count + self.index)
    }
}

/// A socket on `address` for each of `count` shards, in their order; port 0 picks a free one. Fails if anything
/// else listens there.
pub(crate) fn sockets(address: SocketAddr, count: u8) -> io::Result<Vec<UdpSocket>> {
    // Sockets that share a port let in any other of the same user that asks for it: a second process would
    // take a part of our packets, and neither would notice. One that does not share is refused.
    let alone = UdpSocket::bind(address)?;
    if count == 1 {
        return Ok(vec![alone]);
    }
    let address = alone.local_addr()?;
    drop(alone);
    let sockets = (0..count).map(|_| sharing(address)).collect::<io::Result<Vec<_>>>()?;
    // The kernel numbers the sockets in the order they were bound in.
    if let Some(socket) = sockets.first() {
        steer(socket, count)?;
    }
    Ok(sockets)
}

/// A socket that shares `address` with others.
fn sharing(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    match address {
        SocketAddr::V4(address) => bind(socket.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => bind(socket.as_raw_fd(), &SockaddrIn6::from(address))?,
    }
    Ok(socket.into())
}

/// Has the kernel choose among the sockets that share the port of `socket`.
fn steer(socket: &UdpSocket, count: u8) -> io::Result<()> {
    let mut program = program(count);
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
}

/// Classic BPF over the UDP payload that returns the index of a socket. The destination connection id of a
/// long header begins with byte 6, that of a short one with byte 1 (RFC 9000, section 17). What is too short
/// goes to the first socket.
fn program(count: u8) -> [sock_filter; 7] {
    let load = |byte| instruction(BPF_LD | BPF_B | BPF_ABS, byte, 0, 0);
    [
        load(0),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
        load(6),
        instruction(BPF_JMP | BPF_JA, 1, 0, 0),
        load(1),
        instruction(BPF_ALU | BPF_MOD | BPF_K, count.into(), 0, 0),
        instruction(BPF_RET | BPF_A, 0, 0, 0),
    ]
}

fn instruction(code: u32, k: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: if_true, jf: if_false, k }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    #[test]
    fn first_bytes_are_those_of_the_shard_and_all_of_them_occur() {
        for count in 1..=MAX_SHARDS {
            for shard in Shard::all(count) {
                let mut bytes: Vec<_> = (0..=u8::MAX).map(|byte| shard.first_byte(byte)).collect();
                assert!(bytes.iter().all(|byte| shard.owns(*byte)), "{shard:?}");
                assert!(Shard::all(count).all(|s| s == shard || !s.owns(bytes[0])), "{shard:?}");
                bytes.sort_unstable();
                bytes.dedup();
                let own = (0..=u8::MAX).filter(|byte| shard.owns(*byte)).count();
                assert_eq!(bytes.len(), own, "{shard:?}");
            }
        }
    }

    #[test]
    fn each_packet_arrives_at_the_shard_that_its_connection_id_names() {
        for count in [2, 3, MAX_SHARDS] {
            let sockets = sockets(ANY_PORT.parse().unwrap(), count).unwrap();
            let address = sockets[0].local_addr().unwrap();
            for socket in &sockets {
                assert_eq!(socket.local_addr().unwrap(), address);
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            for first in [0, 1, 2, 15, 16, 17, 100, 254, 255u8] {
                let shard = Shard::all(count).position(|shard| shard.owns(first)).unwrap();
                let short = [0x40, first, 99, 99, 99, 99, 99];
                let long = [0xc0, 0, 0, 0, 1, 8, first, 99];
                for packet in [&short[..], &long] {
                    // Each from a port of its own.
                    let from = UdpSocket::bind(ANY_PORT).unwrap();
                    from.send_to(packet, address).unwrap();
                    let mut buffer = [0; 100];
                    let (length, peer) = sockets[shard].recv_from(&mut buffer).unwrap();
                    assert_eq!((&buffer[..length], peer), (packet, from.local_addr().unwrap()));
                }
            }
        }
    }

    #[test]
    fn what_is_too_short_to_name_a_shard_arrives_at_the_first() {
        let sockets = sockets(ANY_PORT.parse().unwrap(), 2).unwrap();
        sockets[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for packet in [&[][..], &[0x40], &[0xc0, 0, 0, 0, 1, 8]] {
            let from = UdpSocket::bind(ANY_PORT).unwrap();
            from.send_to(packet, sockets[0].local_addr().unwrap()).unwrap();
            let mut buffer = [0; 100];
            assert_eq!(sockets[0].recv(&mut buffer).unwrap(), packet.len());
        }
    }

    #[test]
    fn a_port_that_is_in_use_is_not_shared_with_another_node() {
        for (first, second) in [(1, 2), (2, 1), (2, 2)] {
            let held = sockets(ANY_PORT.parse().unwrap(), first).unwrap();
            let error = sockets(held[0].local_addr().unwrap(), second).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{first} {second}");
        }
    }
}
