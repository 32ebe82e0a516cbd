//! A minute of chaos: faults by a seed, and invariants that hold throughout.

use std::process::Command;

use anyhow::{Context, ensure};
use gibbon_testbed::binary;
use gibbon_tests::{Run, with_control};

#[test]
fn a_minute_of_chaos_breaks_no_invariant() -> anyhow::Result<()> {
    with_control(|folder| {
        let mut command = Command::new(binary("gibbon-testbed")?);
        command.args(["chaos", "--seed", "1", "--minutes", "1", "--folder"]).arg(folder);
        let output = command.output().context("cannot start gibbon-testbed")?;
        let said = String::from_utf8_lossy(&output.stdout);
        // Its own control viewer froze, too; see `gibbon-testbed chaos --help`.
        if said.contains("Void: ") {
            return Ok(Run::Void(said.into_owned()));
        }
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
        Ok(Run::Shown)
    })
}
