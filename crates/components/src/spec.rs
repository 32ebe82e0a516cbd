//! A component as it is asked for: its name and its parameters.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a component's name and parameters.
const MAX_BYTES: usize = 4096;

/// A component as it is asked for. In JSON `{"component":"scale","height":360}`; as text
/// `scale height=360`, with quotes around values that hold blanks or `|`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the catalogue.
    pub component: String,
    /// Its parameters.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, Value>,
}

/// A component that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a component: {rule}")]
pub struct InvalidSpec {
    given: String,
    rule: &'static str,
}

impl InvalidSpec {
    fn new(given: &str, rule: &'static str) -> Self {
        Self { given: given.chars().take(64).collect(), rule }
    }
}

impl FromStr for Spec {
    type Err = InvalidSpec;
    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        let invalid = |rule| InvalidSpec::new(text, rule);
        if text.len() > MAX_BYTES {
            return Err(invalid("it is too long"));
        }
        let words = split(text, char::is_whitespace).ok_or_else(|| invalid("a quote is open"))?;
        let mut words = words.iter().map(String::as_str).filter(|word| !word.is_empty());
        let component = words.next().ok_or_else(|| invalid("its name is missing"))?.to_owned();
        let mut parameters = BTreeMap::new();
        for word in words {
            let rule = "write parameters as NAME=VALUE, as in scale height=360";
            let (name, value) = word.split_once('=').ok_or_else(|| invalid(rule))?;
            if parameters.insert(name.to_owned(), value_of(value)).is_some() {
                return Err(invalid("a parameter is given twice"));
            }
        }
        Ok(Self { component, parameters })
    }
}

/// Numbers and truth values as such, lists divided by commas in brackets, the rest as text. Quotes make text.
fn value_of(text: &str) -> Value {
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return Value::String(quoted.to_owned());
    }
    if let Some(list) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return list.split(',').map(|item| value_of(item.trim())).collect();
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Parts of a text between characters that `divides`; those within double quotes do not count. `None`: a quote
/// is open at the end.
pub(crate) fn split(text: &str, divides: impl Fn(char) -> bool) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match parts.last_mut() {
            Some(part) if quoted || !divides(c) => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    (!quoted).then_some(parts)
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.component)?;
        for (name, value) in &self.parameters {
            write!(f, " {name}={}", text_of(value))?;
        }
        Ok(())
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) if value_of(text) == *value && !needs_quotes(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text_of).collect();
            let list = items.join(",");
            format!("[{list}]")
        }
        other => other.to_string(),
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '|' || c == '"')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let spec: Spec =
            r#"overlay text="two words | more" size=24 bold=true words=[a,b]"#.parse().unwrap();
        let json = json!({"component": "overlay", "text": "two words | more", "size": 24, "bold": true, "words": ["a", "b"]});
        assert_eq!(serde_json::to_value(&spec).unwrap(), json);
        assert_eq!(serde_json::from_value::<Spec>(json).unwrap(), spec);
        assert_eq!(spec.to_string().parse::<Spec>().unwrap(), spec);
        let number_as_text: Spec = r#"overlay text="7""#.parse().unwrap();
        assert_eq!(number_as_text.to_string().parse::<Spec>().unwrap(), number_as_text);
    }

    #[test]
    fn what_is_no_component_is_refused() {
        for bad in ["", "  ", "scale height", "scale a=1 a=2", r#"overlay text="open"#] {
            assert!(bad.parse::<Spec>().is_err(), "{bad}");
        }
    }
}
