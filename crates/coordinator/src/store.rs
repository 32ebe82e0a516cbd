//! What the coordinator must not forget: its term, which rises with each start of it, so that what it ordered before is
//! older; and planned work that was announced to it alone. Where the term is lost, the clock stands in for it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use gibbon_handoff::Term;
use gibbon_media::{MediaTime, NodeId};
use serde::{Deserialize, Serialize};

use crate::maintenance::Maintenance;

/// The file's name where a folder is given.
const FILE: &str = "coordinator.json";

#[derive(Serialize, Deserialize)]
struct State {
    term: Term,
    /// When nodes go away, in µs since the epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    maintenance: BTreeMap<NodeId, u64>,
}

/// The term that follows `stored`, at `now`: above it, and above that of every start that happened in an
/// earlier second, also if the store was lost since.
pub fn next(stored: Option<Term>, now: MediaTime) -> Term {
    let by_clock = now.as_micros() / 1_000_000;
    Term(stored.map_or(by_clock, |Term(stored)| by_clock.max(stored.saturating_add(1))))
}

/// The file, as this start of the coordinator keeps it.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    /// Of this start.
    pub term: Term,
}

impl Store {
    /// Raises the term in `state`, a file or an existing folder. Returns what had been announced, too. A store that
    /// cannot be read or written is no reason not to start: it is said loudly, and the clock makes the term.
    pub fn begin(state: &Path, now: MediaTime) -> (Self, Maintenance) {
        let file = if state.is_dir() { state.join(FILE) } else { state.to_owned() };
        let without = |error: &anyhow::Error| {
            tracing::warn!(
                "{error:#}; the clock makes the term: keep it right until this is mended"
            );
        };
        let stored = read(&file).inspect_err(without).unwrap_or_default();
        let term = next(stored.as_ref().map(|state| state.term), now);
        let announced = stored.map(|state| state.maintenance).unwrap_or_default();
        let (store, maintenance) = (Self { file, term }, Maintenance::kept(announced));
        if let Err(error) = store.keep(&maintenance) {
            without(&error);
        }
        (store, maintenance)
    }

    /// Keeps what is announced now.
    pub fn keep(&self, maintenance: &Maintenance) -> anyhow::Result<()> {
        let state = State { term: self.term, maintenance: maintenance.to_keep() };
        write(&self.file, &state).with_context(|| {
            let file = self.file.display();
            format!("cannot write the state file {file}; --state names another place")
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Option<State>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read the state file {}", file.display()))?,
    };
    let state: State = serde_json::from_str(&text)
        .with_context(|| format!("the state file {} is damaged", file.display()))?;
    Ok(Some(state))
}

/// Writes beside the file and renames, so that there is always a whole one.
fn write(file: &Path, state: &State) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside: PathBuf = file.with_extension(format!("new-{}", std::process::id()));
    let written = write_whole(&beside, state).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // On a full disk every byte counts; it may not be there at all.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The rename itself is durable once the folder is.
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

fn write_whole(file: &Path, state: &State) -> std::io::Result<()> {
    let mut new = fs::File::create(file)?;
    new.write_all(&serde_json::to_vec(state)?)?;
    new.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MediaTime = MediaTime(1_795_000_000_999_999);
    const SECOND: Term = Term(1_795_000_000);

    #[test]
    fn the_term_follows_the_stored_one_and_the_clock() {
        for (stored, term) in [
            (None, SECOND),
            (Some(Term(3)), SECOND),
            (Some(SECOND), Term(SECOND.0 + 1)),
            (Some(Term(u64::MAX)), Term(u64::MAX)),
        ] {
            assert_eq!(next(stored, NOW), term, "{stored:?}");
        }
    }

    fn begin(state: &Path, now: MediaTime) -> Term {
        Store::begin(state, now).0.term
    }

    #[test]
    fn what_was_announced_is_known_to_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut maintenance) = Store::begin(folder.path(), NOW);
        assert_eq!(maintenance, Maintenance::default());
        let request = gibbon_control::portal::MaintenanceRequest { in_ms: 60_000 };
        maintenance.announce(NOW, &"edge-a".parse().unwrap(), &request).unwrap();
        store.keep(&maintenance).unwrap();
        let (next, kept) = Store::begin(folder.path(), NOW);
        assert_eq!((next.term > store.term, kept), (true, maintenance));
        // A file of before there was such a thing.
        fs::write(folder.path().join(FILE), "{\"term\":7}").unwrap();
        assert_eq!(Store::begin(folder.path(), NOW).1, Maintenance::default());
    }

    #[test]
    fn the_term_rises_with_each_start_whatever_becomes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/term.json");
        assert_eq!(begin(&file, NOW), SECOND);
        assert_eq!(begin(&file, NOW), Term(SECOND.0 + 1), "within one second");
        assert_eq!(begin(folder.path(), NOW), SECOND, "a folder holds its own file");
        let later = MediaTime(NOW.as_micros() + 5_000_000);
        fs::write(&file, "{").unwrap();
        assert_eq!(begin(&file, later), Term(SECOND.0 + 5), "damaged");
        assert_eq!(begin(&file, later), Term(SECOND.0 + 6), "and mended by that start");
        assert_eq!(begin(&file.join("below"), later), Term(SECOND.0 + 5), "not to be written");
        let beside = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "nothing is left beside it");
    }
}
