//! What a call brings along: who makes it, what it is about, what it asks for.

use std::{fmt::Display, str::FromStr};

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{Failure, Portal};

/// The caller has shown the token.
pub(super) struct Authorised;

impl FromRequestParts<Portal> for Authorised {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Failure> {
        let shown = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if shown.is_some_and(|shown| portal.access.token.is_shown_by(shown)) {
            return Ok(Self);
        }
        let error = "this needs `Authorization: Bearer TOKEN` with the token that the coordinator \
                     keeps in its --portal-token-file (certs/portal.token unless told otherwise)";
        Err(Failure::new(StatusCode::UNAUTHORIZED, error))
    }
}

/// The same, or the portal is open: for what viewers ask for.
pub(super) struct Admitted;

impl FromRequestParts<Portal> for Admitted {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Failure> {
        if !portal.access.open {
            Authorised::from_request_parts(parts, portal).await?;
        }
        Ok(Self)
    }
}

/// The id in the path.
pub(super) struct Id<T>(pub T);

impl<T: FromStr<Err: Display>> FromRequestParts<Portal> for Id<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, portal)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        let id = text.parse().map_err(|invalid| Failure::new(StatusCode::BAD_REQUEST, invalid))?;
        Ok(Self(id))
    }
}

/// The body, in JSON.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Portal> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Failure> {
        let Json(body) = Json::from_request(request, portal)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        Ok(Self(body))
    }
}
