//! A component as it is asked for: its name and its parameters.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a component's name and parameters.
const MAX_BYTES: usize = 4096;

/// A component as it is asked for. In JSON `{"component":"scale","height":360}`; as text
/// `scale height=360`, with quotes around values that hold blanks or `|`; within quotes `"` and `\` are written
/// `\"` and `\\`, as in JSON.
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

    pub(crate) fn open_quote(given: &str) -> Self {
        Self::new(given, "a quote is open")
    }
}

impl FromStr for Spec {
    type Err = InvalidSpec;
    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        let invalid = |rule| InvalidSpec::new(text, rule);
        if text.len() > MAX_BYTES {
            return Err(invalid("it is too long"));
        }
        let words =
            split(text, char::is_whitespace).ok_or_else(|| InvalidSpec::open_quote(text))?;
        let mut words = words.iter().map(String::as_str).filter(|word| !word.is_empty());
        let component = words.next().ok_or_else(|| invalid("its name is missing"))?.to_owned();
        let mut parameters = BTreeMap::new();
        for word in words {
            let rule = "write parameters as NAME=VALUE, as in scale height=360";
            let (name, value) = word.split_once('=').ok_or_else(|| invalid(rule))?;
            let rule = "write a quote within quotes as \\\" and a backslash as \\\\";
            let value = value_of(value).ok_or_else(|| invalid(rule))?;
            if parameters.insert(name.to_owned(), value).is_some() {
                return Err(invalid("a parameter is given twice"));
            }
        }
        Ok(Self { component, parameters })
    }
}

/// Numbers and truth values as such, lists divided by commas in brackets, the rest as text. Quotes make text.
/// `None`: what is within quotes is no text of JSON.
fn value_of(text: &str) -> Option<Value> {
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().filter(Value::is_string);
    }
    if let Some(list) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let items = if list.is_empty() { Vec::new() } else { split(list, |c| c == ',')? };
        return items.iter().map(|item| value_of(item.trim())).collect();
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Some(value),
        _ => Some(Value::String(text.to_owned())),
    }
}

/// Parts of a text between characters that `divides`; those within double quotes do not count. `None`: a quote
/// is open at the end.
pub(crate) fn split(text: &str, divides: impl Fn(char) -> bool) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
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
        Value::String(text) if !needs_quotes(text) && value_of(text).as_ref() == Some(value) => {
            text.clone()
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text_of).collect();
            let list = items.join(",");
            format!("[{list}]")
        }
        other => other.to_string(),
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || matches!(c, '|' | '"' | ','))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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

    proptest! {
        #[test]
        fn whatever_is_in_a_value_is_read_back(
            text in r#"[a-z1.\[\]",|\\= \n\u{1F600}]{0,12}"#,
            list in prop::collection::vec(r#"[a-z1.\[\]",|\\= ]{0,6}"#, 0..4),
        ) {
            let parameters = [("text".to_owned(), json!(text)), ("words".to_owned(), json!(list))];
            let spec = Spec { component: "overlay".to_owned(), parameters: parameters.into() };
            prop_assert_eq!(spec.to_string().parse::<Spec>(), Ok(spec.clone()), "{}", spec);
            let chain = format!("{spec} | {spec}");
            prop_assert_eq!(crate::parse(&chain), Ok(vec![spec.clone(), spec]));
        }
    }

    #[test]
    fn what_is_no_component_is_refused() {
        let open = r#"overlay text="open"#;
        for bad in
            ["", "  ", "scale height", "scale a=1 a=2", open, r#"overlay text="\x""#, r#"a b="c"d"#]
        {
            assert!(bad.parse::<Spec>().is_err(), "{bad}");
        }
    }
}
