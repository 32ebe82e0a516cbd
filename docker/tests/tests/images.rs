//! What is in the images, and how their processes run.
//! Not run without containers: `make test-containers`.

use anyhow::ensure;
use gibbon_container_tests::{APART, Containers, EDGES, TAG, docker};
use gibbon_testbed::{WAIT, wait_for};

/// Largest image of an edge, in bytes.
const LARGEST_EDGE: u64 = 100_000_000;
/// Who the processes run as.
const NOBODY: &str = "10001";

#[test]
#[ignore = "needs containers: make test-containers"]
fn edge_and_coordinator_are_small_and_hold_no_ffmpeg_no_shell_and_no_key() -> anyhow::Result<()> {
    for role in ["edge", "coordinator"] {
        let image = format!("gibbon-{role}:{TAG}");
        let size: u64 = docker(&["image", "inspect", "-f", "{{.Size}}", &image])?.trim().parse()?;
        ensure!(size <= LARGEST_EDGE, "{image} has {size} bytes");
        let id = docker(&["create", &image])?;
        let id = id.trim();
        let listed = std::process::Command::new("sh")
            .args(["-c", &format!("docker export {id} | tar -t")])
            .output()?;
        docker(&["rm", "-v", id])?;
        let files = String::from_utf8_lossy(&listed.stdout);
        ensure!(files.contains(&format!("usr/local/bin/gibbon-{role}")), "{files}");
        for unwanted in ["libav", "libsw", "bin/sh", ".key", ".pem"] {
            ensure!(!files.contains(unwanted), "{image} holds {unwanted}: {files}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs containers: make test-containers"]
fn processes_are_healthy_and_ready_on_a_read_only_root_and_run_as_nobody_in_particular()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let network = Containers::start(folder.path())?;
    for service in ["coordinator", "origin", APART].into_iter().chain(EDGES) {
        let is = |template: &str| network.inspect(service, template);
        ensure!(is("{{.HostConfig.ReadonlyRootfs}}")? == "true", "{service}");
        let running = network.docker_after(&["top"], service, &["-eo", "uid,pid,comm"])?;
        let own = running.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        ensure!(own.clone().count() > 0 && own.clone().all(|uid| uid == NOBODY), "{running}");
        wait_for(format!("{service} to be healthy"), WAIT, || {
            Ok((is("{{.State.Health.Status}}")? == "healthy").then_some(()))
        })?;
        network.monitor(service, "/ready")?;
    }
    Ok(())
}
