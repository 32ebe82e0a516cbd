//! All components there are.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Format, Invalid, Spec, Step, components::*};

/// Characters of an error that may quote what was given.
const MAX_WHY: usize = 256;

/// A kind of component: its parameters are its fields.
pub trait Component: Serialize + DeserializeOwned {
    /// What it is asked for by.
    const NAME: &'static str;
    /// What it does, in one line.
    const ABOUT: &'static str;
    /// Its parameters: name, and what it is with its bounds and default.
    const PARAMETERS: &'static [(&'static str, &'static str)];

    /// What it does with media of `input`, or why it cannot.
    fn plan(&self, input: &Format) -> Result<Step, Invalid>;
}

/// One entry of the catalogue.
pub struct Entry {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its parameters: name, and what it is with its bounds and default.
    pub parameters: &'static [(&'static str, &'static str)],
    plan: fn(&Spec, &Format) -> Result<Step, Invalid>,
    spell_out: fn(&Spec) -> Result<Spec, Invalid>,
}

impl Entry {
    const fn of<C: Component>() -> Self {
        Self {
            name: C::NAME,
            about: C::ABOUT,
            parameters: C::PARAMETERS,
            plan: |spec, input| read::<C>(spec)?.plan(input),
            spell_out: |spec| write(C::NAME, &read::<C>(spec)?),
        }
    }
}

/// All components, in the order in which they are listed.
pub const ALL: &[Entry] = &[
    Entry::of::<only::Only>(),
    Entry::of::<scale::Scale>(),
    Entry::of::<crop::Crop>(),
    Entry::of::<rate::Rate>(),
    Entry::of::<transcode::Transcode>(),
    Entry::of::<grayscale::Grayscale>(),
    Entry::of::<colour::Colour>(),
    Entry::of::<denoise::Denoise>(),
    Entry::of::<deinterlace::Deinterlace>(),
    Entry::of::<overlay::Overlay>(),
    Entry::of::<captions::Captions>(),
    Entry::of::<level::Level>(),
    Entry::of::<mono::Mono>(),
    Entry::of::<resample::Resample>(),
    Entry::of::<case::Case>(),
    Entry::of::<mask::Mask>(),
    Entry::of::<shift::Shift>(),
    Entry::of::<filter::Filter>(),
    Entry::of::<mdc::Mdc>(),
];

/// The component of this name.
pub fn find(name: &str) -> Result<&'static Entry, Invalid> {
    ALL.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
        Invalid::new(format!("there is no such component; there are {}", names.join(", ")))
    })
}

/// What a component does with media of `input`, or why it cannot.
pub fn plan(spec: &Spec, input: &Format) -> Result<Step, Invalid> {
    (find(&spec.component)?.plan)(spec, input)
}

/// The component with every parameter spelt out.
pub fn spell_out(spec: &Spec) -> Result<Spec, Invalid> {
    (find(&spec.component)?.spell_out)(spec)
}

/// Parameters as the component's own type. Unknown ones are refused by name.
fn read<C: Component>(spec: &Spec) -> Result<C, Invalid> {
    let known = |name: &String| C::PARAMETERS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = spec.parameters.keys().find(|name| !known(name)) {
        let names: Vec<&str> = C::PARAMETERS.iter().map(|(name, _)| *name).collect();
        let takes = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let unknown: String = unknown.chars().take(64).collect();
        return Err(Invalid::new(format!("there is no parameter {unknown:?}; it takes {takes}")));
    }
    let parse = |parameters: BTreeMap<String, Value>| {
        serde_json::from_value(Value::Object(parameters.into_iter().collect()))
            .map_err(|e| e.to_string())
    };
    parse(spec.parameters.clone()).map_err(|why| {
        // Alone, each is read as well; what else is missing is noticed only after that.
        let culprit = spec.parameters.iter().find_map(|(name, value)| {
            let alone: Result<C, _> = parse([(name.clone(), value.clone())].into());
            let why = alone.err().filter(|why| !why.starts_with("missing field"))?;
            Some(format!("{name}: {why}"))
        });
        Invalid::new(culprit.unwrap_or(why).chars().take(MAX_WHY).collect::<String>())
    })
}

/// Parameters that are not set (`null`) are left out.
fn write<C: Component>(name: &str, component: &C) -> Result<Spec, Invalid> {
    let value = serde_json::to_value(component).map_err(|e| Invalid::new(e.to_string()))?;
    let parameters = match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()),
        _ => return Err(Invalid::new("its parameters are no fields")),
    };
    let parameters = parameters.map(|(name, value)| (name, rounded(value))).collect();
    Ok(Spec { component: name.to_owned(), parameters })
}

/// To six decimal places: such numbers are the same after any number of journeys through JSON, and chains are
/// named after them.
fn rounded(value: Value) -> Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        // Zero has one sign.
        Some(number) => Value::from((number * 1e6).round() / 1e6 + 0.0),
        None => value,
    }
}
