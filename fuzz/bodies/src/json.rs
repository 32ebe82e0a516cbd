//! The parsers of JSON: messages of session and control streams, and grants.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use gibbon_control::{
    Grant, GrantError, GrantVerifier,
    node::{FromNode, ToNode},
    session::{FromViewer, ToViewer},
};
use gibbon_media::{MediaTime, Role};
use serde::{Serialize, de::DeserializeOwned};

/// What can be read can be written, and read again.
fn round<T: Serialize + DeserializeOwned>(input: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(input).ok()?;
    let written = serde_json::to_vec(&value);
    let again = written.and_then(|json| serde_json::from_slice::<T>(&json));
    assert!(again.is_ok(), "{:?}", again.err());
    Some(value)
}

/// Messages of a session stream, in both directions.
pub fn session(input: &[u8]) {
    round::<FromViewer>(input);
    round::<ToViewer>(input);
}

/// Messages of a control stream, in both directions.
pub fn control(input: &[u8]) {
    round::<FromNode>(input);
    if let Some(ToNode::Directory(directory)) = round::<ToNode>(input) {
        for published in &directory.streams {
            let origins = directory.origins(&published.stream).count();
            assert!(origins == 0 || directory.nodes.iter().any(|node| node.role == Role::Origin));
        }
    }
}

/// A grant: the input as it is, which nobody has signed, and the input as JSON that is signed.
pub fn grant(input: &[u8]) {
    // The secret key of RFC 8032, section 7.1, test 1: the tests' own.
    const SECRET: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const NOW: MediaTime = MediaTime(1_700_000_000_000_000);
    let Ok(key) = Ed25519KeyPair::from_seed_unchecked(&SECRET) else { return };
    let public = BASE64.encode(key.public_key());
    let Ok(verifier) = GrantVerifier::from_text(&public) else { return };
    if let Some(grant) = std::str::from_utf8(input).ok().and_then(|t| verifier.verify(t, NOW).ok())
    {
        assert!(grant.expires > NOW);
    }
    let signed = format!("{}.{}", BASE64.encode(input), BASE64.encode(key.sign(input)));
    let readable = serde_json::from_slice::<Grant>(input).ok();
    match (verifier.verify(&signed, NOW), readable) {
        (Ok(grant), Some(read)) => assert!(grant == read && grant.expires > NOW),
        (Err(GrantError::Expired), Some(read)) => assert!(read.expires <= NOW),
        (Err(GrantError::Malformed), _) => {}
        (verdict, read) => panic!("{verdict:?} on {read:?}"),
    }
}
