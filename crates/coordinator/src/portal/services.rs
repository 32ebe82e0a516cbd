//! The portal's part for services.

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use gibbon_control::{
    portal::PortalError,
    services::{
        ComponentInfo, Explanation, MoveRequest, NamedService, ServiceInfo, ServiceRequest,
    },
};
use gibbon_media::ServiceId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Failure, Portal, id};

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
    State(portal): State<Portal>,
    headers: HeaderMap,
    request: Result<Json<ServiceRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<ServiceInfo>), Failure> {
    if !portal.access.open {
        portal.authorise(&headers)?;
    }
    let Json(request) = request?;
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
    Path(service): Path<String>,
) -> Result<Json<ServiceInfo>, Failure> {
    let service = id(&service)?;
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
    State(portal): State<Portal>,
    headers: HeaderMap,
    Path(service): Path<String>,
) -> Result<StatusCode, Failure> {
    portal.authorise(&headers)?;
    let service = id(&service)?;
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
    State(portal): State<Portal>,
    headers: HeaderMap,
    Path(service): Path<String>,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<ServiceInfo>), Failure> {
    portal.authorise(&headers)?;
    let (service, Json(request)) = (id(&service)?, request?);
    let info =
        portal.service.tell(|manager, now| manager.move_component(now, service, &request))?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Why the components of a service are where they are
#[utoipa::path(
    get, path = "/v1/services/{service}/explain", params(("service" = String, Path)),
    responses((status = OK, body = Explanation), (status = NOT_FOUND, body = PortalError))
)]
async fn explain_service(
    State(portal): State<Portal>,
    Path(service): Path<String>,
) -> Result<Json<Explanation>, Failure> {
    let service = id(&service)?;
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
    request: Result<Json<ServiceRequest>, JsonRejection>,
) -> Result<Json<Explanation>, Failure> {
    let Json(request) = request?;
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
