//! Real media through a segment in this process: the clip coded as an origin does, a tree to feed, and what
//! comes out of it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use gibbon_codec::{
    Coded, CoderConfig, Item, Picture, Preset, Programme, ProgrammeOptions, StreamCoder,
    VideoDecoder,
};
use gibbon_components::Chain;
use gibbon_control::work::{Input, InstanceSpec, InstanceState};
use gibbon_media::{
    Catalog, Codec, Cue, Description, Frame, FrameNumber, GroupHeader, GroupId, InstanceId,
    MediaTime, Medium, ProducerId, Scheme,
};
use gibbon_worker::{
    ipc::{FromSegment, GroupOf, InstanceStatus, Setup, ToSegment},
    segment::{Gauges, Tree},
};

/// In the middle of a group.
const CREATED: MediaTime = MediaTime(1_795_132_800_400_000);
/// The first whole group of the clip's part that is used; there are [`GROUPS`].
pub const FIRST: GroupId = GroupId(1_795_132_816);
/// Whole groups of a second.
pub const GROUPS: u64 = 3;
/// What a test waits for comes within this, or never.
const WITHIN: Duration = Duration::from_secs(60);

pub fn clip(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../media").join(name)
}

/// A stream, coded.
pub struct Source {
    pub catalog: Catalog,
    pub coded: Vec<Coded>,
}

impl Source {
    /// A part of the clip, small: three groups, with captions, and something before and after.
    pub fn clip(scheme: Scheme) -> Self {
        Self::clip_of(scheme, (160, 90))
    }

    /// The same in another size.
    pub fn clip_of(scheme: Scheme, size: (u32, u32)) -> Self {
        let options = ProgrammeOptions {
            size: Some(size),
            captions: Some(clip("bbb.vtt")),
            ..ProgrammeOptions::default()
        };
        let file = clip("bbb.mp4");
        let mut programme = Programme::open(file.to_str().unwrap(), &options, CREATED).unwrap();
        let start = MediaTime(FIRST.0 * 1_000_000 - 900_000);
        let end = start + Duration::from_millis(900 + GROUPS * 1000 + 100);
        programme.start_at(start).unwrap();
        let catalog = Catalog {
            stream: "live/bbb".parse().unwrap(),
            scheme,
            created: programme.created(),
            grids: Catalog::grids_of(scheme, Duration::from_secs(1)),
            video: programme.video(),
            audio: programme.audio(),
            text: programme.text(),
            host: "test".to_owned(),
        };
        let config = CoderConfig {
            preset: Preset::Ultrafast,
            secondary_preset: Preset::Ultrafast,
            ..CoderConfig::default()
        };
        let cues = programme.cues();
        let mut coder =
            StreamCoder::new(catalog.clone(), &config, ProducerId(7), cues, start).unwrap();
        let mut coded = Vec::new();
        loop {
            let item = programme.next_item().unwrap().unwrap();
            let time = match &item {
                Item::Video(n, _) => catalog.video.as_ref().unwrap().rate.time_of(*n),
                Item::Audio(block) => block.time,
            };
            if time >= end {
                return Self { catalog, coded };
            }
            coded.extend(coder.code(&item, time.0).unwrap());
        }
    }

    /// Without a medium, as if it had never had any.
    pub fn without(mut self, medium: Medium) -> Self {
        match medium {
            Medium::Video => self.catalog.video = None,
            Medium::Audio => self.catalog.audio = None,
            Medium::Text => self.catalog.text = None,
        }
        self.coded.retain(|coded| coded.header.medium != medium);
        self
    }

    pub fn stream(&self) -> Published {
        let mut published = Published::default();
        for message in &self.coded {
            let Coded { description, header, index, frame, group_end } = message.clone();
            published.put(description, header, index, frame, group_end);
        }
        published
    }
}

/// What has been published of one stream, by description, medium and group.
#[derive(Debug, Default, Clone)]
pub struct Published {
    pub groups: BTreeMap<(Description, Medium, GroupId), Group>,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub header: GroupHeader,
    pub frames: Vec<Frame>,
    pub complete: bool,
}

impl Published {
    fn put(
        &mut self,
        description: Description,
        header: GroupHeader,
        index: u32,
        frame: Option<Frame>,
        end: bool,
    ) {
        let key = (description, header.medium, header.group);
        let new = || Group { header, frames: Vec::new(), complete: false };
        let group = self.groups.entry(key).or_insert_with(new);
        assert_eq!(group.header, header, "one header for all of a group");
        assert!(!group.complete, "nothing after the end of a group");
        if let Some(frame) = frame {
            assert_eq!(index as usize, group.frames.len(), "frames of a group are contiguous");
            group.frames.push(frame);
        } else {
            assert_eq!(index as usize, group.frames.len(), "a group tells how many it has");
        }
        group.complete = end;
    }

    pub fn group(
        &self,
        description: Description,
        medium: Medium,
        group: GroupId,
    ) -> Option<&Group> {
        self.groups.get(&(description, medium, group))
    }

    pub fn is_complete(&self, description: Description, medium: Medium, group: GroupId) -> bool {
        self.group(description, medium, group).is_some_and(|group| group.complete)
    }

    /// Whether all whole groups of the source have come, of all these media and descriptions.
    pub fn has_all(&self, scheme: Scheme, media: &[Medium]) -> bool {
        scheme.descriptions().iter().all(|&description| {
            media.iter().all(|&medium| {
                (0..GROUPS).all(|g| self.is_complete(description, medium, GroupId(FIRST.0 + g)))
            })
        })
    }

    pub fn frames(&self, description: Description, medium: Medium) -> impl Iterator<Item = &Frame> {
        let of =
            move |key: &&(Description, Medium, GroupId)| (key.0, key.1) == (description, medium);
        self.groups.iter().filter(move |(key, _)| of(key)).flat_map(|(_, group)| &group.frames)
    }

    /// The pictures of full quality of whole groups, by number, at the stream's rate of 24.
    pub fn pictures(&self) -> BTreeMap<FrameNumber, Picture> {
        let rate = gibbon_media::FrameRate::new(24, 1).unwrap();
        let mut pictures = BTreeMap::new();
        for ((_, medium, _), group) in &self.groups {
            let primary = group.frames.first().is_some_and(|frame| frame.flags.is_primary());
            if *medium != Medium::Video || !primary || !group.complete {
                continue;
            }
            let mut decoder = VideoDecoder::new(Codec::H264).unwrap();
            for frame in &group.frames {
                let picture = decoder.decode(&frame.payload).unwrap();
                pictures.insert(rate.frame_at(frame.time), picture);
            }
        }
        pictures
    }

    pub fn cues(&self, description: Description) -> BTreeMap<GroupId, Vec<Cue>> {
        let of =
            |key: &&(Description, Medium, GroupId)| (key.0, key.1) == (description, Medium::Text);
        let cue = |frame: &Frame| serde_json::from_slice(&frame.payload).unwrap();
        let groups = self.groups.iter().filter(move |(key, _)| of(key));
        groups.map(|(key, group)| (key.2, group.frames.iter().map(cue).collect())).collect()
    }
}

type Heard = Arc<(Mutex<Vec<FromSegment>>, Condvar)>;

/// A segment in this process.
pub struct Segment {
    tree: Tree,
    gauges: Gauges,
    heard: Heard,
    catalog: Catalog,
}

impl Segment {
    pub fn new(catalog: &Catalog) -> Self {
        let heard = Heard::default();
        let hears = heard.clone();
        let outlet = move |message| {
            hears.0.lock().unwrap().push(message);
            hears.1.notify_all();
        };
        let tree = Tree::new(Arc::new(outlet));
        Self { gauges: tree.gauges(), tree, heard, catalog: catalog.clone() }
    }

    pub fn set(&mut self, instances: &[InstanceSpec]) {
        self.tree.take(ToSegment::Set(setup(&self.catalog, instances)));
    }

    /// Feeds it what `coded` publishes.
    pub fn feed<'a>(&mut self, coded: impl IntoIterator<Item = &'a Coded>) {
        coded.into_iter().flat_map(messages).for_each(|message| self.tree.take(message));
    }

    /// Waits until what has come of `instance` is as `wanted`.
    pub fn wait(&self, instance: u64, wanted: impl Fn(&Published) -> bool) -> Published {
        let began = Instant::now();
        let (messages, changed) = &*self.heard;
        let mut heard = messages.lock().unwrap();
        loop {
            let published = published(&heard, InstanceId(instance));
            if wanted(&published) {
                return published;
            }
            let keys: Vec<_> =
                published.groups.iter().map(|(k, g)| (k, g.frames.len(), g.complete)).collect();
            let all = self.gauges.status();
            let failed = matches!(self.status_of(instance).state, InstanceState::Failed { .. });
            assert!(!failed && began.elapsed() < WITHIN, "{all:?} {keys:?}");
            heard = changed.wait_timeout(heard, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Waits until the status of `instance` is as `wanted`.
    pub fn wait_for_status(&self, instance: u64, wanted: impl Fn(&InstanceStatus) -> bool) {
        let began = Instant::now();
        while !wanted(&self.status_of(instance)) {
            assert!(began.elapsed() < WITHIN, "{:?}", self.status_of(instance));
            std::thread::yield_now();
        }
    }

    pub fn status_of(&self, instance: u64) -> InstanceStatus {
        let mut status = self.gauges.status();
        status.retain(|status| status.instance == InstanceId(instance));
        status.pop().unwrap()
    }

    pub fn catalog_of(&self, instance: u64) -> Catalog {
        let heard = self.heard.0.lock().unwrap();
        let catalogs = heard.iter().filter_map(|message| match message {
            FromSegment::Catalog { instance: of, catalog } if of.0 == instance => Some(catalog),
            _ => None,
        });
        catalogs.last().unwrap().as_ref().clone()
    }
}

/// All that is to run in a segment.
pub fn setup(catalog: &Catalog, instances: &[InstanceSpec]) -> Setup {
    Setup {
        catalog: catalog.clone(),
        instances: instances.to_vec(),
        assets: clip(""),
        font: "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf".into(),
    }
}

/// What has been published by an instance, since its output was last switched on.
pub fn published(heard: &[FromSegment], wanted: InstanceId) -> Published {
    let mut published = Published::default();
    for message in heard {
        match message.clone() {
            FromSegment::Catalog { instance, .. } if instance == wanted => {
                published = Published::default();
            }
            FromSegment::Frame { instance, description, header, index, frame }
                if instance == wanted =>
            {
                published.put(description, header, index, Some(frame), false);
            }
            FromSegment::GroupEnd { instance, description, header, frames }
                if instance == wanted =>
            {
                published.put(description, header, frames, None, true);
            }
            _ => {}
        }
    }
    published
}

/// As the worker passes it on.
pub fn messages(coded: &Coded) -> Vec<ToSegment> {
    let Coded { description, header, index, frame, group_end } = coded.clone();
    let GroupHeader { medium, group, producer, .. } = header;
    let at = GroupOf { description, medium, group, producer };
    let mut messages = Vec::new();
    if index == 0 {
        messages.push(ToSegment::Group { description, header });
    }
    let frames = index + u32::from(frame.is_some());
    messages.extend(frame.map(|frame| ToSegment::Frame { at, index, frame }));
    if group_end {
        messages.push(ToSegment::GroupEnd { at, frames });
    }
    messages
}

/// What is published as another segment's input, in order of time.
pub fn as_input(published: &Published) -> Vec<Coded> {
    let mut coded = Vec::new();
    for ((description, _, _), group) in &published.groups {
        let count = group.frames.len();
        let of = |index: usize, frame: Option<&Frame>| Coded {
            description: *description,
            header: group.header,
            index: index as u32,
            frame: frame.cloned(),
            group_end: group.complete && index + 1 >= count,
        };
        coded.extend(group.frames.iter().enumerate().map(|(i, frame)| of(i, Some(frame))));
        if count == 0 {
            coded.push(of(0, None));
        }
    }
    coded.sort_by_key(|c| {
        let start = MediaTime(c.header.group.0 * 1_000_000);
        // Cues may be older than their group.
        (c.frame.as_ref().map_or(start, |f| f.time.max(start)), c.index)
    });
    coded
}

/// The components of `chain`, each an instance numbered from 1 on, on one worker; the last publishes.
pub fn chain(chain: &str) -> Vec<InstanceSpec> {
    let chain: Chain = chain.parse().unwrap();
    let chain = chain.canonical().unwrap();
    let count = chain.components.len();
    let spec = |at: usize| InstanceSpec {
        instance: InstanceId(at as u64),
        chain: chain.prefix(at),
        input: match at {
            1 => Input::Stream(chain.source.clone()),
            _ => Input::Instance(InstanceId(at as u64 - 1)),
        },
        publish: at == count,
        services: Vec::new(),
        replica: 0,
    };
    (1..=count).map(spec).collect()
}
