//! TLS to the database, for the SQL client and the replication connection alike.
//!
//! The modes mean what they mean in libpq: `require` and `prefer` encrypt without checking unless `sslrootcert` is
//! given, `verify-ca` checks the certificate's chain, `verify-full` also that it names the host. Without `sslrootcert`
//! the checking modes trust the system's authorities.
//! Law: a mode that checks never falls back to one that does not, and nothing but `prefer` ever goes on in the clear.
//! The crypto provider is named here and never taken from the process, so that no caller must install one.

mod stream;
mod verify;

use std::{fs, path::Path, sync::Arc};

use antiphon_engine::Fault;
use antiphon_model::Code;
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::TcpStream;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_rustls::TlsConnector;

pub(crate) use self::stream::TlsStream;
use self::{
    stream::Connecting,
    verify::{Trust, Verifier},
};
use crate::{
    conninfo::{ConnectionInfo, RootCertificates, SslMode},
    errors,
};

/// Makes TLS connections of one description; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// Fails with `TLS_FAILED` where a file cannot be read or holds nothing of use.
    pub(crate) fn new(info: &ConnectionInfo) -> Result<Tls, Fault> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(trust(info)?, &provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::new(Code::TlsFailed, "no version of TLS can be used").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &info.client_certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(&read("sslkey", key)?)
                    .map_err(|error| Fault::new(Code::TlsFailed, "sslkey holds no private key").with_source(error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    Fault::new(Code::TlsFailed, "sslcert and sslkey do not fit together").with_source(error)
                })?
            }
        };
        // Postgres 17 and newer insist on this name where the client offers any.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Tls { config: Arc::new(config) })
    }

    /// Does the handshake on a connection whose server has agreed to TLS.
    pub(crate) async fn handshake(&self, host: &str, socket: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
        let name = server_name(host)
            .map_err(|error| Fault::new(Code::TlsFailed, "the host is no valid name for TLS").with_source(error))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, socket).await.map(TlsStream::new).map_err(errors::socket)
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsStream<S>;
    type TlsConnect = Connecting;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connecting, Self::Error> {
        // A Unix socket has no name and never gets as far as a handshake.
        let name = server_name(if host.is_empty() { "localhost" } else { host })?;
        Ok(Connecting { connector: TlsConnector::from(Arc::clone(&self.config)), name })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    ServerName::try_from(host.to_owned())
}

fn trust(info: &ConnectionInfo) -> Result<Trust, Fault> {
    let check_name = info.ssl_mode == SslMode::VerifyFull;
    let checks = check_name || info.ssl_mode == SslMode::VerifyCa || info.roots.is_some();
    if !checks || info.ssl_mode == SslMode::Disable {
        return Ok(Trust::Anyone);
    }
    let mut roots = RootCertStore::empty();
    let mut given = Vec::new();
    match &info.roots {
        Some(RootCertificates::File(path)) => {
            given = certificates("sslrootcert", path)?;
            // A server's own certificate may stand here; it is compared as a whole and need not be an authority.
            roots.add_parsable_certificates(given.iter().cloned());
        }
        Some(RootCertificates::System) | None => {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            if roots.is_empty() {
                let detail = "the system has no trusted authorities; name them with sslrootcert";
                return Err(Fault::new(Code::TlsFailed, detail));
            }
        }
    }
    Ok(Trust::Roots { roots, given, check_name })
}

fn certificates(parameter: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(parameter, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Fault::new(Code::TlsFailed, format!("{parameter} holds no certificate"))),
        Err(error) => Err(Fault::new(Code::TlsFailed, format!("{parameter} cannot be understood")).with_source(error)),
    }
}

fn read(parameter: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path)
        .map_err(|error| Fault::new(Code::TlsFailed, format!("{parameter} cannot be read")).with_source(error))
}

/// Returns the provider's algorithms for signatures of certificates and handshakes.
fn algorithms(provider: &Arc<CryptoProvider>) -> rustls::crypto::WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}
