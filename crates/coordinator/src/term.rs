//! The term: rises with each start of the coordinator, so that what it ordered before is older. The one thing
//! it should not forget; where it does, the clock stands in for its memory.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use gibbon_handoff::Term;
use gibbon_media::MediaTime;
use serde::{Deserialize, Serialize};

/// The file's name where a folder is given.
const FILE: &str = "coordinator.json";

#[derive(Serialize, Deserialize)]
struct State {
    term: Term,
}

/// The term that follows `stored`, at `now`: above it, and above that of every start that happened in an
/// earlier second, also if the store was lost since.
pub fn next(stored: Option<Term>, now: MediaTime) -> Term {
    let by_clock = now.as_micros() / 1_000_000;
    Term(stored.map_or(by_clock, |Term(stored)| by_clock.max(stored.saturating_add(1))))
}

/// Raises the term in `state`, a file or an existing folder, and returns it. A store that cannot be read or
/// written is no reason not to start: it is said loudly, and the clock makes the term.
pub fn begin(state: &Path, now: MediaTime) -> Term {
    let file = if state.is_dir() { state.join(FILE) } else { state.to_owned() };
    let without = |error: &anyhow::Error| {
        tracing::warn!("{error:#}; the clock makes the term: keep it right until this is mended");
    };
    let stored = read(&file).inspect_err(without).unwrap_or_default();
    let term = next(stored, now);
    let written = write(&file, &State { term }).with_context(|| {
        format!("cannot write the state file {}; --state names another place", file.display())
    });
    if let Err(error) = &written {
        without(error);
    }
    term
}

fn read(file: &Path) -> anyhow::Result<Option<Term>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read the state file {}", file.display()))?,
    };
    let state: State = serde_json::from_str(&text)
        .with_context(|| format!("the state file {} is damaged", file.display()))?;
    Ok(Some(state.term))
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
