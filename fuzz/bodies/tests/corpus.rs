//! Runs every file of the corpus through the target it belongs to.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use gibbon_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap())).collect()
}

#[test]
fn every_target_comes_back_from_every_input_of_its_corpus() {
    for (name, body) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(folder("corpus").join(name)).unwrap().collect();
        assert!(inputs.len() >= 3, "{name} has {} inputs", inputs.len());
        for input in inputs {
            let file = input.unwrap().path();
            let bytes = fs::read(&file).unwrap();
            let result = std::panic::catch_unwind(|| body(&bytes));
            assert!(result.is_ok(), "{} makes {name} panic", file.display());
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_a_file_that_fuzzes_it() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    assert_eq!(names(&folder("fuzz_targets")), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"\n")),
            "{target} is not in Cargo.toml"
        );
        let source =
            fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).unwrap();
        assert!(source.contains(&format!("gibbon_fuzz::{target}(")), "{target} fuzzes another");
    }
}
