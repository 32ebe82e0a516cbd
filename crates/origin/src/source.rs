//! One published stream: media in, groups of both descriptions out, in real time.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use gibbon_codec::{
    Coded, CoderConfig, Item, Programme, ProgrammeOptions, StreamCoder, VideoDecoder,
};
use gibbon_control::{
    metrics, process,
    telemetry::{PublishReport, rounded},
};
use gibbon_media::{Catalog, FrameRate, MediaTime, Medium, ProducerId, Scheme, StreamName};
use gibbon_net::cache::{Push, Tracks};
use rustix::time::{ClockId, clock_gettime};

/// What to publish: `NAME=MEDIA[,CAPTIONS.vtt]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// The stream's name.
    pub stream: StreamName,
    /// A path or URL.
    pub media: String,
    /// A WebVTT file.
    pub captions: Option<PathBuf>,
}

impl FromStr for SourceSpec {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (stream, input) = s
            .split_once('=')
            .ok_or("use NAME=MEDIA or NAME=MEDIA,CAPTIONS.vtt, as in live/bbb=media/bbb.mp4")?;
        let stream = stream.parse().map_err(|e| format!("{e}"))?;
        let (media, captions) = match input.rsplit_once(',') {
            Some((media, captions)) if captions.ends_with(".vtt") => (media, Some(captions.into())),
            _ => (input, None),
        };
        if media.is_empty() {
            return Err("the name of the media is missing after '='".into());
        }
        Ok(Self { stream, media: media.to_owned(), captions })
    }
}

/// How to code it.
#[derive(Debug, Clone)]
pub struct Coding {
    pub scheme: Scheme,
    pub group: Duration,
    pub rate: Option<FrameRate>,
    pub size: Option<(u32, u32)>,
    pub coder: CoderConfig,
}

/// A stream that is being published.
pub struct Source {
    pub catalog: Catalog,
    pub tracks: [Arc<Tracks>; 2],
    effort: Arc<Effort>,
}

impl Source {
    /// How it is doing, since this was last asked; none before anything was published.
    pub fn report(&self) -> Option<PublishReport> {
        let lag = self.tracks.iter().filter_map(|tracks| metrics::lag(tracks)).max()?;
        let stream = self.catalog.stream.clone();
        let load = rounded(self.effort.load(Instant::now()), 1e3);
        Some(PublishReport { stream, lag_ms: lag.as_millis() as u64, load })
    }
}

/// The processor time of a source's thread: shared with who reports it.
struct Effort {
    spent_us: AtomicU64,
    asked: Mutex<(Instant, u64)>,
}

impl Effort {
    fn begin(now: Instant) -> Self {
        Self { spent_us: AtomicU64::new(0), asked: Mutex::new((now, 0)) }
    }

    /// Notes what this thread has taken so far.
    fn note(&self) {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        let us = spent.tv_sec as u64 * 1_000_000 + spent.tv_nsec as u64 / 1000;
        self.spent_us.store(us, Ordering::Relaxed);
    }

    /// The share of the time that it took, since this was last asked.
    fn load(&self, now: Instant) -> f64 {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let spent_us = self.spent_us.load(Ordering::Relaxed);
        let (before, before_us) = std::mem::replace(&mut *asked, (now, spent_us));
        let elapsed = now.saturating_duration_since(before).as_secs_f64().max(1e-3);
        (spent_us.saturating_sub(before_us) as f64 / 1e6 / elapsed).min(1.0)
    }
}

/// Opens the media of `spec` and begins to publish it. Returns once the media has been opened; errors
/// after that end the process through `failed`.
pub fn start(
    spec: SourceSpec,
    coding: Coding,
    state: &Path,
    hashes: Option<PathBuf>,
    failed: tokio::sync::mpsc::Sender<anyhow::Error>,
) -> anyhow::Result<Source> {
    let created = created(state, &spec.stream)?;
    let (opened, answer) = std::sync::mpsc::sync_channel(1);
    let tracks = [Arc::<Tracks>::default(), Arc::default()];
    let published = tracks.clone();
    let effort = Arc::new(Effort::begin(Instant::now()));
    let noted = effort.clone();
    // FFmpeg's contexts stay on the thread that made them.
    thread::Builder::new().name(format!("source {}", spec.stream)).spawn(move || {
        let source = match open(&spec, &coding, created, hashes) {
            Ok(source) => source,
            Err(error) => return drop(opened.send(Err(error))),
        };
        let _ = opened.send(Ok(source.catalog.clone()));
        let stream = source.catalog.stream.clone();
        if let Err(error) = source.publish(&published, &noted) {
            let _ = failed.blocking_send(error.context(format!("stream {stream}")));
        }
    })?;
    let catalog = answer.recv().context("the source thread failed")??;
    Ok(Source { catalog, tracks, effort })
}

struct Publisher {
    catalog: Catalog,
    programme: Programme,
    coder: StreamCoder,
    hashes: Option<Hashes>,
}

fn open(
    spec: &SourceSpec,
    coding: &Coding,
    created: MediaTime,
    hashes: Option<PathBuf>,
) -> anyhow::Result<Publisher> {
    let options = ProgrammeOptions {
        rate: coding.rate,
        size: coding.size,
        captions: spec.captions.clone(),
        ..ProgrammeOptions::default()
    };
    let mut programme = Programme::open(&spec.media, &options, created)?;
    let catalog = Catalog {
        stream: spec.stream.clone(),
        scheme: coding.scheme,
        created: programme.created(),
        grids: Catalog::grids_of(coding.scheme, coding.group),
        video: programme.video(),
        audio: programme.audio(),
        text: programme.text(),
        host: process::host_id(),
    };
    let start = process::now().max(programme.created());
    programme.start_at(start)?;
    let config = CoderConfig { colour: programme.colour(), ..coding.coder.clone() };
    let producer = ProducerId(rand::random());
    tracing::info!(stream = %catalog.stream, %producer, scheme = %catalog.scheme, "publishing");
    let coder = StreamCoder::new(catalog.clone(), &config, producer, programme.cues(), start)?;
    let hashes = hashes.map(|file| Hashes::create(&file, &catalog)).transpose()?;
    Ok(Publisher { catalog, programme, coder, hashes })
}

impl Publisher {
    /// Publishes each item when its time has come, until the media ends.
    fn publish(mut self, tracks: &[Arc<Tracks>; 2], effort: &Effort) -> anyhow::Result<()> {
        while let Some(item) = self.programme.next_item()? {
            effort.note();
            wait_until(self.time_of(&item));
            let coded = self.coder.code(&item, process::now().as_micros())?;
            for coded in coded {
                self.put(tracks, coded)?;
            }
        }
        for coded in self.coder.finish() {
            put(&self.catalog, tracks, coded);
        }
        bail!("the media has ended")
    }

    fn time_of(&self, item: &Item) -> MediaTime {
        match (item, &self.catalog.video) {
            (Item::Video(n, _), Some(video)) => video.rate.time_of(*n),
            (Item::Audio(block), _) => block.time,
            (Item::Video(..), None) => MediaTime(0),
        }
    }

    fn put(&mut self, tracks: &[Arc<Tracks>; 2], coded: Coded) -> anyhow::Result<()> {
        if let Some(hashes) = &mut self.hashes {
            hashes.note(&coded)?;
        }
        put(&self.catalog, tracks, coded);
        Ok(())
    }
}

/// Puts a coded frame into the cache that subscribers read.
fn put(catalog: &Catalog, tracks: &[Arc<Tracks>; 2], coded: Coded) {
    let tracks = &tracks[coded.description.index()];
    let group = match tracks.begin(catalog.grid(coded.description), coded.header) {
        Ok(group) => group,
        Err(why) => return tracing::warn!(group = %coded.header.group, %why, "not published"),
    };
    let mut frames = coded.index;
    if let Some(frame) = coded.frame {
        frames += 1;
        if tracks.push(&group, coded.index, frame) == Push::Refused {
            tracing::warn!(group = %coded.header.group, "frame not published: the group is full");
        }
    }
    if coded.group_end {
        tracks.complete(&group, frames);
    }
}

/// Sleeps until the wall clock shows `time`. A coder that has fallen behind does not wait.
fn wait_until(time: MediaTime) {
    let ahead = time.since(process::now());
    if !ahead.is_zero() {
        thread::sleep(ahead);
    }
}

/// When the stream was created: read from `state`, or now and written there, so that its media time goes
/// on where it was when the origin is restarted.
fn created(state: &Path, stream: &StreamName) -> anyhow::Result<MediaTime> {
    let file = state.join(format!("{}.created", stream.as_str().replace('/', "+")));
    match fs::read_to_string(&file) {
        Ok(text) => {
            let micros = text.trim().parse().with_context(|| {
                format!("{} holds no time; remove it to create the stream anew", file.display())
            })?;
            Ok(MediaTime(micros))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let now = process::now();
            fs::create_dir_all(state)
                .and_then(|()| fs::write(&file, now.as_micros().to_string()))
                .with_context(|| format!("cannot write {}; see --state", file.display()))?;
            Ok(now)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The origin's own decode of what it publishes in full quality, as frame hashes: what a viewer with both
/// descriptions must see.
struct Hashes {
    out: BufWriter<fs::File>,
    decoders: [VideoDecoder; 2],
}

impl Hashes {
    fn create(file: &Path, catalog: &Catalog) -> anyhow::Result<Self> {
        let Some(video) = &catalog.video else { bail!("--framehash: the stream has no pictures") };
        let out =
            fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        let decoders = [VideoDecoder::new(video.codec)?, VideoDecoder::new(video.codec)?];
        Ok(Self { out: BufWriter::new(out), decoders })
    }

    fn note(&mut self, coded: &Coded) -> anyhow::Result<()> {
        let Some(frame) = coded.frame.as_ref().filter(|_| coded.header.medium == Medium::Video)
        else {
            return Ok(());
        };
        if !frame.flags.is_primary() {
            return Ok(());
        }
        let decoder = &mut self.decoders[coded.description.index()];
        if frame.flags.is_key() {
            decoder.reset();
        }
        let hash = decoder.decode(&frame.payload)?.hash();
        writeln!(self.out, "{} central {hash:032x}", frame.time.as_micros())?;
        if coded.group_end || frame.flags.is_key() {
            self.out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_names_a_stream_its_media_and_perhaps_captions() {
        let spec: SourceSpec = "live/bbb=media/bbb.mp4,media/bbb.vtt".parse().unwrap();
        assert_eq!(spec.media, "media/bbb.mp4");
        assert_eq!(spec.captions, Some("media/bbb.vtt".into()));
        let spec: SourceSpec = "a=odd,name.mp4".parse().unwrap();
        assert_eq!((spec.media.as_str(), spec.captions), ("odd,name.mp4", None));
        for bad in ["", "live/bbb", "live/bbb=", "Bad Name=x"] {
            assert!(bad.parse::<SourceSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn load_is_the_processor_time_by_the_time_since_it_was_last_asked() {
        let begun = Instant::now();
        let effort = Effort::begin(begun);
        effort.spent_us.store(500_000, Ordering::Relaxed);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!((effort.load(at(2)) - 0.25).abs() < 1e-9);
        assert_eq!(effort.load(at(4)), 0.0);
        effort.spent_us.store(9_000_000, Ordering::Relaxed);
        assert_eq!(effort.load(at(5)), 1.0, "no more than all of it");
        effort.note();
        assert!(effort.spent_us.load(Ordering::Relaxed) < 9_000_000);
    }

    #[test]
    fn the_time_of_creation_survives_a_restart() {
        let folder = std::env::temp_dir().join(format!("gibbon-created-{}", std::process::id()));
        let stream: StreamName = "live/bbb".parse().unwrap();
        let first = created(&folder, &stream).unwrap();
        assert_eq!(created(&folder, &stream).unwrap(), first);
        fs::remove_dir_all(folder).unwrap();
    }
}
