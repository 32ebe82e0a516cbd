//! Grants: what lets a client attach to an edge. Signed by the coordinator with Ed25519, checked by edges
//! with the public key alone, so that nobody needs the coordinator to go on watching.
//!
//! A grant travels as `base64url(JSON) "." base64url(signature of the JSON)`.

use std::{fs, path::Path};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gibbon_media::{MediaTime, NodeId, Placement, Priority, SessionId, StreamName};
use gibbon_net::{Certificates, identity};
use serde::{Deserialize, Serialize};

/// Longest grant that is looked at, in bytes of its text.
const MAX_GRANT: usize = 8 * 1024;

/// What a client may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The session.
    pub session: SessionId,
    /// The stream it watches.
    pub stream: StreamName,
    /// Edges to turn to when one is lost, best first.
    pub standbys: Vec<NodeId>,
    /// How its legs are meant to be placed.
    #[serde(default)]
    pub placement: Placement,
    /// How much it matters at a full edge.
    #[serde(default)]
    pub priority: Priority,
    /// Not valid from then on; µs since the epoch.
    pub expires: MediaTime,
}

/// Why a grant is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not of the form of a grant.
    #[error("the grant is malformed")]
    Malformed,
    /// Not signed by this network's coordinator.
    #[error("the grant is not signed by this network's coordinator")]
    Signature,
    /// Too old.
    #[error("the grant has expired; ask the portal for a new one")]
    Expired,
}

/// The coordinator's signing key.
pub struct GrantSigner(Ed25519KeyPair);

/// Checks grants.
#[derive(Debug, Clone)]
pub struct GrantVerifier(Vec<u8>);

impl GrantSigner {
    /// The key in `certificates`' folder, made on first use (`grants.key`, mode 0600, and `grants.pub`).
    pub fn load_or_make(certificates: &Certificates) -> anyhow::Result<Self> {
        certificates.ensure_authority()?;
        let (secret, public) = (certificates.file("grants.key"), certificates.file("grants.pub"));
        if !secret.exists() {
            let made = Ed25519KeyPair::generate()?;
            identity::write_secret(&secret, made.to_pkcs8()?.as_ref())?;
        }
        let key = Ed25519KeyPair::from_pkcs8(&fs::read(&secret)?)
            .map_err(|why| anyhow::anyhow!("{}: {why}", secret.display()))?;
        let text = BASE64.encode(key.public_key().as_ref());
        // A folder that holds both may be one that cannot be written.
        if fs::read_to_string(&public).ok().as_ref() != Some(&text) {
            fs::write(public, text)?;
        }
        Ok(Self(key))
    }

    /// The grant as signed text.
    pub fn sign(&self, grant: &Grant) -> String {
        // Names, numbers and lists of names always have a JSON form.
        let json = serde_json::to_vec(grant).unwrap_or_default();
        let signature = self.0.sign(&json);
        format!("{}.{}", BASE64.encode(&json), BASE64.encode(signature.as_ref()))
    }

    /// What checks this key's grants.
    pub fn verifier(&self) -> GrantVerifier {
        GrantVerifier(self.0.public_key().as_ref().to_vec())
    }
}

impl GrantVerifier {
    /// The public key that a coordinator left in a file.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).map_err(|why| {
            anyhow::anyhow!(
                "{}: {why}; start the coordinator once, or copy its grants.pub here",
                file.display()
            )
        })?;
        Self::from_text(text.trim())
            .map_err(|why| anyhow::anyhow!("{} is not a public key: {why}", file.display()))
    }

    /// The public key from its base64 text.
    pub fn from_text(text: &str) -> anyhow::Result<Self> {
        Ok(Self(BASE64.decode(text)?))
    }

    /// The public key as base64 text.
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// What `text` grants, if it is valid at `now`.
    pub fn verify(&self, text: &str, now: MediaTime) -> Result<Grant, GrantError> {
        if text.len() > MAX_GRANT {
            return Err(GrantError::Malformed);
        }
        let (json, signature) = text.split_once('.').ok_or(GrantError::Malformed)?;
        let json = BASE64.decode(json).map_err(|_| GrantError::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| GrantError::Malformed)?;
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&json, &signature)
            .map_err(|_| GrantError::Signature)?;
        let grant: Grant = serde_json::from_slice(&json).map_err(|_| GrantError::Malformed)?;
        if grant.expires <= now { Err(GrantError::Expired) } else { Ok(grant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_written_where_it_is_missing_or_another_and_left_where_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path());
        let public = certificates.file("grants.pub");
        GrantSigner::load_or_make(&certificates).unwrap();
        let right = fs::read_to_string(&public).unwrap();
        let written = || fs::metadata(&public).unwrap().modified().unwrap();
        let before = written();
        GrantSigner::load_or_make(&certificates).unwrap();
        assert_eq!(written(), before);
        fs::write(&public, "another").unwrap();
        GrantSigner::load_or_make(&certificates).unwrap();
        assert_eq!(fs::read_to_string(&public).unwrap(), right);
    }

    #[test]
    fn only_a_whole_unexpired_grant_of_this_network_is_accepted() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [signer, stranger] = folders.each_ref().map(|folder| {
            GrantSigner::load_or_make(&Certificates::in_folder(folder.path())).unwrap()
        });
        let grant = Grant {
            session: SessionId(1),
            stream: "live/bbb".parse().unwrap(),
            standbys: vec!["edge-b".parse().unwrap()],
            placement: Placement::Diverse,
            priority: Priority::default(),
            expires: MediaTime(1000),
        };
        let (text, now) = (signer.sign(&grant), MediaTime(999));
        let verifier = GrantVerifier::load(&folders[0].path().join("grants.pub")).unwrap();
        assert_eq!(verifier.verify(&text, now), Ok(grant.clone()));
        assert_eq!(verifier.verify(&text, MediaTime(1000)), Err(GrantError::Expired));
        assert_eq!(verifier.verify(&stranger.sign(&grant), now), Err(GrantError::Signature));
        let other = signer.sign(&Grant { session: SessionId(2), ..grant });
        let (json, signature) = (other.split_once('.').unwrap().0, text.split_once('.').unwrap().1);
        let forged = format!("{json}.{signature}");
        assert_eq!(verifier.verify(&forged, now), Err(GrantError::Signature));
        for bad in ["", "x", "a.b", "!.!"] {
            assert!(verifier.verify(bad, now).is_err(), "{bad}");
        }
        assert_eq!(verifier.verify(&"x".repeat(MAX_GRANT + 1), now), Err(GrantError::Malformed));
    }
}
