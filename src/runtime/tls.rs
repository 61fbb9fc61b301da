//! TLS for SIP: the certificate it is spoken with, and one connection's part of it.
//!
//! Knows bytes and no sockets: what is read and written is its caller's business.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject as _},
};

use crate::config::TlsIdentity;

/// What every TLS connection is begun with, for all shards.
#[derive(Clone, Debug)]
pub(super) struct Acceptor(Arc<RwLock<Arc<ServerConfig>>>);

impl Acceptor {
    /// Reads the certificate and its key, or makes them for `host`.
    pub(super) fn new(identity: &TlsIdentity, host: &str) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(server(identity, host)?))))
    }

    /// From now on begins connections with another certificate. Those that are up stay.
    pub(super) fn renew(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The layer of a new connection; `None` if it cannot be begun.
    pub(super) fn layer(&self) -> Option<Layer> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        ServerConnection::new(config).ok().map(|tls| Layer::Tls(Box::new(tls)))
    }
}

/// Reads a certificate and its key, or makes them for `host`.
pub(super) fn server(identity: &TlsIdentity, host: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match identity {
        TlsIdentity::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?),
        TlsIdentity::SelfSigned => self_signed(host)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unusable)?;
    Ok(Arc::new(config))
}

/// What lies between a connection's bytes and its SIP messages.
#[derive(Debug)]
pub(super) enum Layer {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Box<ServerConnection>),
}

impl Layer {
    /// Appends to `plain` what received bytes say.
    ///
    /// # Errors
    /// It is no TLS, or a TLS that is not spoken here. What tells the far end so is ready to be
    /// sealed.
    pub(super) fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let Self::Tls(tls) = self else {
            plain.extend_from_slice(bytes);
            return Ok(());
        };
        let mut rest = bytes;
        while !rest.is_empty() && tls.read_tls(&mut rest)? > 0 {
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut plain[begin..])?;
        }
        Ok(())
    }

    /// Appends to `wire` what is to be written: `plain`, which is emptied, and what the layer has
    /// to say itself.
    pub(super) fn seal(&mut self, plain: &mut Vec<u8>, wire: &mut Vec<u8>) -> io::Result<()> {
        let Self::Tls(tls) = self else {
            wire.append(plain);
            return Ok(());
        };
        let mut taken = 0;
        loop {
            if taken < plain.len() {
                taken += tls.writer().write(&plain[taken..])?;
            }
            while tls.wants_write() {
                tls.write_tls(wire)?;
            }
            // During a handshake it keeps what it is given, up to a bound.
            if taken == plain.len() || tls.is_handshaking() {
                break;
            }
        }
        plain.drain(..taken);
        Ok(())
    }

    /// Whether no message can have come yet.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_handshaking())
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Unreadable { path: path.display().to_string(), source };
    let all = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let chain: Vec<_> = all.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |source| TlsError::Unreadable { path: path.display().to_string(), source };
    PrivateKeyDer::from_pem_file(path).map_err(failed)
}

/// A certificate that vouches for itself, with its key.
fn self_signed(
    host: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let names = vec![host.to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::NotMade)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

/// Why TLS cannot be spoken. Each is one sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file has no certificate or key that can be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why not.
        source: pem::Error,
    },
    /// Certificate and key do not make a server.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(rustls::Error),
    /// A certificate of one's own could not be made.
    #[error("no certificate could be made: {0}")]
    NotMade(rcgen::Error),
}
