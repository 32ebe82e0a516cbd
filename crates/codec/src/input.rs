//! Demultiplexing: a file or URL as packets of pictures and of sound, over and over.

use std::collections::VecDeque;

use ffmpeg_next::{
    self as ffmpeg, Packet, Rational, Stream, codec, decoder, format, format::stream::Disposition,
    media,
};

use crate::Error;

/// Packets read ahead for one medium while the other is wanted, in bytes.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Damaged packets passed over in a row, as a demuxer resynchronises.
const MAX_DAMAGED_IN_A_ROW: usize = 10_000;

/// Time in a file, in ns from its time 0: the start of the pictures, else of the sound.
pub(crate) type FileTime = i64;

/// The two media that are demultiplexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pictures,
    Sound,
}

/// What comes next for one medium.
pub(crate) enum Read {
    Packet(Packet),
    /// The end of one pass through the input. If it is looped, the next pass follows.
    End,
}

/// A stream of the input that is used.
struct Track {
    index: usize,
    time_base: Rational,
    /// `None` marks the end of a pass.
    queue: VecDeque<Option<Packet>>,
    queued_bytes: usize,
}

/// An open input.
pub(crate) struct Input {
    pub(crate) file: String,
    context: format::context::Input,
    tracks: [Option<Track>; 2],
    zero: FileTime,
    /// From time 0 to the end, where known.
    pub(crate) duration: Option<FileTime>,
    ended: bool,
}

impl Input {
    /// Opens `file`, a path or URL. Without `sound`, sound is passed over.
    pub(crate) fn open(file: &str, sound: bool) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let open_error = |reason| Error::Open { file: file.to_owned(), reason };
        if file.contains('\0') {
            return Err(open_error(ffmpeg::Error::InvalidData));
        }
        let context = format::input(file).map_err(open_error)?;
        let wanted = [(media::Type::Video, true), (media::Type::Audio, sound)];
        let tracks = wanted.map(|(kind, wanted)| {
            // The cover of an album is not the pictures of a programme.
            let usable =
                |s: &Stream| wanted && !s.disposition().contains(Disposition::ATTACHED_PIC);
            let stream = context.streams().best(kind).filter(usable)?;
            let (index, time_base) = (stream.index(), stream.time_base());
            Some(Track { index, time_base, queue: VecDeque::new(), queued_bytes: 0 })
        });
        let Some(first) = tracks.iter().flatten().next() else {
            return Err(Error::Empty(file.to_owned()));
        };
        let first = context.stream(first.index).ok_or_else(|| Error::Empty(file.to_owned()))?;
        let zero = start_of(&first).unwrap_or(0);
        let duration = duration_of(&first, &context);
        Ok(Self { file: file.to_owned(), context, tracks, zero, duration, ended: false })
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.track(kind).is_some()
    }

    /// The mean frame rate of the pictures, where known.
    pub(crate) fn frame_rate(&self) -> Option<Rational> {
        let stream = self.context.stream(self.track(Kind::Pictures)?.index)?;
        [stream.avg_frame_rate(), stream.rate()]
            .into_iter()
            .find(|rate| rate.numerator() > 0 && rate.denominator() > 0)
    }

    /// A decoder for one medium, not yet opened, and the codec to open it with.
    pub(crate) fn decoder(
        &self,
        kind: Kind,
    ) -> Result<(codec::decoder::Decoder, ffmpeg::Codec), Error> {
        let stream = self.track(kind).and_then(|track| self.context.stream(track.index));
        let stream = stream.ok_or_else(|| Error::Empty(self.file.clone()))?;
        let parameters = stream.parameters();
        let id = parameters.id();
        let found = decoder::find(id).ok_or_else(|| Error::MissingDecoder {
            file: self.file.clone(),
            codec: id.name().to_owned(),
        })?;
        let context = codec::Context::from_parameters(parameters);
        let mut decoder =
            context.map_err(|e| self.damaged(format!("{}: {e}", id.name())))?.decoder();
        decoder.set_packet_time_base(stream.time_base());
        Ok((decoder, found))
    }

    /// What comes next for `kind`; packets of the other medium are kept for it.
    pub(crate) fn next(&mut self, kind: Kind) -> Result<Read, Error> {
        loop {
            let Some(track) = &mut self.tracks[kind as usize] else { return Ok(Read::End) };
            if let Some(next) = track.queue.pop_front() {
                let Some(packet) = next else { return Ok(Read::End) };
                track.queued_bytes -= packet.size();
                return Ok(Read::Packet(packet));
            }
            if self.ended {
                return Ok(Read::End);
            }
            self.read()?;
        }
    }

    /// Reads one packet, or the end of a pass, into the queues.
    fn read(&mut self) -> Result<(), Error> {
        for _ in 0..MAX_DAMAGED_IN_A_ROW {
            let mut packet = Packet::empty();
            match packet.read(&mut self.context) {
                Ok(()) => return self.enqueue(packet),
                Err(ffmpeg::Error::Eof) => return self.end_pass(),
                Err(ffmpeg::Error::InvalidData) => continue,
                Err(reason) => return Err(Error::Read { file: self.file.clone(), reason }),
            }
        }
        Err(self.damaged("nothing but damaged packets".to_owned()))
    }

    fn enqueue(&mut self, packet: Packet) -> Result<(), Error> {
        let of_packet = |track: &&mut Track| track.index == packet.stream();
        if let Some(track) = self.tracks.iter_mut().flatten().find(of_packet) {
            track.queued_bytes += packet.size();
            if track.queued_bytes > MAX_QUEUED_BYTES {
                return Err(self.damaged("pictures and sound are too far apart in it".to_owned()));
            }
            track.queue.push_back(Some(packet));
        }
        Ok(())
    }

    fn end_pass(&mut self) -> Result<(), Error> {
        self.tracks.iter_mut().flatten().for_each(|track| track.queue.push_back(None));
        if self.duration.is_none() {
            self.ended = true;
            return Ok(());
        }
        self.rewind()
    }

    /// Back to the beginning. Reopened, as after a seek demuxers begin behind the priming of the sound,
    /// and some inputs cannot be sought in: so that each loop is exactly like the first.
    fn rewind(&mut self) -> Result<(), Error> {
        let reopened = format::input(&self.file);
        self.context =
            reopened.map_err(|reason| Error::Open { file: self.file.clone(), reason })?;
        Ok(())
    }

    /// Goes to a keyframe at or before `time`; to the beginning where that fails. What was read
    /// ahead is dropped.
    pub(crate) fn seek(&mut self, time: FileTime) -> Result<(), Error> {
        for track in self.tracks.iter_mut().flatten() {
            track.queue.clear();
            track.queued_bytes = 0;
        }
        self.ended = false;
        let micros = (time + self.zero) / 1000;
        if time > 0 && self.context.seek(micros, ..micros).is_ok() {
            return Ok(());
        }
        self.rewind()
    }

    /// A time stamp of a stream as file time.
    pub(crate) fn time_of(&self, kind: Kind, stamp: i64) -> FileTime {
        self.track(kind).map_or(0, |track| nanos(stamp, track.time_base) - self.zero)
    }

    pub(crate) fn damaged(&self, problem: String) -> Error {
        Error::Damaged { file: self.file.clone(), problem }
    }

    fn track(&self, kind: Kind) -> Option<&Track> {
        self.tracks[kind as usize].as_ref()
    }
}

fn start_of(stream: &Stream) -> Option<FileTime> {
    let start = stream.start_time();
    (start != ffmpeg::ffi::AV_NOPTS_VALUE).then(|| nanos(start, stream.time_base()))
}

/// From its start to its end: of the stream, else of the container.
fn duration_of(stream: &Stream, context: &format::context::Input) -> Option<FileTime> {
    let of_stream = nanos(stream.duration().max(0), stream.time_base());
    // In AV_TIME_BASE, which is µs.
    let of_container = context.duration().max(0).saturating_mul(1000);
    [of_stream, of_container].into_iter().find(|duration| *duration > 0)
}

fn nanos(stamp: i64, base: Rational) -> FileTime {
    let scaled = i128::from(stamp) * i128::from(base.numerator()) * 1_000_000_000;
    let nanos = scaled / i128::from(base.denominator().max(1));
    // A century either way: sums of such times do not overflow.
    const CENTURY: i128 = 3_155_760_000_000_000_000;
    nanos.clamp(-CENTURY, CENTURY) as FileTime
}
