//! The term: counts the starts of the coordinator. The one thing it must not forget.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use gibbon_handoff::Term;
use serde::{Deserialize, Serialize};

/// The file's name where a folder is given.
const FILE: &str = "coordinator.json";

#[derive(Serialize, Deserialize)]
struct State {
    term: Term,
}

/// Raises the term in `state`, a file or an existing folder, and returns it. It is on disk before it is used.
pub fn begin(state: &Path) -> anyhow::Result<Term> {
    let file = if state.is_dir() { state.join(FILE) } else { state.to_owned() };
    let term = Term(read(&file)?.0 + 1);
    write(&file, &State { term }).with_context(|| {
        format!("cannot write the state file {}; --state names another place", file.display())
    })?;
    Ok(term)
}

fn read(file: &Path) -> anyhow::Result<Term> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Term(0)),
        read => read.with_context(|| format!("cannot read the state file {}", file.display()))?,
    };
    let state: State = serde_json::from_str(&text).with_context(|| {
        format!(
            "the state file {} is damaged; restore it, or write {{\"term\": N}} with N above every \
             term that the nodes have logged",
            file.display()
        )
    })?;
    Ok(state.term)
}

/// Writes beside the file and renames, so that there is always a whole one.
fn write(file: &Path, state: &State) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside: PathBuf = file.with_extension(format!("new-{}", std::process::id()));
    let mut new = fs::File::create(&beside)?;
    new.write_all(&serde_json::to_vec(state)?)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    // The rename itself is durable once the folder is.
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_term_rises_with_each_start_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/term.json");
        assert_eq!(begin(&file).unwrap(), Term(1));
        assert_eq!(begin(&file).unwrap(), Term(2));
        assert_eq!(begin(folder.path()).unwrap(), Term(1), "a folder holds its own file");
        fs::write(&file, "{").unwrap();
        let error = begin(&file).unwrap_err().to_string();
        assert!(error.contains("term.json is damaged"), "{error}");
        let error = begin(&file.join("below")).unwrap_err().to_string();
        assert!(error.contains("term.json/below"), "{error}");
    }
}
