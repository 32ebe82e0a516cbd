//! A minute of chaos: faults by a seed, and invariants that hold throughout.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use gibbon_testbed::binary;

/// Runs in which the control viewer froze, too, say nothing; see `gibbon-testbed chaos --help`.
const MAX_VOIDS: usize = 3;

#[test]
fn a_minute_of_chaos_breaks_no_invariant() -> anyhow::Result<()> {
    for _ in 0..MAX_VOIDS {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(binary("gibbon-testbed")?);
        command.args(["chaos", "--seed", "1", "--minutes", "1", "--folder"]).arg(folder.path());
        let output = command.output().context("cannot start gibbon-testbed")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("Void: ") {
            continue;
        }
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
        return Ok(());
    }
    bail!("{MAX_VOIDS} runs were void")
}
