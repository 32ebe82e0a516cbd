//! The coordinator's orders: which instances this worker runs of those it is told to, and what that changes.
//! Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_components::{AudioFormat, Format, VideoFormat, Work};
use gibbon_control::work::{Input, InstanceSpec, MAX_INSTANCES, Refused, WorkAnswer, WorkOrder};
use gibbon_handoff::Term;
use gibbon_media::{FrameRate, InstanceId, StreamName};

/// Memory that an instance takes at least, in MiB: what is expected of one that has just been started, too.
pub const INSTANCE_MIB: u64 = 64;
/// Bytes of all that is said of the instances in JSON: what a worker runs it reports, in one message
/// ([`gibbon_net::wire::MAX_JSON`]).
const MAX_SAID: usize = 512 * 1024;
/// Characters of a reason.
const MAX_WHY: usize = 400;

/// What there is to run instances with.
pub struct Means<'a> {
    /// Names of the components offered.
    pub components: &'a BTreeSet<String>,
    /// Memory that may be used, in MiB.
    pub memory_mib: u64,
    /// Memory in use, in MiB.
    pub used_mib: u64,
    /// Whether there is an asset of this name.
    pub has_asset: &'a dyn Fn(&str) -> bool,
}

/// Instances that pass raw media to each other: what one child process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it works on.
    pub input: StreamName,
    /// The one that takes the input in comes first, and each before those that hang on it.
    pub instances: Vec<InstanceSpec>,
}

impl Segment {
    /// Names it.
    pub fn root(&self) -> InstanceId {
        // Made with one instance at least.
        self.instances.first().map_or(InstanceId(0), |first| first.instance)
    }
}

/// An order, taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// For the coordinator.
    pub answer: WorkAnswer,
    /// Segments to be stopped, by their roots: first of all.
    pub stop: Vec<InstanceId>,
    /// Segments that go on otherwise than before.
    pub change: Vec<Segment>,
    /// Segments to be started.
    pub start: Vec<Segment>,
}

/// What is to run.
#[derive(Debug, Default)]
pub struct Orders {
    newest: Option<(Term, u64)>,
    segments: BTreeMap<InstanceId, Segment>,
}

impl Orders {
    /// The version of the newest order.
    pub fn version(&self) -> u64 {
        self.newest.map_or(0, |(_, version)| version)
    }

    /// What is to run.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values()
    }

    /// Instances that are to run.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceSpec> {
        self.segments().flat_map(|segment| &segment.instances)
    }

    /// Takes an order; `None` for one that is older than the newest. The same again changes nothing.
    pub fn take(&mut self, order: WorkOrder, means: &Means<'_>) -> Option<Taken> {
        let newest = (order.term, order.version);
        if self.newest.is_some_and(|before| newest < before) {
            return None;
        }
        self.newest = Some(newest);
        let running: BTreeSet<InstanceId> = self.instances().map(|spec| spec.instance).collect();
        let (accepted, refused) = Selection::new(means, &running).of(order.instances);
        let wanted = segments(accepted);
        let mut taken = Taken {
            answer: WorkAnswer { version: order.version, refused },
            stop: Vec::new(),
            change: Vec::new(),
            start: Vec::new(),
        };
        for (root, before) in &self.segments {
            match wanted.get(root) {
                Some(now) if now.input == before.input => {
                    if now != before {
                        taken.change.push(now.clone());
                    }
                }
                _ => taken.stop.push(*root),
            }
        }
        let goes_on = |segment: &Segment| {
            self.segments.get(&segment.root()).is_some_and(|s| s.input == segment.input)
        };
        taken.start = wanted.values().filter(|segment| !goes_on(segment)).cloned().collect();
        self.segments = wanted;
        Some(taken)
    }

    /// Nothing is to run any more, until the next order.
    pub fn clear(&mut self) -> Taken {
        let stop = std::mem::take(&mut self.segments).into_keys().collect();
        let answer = WorkAnswer { version: self.version(), refused: Vec::new() };
        Taken { answer, stop, change: Vec::new(), start: Vec::new() }
    }
}

/// Instances, each after the one that it hangs on, by segment.
fn segments(instances: Vec<InstanceSpec>) -> BTreeMap<InstanceId, Segment> {
    let mut roots = BTreeMap::new();
    let mut segments: BTreeMap<InstanceId, Segment> = BTreeMap::new();
    for spec in instances {
        let id = spec.instance;
        match &spec.input {
            Input::Stream(stream) => {
                roots.insert(id, id);
                let segment = Segment { input: stream.clone(), instances: vec![spec] };
                segments.insert(id, segment);
            }
            Input::Instance(input) => {
                if let Some(root) = roots.get(input).copied() {
                    roots.insert(id, root);
                    segments.entry(root).and_modify(|segment| segment.instances.push(spec));
                }
            }
        }
    }
    segments
}

/// Which instances of an order can be run.
struct Selection<'a> {
    means: &'a Means<'a>,
    running: &'a BTreeSet<InstanceId>,
    /// Memory that those accepted so far and those that run take, in MiB.
    claimed_mib: u64,
    /// Bytes that are said of those accepted so far.
    said: usize,
    accepted: Vec<InstanceSpec>,
    refused: Vec<Refused>,
}

impl<'a> Selection<'a> {
    fn new(means: &'a Means<'a>, running: &'a BTreeSet<InstanceId>) -> Self {
        // Those that have just been started do not show in what is in use.
        let claimed_mib = means.used_mib.max(running.len() as u64 * INSTANCE_MIB);
        Self { means, running, claimed_mib, said: 0, accepted: Vec::new(), refused: Vec::new() }
    }

    /// Those accepted, each after the one that it hangs on, and those refused.
    fn of(mut self, mut waiting: Vec<InstanceSpec>) -> (Vec<InstanceSpec>, Vec<Refused>) {
        for spec in waiting.split_off(waiting.len().min(MAX_INSTANCES)) {
            let why = format!("a worker runs at most {MAX_INSTANCES} instances");
            self.refuse(spec.instance, why);
        }
        loop {
            let ordered: BTreeSet<_> = waiting.iter().map(|spec| spec.instance).collect();
            let waits =
                |spec: &InstanceSpec| spec.raw_from().is_some_and(|input| ordered.contains(&input));
            let (rest, ready): (Vec<_>, Vec<_>) = waiting.into_iter().partition(waits);
            waiting = rest;
            if ready.is_empty() {
                break;
            }
            for spec in ready {
                match self.obstacle(&spec) {
                    Some(why) => self.refuse(spec.instance, why),
                    None => self.accept(spec),
                }
            }
        }
        for spec in waiting {
            self.refuse(spec.instance, "it hangs on itself".to_owned());
        }
        (self.accepted, self.refused)
    }

    fn accept(&mut self, spec: InstanceSpec) {
        if !self.running.contains(&spec.instance) {
            self.claimed_mib += INSTANCE_MIB;
        }
        self.said += length(&spec);
        self.accepted.push(spec);
    }

    fn refuse(&mut self, instance: InstanceId, why: String) {
        let why = why.chars().take(MAX_WHY).collect();
        self.refused.push(Refused { instance, why });
    }

    fn accepted(&self, instance: InstanceId) -> Option<&InstanceSpec> {
        self.accepted.iter().find(|spec| spec.instance == instance)
    }

    /// Why an instance cannot be run.
    fn obstacle(&self, spec: &InstanceSpec) -> Option<String> {
        if self.accepted(spec.instance).is_some() {
            return Some("another instance of the order has its id".to_owned());
        }
        self.fault_of_chain(spec)
            .or_else(|| self.fault_of_input(spec))
            .or_else(|| self.missing_asset(spec))
            .or_else(|| self.lack_of_memory(spec))
            .or_else(|| self.too_much_said(spec))
    }

    fn fault_of_chain(&self, spec: &InstanceSpec) -> Option<String> {
        let Some(component) = spec.chain.components.last() else {
            return Some("its chain is empty".to_owned());
        };
        if !self.means.components.contains(&component.component) {
            return Some(format!("this worker does not offer {}", component.component));
        }
        match spec.chain.clone().canonical() {
            Ok(canonical) if canonical == spec.chain => None,
            Ok(_) => Some(format!("not every parameter is spelt out: {}", spec.chain)),
            Err(why) => Some(why.to_string()),
        }
    }

    /// What comes in must be what the chain says comes before its last component, of the same replica.
    fn fault_of_input(&self, spec: &InstanceSpec) -> Option<String> {
        let before = spec.chain.prefix(spec.chain.components.len() - 1);
        let stream = match before.components.len() {
            0 => &before.source,
            _ => &before.stream_of(spec.replica),
        };
        match &spec.input {
            Input::Stream(input) if input == stream => None,
            Input::Stream(input) => Some(format!("by its chain it works on {stream}, not {input}")),
            Input::Instance(input) => match self.accepted(*input) {
                None => Some(format!("the instance {input}, its input, does not run here")),
                Some(input) if input.chain == before && input.replica == spec.replica => None,
                Some(input) if input.chain == before => Some(format!(
                    "the instance {}, its input, is of replica {}, not {}",
                    input.instance, input.replica, spec.replica
                )),
                Some(input) => Some(format!(
                    "the instance {}, its input, makes {}, not {before}",
                    input.instance, input.chain
                )),
            },
        }
    }

    fn missing_asset(&self, spec: &InstanceSpec) -> Option<String> {
        // Which assets it takes does not depend on what comes in. A chain that cannot work on media such as
        // these is judged by its segment, which knows what it gets.
        let steps = spec.chain.check(&anything()).ok()?;
        let Work::Video { assets, .. } = &steps.last()?.work else { return None };
        let missing = assets.iter().find(|name| !(self.means.has_asset)(name))?;
        Some(format!("there is no file {missing} in this worker's --assets folder"))
    }

    fn lack_of_memory(&self, spec: &InstanceSpec) -> Option<String> {
        let has = self.means.memory_mib;
        let lacks = !self.running.contains(&spec.instance) && self.claimed_mib + INSTANCE_MIB > has;
        lacks.then(|| format!("{} of {has} MiB of memory are taken", self.claimed_mib))
    }

    fn too_much_said(&self, spec: &InstanceSpec) -> Option<String> {
        let too_much = self.said + length(spec) > MAX_SAID;
        too_much.then(|| format!("reports would be too long: {MAX_SAID} bytes are for instances"))
    }
}

/// Bytes of what is said of an instance.
fn length(spec: &InstanceSpec) -> usize {
    serde_json::to_vec(spec).map_or(0, |json| json.len())
}

/// Media of all kinds.
fn anything() -> Format {
    let rate = FrameRate::new(25, 1).ok();
    let video = rate.map(|rate| VideoFormat { width: 1280, height: 720, rate });
    Format {
        video,
        audio: Some(AudioFormat { channels: 2 }),
        text: Some("en".to_owned()),
        divided: false,
        coding: Default::default(),
        group: Duration::from_secs(1),
    }
}

#[cfg(test)]
mod tests {
    use gibbon_components::Chain;

    use super::*;

    const SCALE: &str = "scale height=180";
    const GREY: &str = "grayscale";

    fn chain(components: &[&str]) -> Chain {
        let text = format!("live/bbb: {}", components.join(" | "));
        text.parse::<Chain>().unwrap().canonical().unwrap()
    }

    fn spec(id: u64, components: &[&str], input: Input) -> InstanceSpec {
        InstanceSpec {
            instance: InstanceId(id),
            chain: chain(components),
            input,
            publish: false,
            services: Vec::new(),
            replica: 0,
        }
    }

    fn source() -> Input {
        Input::Stream("live/bbb".parse().unwrap())
    }

    fn after(id: u64) -> Input {
        Input::Instance(InstanceId(id))
    }

    fn order(version: u64, instances: &[InstanceSpec]) -> WorkOrder {
        WorkOrder { term: Term(1), version, instances: instances.to_vec() }
    }

    struct Offered {
        components: BTreeSet<String>,
        memory_mib: u64,
    }

    impl Offered {
        fn take(&self, orders: &mut Orders, order: WorkOrder) -> Option<Taken> {
            let means = Means {
                components: &self.components,
                memory_mib: self.memory_mib,
                used_mib: 50,
                has_asset: &|_| false,
            };
            orders.take(order, &means)
        }
    }

    fn offered() -> Offered {
        let components = ["scale", "grayscale", "mdc"].map(str::to_owned).into();
        Offered { components, memory_mib: 1024 }
    }

    /// Segments as the ids of their instances.
    fn ids(segments: &[Segment]) -> Vec<Vec<u64>> {
        let ids = |segment: &Segment| segment.instances.iter().map(|s| s.instance.0).collect();
        segments.iter().map(ids).collect()
    }

    fn whys(taken: &Taken) -> Vec<(u64, &str)> {
        taken.answer.refused.iter().map(|r| (r.instance.0, r.why.as_str())).collect()
    }

    #[test]
    fn instances_that_hang_on_each_other_are_one_segment_in_whatever_order_they_come() {
        let instances = [
            spec(3, &[SCALE, GREY, "mdc"], after(2)),
            spec(2, &[SCALE, GREY], after(1)),
            spec(7, &[GREY], source()),
            spec(4, &[SCALE, "mdc"], after(1)),
            spec(1, &[SCALE], source()),
        ];
        let mut orders = Orders::default();
        let taken = offered().take(&mut orders, order(5, &instances)).unwrap();
        assert_eq!(ids(&taken.start), [vec![1, 2, 4, 3], vec![7]]);
        assert_eq!(taken.answer, WorkAnswer { version: 5, refused: Vec::new() });
        assert!(taken.stop.is_empty() && taken.change.is_empty());
    }

    #[test]
    fn what_goes_on_is_changed_and_not_started_anew() {
        let (scale, grey) = (spec(1, &[SCALE], source()), spec(7, &[GREY], source()));
        let (mut orders, offered) = (Orders::default(), offered());
        offered.take(&mut orders, order(1, &[scale.clone(), grey.clone()])).unwrap();
        let mdc = spec(2, &[SCALE, "mdc"], after(1));
        let grown = [scale.clone(), mdc.clone(), grey.clone()];
        let taken = offered.take(&mut orders, order(2, &grown)).unwrap();
        assert_eq!(ids(&taken.change), [[1, 2]]);
        assert!(taken.start.is_empty() && taken.stop.is_empty());
        let again = offered.take(&mut orders, order(2, &grown)).unwrap();
        assert!(again.start.is_empty() && again.change.is_empty() && again.stop.is_empty());
        let published = InstanceSpec { publish: true, ..scale };
        let taken = offered.take(&mut orders, order(3, &[published, mdc])).unwrap();
        assert_eq!((ids(&taken.change), taken.stop), (vec![vec![1, 2]], vec![InstanceId(7)]));
        assert_eq!(orders.instances().count(), 2);
        let taken = offered.take(&mut orders, order(4, &[])).unwrap();
        assert_eq!(taken.stop, [InstanceId(1)]);
    }

    #[test]
    fn an_instance_that_leaves_its_neighbour_begins_anew_on_a_stream() {
        let (scale, grey) = (spec(1, &[SCALE], source()), spec(2, &[SCALE, GREY], after(1)));
        let (mut orders, offered) = (Orders::default(), offered());
        offered.take(&mut orders, order(1, &[scale.clone(), grey.clone()])).unwrap();
        let alone = InstanceSpec { input: Input::Stream(scale.stream()), ..grey };
        let taken = offered.take(&mut orders, order(2, &[alone])).unwrap();
        assert_eq!((ids(&taken.start), taken.stop), (vec![vec![2]], vec![InstanceId(1)]));
    }

    #[test]
    fn each_replica_reads_the_feeds_of_its_own_only() {
        let feed = |replica| chain(&[SCALE]).stream_of(replica);
        for (replica, feed, may) in
            [(0, feed(0), true), (0, feed(1), false), (1, feed(0), false), (1, feed(1), true)]
        {
            let mdc = spec(1, &[SCALE, "mdc"], Input::Stream(feed));
            let mdc = InstanceSpec { replica, ..mdc };
            let taken = offered().take(&mut Orders::default(), order(1, &[mdc])).unwrap();
            assert_eq!(taken.answer.refused.is_empty(), may, "{replica}: {taken:?}");
        }
        let first = InstanceSpec { replica: 1, ..spec(1, &[SCALE], source()) };
        let taken = offered().take(&mut Orders::default(), order(1, &[first])).unwrap();
        assert_eq!(ids(&taken.start), [[1]], "both begin with the source");
    }

    #[test]
    fn an_order_of_an_older_version_or_term_is_ignored() {
        let (mut orders, offered) = (Orders::default(), offered());
        let scale = [spec(1, &[SCALE], source())];
        offered.take(&mut orders, order(7, &scale)).unwrap();
        assert_eq!(offered.take(&mut orders, order(6, &[])), None);
        let newer_term = WorkOrder { term: Term(2), ..order(1, &scale) };
        assert!(offered.take(&mut orders, newer_term).is_some());
        assert_eq!(offered.take(&mut orders, order(8, &[])), None);
        assert_eq!((orders.version(), orders.instances().count()), (1, 1));
    }

    #[test]
    fn each_instance_that_cannot_run_is_refused_with_a_reason_and_all_others_are_accepted() {
        let scale = spec(1, &[SCALE], source());
        let unlike = |change: fn(&mut InstanceSpec)| {
            let mut unlike = spec(2, &[SCALE, GREY], after(1));
            change(&mut unlike);
            unlike
        };
        let cases: [(InstanceSpec, &str); 9] = [
            (unlike(|s| s.chain.components.clear()), "empty"),
            (unlike(|s| s.chain.components[1].component = "fly".into()), "does not offer fly"),
            (unlike(|s| _ = s.chain.components[0].parameters.remove("height")), "scale"),
            (unlike(|s| s.input = after(9)), "does not run here"),
            (unlike(|s| s.input = after(2)), "hangs on itself"),
            (unlike(|s| s.chain = chain(&[GREY, SCALE])), "makes live/bbb: scale"),
            (unlike(|s| s.input = source()), "by its chain it works on live/bbb/"),
            (unlike(|s| s.replica = 1), "is of replica 0, not 1"),
            (
                unlike(|s| {
                    (s.instance, s.chain, s.input) = (InstanceId(1), chain(&[SCALE]), source())
                }),
                "has its id",
            ),
        ];
        for (bad, why) in cases {
            let mut orders = Orders::default();
            let taken = offered().take(&mut orders, order(1, &[scale.clone(), bad.clone()]));
            let taken = taken.unwrap();
            let [(refused, said)] = whys(&taken)[..] else { panic!("{why}: {taken:?}") };
            assert_eq!(refused, bad.instance.0);
            assert!(said.contains(why), "{why}: {said}");
            assert_eq!(ids(&taken.start), [[1]], "{why}");
        }
    }

    #[test]
    fn an_instance_whose_file_is_missing_is_refused() {
        let (components, image) = (["overlay".to_owned()].into(), "overlay image=logo.png");
        let order = || order(1, &[spec(1, &[image], source())]);
        for (there, refused) in [(true, 0), (false, 1)] {
            let means = Means {
                components: &components,
                memory_mib: 1024,
                used_mib: 0,
                has_asset: &|name| there && name == "logo.png",
            };
            let taken = Orders::default().take(order(), &means).unwrap();
            assert_eq!(taken.answer.refused.len(), refused, "{taken:?}");
        }
    }

    #[test]
    fn what_hangs_on_a_refused_instance_is_refused_too() {
        let offered = Offered { components: ["mdc".to_owned()].into(), memory_mib: 1024 };
        let instances = [spec(1, &[SCALE], source()), spec(2, &[SCALE, "mdc"], after(1))];
        let taken = offered.take(&mut Orders::default(), order(1, &instances)).unwrap();
        assert_eq!(whys(&taken).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
        assert!(taken.start.is_empty());
    }

    #[test]
    fn new_instances_are_refused_when_memory_is_taken_and_running_ones_go_on() {
        let offered = Offered { memory_mib: 50 + 2 * INSTANCE_MIB, ..offered() };
        let [a, b, c] = [1, 2, 3].map(|id| spec(id, &[SCALE], source()));
        let mut orders = Orders::default();
        let taken =
            offered.take(&mut orders, order(1, &[a.clone(), b.clone(), c.clone()])).unwrap();
        assert!(matches!(whys(&taken)[..], [(3, why)] if why.contains("memory")), "{taken:?}");
        let less = Offered { memory_mib: 1, ..offered };
        let taken = less.take(&mut orders, order(2, &[a, b, c])).unwrap();
        assert_eq!(whys(&taken).len(), 1);
        assert_eq!(orders.instances().count(), 2);
    }

    #[test]
    fn no_more_instances_than_the_bound_are_run() {
        let offered = Offered { memory_mib: u64::MAX, ..offered() };
        let count = MAX_INSTANCES as u64 + 3;
        let instances: Vec<_> = (0..count).map(|id| spec(id, &[SCALE], source())).collect();
        let mut orders = Orders::default();
        let taken = offered.take(&mut orders, order(1, &instances)).unwrap();
        assert_eq!((orders.instances().count(), whys(&taken).len()), (MAX_INSTANCES, 3));
    }
    #[test]
    fn no_more_is_run_than_can_be_reported() {
        let offered = Offered { memory_mib: u64::MAX, ..offered() };
        let service = gibbon_control::work::ServiceRef {
            service: gibbon_media::ServiceId(1),
            name: Some("n".repeat(MAX_SAID / 2)),
            priority: Default::default(),
            keep: false,
            standby: false,
        };
        let [a, b, c] = [1, 2, 3].map(|id| spec(id, &[SCALE], source()));
        let long = |spec| InstanceSpec { services: vec![service.clone()], ..spec };
        let mut orders = Orders::default();
        let taken = offered.take(&mut orders, order(1, &[long(a), long(b), c])).unwrap();
        assert!(matches!(whys(&taken)[..], [(2, why)] if why.contains("too long")), "{taken:?}");
        assert_eq!(orders.instances().count(), 2);
    }
}
