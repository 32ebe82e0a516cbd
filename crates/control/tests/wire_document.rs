//! `docs/wire.md` says what the code does: every JSON example and the grant in it are checked.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs};

use gibbon_control::{
    Grant, GrantError, GrantSigner, GrantVerifier,
    node::{FromNode, ToNode},
    session::{FromViewer, ToViewer},
    work::InstanceSpec,
};
use gibbon_handoff::{FromClient, FromEdge, Reason, ToClient, ToEdge};
use gibbon_media::{Catalog, Cue, MediaTime, SessionId};
use gibbon_net::Certificates;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/wire.md");

/// The blocks fenced with this word: what follows the word, and the lines below.
fn blocks(word: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    DOCUMENT.split("\n```").skip(1).step_by(2).filter_map(move |block| {
        let (head, body) = block.split_once('\n')?;
        let (first, rest) = head.split_once(' ').unwrap_or((head, ""));
        (first == word).then_some((rest, body))
    })
}

/// What an edge writes on a hand-off stream.
#[derive(Serialize, Deserialize)]
struct PassedOn {
    session: SessionId,
    order: ToEdge,
}

/// Reads an example and writes it again: nothing may be missing, and nothing skipped.
fn check<T: Serialize + DeserializeOwned>(json: &str) {
    let written: Value = serde_json::from_str(json).unwrap();
    let read: T = serde_json::from_str(json).unwrap_or_else(|why| panic!("{why}: {json}"));
    assert_eq!(serde_json::to_value(read).unwrap(), written, "{json}");
}

fn check_as(name: &str, json: &str) {
    match name {
        "Catalog" => check::<Catalog>(json),
        "Cue" => check::<Cue>(json),
        "Grant" => check::<Grant>(json),
        "FromViewer" => check::<FromViewer>(json),
        "ToViewer" => check::<ToViewer>(json),
        "FromNode" => check::<FromNode>(json),
        "ToNode" => check::<ToNode>(json),
        "ToClient" => check::<ToClient>(json),
        "FromClient" => check::<FromClient>(json),
        "FromEdge" => check::<FromEdge>(json),
        "PassedOn" => check::<PassedOn>(json),
        other => panic!("the test does not know the type {other}"),
    }
}

#[test]
fn every_json_example_is_read_and_written_as_it_stands() {
    let examples: Vec<_> = blocks("json").collect();
    assert!(examples.len() > 25, "{}", examples.len());
    for (name, json) in examples {
        check_as(name, json);
    }
}

#[test]
fn the_telemetry_of_the_examples_is_of_the_form_and_can_be() {
    let mut told = 0;
    for (_, json) in blocks("json").filter(|(name, _)| *name == "FromViewer") {
        let FromViewer::Report(report) = serde_json::from_str(json).unwrap() else { continue };
        let telemetry = report.telemetry().unwrap();
        assert_eq!(serde_json::to_value(&telemetry).unwrap(), Value::Object(report.more), "{json}");
        telemetry.paths.iter().for_each(|path| path.check().unwrap());
        telemetry.motion.iter().for_each(|motion| motion.check().unwrap());
        told += usize::from(!telemetry.is_empty());
    }
    assert_eq!(told, 2);
    for (_, json) in blocks("json").filter(|(name, _)| *name == "FromNode") {
        let FromNode::Report(report) = serde_json::from_str(json).unwrap() else { continue };
        report.health.iter().for_each(|health| health.check().unwrap());
        report.links.iter().for_each(|link| link.check().unwrap());
        report.publishing.iter().for_each(|stream| stream.check().unwrap());
    }
}

#[test]
fn the_stream_of_the_example_has_the_name_that_its_chain_and_replica_give_it() {
    let examples = blocks("json").filter(|(name, _)| *name == "FromNode");
    let instances = examples.filter_map(|(_, json)| match serde_json::from_str(json).unwrap() {
        FromNode::Report(report) => Some(report.work?.instances),
        _ => None,
    });
    let instances: Vec<_> = instances.flatten().collect();
    let [instance] = &instances[..] else { panic!("{instances:?}") };
    let name = instance.spec.stream();
    assert_eq!(instance.output.stream.as_ref(), Some(&name));
    let standby = InstanceSpec { replica: 1, ..instance.spec.clone() };
    assert_eq!(standby.stream().as_str(), format!("{name}.1"));
    let mut divided = standby;
    divided.chain.components.push("mdc".parse().unwrap());
    assert_eq!(divided.stream(), InstanceSpec { replica: 0, ..divided.clone() }.stream());
}

/// Every `type` that stands in the examples, wherever.
fn types(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("type").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| types(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| types(value, found)),
        _ => {}
    }
}

/// The types of a message: the refusal of an unknown one names those that are known.
fn known_types<T: DeserializeOwned>() -> Vec<String> {
    words::<T>(r#"{"type":"?"}"#)
}

fn words<T: DeserializeOwned>(unknown: &str) -> Vec<String> {
    let error = serde_json::from_str::<T>(unknown).err().unwrap().to_string();
    let quoted = error.split('`').skip(1).step_by(2).filter(|word| *word != "?");
    quoted.map(str::to_owned).collect()
}

#[test]
fn every_type_of_message_has_an_example() {
    let mut shown = BTreeSet::new();
    for (_, json) in blocks("json") {
        types(&serde_json::from_str(json).unwrap(), &mut shown);
    }
    let known = [
        known_types::<FromViewer>(),
        known_types::<ToViewer>(),
        known_types::<FromNode>(),
        known_types::<ToNode>(),
        known_types::<ToClient>(),
        known_types::<FromClient>(),
        known_types::<ToEdge>(),
        known_types::<FromEdge>(),
    ];
    assert!(known.iter().all(|types| types.len() > 1), "{known:?}");
    for word in known.iter().flatten() {
        assert!(shown.contains(word), "no example of {word}");
    }
    let reasons = words::<Reason>(r#""?""#).join("`, `");
    assert!(DOCUMENT.contains(&format!("Reasons: `{reasons}`.")), "{reasons}");
}

#[test]
fn the_grant_of_the_document_is_what_its_key_signs() {
    // RFC 8032, section 7.1, test 1: the secret key in PKCS #8 (RFC 8410, section 7).
    const SECRET: &str = "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let byte = |at| u8::from_str_radix(&SECRET[at..at + 2], 16).unwrap();
    let secret: Vec<u8> = (0..SECRET.len()).step_by(2).map(byte).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("grants.key"), secret).unwrap();
    let signer = GrantSigner::load_or_make(&Certificates::in_folder(folder.path())).unwrap();

    let (_, json) = blocks("json").find(|(name, _)| *name == "Grant").unwrap();
    let grant: Grant = serde_json::from_str(json).unwrap();
    let (_, text) = blocks("grant").next().unwrap();
    let signed: String = text.lines().filter(|line| !line.contains(' ')).collect();
    assert_eq!(signer.sign(&grant), signed);
    let public = text.lines().find_map(|line| line.strip_prefix("public key: ")).unwrap();
    assert_eq!(signer.verifier().to_text(), public);
    let verifier = GrantVerifier::from_text(public).unwrap();
    assert_eq!(verifier.verify(&signed, MediaTime(grant.expires.0 - 1)), Ok(grant.clone()));
    assert_eq!(verifier.verify(&signed, grant.expires), Err(GrantError::Expired));
    for why in [GrantError::Malformed, GrantError::Signature, GrantError::Expired] {
        assert!(DOCUMENT.contains(&format!("- `{why}`")), "{why}");
    }
}
