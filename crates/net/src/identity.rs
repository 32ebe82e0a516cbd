//! Who is who: a certificate authority for development, node certificates that carry id and role, and
//! what a peer's certificate says.
//!
//! A node's certificate names it as the DNS name `<id>.<role>.gibbon.internal`, so that the ordinary
//! check of the server's name also checks its role.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use gibbon_media::{NodeId, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

const DOMAIN: &str = "gibbon.internal";
/// Development certificates hold for this span; a real deployment brings its own.
const NOT_BEFORE: (i32, u8, u8) = (2026, 1, 1);
const NOT_AFTER: (i32, u8, u8) = (2036, 1, 1);

/// What a node is, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Unique among nodes of the role.
    pub id: NodeId,
    /// What it may do.
    pub role: Role,
}

impl Identity {
    /// The name in its certificate.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{DOMAIN}", self.id, self.role)
    }

    fn from_dns_name(name: &str) -> Option<Self> {
        let (id, role) = name.strip_suffix(DOMAIN)?.strip_suffix('.')?.split_once('.')?;
        Some(Self { id: id.parse().ok()?, role: role.parse().ok()? })
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A node with a certificate of our authority.
    Node(Identity),
    /// Somebody without a certificate: a viewer, who must show a grant.
    Viewer,
}

impl Peer {
    /// Reads it off an established connection.
    pub fn of(connection: &quinn::Connection) -> Peer {
        let identity = connection
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
            .and_then(|chain| identity_in(chain.first()?));
        identity.map_or(Peer::Viewer, Peer::Node)
    }
}

fn identity_in(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().find_map(Identity::from_dns_name)
}

/// Why certificates could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what its name says.
    #[error("{path} is not valid: {why}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A folder of certificates: `ca.pem`, `ca.key`, and `<role>-<id>.pem` / `.key` for each node.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: PathBuf,
}

/// A node's own certificate chain and key.
#[derive(Debug)]
pub struct Credentials {
    /// The chain, the node's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key to it.
    pub key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// The folder `folder`; it need not exist yet.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the authority's own certificate is: what a viewer needs to trust the network.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A file of this folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the authority if the folder has none. Keys get mode 0600.
    pub fn ensure_authority(&self) -> Result<(), CertificateError> {
        if self.authority_file().exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|source| at(&self.folder, source))?;
        let key = KeyPair::generate()?;
        let certificate = authority_params()?.self_signed(&key)?;
        // The key is written first and exclusively: of two processes that start at once, one makes the
        // authority and the other finds it, once the certificate appears.
        match write_new(&self.folder.join("ca.key"), key.serialize_pem().as_bytes(), 0o600) {
            Err(CertificateError::File { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                self.await_authority()
            }
            Err(error) => Err(error),
            Ok(()) => replace(&self.authority_file(), certificate.pem().as_bytes(), 0o644),
        }
    }

    fn await_authority(&self) -> Result<(), CertificateError> {
        for _ in 0..50 {
            if self.authority_file().exists() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(CertificateError::Invalid {
            path: self.folder.clone(),
            why: "it has ca.key but no ca.pem; remove ca.key to start afresh".into(),
        })
    }

    /// The authority's certificate.
    pub fn authority(&self) -> Result<CertificateDer<'static>, CertificateError> {
        read_authority(&self.authority_file())
    }

    /// The node's certificate and key; made if the folder has the authority's key.
    pub fn credentials(&self, identity: &Identity) -> Result<Credentials, CertificateError> {
        let name = format!("{}-{}", identity.role, identity.id);
        let (pem, key) =
            (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        if !pem.exists() {
            self.ensure_authority()?;
            self.issue(identity, &pem, &key)?;
        }
        let chain = CertificateDer::pem_file_iter(&pem)
            .and_then(Iterator::collect)
            .map_err(|error| invalid(&pem, error))?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| invalid(&key, error))?;
        Ok(Credentials { chain, key })
    }

    fn issue(&self, identity: &Identity, pem: &Path, key: &Path) -> Result<(), CertificateError> {
        let path = self.folder.join("ca.key");
        let authority_key = fs::read_to_string(&path).map_err(|source| at(&path, source))?;
        let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&authority_key)?);
        let mut params = CertificateParams::new(vec![identity.dns_name()])?;
        params.distinguished_name.push(DnType::CommonName, identity.dns_name());
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        valid_for_years(&mut params);
        let own = KeyPair::generate()?;
        let certificate = params.signed_by(&own, &issuer)?;
        replace(key, own.serialize_pem().as_bytes(), 0o600)?;
        replace(pem, certificate.pem().as_bytes(), 0o644)
    }
}

/// The certificate of an authority, from a PEM file.
pub fn read_authority(path: &Path) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_file(path).map_err(|error| invalid(path, error))
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    replace(path, bytes, 0o600)
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Gibbon development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid_for_years(&mut params);
    Ok(params)
}

fn valid_for_years(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(NOT_BEFORE.0, NOT_BEFORE.1, NOT_BEFORE.2);
    params.not_after = date_time_ymd(NOT_AFTER.0, NOT_AFTER.1, NOT_AFTER.2);
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|source| at(path, source))
}

/// Writes beside the file and renames, so that a reader sees the old or the new, never a part.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    write_new(&beside, bytes, mode)?;
    fs::rename(&beside, path).map_err(|source| at(path, source))
}

fn at(path: &Path, source: std::io::Error) -> CertificateError {
    CertificateError::File { path: path.to_owned(), source }
}

fn invalid(path: &Path, why: impl std::fmt::Display) -> CertificateError {
    CertificateError::Invalid { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_carries_id_and_role_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(folder.path().join("certs"));
        let identity = Identity { id: "edge-a".parse().unwrap(), role: Role::Edge };
        let credentials = certificates.credentials(&identity).unwrap();
        assert_eq!(identity_in(&credentials.chain[0]), Some(identity.clone()));
        for key in ["ca.key", "edge-edge-a.key"] {
            let mode = fs::metadata(certificates.file(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let again = certificates.credentials(&identity).unwrap();
        assert_eq!(again.chain, credentials.chain, "made once, then reused");
    }

    #[test]
    fn names_of_other_domains_are_nobody() {
        for name in ["edge-a.edge.example.org", "edge-a.gibbon.internal", "a.king.gibbon.internal"]
        {
            assert_eq!(Identity::from_dns_name(name), None, "{name}");
        }
    }
}
