//! A minute of chaos: faults by a seed, and invariants that hold throughout.

use std::process::Command;

use anyhow::{Context, ensure};
use gibbon_testbed::binary;

#[test]
fn a_minute_of_chaos_breaks_no_invariant() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary("gibbon-testbed")?);
    command.args(["chaos", "--seed", "1", "--minutes", "1", "--folder"]).arg(folder.path());
    let output = command.output().context("cannot start gibbon-testbed")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    Ok(())
}
