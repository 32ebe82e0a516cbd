//! A coordinator with its doors open, on free ports.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use gibbon_control::{GrantSigner, link::coordinator_identity};
use gibbon_coordinator::{
    catalogue::Catalogue,
    manager::Manager,
    nodes,
    portal::{self, Access},
    service::Service,
    token::Token,
};
use gibbon_handoff::Term;
use gibbon_media::Role;
use gibbon_net::{Certificates, Endpoint, Identity};
use serde_json::Value;
use tokio::task::spawn_blocking;

pub struct Running {
    pub service: Arc<Service>,
    pub certificates: Certificates,
    pub nodes: SocketAddr,
    pub portal: SocketAddr,
    folder: tempfile::TempDir,
}

impl Running {
    pub async fn start(open: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path());
        let signer = GrantSigner::load_or_make(&certificates).unwrap();
        let service =
            Service::new(Manager::new(Term(1), signer).offering(Catalogue::built_in().unwrap()));
        let endpoint = Endpoint::node(&certificates, &coordinator_identity(), any_port()).unwrap();
        let nodes = endpoint.local_address().unwrap();
        let listener = tokio::net::TcpListener::bind(any_port()).await.unwrap();
        let portal = listener.local_addr().unwrap();
        let token = Token::load_or_make(&folder.path().join("portal.token")).unwrap();
        let router = portal::router(service.clone(), Access { token, open });
        tokio::spawn(nodes::serve(endpoint, service.clone()));
        tokio::spawn(axum::serve(listener, router).into_future());
        tokio::spawn(service.clone().keep_time());
        Self { service, certificates, nodes, portal, folder }
    }

    pub fn endpoint(&self, id: &str, role: Role) -> Endpoint {
        let identity = Identity { id: id.parse().unwrap(), role };
        Endpoint::node(&self.certificates, &identity, any_port()).unwrap()
    }

    pub fn token(&self) -> String {
        let token = std::fs::read_to_string(self.folder.path().join("portal.token")).unwrap();
        format!("Bearer {}", token.trim())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.portal)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = self.url(path);
        spawn_blocking(move || answer(agent().get(url).call())).await.unwrap()
    }

    pub async fn delete(&self, path: &str, authorization: &str) -> (u16, Value) {
        let (url, authorization) = (self.url(path), authorization.to_owned());
        let delete = move || agent().delete(url).header("Authorization", authorization).call();
        spawn_blocking(move || answer(delete())).await.unwrap()
    }

    pub async fn post(&self, path: &str, authorization: &str, body: &str) -> (u16, Value) {
        let (url, authorization, body) =
            (self.url(path), authorization.to_owned(), body.to_owned());
        let post = move || {
            agent()
                .post(url)
                .header("Authorization", authorization)
                .header("Content-Type", "application/json")
                .send(body)
        };
        spawn_blocking(move || answer(post())).await.unwrap()
    }
}

/// Waits for what must come, but not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}

pub fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// Status and JSON; what is no JSON is null.
fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut answer = answer.unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or_default())
}
