//! Endpoints of viewers: many alike, each with a socket of its own, that can move to another address.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use rustls::{client::Resumption, pki_types::CertificateDer};

use super::{Endpoint, EndpointError, client_config, client_tls, roots};

/// Makes endpoints of viewers, which are strangers to each other: none resumes what another began.
#[derive(Debug, Clone)]
pub struct Viewers {
    config: quinn::ClientConfig,
}

impl Viewers {
    /// Viewers without certificates of their own, who trust `authority`.
    pub fn new(authority: CertificateDer<'static>) -> Result<Self, EndpointError> {
        let mut tls = client_tls(Arc::new(roots(authority)?))?.with_no_client_auth();
        tls.resumption = Resumption::disabled();
        Ok(Self { config: client_config(tls)? })
    }

    /// One viewer's endpoint. Reaches edges over IPv6 as over IPv4, where the host has both.
    pub fn open(&self) -> Result<Endpoint, EndpointError> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut quinn = quinn::Endpoint::client(both)
            .or_else(|_| quinn::Endpoint::client(address))
            .map_err(|source| EndpointError::Bind { address, source })?;
        quinn.set_default_client_config(self.config.clone());
        Ok(Endpoint { quinn })
    }
}

impl Endpoint {
    /// Moves to a new socket on a free port, as a viewer does whose address changes under it. Connections that were
    /// opened from here go on.
    pub fn change_port(&self) -> std::io::Result<()> {
        let mut address = self.local_address()?;
        address.set_port(0);
        self.quinn.rebind(UdpSocket::bind(address)?)
    }
}
