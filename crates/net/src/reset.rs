//! Stateless resets that outlast a restart (RFC 9000, section 10.3).

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{hmac, rand};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};

const ID_BYTES: usize = 8;

/// Stateless resets under a key that is the same after a restart: peers of a process that was killed hear
/// at their next packet that their connections are gone, not when these have been idle for long.
pub fn lasting(secret: &[u8]) -> EndpointConfig {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"gibbon stateless reset");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Connection ids that say nothing. Those of quinn carry a check by a key that a restart forgets, and so
/// packets to the process before would be dropped instead of answered with a reset.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        // Where there is no randomness there is no TLS either.
        let _ = rand::fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
