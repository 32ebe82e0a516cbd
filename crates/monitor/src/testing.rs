//! For tests: reads a page of metrics as strictly as OpenMetrics 1.0 is written, and compares it with what the
//! documentation says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::probe;

/// A process under test, on a machine that is busy with others, has this long to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The longest page that is read, in bytes.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// A page that has been read.
#[derive(Debug, Default)]
pub struct Read {
    /// Families by name, in the order in which they stand.
    pub families: Vec<Family>,
}

/// One metric family.
#[derive(Debug, Default)]
pub struct Family {
    /// Its name, without the suffixes of its samples.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// Its unit, if it has one.
    pub unit: Option<String>,
    /// What it is.
    pub help: String,
    /// Name, labels and value of each sample.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Read {
    /// Reads a page, or says what is wrong with it.
    pub fn page(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end in # EOF")?;
        let mut read = Self::default();
        for line in body.lines() {
            read.line(line).map_err(|why| format!("{why}: {line:?}"))?;
        }
        let mut names = BTreeSet::new();
        for family in &read.families {
            if !names.insert(&family.name) {
                return Err(format!("{} stands there twice", family.name));
            }
            family.check()?;
        }
        Ok(read)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(words) = line.strip_prefix("# ") {
            let mut words = words.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.ok_or("no name")?, rest.unwrap_or_default().to_owned());
            if self.families.last().is_none_or(|family| family.name != name) {
                self.families.push(Family { name: name.to_owned(), ..Family::default() });
            }
            let family = self.families.last_mut().ok_or("no family")?;
            if !family.samples.is_empty() {
                return Err("what a family is stands before its samples".into());
            }
            match what {
                Some("TYPE") => family.kind = rest,
                Some("HELP") => family.help = rest,
                Some("UNIT") => family.unit = Some(rest),
                _ => return Err("neither TYPE, HELP nor UNIT".into()),
            }
            return Ok(());
        }
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = value.strip_prefix(' ').ok_or("no space before the value")?;
        let value = value.parse().map_err(|_| "no number")?;
        let family = self.families.last_mut().ok_or("a sample without a family")?;
        let suffix = name.strip_prefix(&family.name).ok_or("a sample of another family")?;
        if !suffixes(&family.kind)?.contains(&suffix) {
            return Err(format!("no name for a {}", family.kind));
        }
        family.samples.push((name.to_owned(), labels, value));
        Ok(())
    }

    /// The sum of all samples of this name that have these labels. `None` if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = |has: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| has.get(*label).is_some_and(|is| is == value))
        };
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let found: Vec<_> =
            samples.filter(|(is, has, _)| is == name && wanted(has)).map(|s| s.2).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// Name (as it is asked for: with `_total` for counters and so on), kind and labels of each family, as the
    /// documentation has them.
    fn described(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let describe = |family: &Family| {
            let suffix = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels = family.samples.iter().flat_map(|(_, labels, _)| labels.keys());
            let labels = labels.filter(|label| *label != "le").cloned().collect();
            (format!("{}{suffix}", family.name), (family.kind.clone(), labels))
        };
        self.families.iter().map(describe).collect()
    }

    /// Panics unless the tables of `document` under the headings `sections` list exactly the families of this page:
    /// name, kind and labels in the first three columns.
    pub fn check_documented(&self, document: &str, sections: &[&str]) {
        let rows = |section: &&str| {
            let found = document.split("\n## ").find(|part| part.lines().next() == Some(section));
            let found = found.unwrap_or_else(|| panic!("there is no section {section:?}"));
            found.lines().filter_map(row).collect::<Vec<_>>()
        };
        let mut documented: BTreeMap<_, _> = sections.iter().flat_map(rows).collect();
        let described = self.described();
        for (name, (_, labels)) in &mut documented {
            // A family without samples does not show its labels.
            if described.get(name).is_some_and(|(_, shown)| shown.is_empty()) {
                labels.clear();
            }
        }
        assert_eq!(documented, described, "documented (left) and there (right)");
    }
}

/// A row of a table that begins with a metric's name in backticks.
fn row(line: &str) -> Option<(String, (String, BTreeSet<String>))> {
    let mut columns = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = columns.next()?.trim_end_matches('`').to_owned();
    let (kind, labels) = (columns.next()?.to_owned(), columns.next()?);
    let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
    Some((name, (kind, labels.filter(|label| !label.is_empty()).collect())))
}

impl Family {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(plain) || self.help.is_empty() {
            return Err(format!("{name}: a plain name and a help are wanted"));
        }
        suffixes(&self.kind).map_err(|why| format!("{name}: {why}"))?;
        if self.unit.as_ref().is_some_and(|unit| !name.ends_with(&format!("_{unit}"))) {
            return Err(format!("{name} does not end in its unit"));
        }
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &self.samples {
            if !seen.insert((sample, labels)) {
                return Err(format!("{sample} {labels:?} stands there twice"));
            }
            if self.kind == "counter" && (*value < 0.0 || !value.is_finite()) {
                return Err(format!("{sample} counts to {value}"));
            }
        }
        if self.kind == "histogram" { self.check_buckets() } else { Ok(()) }
    }

    /// Buckets rise, and the last holds all.
    fn check_buckets(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for (sample, labels, value) in &self.samples {
            let mut labels = labels.clone();
            if let Some(le) = labels.remove("le") {
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| "le")? };
                buckets.entry(labels).or_default().push((le, *value));
            } else if sample.ends_with("_count") {
                counts.insert(labels, *value);
            }
        }
        for (labels, buckets) in buckets {
            let rise = buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
            let last = buckets.last().copied().unwrap_or_default();
            if !rise || last != (f64::INFINITY, counts.get(&labels).copied().unwrap_or(-1.0)) {
                return Err(format!("{}: the buckets of {labels:?} are wrong", self.name));
            }
        }
        Ok(())
    }
}

fn suffixes(kind: &str) -> Result<&'static [&'static str], String> {
    Ok(match kind {
        "gauge" => &[""],
        "counter" => &["_total", "_created"],
        "histogram" => &["_bucket", "_count", "_sum", "_created"],
        "info" => &["_info"],
        other => return Err(format!("{other:?} is no type")),
    })
}

type Labels = BTreeMap<String, String>;

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Result<(Labels, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, rest) = text.split_once("=\"").ok_or("no label")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().ok_or("a value without an end")? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    _ => return Err("a wrong escape".into()),
                }),
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} twice"));
        }
        text = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
    }
}

/// Asks the process that serves metrics at `address` for `path`: the HTTP status, and what it answers.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    probe::get(address, path, ANSWERS_WITHIN, MAX_ANSWER)
}
