//! Connection ids that name a shard, and stateless resets that outlast a restart (RFC 9000, section 10.3).

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{hmac, rand};
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig,
    crypto::{CryptoError, HmacKey},
};

use crate::steering::Shard;

const ID_BYTES: usize = 8;

/// Connection ids that name `shard`, and stateless resets under a key that is the same after a restart: peers of
/// a process that was killed hear at their next packet that their connections are gone, not when these have been
/// idle for long.
pub fn ids_and_resets(secret: &[u8], shard: Shard) -> EndpointConfig {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"gibbon stateless reset");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let mut config = EndpointConfig::new(Arc::new(ResetKey { key, shard }));
    config.cid_generator(move || Box::new(RandomIds(shard)));
    config
}

/// Signs for connection ids of its own shard only. A packet of another shard's may get here, where the network
/// card has joined it to one of ours: answered with a reset that the peer believes, it would be the end of
/// a connection that lives.
struct ResetKey {
    key: hmac::Key,
    shard: Shard,
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        if data.first().is_some_and(|first| self.shard.owns(*first)) {
            self.key.sign(data, out);
        } else {
            fill(out);
        }
    }

    fn signature_len(&self) -> usize {
        self.key.signature_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.key.verify(data, signature)
    }
}

/// Connection ids that say nothing but the shard. Those of quinn carry a check by a key that a restart
/// forgets, and so packets to the process before would be dropped instead of answered with a reset.
struct RandomIds(Shard);

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        fill(&mut id);
        id[0] = self.0.first_byte(id[0]);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn fill(bytes: &mut [u8]) {
    // Where there is no randomness there is no TLS either.
    let _ = rand::fill(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(shard: Shard, id: &[u8]) -> [u8; 32] {
        let mut token = [0; 32];
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        ResetKey { key, shard }.sign(id, &mut token);
        token
    }

    #[test]
    fn connection_ids_name_their_shard_and_only_it_can_reset_them() {
        for shard in Shard::all(3) {
            let id = RandomIds(shard).generate_cid();
            assert!(shard.owns(id[0]));
            let lasting = token(shard, &id);
            for other in Shard::all(3) {
                assert_eq!(token(other, &id) == lasting, other == shard);
            }
        }
    }
}
