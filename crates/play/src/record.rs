//! Recording: a thread that writes what the player merged into a Matroska file, or to a pipe.

use std::thread::JoinHandle;

use gibbon_codec::Recorder;
use gibbon_media::{Catalog, Cue, Frame};
use tokio::sync::mpsc;

/// Where a recording goes that is piped to another program: standard output.
pub const PIPE: &str = "pipe:1";

/// Frames that wait for the disk, or for whoever reads the pipe: about ten seconds.
const MAX_WAITING: usize = 1024;

enum Job {
    Video(Frame),
    Audio(Frame),
    Text(Cue),
}

/// The engine's end.
pub struct Recording {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<anyhow::Result<()>>,
    dropped: u64,
}

impl Recording {
    /// Starts to record into `file` (a path, or `pipe:1`).
    pub fn start(file: String, catalog: Catalog) -> anyhow::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new().name("recording".into()).spawn(move || {
            let mut recorder = Recorder::create(&file, &catalog)?;
            while let Some(job) = waiting.blocking_recv() {
                match job {
                    Job::Video(frame) => recorder.video(&frame)?,
                    Job::Audio(frame) => recorder.audio(&frame)?,
                    Job::Text(cue) => recorder.text(&cue)?,
                }
            }
            Ok(recorder.finish()?)
        })?;
        Ok(Self { jobs, thread, dropped: 0 })
    }

    /// Records a picture.
    pub fn video(&mut self, frame: Frame) {
        self.put(Job::Video(frame));
    }

    /// Records a packet of sound.
    pub fn audio(&mut self, frame: Frame) {
        self.put(Job::Audio(frame));
    }

    /// Records a cue.
    pub fn text(&mut self, cue: Cue) {
        self.put(Job::Text(cue));
    }

    /// Playing goes before recording: what a stalled disk or reader cannot take is left out.
    fn put(&mut self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.dropped += 1;
            if self.dropped == 1 {
                tracing::warn!("the recording does not keep up; frames are left out of it");
            }
        }
    }

    /// Whether it has ended before it was told to: nobody reads the pipe any more, or the disk is full.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Completes the recording.
    pub fn finish(self) -> anyhow::Result<()> {
        drop(self.jobs);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the recording thread failed"),
        }
    }
}
