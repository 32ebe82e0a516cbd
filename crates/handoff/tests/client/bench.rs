//! Hands, and what they do in words.

use gibbon_handoff::{
    FromClient, OrderId, Reason, Report, Term, ToClient,
    client::{Action, Event, Hands, Note, Start},
    timers::ClientTimer as Timer,
};
use gibbon_media::{
    Description::{self, One, Zero},
    GroupId, HandoffId, NodeId,
};

pub fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub fn order(term: u64, step: u64) -> OrderId {
    OrderId { term: Term(term), step, handoff: HandoffId(1) }
}

pub fn attach(step: u64, description: Description) -> ToClient {
    let (from, to) = (node("a"), node("b"));
    ToClient::Attach { order: order(1, step), description, from, to, start: GroupId(7) }
}

/// From wherever it is.
pub fn attach_to(to: &str, step: u64, description: Description) -> ToClient {
    let from = node(if description == Zero { "a" } else { "b" });
    let (order, to, start) = (order(1, step), node(to), GroupId(7));
    ToClient::Attach { order, description, from, to, start }
}

pub fn give_back(step: u64, description: Description) -> ToClient {
    ToClient::Return { order: order(1, step), description, to: node("a") }
}

pub fn finish(step: u64) -> ToClient {
    ToClient::Finish { order: order(1, step), edge: node("a") }
}

/// The hands of a session.
pub struct Bench {
    pub hands: Hands,
}

impl Bench {
    /// Both descriptions at edge A, with a standby C.
    pub fn new() -> Self {
        Self::at(["a", "a"], &["c"])
    }

    /// Descriptions 0 and 1 at edges of their own.
    pub fn at(edges: [&str; 2], standbys: &[&str]) -> Self {
        let mut bench = Self::beginning(edges, standbys);
        bench.in_time(Zero, edges[0]);
        bench.in_time(One, edges[1]);
        bench
    }

    /// Before anything is delivered.
    pub fn beginning(edges: [&str; 2], standbys: &[&str]) -> Self {
        let standbys = standbys.iter().map(|name| node(name)).collect();
        Self { hands: Hands::new(edges.map(node), standbys).0 }
    }

    /// Description 1 on probation at B.
    pub fn on_probation() -> Self {
        let mut bench = Self::new();
        bench.order(attach(1, One));
        bench.in_time(One, "b");
        bench
    }

    pub fn tell(&mut self, event: Event) -> Vec<String> {
        self.hands.handle(event).into_iter().filter_map(in_words).collect()
    }

    pub fn order(&mut self, order: ToClient) -> Vec<String> {
        self.tell(Event::Order { order, next: GroupId(5) })
    }

    pub fn in_time(&mut self, description: Description, edge: &str) -> Vec<String> {
        self.tell(Event::InTime { description, edge: node(edge) })
    }

    pub fn bad(&mut self, description: Description, edge: &str, reason: Reason) -> Vec<String> {
        self.tell(Event::Bad { description, edge: node(edge), reason })
    }

    pub fn closed(&mut self, edge: &str) -> Vec<String> {
        self.tell(Event::Closed { edge: node(edge) })
    }

    pub fn rejected(&mut self, description: Description, edge: &str) -> Vec<String> {
        self.tell(Event::Rejected { description, edge: node(edge) })
    }

    pub fn not_in_time(&mut self, description: Description) -> Vec<String> {
        let (_, start) = self.hands.attaching(description).unwrap();
        self.tell(Event::Timer(Timer::Attach { description, start }))
    }

    pub fn probation_over(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::Timer(Timer::Probation { description }))
    }

    pub fn reattach(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::Timer(Timer::Reattach { description }))
    }

    /// The first groups not yet begun are 5 of description 0 and 6 of description 1.
    pub fn go_away(&mut self, edge: &str) -> Vec<String> {
        self.tell(Event::GoAway { edge: node(edge), next: [GroupId(5), GroupId(6)] })
    }

    pub fn last_group_over(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::Timer(Timer::Leave { description }))
    }

    pub fn let_go(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::LetGo { description })
    }

    pub fn take_back(&mut self, description: Description) -> Vec<String> {
        self.tell(Event::TakeBack { description })
    }

    /// The edges tried for a description, one after the other, when each does not deliver in time and no
    /// more is heard of any.
    pub fn tries(&mut self, description: Description) -> Vec<String> {
        let mut tried = Vec::new();
        loop {
            if let Some((edge, _)) = self.hands.attaching(description) {
                tried.push(edge.to_string());
                self.not_in_time(description);
            }
            self.reattach(description);
            if self.hands.attaching(description).is_none() {
                return tried;
            }
        }
    }

    pub fn legs(&self) -> [String; 2] {
        self.hands.legs().map(|leg| leg.map_or("-".to_owned(), String::from))
    }
}

pub fn in_words(action: Action) -> Option<String> {
    let start = |start| match start {
        Start::Live => "live".to_owned(),
        Start::At(group) => group.to_string(),
    };
    Some(match action {
        Action::Subscribe { description, edge, start: at } => {
            format!("subscribe {description} {edge} {}", start(at))
        }
        Action::End { description, edge, last } => format!("end {description} {edge} {last}"),
        Action::Cancel { description, edge } => format!("cancel {description} {edge}"),
        Action::CloseConnection { edge } => format!("close {edge}"),
        Action::SetTimer(timer) => format!("set {}", timer_in_words(timer)),
        Action::CancelTimer(timer) => format!("stop {}", timer_in_words(timer)),
        Action::Report(Report { answer, .. }) => match answer {
            None => "report".to_owned(),
            Some(FromClient::Attached { description, edge, start, .. }) => {
                format!("report attached {description} {edge} {start}")
            }
            Some(FromClient::Held { description, .. }) => format!("report held {description}"),
            Some(FromClient::RolledBack { description, reason, .. }) => {
                format!("report rolled back {description} {reason:?}")
            }
            Some(FromClient::Finished { edge, .. }) => format!("report finished {edge}"),
            Some(FromClient::Kept { edge, .. }) => format!("report kept {edge}"),
        },
        Action::Note(Note::Lost { description }) => format!("lost {description}"),
        Action::Note(_) => return None,
    })
}

fn timer_in_words(timer: Timer) -> String {
    match timer {
        Timer::Attach { description, .. } => format!("attach {description}"),
        Timer::Probation { description } => format!("probation {description}"),
        Timer::Reattach { description } => format!("reattach {description}"),
        Timer::Leave { description } => format!("leave {description}"),
    }
}

pub const NOTHING: [&str; 0] = [];
