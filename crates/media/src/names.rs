//! Names of things. Each is validated once, where it enters the process.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        // Quote a bounded part only: the name came from outside.
        Self { kind, given: given.chars().take(64).collect(), rule }
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(s) { Ok(Self(s.into())) } else { Err(InvalidName::new($kind, s, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, InvalidName> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// One live programme, e.g. `live/bbb`: 1–128 bytes of `a-z 0-9 . _ - /`, no empty segment.
    StreamName,
    "stream name",
    "use 1-128 bytes of a-z, 0-9, '.', '_', '-' in segments divided by single '/'",
    |s| {
        s.len() <= 128
            && s.split('/').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
            })
    }
);

text_name!(
    /// The id of an origin, edge, worker or coordinator, e.g. `edge-a`: a DNS label, as it stands
    /// in the node's certificate.
    NodeId,
    "node id",
    "use 1-48 bytes of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    |s| {
        !s.is_empty()
            && s.len() <= 48
            && !s.starts_with('-')
            && !s.ends_with('-')
            && s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    }
);

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                let refused = || InvalidName::new($kind, s, "use 16 hexadecimal digits");
                if s.len() != 16 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(refused());
                }
                u64::from_str_radix(s, 16).map(Self).map_err(|_| refused())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, InvalidName> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}
pub(crate) use hex_id;

hex_id!(
    /// One client watching one stream. Random, written as 16 hexadecimal digits.
    SessionId,
    "session id"
);
hex_id!(
    /// One hand-off. Random, written as 16 hexadecimal digits.
    HandoffId,
    "hand-off id"
);
hex_id!(
    /// One service: a list of components on a stream. Random, written as 16 hexadecimal digits.
    ServiceId,
    "service id"
);
hex_id!(
    /// One component on one worker. Random, written as 16 hexadecimal digits.
    InstanceId,
    "instance id"
);

/// What a node is; stands in its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Content provider: takes media in, codes it, publishes it.
    Origin,
    /// Service provider next to viewers.
    Edge,
    /// Service node: runs media service components.
    Worker,
    /// The service manager.
    Coordinator,
}

impl Role {
    /// The word for it in certificates, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Origin => "origin",
            Role::Edge => "edge",
            Role::Worker => "worker",
            Role::Coordinator => "coordinator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        [Role::Origin, Role::Edge, Role::Worker, Role::Coordinator]
            .into_iter()
            .find(|role| role.as_str() == s)
            .ok_or_else(|| InvalidName::new("role", s, "use origin, edge, worker or coordinator"))
    }
}

/// One of the two complementary bitstreams of a stream. Written `0` and `1` everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Description {
    /// Description 0.
    Zero,
    /// Description 1.
    One,
}

impl Description {
    /// Both, in order.
    pub const BOTH: [Description; 2] = [Description::Zero, Description::One];

    /// 0 or 1, for arrays indexed by description.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The complementary one.
    pub fn other(self) -> Description {
        match self {
            Description::Zero => Description::One,
            Description::One => Description::Zero,
        }
    }
}

impl TryFrom<u8> for Description {
    type Error = InvalidName;
    fn try_from(n: u8) -> Result<Self, InvalidName> {
        match n {
            0 => Ok(Description::Zero),
            1 => Ok(Description::One),
            n => Err(InvalidName::new("description", &n.to_string(), "use 0 or 1")),
        }
    }
}

impl From<Description> for u8 {
    fn from(d: Description) -> u8 {
        d as u8
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", u8::from(*self))
    }
}

impl FromStr for Description {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        match s {
            "0" => Ok(Description::Zero),
            "1" => Ok(Description::One),
            _ => Err(InvalidName::new("description", s, "use 0 or 1")),
        }
    }
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// Pictures, shared out between the descriptions.
    Video,
    /// Sound, whole in both descriptions.
    Audio,
    /// Cues, whole in both descriptions.
    Text,
}

impl Medium {
    /// All three, in order.
    pub const ALL: [Medium; 3] = [Medium::Video, Medium::Audio, Medium::Text];

    /// 0, 1 or 2, for arrays indexed by medium and for the wire.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl TryFrom<u8> for Medium {
    type Error = InvalidName;
    fn try_from(n: u8) -> Result<Self, InvalidName> {
        Medium::ALL.get(usize::from(n)).copied().ok_or_else(|| {
            InvalidName::new("medium", &n.to_string(), "use 0 (video), 1 (audio) or 2 (text)")
        })
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Medium::Video => "video",
            Medium::Audio => "audio",
            Medium::Text => "text",
        })
    }
}

/// What is subscribed to, cached and prefetched: one medium of one description of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Track {
    /// The stream.
    pub stream: StreamName,
    /// The description.
    pub description: Description,
    /// The medium.
    pub medium: Medium,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} description {} {}", self.stream, self.description, self.medium)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_bounded_paths() {
        for good in ["live/bbb", "a", "a/b/c.d_e-f"] {
            assert!(good.parse::<StreamName>().is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", "/a", "a/", "a//b", "A", "live/ü", "a b", long.as_str()] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn node_ids_are_dns_labels() {
        assert!("edge-a".parse::<NodeId>().is_ok());
        for bad in ["", "-a", "a-", "a.b", "A", "edge_a"] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_read_back_what_they_write() {
        let id = SessionId(0xab);
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["ab", "+0000000000000ab", "00000000000000zz"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
