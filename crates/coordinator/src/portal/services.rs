//! The portal's part for services.

use axum::{Json, extract::State, http::StatusCode};
use gibbon_control::{
    portal::PortalError,
    services::{
        ComponentInfo, Explanation, MoveRequest, NamedService, ServiceInfo, ServiceRequest,
    },
};
use gibbon_media::ServiceId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Failure, Portal,
    call::{Admitted, Authorised, Body, Id},
};

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Portal> {
    OpenApiRouter::new()
        .routes(routes!(services, create))
        .routes(routes!(service, end))
        .routes(routes!(move_component))
        .routes(routes!(explain_service))
        .routes(routes!(explain))
        .routes(routes!(components))
        .routes(routes!(catalogue))
}

/// All services, those that failed of late included
#[utoipa::path(get, path = "/v1/services", responses((status = OK, body = Vec<ServiceInfo>)))]
async fn services(State(portal): State<Portal>) -> Json<Vec<ServiceInfo>> {
    Json(portal.service.ask(|manager, _| manager.services()))
}

/// Asks for a service: components on a stream, by a name of the catalogue or as a list
///
/// Answers at once; the service's `state` tells how far it is. When it is `running` its `stream` can be watched
/// like any other. What runs already, asked for alike, is answered and not started again. Needs the token,
/// unless the coordinator runs with --open-portal.
#[utoipa::path(
    post, path = "/v1/services", request_body = ServiceRequest,
    responses(
        (status = ACCEPTED, body = ServiceInfo),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such stream, or no service of that name", body = PortalError),
        (status = UNPROCESSABLE_ENTITY, description = "A component cannot be: which, and why", body = PortalError),
        (status = SERVICE_UNAVAILABLE, description = "No worker has room; nothing is started", body = PortalError),
    )
)]
async fn create(
    _: Admitted,
    State(portal): State<Portal>,
    Body(request): Body<ServiceRequest>,
) -> Result<(StatusCode, Json<ServiceInfo>), Failure> {
    let service = ServiceId(rand::random());
    let info =
        portal.service.tell(|manager, now| manager.create_service(now, service, &request))?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// One service: its components, the worker of each, both socket addresses, what they decode and encode
#[utoipa::path(
    get, path = "/v1/services/{service}", params(("service" = String, Path)),
    responses((status = OK, body = ServiceInfo), (status = NOT_FOUND, body = PortalError))
)]
async fn service(
    State(portal): State<Portal>,
    Id(service): Id<ServiceId>,
) -> Result<Json<ServiceInfo>, Failure> {
    Ok(Json(portal.service.ask(|manager, _| manager.service(service))?))
}

/// Ends a service at once, whoever watches
///
/// Components that other services use go on for them.
#[utoipa::path(
    delete, path = "/v1/services/{service}", params(("service" = String, Path)),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, body = PortalError),
    )
)]
async fn end(
    _: Authorised,
    State(portal): State<Portal>,
    Id(service): Id<ServiceId>,
) -> Result<StatusCode, Failure> {
    portal.service.tell(|manager, now| manager.end_service(now, service).map(|out| ((), out)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves a component, with those it passes raw frames with, to another worker
///
/// Answers at once; `moving_to` and the events tell how it goes on.
#[utoipa::path(
    post, path = "/v1/services/{service}/move", params(("service" = String, Path)),
    request_body = MoveRequest,
    responses(
        (status = ACCEPTED, body = ServiceInfo),
        (status = UNAUTHORIZED, body = PortalError),
        (status = NOT_FOUND, description = "No such service or worker", body = PortalError),
        (status = CONFLICT, description = "It is there already or being moved, or the worker named cannot take it", body = PortalError),
        (status = UNPROCESSABLE_ENTITY, description = "The service has no such component", body = PortalError),
        (status = SERVICE_UNAVAILABLE, description = "No worker has room", body = PortalError),
    )
)]
async fn move_component(
    _: Authorised,
    State(portal): State<Portal>,
    Id(service): Id<ServiceId>,
    Body(request): Body<MoveRequest>,
) -> Result<(StatusCode, Json<ServiceInfo>), Failure> {
    let info =
        portal.service.tell(|manager, now| manager.move_component(now, service, &request))?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Why the components of a service are where they are, and why they have moved
#[utoipa::path(
    get, path = "/v1/services/{service}/explain", params(("service" = String, Path)),
    responses((status = OK, body = Explanation), (status = NOT_FOUND, body = PortalError))
)]
async fn explain_service(
    State(portal): State<Portal>,
    Id(service): Id<ServiceId>,
) -> Result<Json<Explanation>, Failure> {
    Ok(Json(portal.service.ask(|manager, now| manager.explain_service(now, service))?))
}

/// Where the components of a service would be, and why, if it were asked for; nothing is started
#[utoipa::path(
    post, path = "/v1/services/explain", request_body = ServiceRequest,
    responses(
        (status = OK, body = Explanation),
        (status = NOT_FOUND, description = "No such stream, or no service of that name", body = PortalError),
        (status = UNPROCESSABLE_ENTITY, description = "A component cannot be: which, and why", body = PortalError),
        (status = SERVICE_UNAVAILABLE, description = "No worker has room", body = PortalError),
    )
)]
async fn explain(
    State(portal): State<Portal>,
    Body(request): Body<ServiceRequest>,
) -> Result<Json<Explanation>, Failure> {
    Ok(Json(portal.service.ask(|manager, now| manager.explain(now, &request))?))
}

/// All components there are, with their parameters
#[utoipa::path(get, path = "/v1/components", responses((status = OK, body = Vec<ComponentInfo>)))]
async fn components(State(portal): State<Portal>) -> Json<Vec<ComponentInfo>> {
    Json(portal.service.ask(|manager, _| manager.components()))
}

/// Services that have a name
#[utoipa::path(get, path = "/v1/catalogue", responses((status = OK, body = Vec<NamedService>)))]
async fn catalogue(State(portal): State<Portal>) -> Json<Vec<NamedService>> {
    Json(portal.service.ask(|manager, _| manager.catalogue()))
}
