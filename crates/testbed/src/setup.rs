//! What a network is to consist of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Id, streams as `NAME=MEDIA[,CAPTIONS]`, and further arguments of each origin.
    pub origins: Vec<(String, Vec<String>, Vec<String>)>,
    /// Origins of synthetic streams, which need no media: `gibbon-load source`.
    pub sources: Vec<Source>,
    /// Ids of the edges.
    pub edges: Vec<String>,
    /// Ids of the workers.
    pub workers: Vec<String>,
    /// Further arguments of single edges and workers, by id.
    pub node_arguments: BTreeMap<String, Vec<String>>,
    /// Failure domains of single edges and workers, by id.
    pub failure_domains: BTreeMap<String, String>,
    /// Nodes whose connection to the coordinator goes over a [`Path`](crate::Path) that tests can cut.
    pub control_paths: Vec<String>,
    /// Nodes that viewers and other nodes reach over a [`Path`](crate::Path).
    pub access_paths: Vec<String>,
    /// Further arguments of the coordinator.
    pub coordinator_arguments: Vec<String>,
    /// Environment of the coordinator: failpoints.
    pub coordinator_environment: Vec<(String, String)>,
    /// Whether every process is in a process group of its own, so that Ctrl-C at the terminal reaches only
    /// who started the network.
    pub apart: bool,
    /// What the impairments of paths draw depends on this.
    pub seed: u64,
}

/// An origin of synthetic streams.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its id.
    pub id: String,
    /// What it publishes.
    pub streams: Vec<String>,
    /// Further arguments: what the streams look like.
    pub arguments: Vec<String>,
}

impl Setup {
    /// One origin `origin-1` that publishes `live/bbb` from the clip in `media/`, and these edges.
    pub fn bbb(edges: &[&str]) -> Self {
        Self::default().origin("origin-1", &["live/bbb"]).edges(edges)
    }

    /// With an origin that publishes the clip in `media/` under these names.
    pub fn origin(mut self, id: &str, streams: &[&str]) -> Self {
        let media = media_folder();
        let (clip, captions) = (media.join("bbb.mp4"), media.join("bbb.vtt"));
        let source = format!("{},{}", clip.display(), captions.display());
        let streams = streams.iter().map(|stream| format!("{stream}={source}")).collect();
        self.origins.push((id.to_owned(), streams, Vec::new()));
        self
    }

    /// With an origin that publishes another clip of `media/` under this name.
    pub fn clip(self, id: &str, stream: &str, file: &str) -> Self {
        self.shows(id, stream, &media_folder().join(file).display().to_string())
    }

    /// With an origin that publishes this file or URL.
    pub fn shows(mut self, id: &str, stream: &str, media: &str) -> Self {
        self.origins.push((id.to_owned(), vec![format!("{stream}={media}")], Vec::new()));
        self
    }

    /// With an origin that publishes synthetic streams under these names, of the shape that `arguments` of
    /// `gibbon-load source` say.
    pub fn source(mut self, id: &str, streams: &[&str], arguments: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (id, streams, arguments) = (id.to_owned(), owned(streams), owned(arguments));
        self.sources.push(Source { id, streams, arguments });
        self
    }

    /// With these edges.
    pub fn edges(mut self, ids: &[&str]) -> Self {
        self.edges.extend(ids.iter().map(|id| (*id).to_owned()));
        self
    }

    /// With these workers.
    pub fn workers(mut self, ids: &[&str]) -> Self {
        self.workers.extend(ids.iter().map(|id| (*id).to_owned()));
        self
    }

    /// With further arguments for every origin.
    pub fn origin_arguments(mut self, arguments: &[&str]) -> Self {
        for origin in &mut self.origins {
            origin.2.extend(arguments.iter().map(|a| (*a).to_owned()));
        }
        self
    }

    /// With further arguments for one edge or worker.
    pub fn node_with(mut self, id: &str, arguments: &[&str]) -> Self {
        let further = self.node_arguments.entry(id.to_owned()).or_default();
        further.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// With each of these edges and workers in a failure domain of its own.
    pub fn domains(mut self, nodes: &[&str]) -> Self {
        let each = nodes.iter().map(|node| ((*node).to_owned(), format!("site of {node}")));
        self.failure_domains.extend(each);
        self
    }

    /// With a path between every node and the coordinator, and a path to every node, so that anything can
    /// be cut off from anything else.
    pub fn paths(mut self) -> Self {
        let origins = self.origins.iter().map(|(id, ..)| id);
        let origins = origins.chain(self.sources.iter().map(|source| &source.id));
        let nodes = origins.chain(&self.edges).chain(&self.workers);
        self.control_paths = nodes.cloned().collect();
        self.access_paths = self.control_paths.clone();
        self
    }
}

/// Where the clips are: in `GIBBON_MEDIA_DIR`, or in the sources that this was built of.
pub fn media_folder() -> PathBuf {
    let sources = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../media");
    std::env::var_os("GIBBON_MEDIA_DIR").map_or_else(sources, PathBuf::from)
}
