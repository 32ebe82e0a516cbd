//! Services that have a name: what operators offer, so that viewers need not know components.

use std::path::Path;

use anyhow::Context;
use gibbon_components::{Chain, catalogue, parse};
use gibbon_control::services::NamedService;
use serde::Deserialize;

/// Services of one catalogue.
pub const MAX_NAMED: usize = 256;
/// Longest name of a service, in bytes.
const MAX_NAME: usize = 48;

/// Services by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<NamedService>);

/// The file: `[[service]]` with `name`, `about` and `components = "scale height=360 | grayscale"`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    about: String,
    components: String,
}

impl Catalogue {
    /// What there is without a file.
    pub fn built_in() -> anyhow::Result<Self> {
        Self::read(include_str!("services.toml")).context("the built-in catalogue of services")
    }

    /// The catalogue in `file`.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the catalogue of services {}", file.display()))?;
        Self::read(&text).with_context(|| format!("the catalogue of services {}", file.display()))
    }

    /// A catalogue in TOML. Every component is checked as far as that can be without a stream.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        anyhow::ensure!(file.service.len() <= MAX_NAMED, "it has more than {MAX_NAMED} services");
        let mut services: Vec<NamedService> = Vec::new();
        for entry in file.service {
            let service = named(&entry).with_context(|| format!("service {:?}", entry.name))?;
            let twice = services.iter().any(|other| other.name == service.name);
            anyhow::ensure!(!twice, "service {:?} is there twice", service.name);
            services.push(service);
        }
        Ok(Self(services))
    }

    /// All of them, in the order of the file.
    pub fn services(&self) -> &[NamedService] {
        &self.0
    }

    /// The service of this name.
    pub fn find(&self, name: &str) -> Option<&NamedService> {
        self.0.iter().find(|service| service.name == name)
    }
}

fn named(entry: &Entry) -> anyhow::Result<NamedService> {
    let valid = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let name = entry.name.clone();
    anyhow::ensure!(
        !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(valid),
        "a name is 1 to {MAX_NAME} bytes of a-z, 0-9 and '-'"
    );
    anyhow::ensure!(catalogue::find(&name).is_err(), "a component has that name");
    let chain = Chain { source: "any".parse()?, components: parse(&entry.components)? };
    let components = chain.canonical()?.components;
    Ok(NamedService { name, about: entry.about.clone(), components })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gibbon_components::Format;
    use gibbon_media::{
        AudioTrack, Catalog, Codec, FrameRate, MediaTime, Scheme, StreamName, TextTrack, VideoTrack,
    };

    use super::*;

    #[test]
    fn the_built_in_catalogue_is_read_and_found_by_name() {
        let catalogue = Catalogue::built_in().unwrap();
        let sd = catalogue.find("sd").unwrap();
        assert_eq!(sd.components[0].component, "scale");
        assert!(catalogue.find("nonsense").is_none());
    }

    #[test]
    fn every_built_in_service_can_be_made_of_a_stream_with_all_media() {
        let source: StreamName = "live/bbb".parse().unwrap();
        let rate = FrameRate::new(25, 1).unwrap();
        let catalog = Catalog {
            stream: source.clone(),
            scheme: Scheme::Alternating,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
            video: Some(VideoTrack { codec: Codec::H264, rate, width: 1280, height: 720 }),
            audio: Some(AudioTrack { sample_rate: 48_000, channels: 2, packet_us: 20_000 }),
            text: Some(TextTrack { language: "en".into() }),
            host: String::new(),
        };
        for service in Catalogue::built_in().unwrap().services() {
            let (source, components) = (source.clone(), service.components.clone());
            let checked = Chain { source, components }.check(&Format::of(&catalog));
            assert!(checked.is_ok(), "{}: {:?}", service.name, checked.err());
        }
    }

    #[test]
    fn a_bad_catalogue_says_which_service_and_why() {
        for (text, why) in [
            ("[[service]]\nname = \"a b\"\ncomponents = \"grayscale\"", "1 to 48 bytes"),
            ("[[service]]\nname = \"scale\"\ncomponents = \"grayscale\"", "a component has that"),
            ("[[service]]\nname = \"x\"\ncomponents = \"nonsense\"", "component 1, nonsense"),
            ("[[service]]\nname = \"x\"\ncomponents = \"scale depth=3\"", "no parameter"),
            ("[[service]]\nname = \"x\"\ncomponent = \"grayscale\"", "unknown field"),
        ] {
            let error = format!("{:#}", Catalogue::read(text).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
        let twice = "[[service]]\nname = \"x\"\ncomponents = \"grayscale\"\n".repeat(2);
        assert!(Catalogue::read(&twice).unwrap_err().to_string().contains("twice"));
    }
}
