//! A Gibbon network of containers, as `docker/compose.yaml` describes it, and players beside it on the host.
//! `scripts/containers test` makes the images.

mod audience;
mod player;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};
use gibbon_control::{client::Portal, portal::NodeInfo};
use gibbon_testbed::{WAIT, wait_for};

pub use audience::Audience;
pub use player::Player;

/// The tag of the images under test, and that of the edge's next version.
pub const TAG: &str = "test";
/// The tag of the next version.
pub const NEXT: &str = "test-next";
/// The edges that are hurt.
pub const EDGES: [&str; 3] = ["edge-a", "edge-b", "edge-c"];
/// The control viewer's edge, on which nobody else is placed: it has room for one session.
pub const APART: &str = "edge-z";
/// Networks that this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The containers of one network. Dropped, they and their volumes are removed.
#[derive(Debug)]
pub struct Containers {
    project: String,
    /// Third number of its addresses.
    subnet: u32,
    folder: PathBuf,
    /// The portal's URL on the host.
    pub portal_url: String,
    /// Its client, with the token.
    pub portal: Portal,
}

impl Containers {
    /// Starts the network, and waits until its nodes are up; what players need is put into `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let project = format!("gibbon-test-{}-{number}", std::process::id());
        let mut containers = Self {
            project,
            subnet: (std::process::id() + number) % 256,
            folder: folder.to_owned(),
            portal_url: String::new(),
            portal: Portal::new("", Path::new(""))?,
        };
        let services = ["coordinator", "origin", APART].into_iter().chain(EDGES);
        let up: Vec<_> = ["up", "-d"].into_iter().chain(services).collect();
        containers.compose(&up, TAG)?;
        let published = containers.compose(&["port", "coordinator", "4480"], TAG)?;
        containers.portal_url = format!("http://{}", published.trim());
        containers.take("ca.pem")?;
        containers.take("portal.token")?;
        containers.portal = Portal::new(&containers.portal_url, &containers.file("portal.token"))?;
        wait_for("the nodes to be up", WAIT, || {
            let up = containers.portal.nodes()?.iter().filter(|node| node.up).count();
            let streams = containers.portal.streams()?.len();
            Ok((up == EDGES.len() + 2 && streams == 1).then_some(()))
        })?;
        Ok(containers)
    }

    /// Runs `docker compose` on this network, images being of this tag; returns what it printed.
    pub fn compose(&self, arguments: &[&str], tag: &str) -> anyhow::Result<String> {
        let mut command = match run(Command::new("docker").args(["compose", "version"])) {
            Ok(_) => {
                let mut command = Command::new("docker");
                command.arg("compose");
                command
            }
            Err(_) => Command::new("docker-compose"),
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        command.args(["-p", &self.project, "-f"]).arg(folder.join("compose.yaml"));
        command.arg("-f").arg(folder.join("tests/compose.yaml")).args(arguments);
        // A port of the host that is free.
        command.env("GIBBON_TAG", tag).env("GIBBON_PUBLISH_PORTAL", "127.0.0.1:");
        command.env("GIBBON_TEST_SUBNET", self.subnet.to_string());
        run(&mut command)
    }

    /// Runs `docker` with these arguments and, in the end, the id of the container of `service`.
    pub fn docker(&self, arguments: &[&str], service: &str) -> anyhow::Result<String> {
        self.docker_after(arguments, service, &[])
    }

    /// The same with further arguments after the id.
    pub fn docker_after(
        &self,
        arguments: &[&str],
        service: &str,
        further: &[&str],
    ) -> anyhow::Result<String> {
        docker(&[arguments, &[&self.container(service)?], further].concat())
    }

    /// The id of the container of a service, even if it is stopped.
    pub fn container(&self, service: &str) -> anyhow::Result<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service_label = format!("label=com.docker.compose.service={service}");
        let found = docker(&["ps", "-aq", "--filter", &project, "--filter", &service_label])?;
        let id = found.lines().next().with_context(|| format!("{service} has no container"))?;
        Ok(id.to_owned())
    }

    /// A property of the container of a service, by a template of `docker inspect`.
    pub fn inspect(&self, service: &str, template: &str) -> anyhow::Result<String> {
        Ok(self.docker(&["inspect", "-f", template], service)?.trim().to_owned())
    }

    /// The network that the containers are on.
    pub fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// An address on that network that no container is given by itself: 200 and above.
    pub fn spare_address(&self, number: u8) -> String {
        format!("10.213.{}.{number}", self.subnet)
    }

    /// The address of a service on that network.
    pub fn address(&self, service: &str) -> anyhow::Result<String> {
        self.inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// What the process of a service serves at `path` of its metrics' address.
    pub fn monitor(&self, service: &str, path: &str) -> anyhow::Result<String> {
        let url = format!("http://{}:9464{path}", self.address(service)?);
        let mut answer = ureq::get(&url).call().with_context(|| url.clone())?;
        Ok(answer.body_mut().read_to_string()?)
    }

    /// A node as the portal shows it.
    pub fn node(&self, id: &str) -> anyhow::Result<NodeInfo> {
        let found = self.portal.nodes()?.into_iter().find(|node| node.id.as_str() == id);
        found.with_context(|| format!("there is no node {id}"))
    }

    /// Waits until a node is up that registered later than `before`.
    pub fn back(&self, id: &str, before: &NodeInfo) -> anyhow::Result<()> {
        wait_for(format!("{id} to be back"), WAIT, || {
            let now = self.node(id)?;
            Ok((now.up && now.registered_us > before.registered_us).then_some(()))
        })
    }

    /// Where a file of this run is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Copies a file of the certificates' volume to the host, once it is there.
    fn take(&self, name: &str) -> anyhow::Result<()> {
        let from = format!("{}:/certs/{name}", self.container("coordinator")?);
        let to = self.file(name).display().to_string();
        wait_for(format!("{name} in the coordinator's container"), WAIT, || {
            docker(&["cp", &from, &to]).map(Some)
        })?;
        Ok(())
    }

    fn keep_logs(&self) {
        for service in ["coordinator", "origin", APART].into_iter().chain(EDGES) {
            let log = self
                .container(service)
                .and_then(|id| Ok(Command::new("docker").args(["logs", &id]).output()?));
            if let Ok(Output { stderr, .. }) = log {
                let _ = std::fs::write(self.file(&format!("{service}.log")), stderr);
            }
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("GIBBON_KEEP").is_some() {
            self.keep_logs();
        }
        if let Err(error) = self.compose(&["down", "-v", "-t", "0"], TAG) {
            eprintln!("{}: {error:#}", self.project);
        }
    }
}

/// Runs `docker` with these arguments; returns what it printed.
pub fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("docker").args(arguments))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
