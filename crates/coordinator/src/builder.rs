//! The service builder: from what is asked for to a checked chain of components, and what each of them needs.

use gibbon_components::{Chain, ChainError, Format, Spec, Step};
use gibbon_control::services::ServiceRequest;
use gibbon_media::StreamName;
use gibbon_placement::assign::StepNeed;

use crate::catalogue::Catalogue;

/// What every viewer's stream ends with.
pub const LAST: &str = "mdc";
/// What x264 takes for what passes between workers, in cores per pixel and second (measured: 640×360 at 24 per
/// second takes about 15 % of a core). That of `mdc` is in its own figure.
const ENCODE_CORES_PER_PIXEL: f64 = 3e-8;
/// What decoding takes (measured: about 2 % of a core for the same).
const DECODE_CORES_PER_PIXEL: f64 = 4e-9;
/// What a media thread without pictures takes: Opus and text.
const LEAST_CORES: f64 = 0.01;
/// Bits per pixel between workers, at [`gibbon_components::Coding::BETWEEN`], and of both descriptions to viewers.
const BITS_PER_PIXEL: [f64; 2] = [0.2, 0.12];
/// What sound and text take, in kbit/s.
const SOUND_KBPS: f64 = 96.0;
/// Memory of one component's thread, in MiB, and the pictures that it holds.
const BASE_MIB: f64 = 16.0;
const PICTURES_HELD: f64 = 32.0;
/// Bytes of a pixel in 4:2:0.
const BYTES_PER_PIXEL: f64 = 1.5;

/// Why a request cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The catalogue has no such service.
    #[error("there is no service {0:?} in the catalogue; GET /v1/catalogue lists them")]
    NoSuchName(String),
    /// A name and components are given.
    #[error("name a service or list components, not both")]
    Both,
    /// The components do not fit.
    #[error("{0}")]
    Chain(#[from] ChainError),
}

/// Where a chain begins: the stream that was asked for or, where services make that, what they make it of.
#[derive(Debug, Clone)]
pub struct Base {
    /// The stream of a content provider.
    pub source: StreamName,
    /// What it is made of.
    pub format: Format,
    /// Components that it passes before those that are asked for.
    pub components: Vec<Spec>,
}

/// A chain that can be assigned to workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Every parameter spelt out, the last component `mdc`.
    pub chain: Chain,
    /// What each component needs, in order.
    pub needs: Vec<StepNeed>,
}

/// Builds what is asked for.
pub fn build(
    request: &ServiceRequest,
    base: Base,
    catalogue: &Catalogue,
) -> Result<Built, BuildError> {
    let asked = match (&request.service, &request.components[..]) {
        (Some(_), [_, ..]) => return Err(BuildError::Both),
        (Some(name), []) => {
            let named = catalogue
                .find(name)
                .ok_or_else(|| BuildError::NoSuchName(name.chars().take(64).collect()))?;
            &named.components[..]
        }
        (None, components) => components,
    };
    // An empty list is refused, and not a service that only divides.
    if asked.is_empty() {
        return Err(ChainError::Empty.into());
    }
    let mut components = [&base.components[..], asked].concat();
    if components.last().is_some_and(|spec| spec.component != LAST) {
        components.push(Spec { component: LAST.to_owned(), parameters: Default::default() });
    }
    checked(Chain { source: base.source, components }, &base.format)
}

/// A chain that is to run on a stream of this format.
pub fn checked(chain: Chain, format: &Format) -> Result<Built, BuildError> {
    // First what is said of it as it was given: canonical forms of nonsense there are none.
    chain.check(format)?;
    let chain = chain.canonical()?;
    let steps = chain.check(format)?;
    let inputs = std::iter::once(format).chain(steps.iter().map(|step| &step.output));
    let needs = chain.components.iter().zip(inputs).zip(&steps);
    let needs = needs.map(|((spec, input), step)| need(spec, input, step)).collect();
    Ok(Built { chain, needs })
}

fn need(spec: &Spec, input: &Format, step: &Step) -> StepNeed {
    let output = &step.output;
    let encode = if output.divided { 0.0 } else { ENCODE_CORES_PER_PIXEL };
    let most = input.pixels_per_second().max(output.pixels_per_second());
    let rate = output.video.or(input.video).map_or(1.0, |video| video.rate.as_f64().max(1.0));
    let pictures_mib = most / rate * BYTES_PER_PIXEL * PICTURES_HELD / f64::from(1 << 20);
    StepNeed {
        component: spec.component.clone(),
        cores: step.cores.max(LEAST_CORES),
        decode_cores: input.pixels_per_second() * DECODE_CORES_PER_PIXEL,
        encode_cores: output.pixels_per_second() * encode,
        memory_mib: (BASE_MIB + pictures_mib) as u64,
        in_kbps: kbps(input),
        out_kbps: kbps(output),
        existing: None,
    }
}

/// What a stream of this format takes, roughly.
fn kbps(format: &Format) -> u64 {
    let bits = BITS_PER_PIXEL[usize::from(format.divided)];
    let pictures = format
        .coding
        .kbps
        .filter(|_| format.video.is_some())
        .map_or_else(|| format.pixels_per_second() * bits / 1000.0, f64::from);
    (pictures + SOUND_KBPS) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gibbon_components::parse;
    use gibbon_media::{Catalog, Codec, FrameRate, MediaTime, Priority, Scheme, VideoTrack};

    use super::*;

    fn base() -> Base {
        let rate = FrameRate::new(24, 1).unwrap();
        let video = Some(VideoTrack { codec: Codec::H264, rate, width: 640, height: 360 });
        let grids = Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1));
        let catalog = Catalog {
            stream: "live/bbb".parse().unwrap(),
            scheme: Scheme::Alternating,
            created: MediaTime(0),
            grids,
            video,
            audio: None,
            text: None,
            host: String::new(),
        };
        let format = Format::of(&catalog);
        Base { source: "live/bbb".parse().unwrap(), format, components: Vec::new() }
    }

    fn request(service: Option<&str>, components: &str) -> ServiceRequest {
        let components =
            if components.is_empty() { Vec::new() } else { parse(components).unwrap() };
        ServiceRequest {
            stream: "live/bbb".parse().unwrap(),
            service: service.map(str::to_owned),
            components,
            location: None,
            priority: Priority::default(),
            keep: false,
            standby: false,
        }
    }

    fn built(service: Option<&str>, components: &str) -> Result<Built, BuildError> {
        build(&request(service, components), base(), &Catalogue::built_in().unwrap())
    }

    #[test]
    fn a_name_and_its_list_make_the_same_stream_with_mdc_at_the_end() {
        let named = built(Some("sd"), "").unwrap();
        let listed = built(None, "scale height=360 | mdc").unwrap();
        assert_eq!(named, listed);
        assert_eq!(named.chain.components.last().unwrap().component, "mdc");
        let [scale, mdc] = &named.needs[..] else { panic!("{named:?}") };
        assert!(scale.out_kbps > mdc.out_kbps && scale.encode_cores > 0.0, "{named:?}");
        assert!(mdc.encode_cores == 0.0 && mdc.cores > scale.cores, "{named:?}");
    }

    #[test]
    fn what_is_built_on_a_service_begins_with_the_components_of_that() {
        let components = parse("scale height=180").unwrap();
        let on = Base { components, ..base() };
        let on = build(&request(None, "grayscale"), on, &Catalogue::built_in().unwrap()).unwrap();
        assert_eq!(on.chain, built(None, "scale height=180 | grayscale").unwrap().chain);
    }

    #[test]
    fn what_cannot_be_says_which_component_and_why() {
        for (service, components, why) in [
            (None, "", "at least one component"),
            (Some("nonsense"), "", "GET /v1/catalogue"),
            (Some("sd"), "grayscale", "not both"),
            (None, "grayscale | nonsense", "component 2, nonsense: there is no such component"),
            (None, "mdc | grayscale", "component 2, grayscale: the stream has been divided"),
            (None, "scale height=1000000", "component 1, scale"),
        ] {
            let error = built(service, components).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
