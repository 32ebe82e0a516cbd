//! The load harness: what it does to a network, what it says, and how it exits.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail, ensure};
use gibbon_testbed::{Network, Setup, binary};
use gibbon_tests::{
    Run, end, saw,
    scene::{small, watches},
    with_control,
};
use serde_json::Value;

/// A run of `gibbon-load run`.
struct Loaded {
    output: Output,
    json: PathBuf,
    html: PathBuf,
}

impl Loaded {
    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn summary(&self) -> anyhow::Result<Value> {
        let text = std::fs::read_to_string(&self.json)
            .with_context(|| format!("no summary: {} {}", self.stdout(), self.stderr()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Fails with what was said unless the exit code is this.
    fn exits_with(&self, code: i32) -> anyhow::Result<()> {
        let exit = self.output.status.code();
        ensure!(exit == Some(code), "exit code {exit:?}: {} {}", self.stdout(), self.stderr());
        Ok(())
    }
}

fn load(folder: &Path, scenario: &str, more: &[&str]) -> anyhow::Result<Loaded> {
    let (json, html) = (folder.join("load.json"), folder.join("load.html"));
    let mut command = Command::new(binary("gibbon-load")?);
    command.args(["run", scenario, "--quiet"]).args(more);
    command.arg("--json").arg(&json).arg("--html").arg(&html);
    command.arg("--folder").arg(folder.join("load"));
    Ok(Loaded { output: command.output()?, json, html })
}

/// The same, beside a viewer at another network who is left alone. It is of small pictures: what loads needs the cores.
fn load_with_control(
    scenario: &str,
    more: &[&str],
    check: impl Fn(&Loaded) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(&folder.join("beside"), small(&["edge-a"]))?;
        let mut still = network.play("control", &watches())?;
        still.playing()?;
        let loaded = load(folder, scenario, more)?;
        if let Some(what) = saw(&end(&mut still)?) {
            return Ok(Run::Void(format!("the control viewer saw {what}")));
        }
        check(&loaded)?;
        network.stop()?;
        Ok(Run::Shown)
    })
}

fn written(folder: &Path, scenario: &str) -> anyhow::Result<String> {
    let file = folder.join("scenario.toml");
    std::fs::write(&file, scenario)?;
    Ok(file.display().to_string())
}

fn number(summary: &Value, pointer: &str) -> anyhow::Result<f64> {
    let found = summary.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("{pointer} is no number in {summary}"))
}

#[test]
fn smoke_moves_every_session_and_its_summary_and_page_say_that_nobody_saw_anything()
-> anyhow::Result<()> {
    load_with_control("smoke", &["--fail-if", "central<1"], |loaded| {
        loaded.exits_with(0)?;
        let summary = loaded.summary()?;
        ensure!(number(&summary, "/handoffs/completed")? == 20.0, "{summary}");
        ensure!(number(&summary, "/sampled/handoffs/completed")? == 2.0, "{summary}");
        ensure!(number(&summary, "/frames/central")? > 20.0 * 24.0 * 10.0, "{summary}");
        for nothing in ["/frames/side", "/frames/frozen", "/sampled/frames/frozen"] {
            ensure!(number(&summary, nothing)? == 0.0, "{nothing} in {summary}");
        }
        let page = std::fs::read_to_string(&loaded.html)?;
        ensure!(page.matches("<svg").count() >= 4, "plots: {}", page.matches("<svg").count());
        for elsewhere in ["src=\"http", "href=\"http", "@import", "url(http"] {
            ensure!(!page.contains(elsewhere), "the page needs something from elsewhere");
        }
        Ok(())
    })
}

/// The harness's larger scenarios in small, in one run.
const IN_SMALL: &str = r#"
description = "sharded edges: all sessions moved, their addresses changed, every edge restarted"

[network]
edges = 3
edge_arguments = ["--shards=2", "--drain-rate=50"]

[[network.source]]
streams = ["load/one", "load/two"]
fps = "10"
frame_bytes = 2500
secondary_bytes = 600

[sessions]
streams = ["load/one", "load/two"]
placement = "together"

[[phase]]
kind = "ramp"
sessions = 60
over_s = 3

[[phase]]
kind = "settle"

[[phase]]
kind = "storm"
over_s = 2
within_s = 15

[[phase]]
kind = "address_change"

[[phase]]
kind = "hold"
for_s = 3

[[phase]]
kind = "rolling_restart"

[[phase]]
kind = "hold"
for_s = 3
"#;

#[test]
fn a_storm_new_addresses_and_a_rolling_restart_of_sharded_edges_show_nothing() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let scenario = written(folder.path(), IN_SMALL)?;
    let conditions = ["frozen>0", "side>0", "handoffs.failed>0", "failures>0", "central<1"];
    let conditions: Vec<_> = conditions.iter().flat_map(|c| ["--fail-if", c]).collect();
    load_with_control(&scenario, &conditions, |loaded| {
        loaded.exits_with(0)?;
        let summary = loaded.summary()?;
        // The storm moves each once, and the restarts each at least once more.
        ensure!(number(&summary, "/handoffs/completed")? >= 120.0, "{summary}");
        ensure!(number(&summary, "/handoffs/causes/drain/total")? >= 60.0, "{summary}");
        // Synthetic frames carry when they were to be sent.
        ensure!(number(&summary, "/latency_ms/p50")? < 500.0, "{summary}");
        ensure!(number(&summary, "/edge_delay_ms/count")? > 100.0, "{summary}");
        Ok(())
    })
}

const SHORT: &str = r#"
description = "a few sessions"

[sessions]
streams = ["live/bbb"]

[[phase]]
kind = "ramp"
sessions = 3

[[phase]]
kind = "hold"
for_s = 3
"#;

#[test]
fn a_network_that_runs_is_loaded_through_its_portal_and_a_condition_that_holds_is_told()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Network::start(&folder.path().join("network"), Setup::bbb(&["edge-a"]))?;
    let certs = network.certs();
    let (token, ca) = (certs.join("portal.token"), certs.join("ca.pem"));
    let at = |file: &Path| file.display().to_string();
    let there = ["--portal", network.portal_url(), "--token-file", &at(&token), "--ca", &at(&ca)]
        .map(str::to_owned);
    let there: Vec<_> = there.iter().map(String::as_str).collect();
    let scenario = written(folder.path(), SHORT)?;
    let loaded =
        load(folder.path(), &scenario, &[&there[..], &["--fail-if", "central>0"]].concat())?;
    loaded.exits_with(4)?;
    ensure!(loaded.stdout().contains("central"), "{}", loaded.stdout());
    ensure!(number(&loaded.summary()?, "/frames/central")? > 0.0, "{}", loaded.stdout());
    // What needs processes of its own is refused.
    let kill = format!("{SHORT}\n[[phase]]\nkind = \"kill\"\nnode = \"edge-a\"\nfor_s = 1\n");
    let loaded = load(folder.path(), &written(folder.path(), &kill)?, &there)?;
    loaded.exits_with(1)?;
    ensure!(loaded.stderr().contains("kill"), "{}", loaded.stderr());
    network.stop()
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let nowhere = tempfile::tempdir()?;
    let misspelt = SHORT.replace("for_s", "for_sec");
    for (scenario, says) in [
        (written(folder.path(), &misspelt)?, "for_sec"),
        (written(nowhere.path(), SHORT)?, "--portal"),
    ] {
        let loaded = load(folder.path(), &scenario, &[])?;
        let (code, said) = (loaded.output.status.code(), loaded.stderr());
        ensure!(matches!(code, Some(1 | 2)), "{scenario}: {code:?} {said}");
        ensure!(said.contains(says), "{scenario}: {said}");
        if loaded.json.exists() {
            bail!("{scenario} was run");
        }
    }
    Ok(())
}
