//! Where nodes are reached.

use std::{
    fmt,
    io::{Error, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
    time::Duration,
};

use gibbon_media::{NodeId, Role};
use serde::{Deserialize, Serialize};

/// A node, and where it is reached over QUIC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Its id.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Where it listens.
    pub address: SocketAddr,
}

impl NodeAddress {
    /// Whether streams may be pulled from it as from their source.
    pub fn publishes(&self) -> bool {
        matches!(self.role, Role::Origin | Role::Worker)
    }
}

/// A name that is not looked up by then is taken for unknown.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(3);
/// Addresses of one name that are used; further ones are left.
const MAX_ADDRESSES: usize = 4;
/// Longest name that the DNS allows (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// `HOST[:PORT]`: an address or a name, which is looked up anew at each use, as what it stands for may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    host: String,
    port: Option<u16>,
}

impl HostAddress {
    /// What it stands for now, at `port` unless it says another; at least one and at most 4.
    pub async fn look_up(&self, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let port = self.port.unwrap_or(port);
        let looking = tokio::net::lookup_host((self.host.as_str(), port));
        let found: Vec<_> = match tokio::time::timeout(LOOKED_UP_WITHIN, looking).await {
            Ok(found) => found.map_err(|error| self.unknown(error))?.take(MAX_ADDRESSES).collect(),
            Err(_) => return Err(self.unknown(format!("no answer within {LOOKED_UP_WITHIN:?}"))),
        };
        if found.is_empty() {
            return Err(self.unknown("it has no address"));
        }
        Ok(found)
    }

    fn unknown(&self, why: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NotFound, format!("cannot look up {}: {why}", self.host))
    }
}

impl FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        } else if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| use_host_port(text))?)),
            None => (text, None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || host.len() > MAX_NAME || !host.chars().all(valid) {
            return Err(use_host_port(text));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

fn use_host_port(text: &str) -> String {
    format!(
        "{text:?} is not an address: use HOST:PORT, as in coordinator.example:4481 or [::1]:4481"
    )
}

impl From<SocketAddr> for HostAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: Some(address.port()) }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

/// Where a socket `bound` to an address is reached by who can reach this host as `peer` does: there, or, where
/// that is every interface, on the one that leads to `peer`. Sends nothing.
pub fn reached_at(bound: SocketAddr, peer: SocketAddr) -> std::io::Result<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let any: IpAddr = match peer.ip().to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect((peer.ip().to_canonical(), peer.port()))?;
    Ok((probe.local_addr()?.ip(), bound.port()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> HostAddress {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        for (text, is) in [
            ("192.0.2.1:9", "192.0.2.1:9"),
            ("192.0.2.1", "192.0.2.1:4481"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("2001:db8::1", "[2001:db8::1]:4481"),
            ("[2001:db8::1]", "[2001:db8::1]:4481"),
        ] {
            let found = parsed(text).look_up(4481).await.unwrap();
            assert_eq!(found, [is.parse().unwrap()], "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let found = parsed("localhost:9").look_up(4481).await.unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 9), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_told() {
        let error = parsed("nobody.invalid").look_up(4481).await.unwrap_err().to_string();
        assert!(error.contains("nobody.invalid"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused_when_it_is_given() {
        let long = "a".repeat(MAX_NAME + 1);
        for text in ["", ":4481", "http://host:1", "host:port", "host:65536", "a b", &long] {
            assert!(text.parse::<HostAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["coordinator:4481", "edge-1.example", "192.0.2.1:9", "[2001:db8::1]:9"] {
            assert_eq!(parsed(text).to_string(), text);
        }
    }

    #[test]
    fn a_socket_on_every_interface_is_reached_on_the_one_that_leads_to_the_peer() {
        let peer: SocketAddr = "127.0.0.1:4481".parse().unwrap();
        for bound in ["0.0.0.0:4483", "[::]:4483"] {
            let reached = reached_at(bound.parse().unwrap(), peer).unwrap();
            assert_eq!(reached, "127.0.0.1:4483".parse().unwrap(), "{bound}");
        }
        let bound: SocketAddr = "192.0.2.1:4483".parse().unwrap();
        assert_eq!(reached_at(bound, peer).unwrap(), bound);
    }
}
