//! Which workers the directory names for which stream: those to be pulled from now, best first.

use gibbon_control::node::StreamOrigin;
use gibbon_media::{Catalog, NodeId, StreamName};

use super::{Instance, Services, Stand};

impl Services {
    /// Who is to be pulled from for `stream`: of each replica the active instance or, where that does not
    /// publish, the one that is coming.
    pub fn published<'a>(&'a self, stream: &'a StreamName) -> impl Iterator<Item = &'a Instance> {
        (0..=1).filter_map(move |replica| {
            let published = |stand| {
                self.standing(stream, replica, stand).filter(|instance| instance.is_published())
            };
            published(Stand::Active).or_else(|| published(Stand::Coming))
        })
    }

    /// The worker to be pulled from first, and how the stream is made up.
    pub fn stream<'a>(&'a self, stream: &'a StreamName) -> Option<(&'a NodeId, &'a Catalog)> {
        let instance = self.published(stream).next()?;
        Some((&instance.worker, instance.catalog.as_ref()?))
    }

    /// Every stream that is published, in order of name.
    pub fn streams(&self) -> impl Iterator<Item = (&Instance, &Catalog)> {
        let first = |stream| self.published(stream).next();
        let published = self.makers.keys().filter_map(first);
        published.filter_map(|instance| Some((instance, instance.catalog.as_ref()?)))
    }

    /// For the directory, in order of stream and preference.
    pub fn named(&self) -> impl Iterator<Item = StreamOrigin> {
        let of = |instance: &Instance| StreamOrigin {
            stream: instance.stream.clone(),
            origin: instance.worker.clone(),
        };
        self.makers.keys().flat_map(|stream| self.published(stream)).map(of)
    }
}
