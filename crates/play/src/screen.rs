//! The screen: a thread that decodes what the engine feeds it ahead of time, and shows each picture when
//! told to. Here that means to hash it; nobody looks at a window.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use gibbon_codec::{Picture, VideoDecoder};
use gibbon_mdc::{Candidate, ChainKey, Shown};
use gibbon_media::Codec;
use tokio::sync::mpsc;

use crate::report::Display;

/// Frames fed or to be shown that wait for the thread.
const MAX_WAITING: usize = 1024;
/// Chains being decoded at once: a primary and a secondary of two groups, and a restarted producer's.
const MAX_CHAINS: usize = 16;
/// A frame shown this long after its deadline counts as displayed late.
const LATE: Duration = Duration::from_millis(100);

enum Job {
    Decode { chain: ChainKey, index: u32, payload: Bytes },
    Show(Shown),
}

/// The engine's end.
pub struct Screen {
    jobs: mpsc::Sender<Job>,
    damaged: mpsc::Receiver<(ChainKey, u32)>,
    thread: JoinHandle<anyhow::Result<Display>>,
}

impl Screen {
    /// Starts the thread. Deadlines count from `started`. Frame hashes go to `hashes`, one line per
    /// displayed frame: media time in µs, verdict, hash (`-` before the first picture).
    pub fn start(codec: Codec, started: Instant, hashes: Option<&Path>) -> anyhow::Result<Self> {
        let hashes = hashes
            .map(|file| {
                File::create(file).with_context(|| format!("cannot write {}", file.display()))
            })
            .transpose()?
            .map(BufWriter::new);
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let (damage, damaged) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new().name("screen".into()).spawn(move || {
            Thread {
                codec,
                started,
                hashes,
                damage,
                chains: BTreeMap::new(),
                last: None,
                display: Display::default(),
            }
            .run(waiting)
        })?;
        Ok(Self { jobs, damaged, thread })
    }

    /// Feeds the next coded frame of a chain. `false` if the thread is too far behind; feed it later.
    pub fn decode(&self, chain: ChainKey, index: u32, payload: Bytes) -> bool {
        self.jobs.try_send(Job::Decode { chain, index, payload }).is_ok()
    }

    /// Shows a frame. `false` if the thread is too far behind: the frame is not displayed.
    pub fn show(&self, shown: Shown) -> bool {
        self.jobs.try_send(Job::Show(shown)).is_ok()
    }

    /// Chains that could not be decoded from an index on.
    pub fn damaged(&mut self) -> Option<(ChainKey, u32)> {
        self.damaged.try_recv().ok()
    }

    /// Waits until all has been shown; says how well it kept up.
    pub fn finish(self) -> anyhow::Result<Display> {
        drop(self.jobs);
        match self.thread.join() {
            Ok(display) => display,
            Err(_) => anyhow::bail!("the screen thread failed"),
        }
    }
}

struct Thread {
    codec: Codec,
    started: Instant,
    hashes: Option<BufWriter<File>>,
    damage: mpsc::Sender<(ChainKey, u32)>,
    chains: BTreeMap<ChainKey, Chain>,
    last: Option<Picture>,
    display: Display,
}

/// One group copy being decoded, and its pictures not yet shown.
struct Chain {
    decoder: VideoDecoder,
    pictures: BTreeMap<u32, Picture>,
    broken: bool,
}

impl Thread {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> anyhow::Result<Display> {
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Decode { chain, index, payload } => self.decode(chain, index, &payload)?,
                Job::Show(shown) => self.show(&shown)?,
            }
        }
        if let Some(hashes) = &mut self.hashes {
            hashes.flush().context("frame hashes")?;
        }
        Ok(self.display)
    }

    fn decode(&mut self, key: ChainKey, index: u32, payload: &[u8]) -> anyhow::Result<()> {
        if !self.chains.contains_key(&key) {
            if self.chains.len() >= MAX_CHAINS {
                self.chains.pop_first();
            }
            let decoder = VideoDecoder::new(self.codec)?;
            self.chains.insert(key, Chain { decoder, pictures: BTreeMap::new(), broken: false });
        }
        let Some(chain) = self.chains.get_mut(&key).filter(|chain| !chain.broken) else {
            return Ok(());
        };
        match chain.decoder.decode(payload) {
            Ok(picture) => drop(chain.pictures.insert(index, picture)),
            Err(error) => {
                tracing::warn!(group = %key.group, description = %key.description, index, %error, "damaged");
                chain.broken = true;
                let _ = self.damage.try_send((key, index));
            }
        }
        Ok(())
    }

    fn show(&mut self, shown: &Shown) -> anyhow::Result<()> {
        let lag = self.started.elapsed().saturating_sub(shown.deadline);
        self.display.late += u64::from(lag > LATE);
        let worst = &mut self.display.worst_ms;
        *worst = (*worst).max(lag.as_millis() as u64);
        if let Some(source) = shown.source {
            match self.picture(source) {
                Some(picture) => self.last = Some(picture),
                None => self.display.failed += 1,
            }
        }
        self.note_hash(shown)?;
        self.forget(shown);
        Ok(())
    }

    fn picture(&self, source: Candidate) -> Option<Picture> {
        let get = |p: gibbon_mdc::Picture| self.chains.get(&p.chain)?.pictures.get(&p.index);
        match source {
            Candidate::Coded(picture) | Candidate::Repeat(picture) => get(picture).cloned(),
            Candidate::Blend(before, after) => match (get(before), get(after)) {
                (Some(before), Some(after)) => before.blend(after).ok().or(Some(before.clone())),
                (before, after) => before.or(after).cloned(),
            },
        }
    }

    fn note_hash(&mut self, shown: &Shown) -> anyhow::Result<()> {
        let Some(out) = &mut self.hashes else { return Ok(()) };
        let hash = self.last.as_ref().map_or("-".into(), |p| format!("{:032x}", p.hash()));
        let verdict = match shown.verdict {
            gibbon_mdc::Verdict::Central => "central",
            gibbon_mdc::Verdict::Side => "side",
            gibbon_mdc::Verdict::Frozen => "frozen",
        };
        writeln!(out, "{} {verdict} {hash}", shown.time.as_micros()).context("frame hashes")
    }

    /// Drops pictures that are past: all but the last of what precedes the one shown, which concealment
    /// may show again.
    fn forget(&mut self, shown: &Shown) {
        let Some(Candidate::Coded(now) | Candidate::Repeat(now) | Candidate::Blend(now, _)) =
            shown.source
        else {
            return;
        };
        self.chains.retain(|key, _| key.group.next() >= now.chain.group);
        if let Some(chain) = self.chains.get_mut(&now.chain) {
            chain.pictures = chain.pictures.split_off(&now.index.saturating_sub(1));
        }
    }
}
