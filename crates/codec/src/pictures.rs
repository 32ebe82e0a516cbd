//! The pictures of an input at a constant frame rate.

use ffmpeg_next::{self as ffmpeg, color, decoder, format::Pixel, frame};

use crate::{
    Colour, Error, MAX_SIDE, Picture, Scaler,
    ffmpeg::AGAIN,
    input::{FileTime, Input, Kind, Read},
};

/// Frames that cannot be decoded, in a row, before the input is given up as damaged.
const MAX_DAMAGED_IN_A_ROW: u32 = 500;

/// Two pictures that are equally near, to the rounding of times in ns: the earlier one stays.
const TIE: u64 = 1000;

/// So much less than it should have is said of a file, in ns: it may have been cut off.
const WORTH_A_WARNING: i64 = 2_000_000_000;

/// Decodes pictures in order of time and picks the nearest for each moment.
pub(crate) struct Pictures {
    decoder: decoder::Video,
    scaler: Scaler,
    shown: Option<Timed>,
    next: Option<Timed>,
    /// `shown`, converted.
    picture: Option<Picture>,
    ended: bool,
    damaged_in_a_row: u32,
}

struct Timed {
    time: FileTime,
    frame: frame::Video,
}

impl Pictures {
    /// Opens a decoder; pictures come out at `size`, or in that of the input with square pixels.
    pub(crate) fn open(
        input: &Input,
        size: Option<(u32, u32)>,
    ) -> Result<(Self, (u32, u32)), Error> {
        let decoder = open_decoder(input)?;
        let (width, height) = size.unwrap_or_else(|| square_pixels(&decoder));
        if !(2..=MAX_SIDE).contains(&width) || !(2..=MAX_SIDE).contains(&height) {
            let rule = "sides must be 2 to 8192 pixels";
            return Err(Error::Size { width, height, rule });
        }
        let scaler = Scaler::new(width, height);
        let pictures = Self {
            decoder,
            scaler,
            shown: None,
            next: None,
            picture: None,
            ended: false,
            damaged_in_a_row: 0,
        };
        Ok((pictures, (width, height)))
    }

    /// The picture nearest to `time`, which is not before that of the last call in this pass; the
    /// first or last one beyond the ends.
    pub(crate) fn at(&mut self, input: &mut Input, time: FileTime) -> Result<Picture, Error> {
        loop {
            if self.next.is_none() && !self.ended {
                self.next = self.decode(input)?;
                if self.next.is_none() {
                    self.end(input);
                }
            }
            let nearer = match (&self.shown, &self.next) {
                (None, Some(_)) => true,
                (Some(shown), Some(next)) => {
                    next.time.abs_diff(time) + TIE < shown.time.abs_diff(time)
                }
                (_, None) => false,
            };
            if !nearer {
                break;
            }
            self.shown = self.next.take();
            self.picture = None;
        }
        let Some(shown) = &self.shown else {
            return Err(input.damaged("not one picture can be decoded".to_owned()));
        };
        if self.picture.is_none() {
            self.picture = Some(self.scaler.convert(&shown.frame)?);
        }
        self.picture.clone().ok_or_else(|| Error::Empty(input.file.clone()))
    }

    fn end(&mut self, input: &Input) {
        self.ended = true;
        let last = self.shown.as_ref().map_or(0, |shown| shown.time);
        let missing = input.duration.map_or(0, |duration| duration - last);
        if missing > WORTH_A_WARNING {
            let seconds = missing / 1_000_000_000;
            tracing::warn!(
                file = input.file,
                "the last {seconds} s have no pictures: the last stays"
            );
        }
    }

    /// Whether the input has no picture at `time` or later.
    pub(crate) fn is_past_end(&self, time: FileTime) -> bool {
        self.ended && self.shown.as_ref().is_none_or(|shown| shown.time < time)
    }

    /// On to the next pass through the input.
    pub(crate) fn next_pass(&mut self, input: &mut Input) -> Result<(), Error> {
        if !self.ended {
            while let Read::Packet(_) = input.next(Kind::Pictures)? {}
        }
        self.restart(input)
    }

    /// Forgets what was decoded: the input has been repositioned. A new decoder, as some keep a state
    /// beyond a flush, which would make loops differ.
    pub(crate) fn restart(&mut self, input: &Input) -> Result<(), Error> {
        self.decoder = open_decoder(input)?;
        (self.shown, self.next, self.picture, self.ended) = (None, None, None, false);
        Ok(())
    }

    /// The next picture that is later than the one before; `None` at the end of the pass.
    fn decode(&mut self, input: &mut Input) -> Result<Option<Timed>, Error> {
        let last = self.shown.as_ref().map(|shown| shown.time);
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    self.damaged_in_a_row = 0;
                    let stamp = frame.timestamp().map(|stamp| input.time_of(Kind::Pictures, stamp));
                    // A picture without a time stamp follows at once; one out of order is dropped.
                    let time = stamp.unwrap_or_else(|| last.map_or(0, |last| last + 1));
                    if last.is_none_or(|last| time > last) {
                        return Ok(Some(Timed { time, frame }));
                    }
                }
                Err(AGAIN) => self.feed(input)?,
                Err(ffmpeg::Error::Eof) => return Ok(None),
                Err(e) => self.damage(input, e)?,
            }
        }
    }

    fn feed(&mut self, input: &mut Input) -> Result<(), Error> {
        let sent = match input.next(Kind::Pictures)? {
            Read::Packet(packet) => self.decoder.send_packet(&packet),
            Read::End => self.decoder.send_eof(),
        };
        sent.or_else(|e| self.damage(input, e))
    }

    /// Passes over a damaged frame: the one before stays a little longer.
    fn damage(&mut self, input: &Input, error: ffmpeg::Error) -> Result<(), Error> {
        if self.damaged_in_a_row == 0 {
            tracing::warn!(file = input.file, %error, "a damaged picture is passed over");
        }
        self.damaged_in_a_row += 1;
        if self.damaged_in_a_row > MAX_DAMAGED_IN_A_ROW {
            return Err(input.damaged(format!("{MAX_DAMAGED_IN_A_ROW} bad pictures in a row")));
        }
        Ok(())
    }

    /// What the colours of the pictures mean once they are YUV 4:2:0.
    pub(crate) fn colour(&self) -> Colour {
        let d = &self.decoder;
        let is_full_range = d.color_range() == color::Range::JPEG;
        let converted = matches!(
            d.format(),
            Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P
        );
        let is_rgb = d.color_space() == color::Space::RGB;
        Colour {
            // What the scaler makes of RGB is BT.601.
            space: if is_rgb { color::Space::Unspecified } else { d.color_space() },
            range: if is_full_range && !converted && !is_rgb {
                color::Range::JPEG
            } else {
                color::Range::MPEG
            },
            primaries: d.color_primaries(),
            transfer: d.color_transfer_characteristic(),
        }
    }
}

fn open_decoder(input: &Input) -> Result<decoder::Video, Error> {
    let (context, codec) = input.decoder(Kind::Pictures)?;
    let opened = context.open_as(codec).and_then(|opened| opened.video());
    opened.map_err(|e| input.damaged(format!("{}: {e}", codec.name())))
}

/// The input's size as square pixels, even.
fn square_pixels(decoder: &decoder::Video) -> (u32, u32) {
    let aspect = decoder.aspect_ratio();
    let (num, den) = (i64::from(aspect.numerator()), i64::from(aspect.denominator()));
    let width = i64::from(decoder.width());
    let width = if num > 0 && den > 0 { (width * num + den / 2) / den } else { width };
    // To the next lower even number.
    (u32::try_from(width).unwrap_or(u32::MAX) & !1, decoder.height() & !1)
}
