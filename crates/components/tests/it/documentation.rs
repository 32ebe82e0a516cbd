//! `docs/components.md` says what there is.

use gibbon_components::{
    allowed::{AUDIO, VIDEO},
    catalogue,
};

const PAGE: &str = include_str!("../../../../docs/components.md");

/// The row of a table whose first cell is `name`.
fn row(name: &str) -> &'static str {
    let start = format!("| `{name}` |");
    let mut rows = PAGE.lines().filter(|line| line.starts_with(&start));
    rows.next().unwrap_or_else(|| panic!("docs/components.md has no row for {name}"))
}

#[test]
fn every_component_stands_there_with_its_parameters() {
    for entry in catalogue::ALL {
        let row = row(entry.name);
        for (parameter, _) in entry.parameters {
            assert!(row.contains(&format!("`{parameter}`")), "{} {parameter}", entry.name);
        }
    }
}

#[test]
fn every_filter_that_is_allowed_stands_there_with_its_options() {
    for filter in VIDEO.iter().chain(AUDIO) {
        let row = row(filter.name);
        for (option, _) in filter.options {
            assert!(row.contains(&format!("`{option}`")), "{} {option}", filter.name);
        }
    }
}
