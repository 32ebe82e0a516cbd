//! The portal's part for services: what is asked for, and what is told.

use gibbon_components::{InvalidSpec, Spec, catalogue};
use gibbon_media::{NodeId, Priority, ServiceId, StreamName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{node::Location, portal::Grounds, work::ModuleInfo};

/// `POST /v1/services` and `POST /v1/services/explain`: components on a stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceRequest {
    /// The stream to begin with.
    #[schema(value_type = String, example = "live/bbb")]
    pub stream: StreamName,
    /// A service of the catalogue, by name …
    #[serde(default)]
    pub service: Option<String>,
    /// … or the components in order, each as `{"component":"scale","height":360}`. Without `mdc` at the end it
    /// is added: viewers get two descriptions.
    #[schema(value_type = Vec<Object>)]
    #[serde(default)]
    pub components: Vec<Spec>,
    /// Where the client is.
    #[serde(default)]
    pub location: Option<Location>,
    /// How much it matters where there is not room for all: 0 (least) to 9.
    #[schema(value_type = u8)]
    #[serde(default)]
    pub priority: Priority,
    /// Whether it stays when nobody watches, until it is deleted.
    #[serde(default)]
    pub keep: bool,
    /// Whether a second chain runs on other workers, so that the loss of a worker freezes nothing.
    #[serde(default)]
    pub standby: bool,
}

impl ServiceRequest {
    /// `service` is a list of components, as in `scale height=360 | grayscale`, or a name of the catalogue: one
    /// word that is no component.
    pub fn new(stream: StreamName, service: &str) -> Result<Self, InvalidSpec> {
        let service = service.trim();
        let is_word = !service.is_empty()
            && !service.contains(|c: char| c.is_whitespace() || matches!(c, '|' | '=' | '"'));
        let (name, components) = match is_word && catalogue::find(service).is_err() {
            true => (Some(service.to_owned()), Vec::new()),
            false => (None, gibbon_components::parse(service)?),
        };
        Ok(Self {
            stream,
            service: name,
            components,
            location: None,
            priority: Priority::default(),
            keep: false,
            standby: false,
        })
    }
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Its components are being started.
    Starting,
    /// Its stream is published.
    Running,
    /// It ran, and something is amiss: `why` says what. It is mended where that can be.
    Impaired,
    /// It could not be built, and nothing of it runs: `why` says why.
    Failed,
}

/// `GET /v1/services`: one service.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceInfo {
    /// The service.
    #[schema(value_type = String)]
    pub service: ServiceId,
    /// The name it was asked for by, if it is one of the catalogue.
    pub name: Option<String>,
    /// The stream that it begins with.
    #[schema(value_type = String)]
    pub source: StreamName,
    /// The stream that it makes: what sessions watch.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// The builder's list, every parameter spelt out.
    #[schema(value_type = Vec<Object>)]
    pub components: Vec<Spec>,
    /// How it is.
    pub state: ServiceState,
    /// What is amiss, or why it could not be built.
    pub why: Option<String>,
    /// How much it matters.
    #[schema(value_type = u8)]
    pub priority: Priority,
    /// Whether it stays when nobody watches.
    pub keep: bool,
    /// Whether a second chain runs on other workers.
    pub standby: bool,
    /// Sessions that watch it.
    pub sessions: u32,
    /// Its components where they run.
    pub modules: Vec<ModuleInfo>,
}

/// `POST /v1/services/{service}/move`: a component is to go to another worker, with those it passes raw frames
/// with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MoveRequest {
    /// Which, by its place in the chain from 1 on.
    pub number: u32,
    /// 0, or 1 for the warm standby.
    pub replica: u8,
    /// Where to; without it the coordinator selects the worker.
    #[schema(value_type = Option<String>)]
    pub to: Option<NodeId>,
}

/// How the move of components to another worker stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentMove {
    /// The components that move together, in order.
    pub components: Vec<String>,
    /// From where.
    #[schema(value_type = String)]
    pub from: NodeId,
    /// Where to, for each of them.
    #[schema(value_type = Vec<String>)]
    pub to: Vec<NodeId>,
    /// `begun`, `completed`, or `rolled_back`.
    pub step: MoveStep,
}

/// A step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveStep {
    /// The new instances are being started; the old ones go on.
    Begun,
    /// The stream comes from the new ones.
    Completed,
    /// The new ones are withdrawn; the old ones go on.
    RolledBack,
}

impl MoveStep {
    /// The word for it in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            MoveStep::Begun => "begun",
            MoveStep::Completed => "completed",
            MoveStep::RolledBack => "rolled_back",
        }
    }
}

impl ServiceState {
    /// Every one.
    pub const ALL: [ServiceState; 4] = [
        ServiceState::Starting,
        ServiceState::Running,
        ServiceState::Impaired,
        ServiceState::Failed,
    ];

    /// The word for it in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceState::Starting => "starting",
            ServiceState::Running => "running",
            ServiceState::Impaired => "impaired",
            ServiceState::Failed => "failed",
        }
    }
}

/// `GET /v1/components`: one kind of component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentInfo {
    /// What it is asked for by.
    pub component: String,
    /// What it does.
    pub about: String,
    /// Its parameters.
    pub parameters: Vec<ParameterInfo>,
    /// Workers that offer it now.
    pub workers: u32,
}

/// One parameter of a component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ParameterInfo {
    /// Its name.
    pub name: String,
    /// What it is, with its bounds and its default.
    pub about: String,
}

/// `GET /v1/catalogue`: a service with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamedService {
    /// What it is asked for by.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Its components.
    #[schema(value_type = Vec<Object>)]
    pub components: Vec<Spec>,
}

/// `POST /v1/services/explain` (nothing is started) and `GET /v1/services/{service}/explain`: why components
/// are where they are, and why they have moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The stream that the service makes.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// One for each component of each replica, in order.
    pub components: Vec<ComponentExplanation>,
    /// The last moves of its components, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<MoveWhy>,
}

/// A move of components, and what it was decided from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MoveWhy {
    /// What moved, and how it stands.
    #[serde(flatten)]
    pub moved: ComponentMove,
    /// Why.
    #[serde(flatten)]
    pub grounds: Grounds,
}

/// Why one component is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComponentExplanation {
    /// Its place in the chain, from 1 on.
    pub number: u32,
    /// 0, or 1 for the warm standby.
    pub replica: u8,
    /// What it is.
    pub component: String,
    /// Cores that it is expected to keep busy.
    pub cores: f64,
    /// The worker assigned.
    #[schema(value_type = Option<String>)]
    pub worker: Option<NodeId>,
    /// The instance that was there already and is shared, if so.
    pub shared: bool,
    /// All workers, the best first.
    pub candidates: Vec<CandidateExplanation>,
}

/// How one worker would do for a component, with the best for all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateExplanation {
    /// The worker.
    #[schema(value_type = String)]
    pub worker: NodeId,
    /// Why it cannot be; then there are no scores.
    pub unfit: Option<String>,
    /// What the whole chain costs with this component there; the least is best.
    pub total: f64,
    /// What this component adds to it, by criterion.
    pub terms: Vec<Term>,
}

/// One criterion's part in a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Term {
    /// `load`, `link`, `hop`, `location`, `spread` …
    pub criterion: String,
    /// What was found, in words and figures.
    pub found: String,
    /// What it costs, weighted.
    pub cost: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_component_is_a_name_and_all_else_a_list() {
        let request = |text: &str| ServiceRequest::new("live/bbb".parse().unwrap(), text);
        let named = request(" sd ").unwrap();
        assert_eq!((named.service.as_deref(), named.components.len()), (Some("sd"), 0));
        for (list, components) in [("grayscale", 1), ("scale height=360", 1), ("sd | grayscale", 2)]
        {
            let listed = request(list).unwrap();
            assert_eq!((listed.service, listed.components.len()), (None, components), "{list}");
        }
        for bad in ["", "scale height", "scale height=360 |", r#"overlay text="open"#] {
            assert!(request(bad).is_err(), "{bad}");
        }
    }
}
