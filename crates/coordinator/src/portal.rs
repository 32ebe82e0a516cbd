//! The portal: HTTP and JSON for people and programs.

mod call;
mod services;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing,
};
use gibbon_control::portal::{
    DrainRequest, Event, HandoffInfo, HandoffRequest, HandoffWhy, Health, MaintenanceRequest,
    NodeInfo, PortalError, SessionInfo, SessionRequest, SessionTicket, StreamInfo,
};
use gibbon_media::{HandoffId, NodeId, SessionId};
use tokio::sync::Semaphore;
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{builder::BuildError, manager::Refusal, service::Service, token::Token};
use call::{Admitted, Authorised, Body, Id};

/// Longest body that is read, in bytes.
pub const MAX_BODY: usize = 16 * 1024;
/// Readers of the events at once.
pub const MAX_WATCHERS: usize = 256;
/// A quiet stream of events shows by then that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Who may change something.
#[derive(Clone)]
pub struct Access {
    /// What callers must show.
    pub token: Token,
    /// Whether anybody may create sessions and ask for services.
    pub open: bool,
}

#[derive(Clone)]
struct Portal {
    service: Arc<Service>,
    access: Access,
    watchers: Arc<Semaphore>,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Gibbon portal",
    description = "Nodes, streams, services, sessions and hand-offs of a Gibbon network. Calls that change \
                   something need `Authorization: Bearer TOKEN`."
))]
struct Document;

/// All routes of the portal.
pub fn router(service: Arc<Service>, access: Access) -> axum::Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health))
        .routes(routes!(nodes))
        .routes(routes!(drain, undrain))
        .routes(routes!(maintain, cancel_maintenance))
        .routes(routes!(streams))
        .routes(routes!(sessions, create_session))
        .routes(routes!(session, end_session))
        .routes(routes!(start_handoff))
        .routes(routes!(handoffs))
        .routes(routes!(handoff))
        .routes(routes!(why))
        .merge(services::routes())
        .routes(routes!(events))
        .split_for_parts();
    let watchers = Arc::new(Semaphore::new(MAX_WATCHERS));
    let metrics = service.ask(|manager, _| manager.metrics().clone());
    let count = move |response: Response| {
        metrics.answered(response.status().as_u16());
        std::future::ready(response)
    };
    router
        .route("/v1/openapi.json", routing::get(async move || Json(document)))
        .fallback(async || {
            Failure::new(StatusCode::NOT_FOUND, "no such path; GET /v1/openapi.json lists them")
        })
        .method_not_allowed_fallback(async || {
            let error = "this path does not know that method; see GET /v1/openapi.json";
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::map_response(count))
        .with_state(Portal { service, access, watchers })
}

/// A refusal as it is answered.
struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    fn new(status: StatusCode, error: impl std::fmt::Display) -> Self {
        Self { status, error: error.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(PortalError { error: self.error })).into_response()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::NoStream(_)
            | Refusal::NoSession(_)
            | Refusal::NoHandoff(_)
            | Refusal::NoNode(_)
            | Refusal::NoService(_)
            | Refusal::Build(BuildError::NoSuchName(_)) => StatusCode::NOT_FOUND,
            Refusal::Unfit { .. }
            | Refusal::UnderWay(_)
            | Refusal::NothingToMove(_)
            | Refusal::AlreadyThere(_)
            | Refusal::NotToBeEmptied(..)
            | Refusal::Down(_)
            | Refusal::NowhereToGo { .. }
            | Refusal::NowhereToWork { .. }
            | Refusal::Starting { .. }
            | Refusal::Plain(_)
            | Refusal::Moving(_) => StatusCode::CONFLICT,
            Refusal::OutOfBounds(_) | Refusal::Build(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NoEdge(_)
            | Refusal::NoWorker(_)
            | Refusal::TooManySessions
            | Refusal::TooManyServices => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal)
    }
}

impl Portal {
    /// Has what must not be forgotten written down before the call is answered. A disk that fails is no reason to
    /// refuse what is done already.
    async fn keep(&self) {
        let service = self.service.clone();
        let kept = tokio::task::spawn_blocking(move || service.keep()).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!("{error:#}; a restart of the coordinator forgets what was just said");
        }
    }
}

/// Whether the coordinator runs
#[utoipa::path(get, path = "/healthz", responses((status = OK, body = Health)))]
async fn health(State(portal): State<Portal>) -> Json<Health> {
    Json(portal.service.ask(|manager, _| manager.health()))
}

/// All nodes, those lost of late included
#[utoipa::path(get, path = "/v1/nodes", responses((status = OK, body = Vec<NodeInfo>)))]
async fn nodes(State(portal): State<Portal>) -> Json<Vec<NodeInfo>> {
    Json(portal.service.ask(|manager, now| manager.nodes(now)))
}

/// Has an edge or a worker emptied: its sessions or components go to others, and no new ones come
///
/// Answers at once; the node's `draining`, and `legs` or `worker`, tell how far it is. When it is empty it
/// exits, unless it is to stay; at the deadline it cuts what is left. Asked for again, the newer request holds.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/drain", params(("node" = String, Path)),
    request_body = DrainRequest,
    responses(
        (status = ACCEPTED, body = NodeInfo),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such node", body = PortalError),
        (status = CONFLICT, description = "There is nowhere to move what it carries, or it is neither edge nor worker, or down; nothing is changed", body = PortalError),
        (status = UNPROCESSABLE_ENTITY, description = "Rate or deadline out of bounds", body = PortalError),
    )
)]
async fn drain(
    _: Authorised,
    State(portal): State<Portal>,
    Id(node): Id<NodeId>,
    Body(request): Body<DrainRequest>,
) -> Result<(StatusCode, Json<NodeInfo>), Failure> {
    let info = portal.service.tell(|manager, now| manager.drain(now, &node, &request))?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Takes back that an edge or a worker be emptied; what has been moved stays where it is
#[utoipa::path(
    delete, path = "/v1/nodes/{node}/drain", params(("node" = String, Path)),
    responses(
        (status = NO_CONTENT, description = "It is not being emptied (any more)"),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such node", body = PortalError),
        (status = CONFLICT, description = "It is neither edge nor worker", body = PortalError),
    )
)]
async fn undrain(
    _: Authorised,
    State(portal): State<Portal>,
    Id(node): Id<NodeId>,
) -> Result<StatusCode, Failure> {
    portal.service.tell(|manager, now| manager.undrain(now, &node).map(|out| ((), out)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Announces planned work at an edge or a worker: it goes away in so long
///
/// Sessions and components leave it in time, and new ones go elsewhere while there is another. What is announced is
/// forgotten when the node has started again after that time. Announced again, the newer word holds.
#[utoipa::path(
    post, path = "/v1/nodes/{node}/maintenance", params(("node" = String, Path)),
    request_body = MaintenanceRequest,
    responses(
        (status = ACCEPTED, body = NodeInfo),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such node", body = PortalError),
        (status = CONFLICT, description = "It is neither edge nor worker", body = PortalError),
        (status = UNPROCESSABLE_ENTITY, description = "Too far ahead", body = PortalError),
    )
)]
async fn maintain(
    _: Authorised,
    State(portal): State<Portal>,
    Id(node): Id<NodeId>,
    Body(request): Body<MaintenanceRequest>,
) -> Result<(StatusCode, Json<NodeInfo>), Failure> {
    let info = portal.service.tell(|manager, now| manager.maintain(now, &node, &request))?;
    portal.keep().await;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Calls planned work off; what has been moved stays where it is
#[utoipa::path(
    delete, path = "/v1/nodes/{node}/maintenance", params(("node" = String, Path)),
    responses(
        (status = NO_CONTENT, description = "None is announced here (any more)"),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such node", body = PortalError),
        (status = CONFLICT, description = "It is neither edge nor worker", body = PortalError),
    )
)]
async fn cancel_maintenance(
    _: Authorised,
    State(portal): State<Portal>,
    Id(node): Id<NodeId>,
) -> Result<StatusCode, Failure> {
    portal.service.tell(|manager, _| manager.cancel_maintenance(&node).map(|out| ((), out)))?;
    portal.keep().await;
    Ok(StatusCode::NO_CONTENT)
}

/// All streams that are published
#[utoipa::path(get, path = "/v1/streams", responses((status = OK, body = Vec<StreamInfo>)))]
async fn streams(State(portal): State<Portal>) -> Json<Vec<StreamInfo>> {
    Json(portal.service.ask(|manager, _| manager.streams()))
}

/// All sessions: origin, edge per description, client
#[utoipa::path(get, path = "/v1/sessions", responses((status = OK, body = Vec<SessionInfo>)))]
async fn sessions(State(portal): State<Portal>) -> Json<Vec<SessionInfo>> {
    Json(portal.service.ask(|manager, _| manager.sessions()))
}

/// Lets a client watch
///
/// Needs the token, unless the coordinator runs with --open-portal.
#[utoipa::path(
    post, path = "/v1/sessions", request_body = SessionRequest,
    responses(
        (status = CREATED, body = SessionTicket),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such stream or edge", body = PortalError),
        (status = CONFLICT, description = "The edge named cannot take it, or the stream is being started, or is not for viewers", body = PortalError),
        (status = SERVICE_UNAVAILABLE, description = "No edge has room", body = PortalError),
    )
)]
async fn create_session(
    _: Admitted,
    State(portal): State<Portal>,
    Body(request): Body<SessionRequest>,
) -> Result<(StatusCode, Json<SessionTicket>), Failure> {
    let session = SessionId(rand::random());
    let ticket =
        portal.service.tell(|manager, now| manager.create_session(now, session, request))?;
    Ok((StatusCode::CREATED, Json(ticket)))
}

/// One session
#[utoipa::path(
    get, path = "/v1/sessions/{session}", params(("session" = String, Path)),
    responses(
        (status = OK, body = SessionInfo),
        (status = NOT_FOUND, body = PortalError),
    )
)]
async fn session(
    State(portal): State<Portal>,
    Id(session): Id<SessionId>,
) -> Result<Json<SessionInfo>, Failure> {
    Ok(Json(portal.service.ask(|manager, _| manager.session(session))?))
}

/// Forgets a session
///
/// For a client that has ended or will not come. One that goes on watching is not cut off, for edges honour
/// its grant: the session is listed again after some seconds.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", params(("session" = String, Path)),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, body = PortalError),
    )
)]
async fn end_session(
    _: Authorised,
    State(portal): State<Portal>,
    Id(session): Id<SessionId>,
) -> Result<StatusCode, Failure> {
    portal.service.tell(|manager, now| manager.end_session(now, session).map(|out| ((), out)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts to hand a session off
///
/// Answers at once; how it goes on is told by the hand-off's own resource and by the events.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/handoff", params(("session" = String, Path)),
    request_body = HandoffRequest,
    responses(
        (status = ACCEPTED, body = HandoffInfo),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such session or edge", body = PortalError),
        (status = CONFLICT, description = "Nothing to move, the edge named cannot take it, or a hand-off is under way", body = PortalError),
        (status = SERVICE_UNAVAILABLE, description = "No edge has room", body = PortalError),
    )
)]
async fn start_handoff(
    _: Authorised,
    State(portal): State<Portal>,
    Id(session): Id<SessionId>,
    Body(request): Body<HandoffRequest>,
) -> Result<(StatusCode, Json<HandoffInfo>), Failure> {
    let handoff = HandoffId(rand::random());
    let info = portal
        .service
        .tell(|manager, now| manager.request_handoff(now, handoff, session, request))?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Hand-offs under way and ended, the newest last
#[utoipa::path(get, path = "/v1/handoffs", responses((status = OK, body = Vec<HandoffInfo>)))]
async fn handoffs(State(portal): State<Portal>) -> Json<Vec<HandoffInfo>> {
    Json(portal.service.ask(|manager, _| manager.handoffs()))
}

/// One hand-off
#[utoipa::path(
    get, path = "/v1/handoffs/{handoff}", params(("handoff" = String, Path)),
    responses(
        (status = OK, body = HandoffInfo),
        (status = NOT_FOUND, body = PortalError),
    )
)]
async fn handoff(
    State(portal): State<Portal>,
    Id(handoff): Id<HandoffId>,
) -> Result<Json<HandoffInfo>, Failure> {
    Ok(Json(portal.service.ask(|manager, _| manager.handoff(handoff))?))
}

/// What a hand-off was decided from: inputs with age and weight, what was foreseen, and what else was weighed
#[utoipa::path(
    get, path = "/v1/handoffs/{handoff}/why", params(("handoff" = String, Path)),
    responses(
        (status = OK, body = HandoffWhy),
        (status = NOT_FOUND, body = PortalError),
    )
)]
async fn why(
    State(portal): State<Portal>,
    Id(handoff): Id<HandoffId>,
) -> Result<Json<HandoffWhy>, Failure> {
    Ok(Json(portal.service.ask(|manager, _| manager.why(handoff))?))
}

/// What happens from now on, as server-sent events
#[utoipa::path(
    get, path = "/v1/events",
    responses(
        (status = OK, content_type = "text/event-stream", body = Event),
        (status = SERVICE_UNAVAILABLE, description = "Too many readers", body = PortalError),
    )
)]
async fn events(
    State(portal): State<Portal>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Failure> {
    let place = portal.watchers.clone().try_acquire_owned().map_err(|_| {
        let error = format!("{MAX_WATCHERS} readers follow the events already; try again later");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })?;
    let happening = BroadcastStream::new(portal.service.events()).map(move |event| {
        // Kept for as long as the stream is read.
        let _place = &place;
        let event = event
            .unwrap_or_else(|BroadcastStreamRecvError::Lagged(missed)| Event::Lagged { missed });
        Ok(sse::Event::default().json_data(&event).unwrap_or_default())
    });
    Ok(Sse::new(happening).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
