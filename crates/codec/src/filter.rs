//! Filtering: pictures and sound through graphs of libavfilter.

use ffmpeg_next::{
    Rational,
    filter::{self, Graph},
    frame,
};
use gibbon_media::{FrameNumber, FrameRate};

use crate::{
    Colour, Error, PACKET_SAMPLES, Picture, SAMPLE_RATE,
    ffmpeg::AGAIN,
    samples::{framed, interleaved},
};

/// Where frames go in, what brings them to the format we take, and where they come out.
const IN: &str = "in";
const OUT: &str = "out";
const SINK: &str = "sink";

/// Pictures through a graph. Time in the graph is that since the epoch, so that what depends on it (clocks,
/// other frame rates) is the same wherever and whenever the filter was made. Numbers are to be contiguous:
/// after a gap, [`finish`](Self::finish) and make another.
pub struct VideoFilter {
    graph: FilterGraph,
    colour: Colour,
    rate: FrameRate,
    /// The number of the picture that would follow.
    due: i64,
}

impl VideoFilter {
    /// A filter of pictures of `size` at the frame rate `from`, of which come some at `to`. The graph has one
    /// input and one output, without names or of the names `in` and `out`.
    pub fn new(
        graph: &str,
        (width, height): (u32, u32),
        (from, to): (FrameRate, FrameRate),
        colour: Colour,
    ) -> Result<Self, Error> {
        let (num, den) = (from.num(), from.den());
        let source = format!(
            "video_size={width}x{height}:pix_fmt=yuv420p:pixel_aspect=1/1:\
             time_base={den}/{num}:frame_rate={num}/{den}"
        );
        let kinds = Kinds { source: "buffer", format: "format", sink: "buffersink" };
        let graph = FilterGraph::new(graph, kinds, &source, "yuv420p")?;
        Ok(Self { graph, colour, rate: to, due: 0 })
    }

    /// Takes the next picture; what comes out for it and for those before, with numbers at the new rate.
    pub fn push(
        &mut self,
        n: FrameNumber,
        picture: &Picture,
    ) -> Result<Vec<(FrameNumber, Picture)>, Error> {
        let mut frame = picture.to_frame();
        let stamp = i64::try_from(n.0).unwrap_or(i64::MAX);
        frame.set_pts(Some(stamp));
        self.due = stamp.saturating_add(1);
        frame.set_color_space(self.colour.space);
        frame.set_color_range(self.colour.range);
        frame.set_color_primaries(self.colour.primaries);
        frame.set_color_transfer_characteristic(self.colour.transfer);
        self.graph.push(&frame)?;
        self.drain()
    }

    /// What the filter still holds: at another rate, up to where the picture after the last one would begin.
    pub fn finish(mut self) -> Result<Vec<(FrameNumber, Picture)>, Error> {
        self.graph.close(self.due)?;
        self.drain()
    }

    fn drain(&mut self) -> Result<Vec<(FrameNumber, Picture)>, Error> {
        let mut pictures = Vec::new();
        let mut frame = frame::Video::empty();
        while let Some(unit) = self.graph.pull(&mut frame)? {
            let stamp = frame.pts().unwrap_or_default();
            pictures.push((self.number_of(stamp, unit), Picture::from_frame(&frame)?));
        }
        Ok(pictures)
    }

    /// `round(time × rate)`.
    fn number_of(&self, stamp: i64, unit: Rational) -> FrameNumber {
        let over = i128::from(stamp) * i128::from(unit.0) * i128::from(self.rate.num());
        let under = (i128::from(unit.1) * i128::from(self.rate.den())).max(1);
        FrameNumber(u64::try_from((over + under / 2).div_euclid(under)).unwrap_or(0))
    }
}

/// Sound at 48 kHz through a graph. Positions count samples per channel and are to be contiguous: after a gap
/// make another filter.
pub struct AudioFilter {
    graph: FilterGraph,
    channels: (u8, u8),
    /// What has come out and does not fill a packet yet; the first is at `position`.
    ready: Vec<f32>,
    position: i64,
}

impl AudioFilter {
    /// A filter from one number of channels to another, 1 or 2 each. The graph has one input and one output.
    pub fn new(graph: &str, channels: (u8, u8)) -> Result<Self, Error> {
        let layout = |channels: u8| if channels == 1 { "mono" } else { "stereo" };
        let source = format!(
            "sample_rate={SAMPLE_RATE}:sample_fmt=flt:channel_layout={}:time_base=1/{SAMPLE_RATE}",
            layout(channels.0)
        );
        let format = format!(
            "sample_fmts=flt:sample_rates={SAMPLE_RATE}:channel_layouts={}",
            layout(channels.1)
        );
        let kinds = Kinds { source: "abuffer", format: "aformat", sink: "abuffersink" };
        let graph = FilterGraph::new(graph, kinds, &source, &format)?;
        Ok(Self { graph, channels, ready: Vec::new(), position: 0 })
    }

    /// Takes interleaved samples, of which the first is at `position`. Whole packets come out: position and
    /// [`PACKET_SAMPLES`] interleaved samples.
    pub fn push(&mut self, position: i64, samples: &[f32]) -> Result<Vec<(i64, Vec<f32>)>, Error> {
        self.graph.push(&framed(position, samples, self.channels.0))?;
        let mut out = frame::Audio::empty();
        while self.graph.pull(&mut out)?.is_some() {
            if self.ready.is_empty() {
                self.position = out.pts().unwrap_or(position);
            }
            self.ready.extend(interleaved(&out, self.channels.1));
        }
        let length = PACKET_SAMPLES * usize::from(self.channels.1);
        let mut packets = Vec::new();
        while self.ready.len() >= length {
            let rest = self.ready.split_off(length);
            packets.push((self.position, std::mem::replace(&mut self.ready, rest)));
            self.position += PACKET_SAMPLES as i64;
        }
        Ok(packets)
    }
}

/// Names of the filters at the ends of a graph.
struct Kinds {
    source: &'static str,
    format: &'static str,
    sink: &'static str,
}

/// A graph with its ends, without threads.
struct FilterGraph {
    graph: Graph,
    text: String,
}

impl FilterGraph {
    fn new(text: &str, kinds: Kinds, source: &str, format: &str) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let mut made = Self { graph: Graph::new(), text: text.to_owned() };
        made.open(kinds, source, format).map_err(|reason| made.failed(reason))?;
        Ok(made)
    }

    fn open(&mut self, kinds: Kinds, source: &str, format: &str) -> Result<(), ffmpeg_next::Error> {
        use ffmpeg_next::Error::{FilterNotFound, InvalidData};
        // SAFETY: the graph is ours and has no filters yet; the field is a plain number.
        #[allow(unsafe_code)]
        unsafe {
            (*self.graph.as_mut_ptr()).nb_threads = 1;
        }
        let find = |name| filter::find(name).ok_or(FilterNotFound);
        self.graph.add(&find(kinds.source)?, IN, source)?;
        let mut out = self.graph.add(&find(kinds.format)?, OUT, format)?;
        let mut sink = self.graph.add(&find(kinds.sink)?, SINK, "")?;
        out.link(0, &mut sink, 0);
        if self.text.contains('\0') {
            return Err(InvalidData);
        }
        // From the graph's point of view: its output is our input.
        self.graph.output(IN, 0)?.input(OUT, 0)?.parse(&self.text)?;
        self.graph.validate()
    }

    fn push(&mut self, frame: &ffmpeg_next::Frame) -> Result<(), Error> {
        let source = self.graph.get(IN).ok_or(ffmpeg_next::Error::FilterNotFound);
        let pushed = source.and_then(|mut source| source.source().add(frame));
        pushed.map_err(|reason| self.failed(reason))
    }

    /// Nothing more comes: what went in ends at `stamp`, up to which a filter may repeat the last of it.
    fn close(&mut self, stamp: i64) -> Result<(), Error> {
        let source = self.graph.get(IN).ok_or(ffmpeg_next::Error::FilterNotFound);
        let closed = source.and_then(|mut source| source.source().close(stamp));
        closed.map_err(|reason| self.failed(reason))
    }

    /// The next frame that is ready, and the unit of its time stamp.
    fn pull(&mut self, frame: &mut ffmpeg_next::Frame) -> Result<Option<Rational>, Error> {
        let sink = self.graph.get(SINK).ok_or(ffmpeg_next::Error::FilterNotFound);
        let pulled = sink.and_then(|mut sink| {
            sink.sink().frame(frame)?;
            Ok(sink.sink().time_base())
        });
        match pulled {
            Ok(unit) => Ok(Some(unit)),
            Err(AGAIN | ffmpeg_next::Error::Eof) => Ok(None),
            Err(reason) => Err(self.failed(reason)),
        }
    }

    fn failed(&self, reason: ffmpeg_next::Error) -> Error {
        Error::Filter { graph: self.text.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(num: u32, den: u32) -> FrameRate {
        FrameRate::new(num, den).unwrap()
    }

    fn flat(luma: u8) -> Picture {
        Picture::new(32, 16, [vec![luma; 512], vec![90; 128], vec![200; 128]].concat()).unwrap()
    }

    fn filter(graph: &str, from: FrameRate, to: FrameRate) -> VideoFilter {
        VideoFilter::new(graph, (32, 16), (from, to), Colour::default()).unwrap()
    }

    /// A frame of November 2026 at 24 per second.
    const N: u64 = 43_083_187_210;

    #[test]
    fn a_picture_goes_in_and_its_like_comes_out_under_the_same_number() {
        let mut gray = filter("[in]hue=s=0", rate(24, 1), rate(24, 1));
        for n in N..N + 5 {
            let out = gray.push(FrameNumber(n), &flat(40)).unwrap();
            assert_eq!(out.len(), 1);
            assert_eq!(out[0].0, FrameNumber(n));
            let [y, u, v] = out[0].1.planes();
            assert!(y.iter().all(|&y| y == 40) && [u, v].concat().iter().all(|&c| c == 128));
        }
        let mut crop = filter("crop=16:8:0:0", rate(24, 1), rate(24, 1));
        let out = crop.push(FrameNumber(N), &flat(1)).unwrap();
        assert_eq!((out[0].1.width(), out[0].1.height()), (16, 8));
    }

    #[test]
    fn rows_that_a_filter_leaves_upside_down_in_memory_are_read_in_their_order() {
        // Each row of each plane is filled with its number.
        let plane = |rows: &[u8], width| rows.iter().flat_map(|&row| vec![row; width]).collect();
        let of = |luma: &[u8], chroma: &[u8]| {
            let planes: [Vec<u8>; 3] = [plane(luma, 33), plane(chroma, 17), plane(chroma, 17)];
            Picture::new(33, 15, planes.concat()).unwrap()
        };
        let rows = |count: u8| (0..count).collect::<Vec<_>>();
        let upside_down = |count: u8| (0..count).rev().collect::<Vec<_>>();
        let (upright, flipped) = (of(&rows(15), &rows(8)), of(&upside_down(15), &upside_down(8)));
        for (graph, expected) in
            [("vflip", &flipped), ("vflip,hflip", &flipped), ("vflip,vflip", &upright)]
        {
            let rates = (rate(24, 1), rate(24, 1));
            let mut filter = VideoFilter::new(graph, (33, 15), rates, Colour::default()).unwrap();
            let out = filter.push(FrameNumber(N), &upright).unwrap();
            assert!(out == [(FrameNumber(N), expected.clone())], "{graph}");
        }
    }

    #[test]
    fn another_frame_rate_numbers_pictures_from_the_epoch_on_wherever_it_begins() {
        let numbers = |from: u64, to: u64, rates: (FrameRate, FrameRate), text: &str| {
            let mut filter = filter(text, rates.0, rates.1);
            let mut out = Vec::new();
            for n in from..to {
                // What is in a picture says which it was.
                let pushed = filter.push(FrameNumber(n), &flat((n % 200) as u8)).unwrap();
                out.extend(pushed.into_iter().map(|(n, p)| (n.0, p.planes()[0][0])));
            }
            out.extend(filter.finish().unwrap().into_iter().map(|(n, p)| (n.0, p.planes()[0][0])));
            out
        };
        for (to, text) in [
            (rate(12, 1), "fps=12:round=near"),
            (rate(25, 1), "fps=25:round=near"),
            (rate(30_000, 1001), "fps=30000/1001:round=near"),
            (rate(60, 1), "fps=60:round=near"),
        ] {
            let long = numbers(N, N + 60, (rate(24, 1), to), text);
            assert!(long.windows(2).all(|w| w[0].0 + 1 == w[1].0), "{text}");
            let near = to.frame_at(rate(24, 1).time_of(FrameNumber(N)));
            assert_eq!(long[0].0, near.0, "{text}");
            // None are missing and none come twice where one filter takes over from another.
            for cut in N + 24..N + 30 {
                let early = numbers(N, cut, (rate(24, 1), to), text);
                let late = numbers(cut, N + 60, (rate(24, 1), to), text);
                assert!([early, late].concat() == long, "{text}, cut at {cut}");
            }
        }
    }

    #[test]
    fn what_a_filter_holds_back_comes_at_the_end() {
        let mut filter = filter("bwdif=mode=send_frame", rate(25, 1), rate(25, 1));
        let mut numbers = Vec::new();
        for n in 100..105 {
            numbers.extend(filter.push(FrameNumber(n), &flat(9)).unwrap().iter().map(|p| p.0.0));
        }
        assert!(numbers.len() < 5);
        numbers.extend(filter.finish().unwrap().iter().map(|p| p.0.0));
        assert_eq!(numbers, [100, 101, 102, 103, 104]);
    }

    #[test]
    fn sound_keeps_its_positions_and_comes_in_packets() {
        let mut half = AudioFilter::new("pan=mono|c0=0.25*c0+0.25*c1", (2, 1)).unwrap();
        let mut out = Vec::new();
        for i in 0..10 {
            out.extend(half.push(7_000 + i * 480, &[0.5; 960]).unwrap());
        }
        let positions: Vec<i64> = out.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [7_000, 7_960, 8_920, 9_880, 10_840]);
        for (_, samples) in out {
            assert_eq!(samples.len(), PACKET_SAMPLES);
            assert!(samples.iter().all(|s| (s - 0.25).abs() < 1e-3));
        }
    }

    #[test]
    fn a_graph_that_cannot_be_is_named_in_the_error() {
        for bad in
            ["nosuchfilter", "scale=w=-9:h=oops", "hue=s=0[x];[y]null", "null,\0null", "anull"]
        {
            let made =
                VideoFilter::new(bad, (32, 16), (rate(25, 1), rate(25, 1)), Colour::default());
            let Err(error) = made else { panic!("{bad}") };
            assert!(error.to_string().contains(bad), "{error}");
        }
        assert!(AudioFilter::new("null", (2, 2)).is_err());
    }
}
