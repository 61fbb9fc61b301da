//! Where notifications go over HTTP, and what is trusted there. A URL shows its host alone: what
//! comes after it is a token as often as not.
//!
//! It sends nothing.

use std::{fmt, fs, path::Path};

use ureq::{
    Proxy,
    http::{HeaderValue, Uri},
    tls::{Certificate, PemItem, parse_pem},
};

use super::secret::Secret;

/// An absolute `http` or `https` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    whole: Secret,
    shown: String,
}

impl Url {
    /// Checks a URL.
    ///
    /// # Errors
    /// What it lacks; nothing of the URL is in the text.
    pub(super) fn new(whole: Secret) -> Result<Self, &'static str> {
        let text = whole.expose();
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let scheme = scheme.ok_or("does not begin with http:// or https://")?;
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("holds a password: say authorization_file or authorization_env instead");
        }
        if authority.host().is_empty() {
            return Err("names no host");
        }
        let more = if uri.path().len() > 1 || uri.query().is_some() { "/***" } else { "/" };
        let shown = format!("{scheme}://{authority}{more}");
        Ok(Self { whole, shown })
    }

    /// This URL with a path below its own.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.whole.expose().trim_end_matches('/'))
    }

    /// All of it, for who sends to it.
    pub(super) fn expose(&self) -> &str {
        self.whole.expose()
    }

    /// Takes it out of a text that comes from elsewhere, and its path alone as well.
    pub(super) fn mask(&self, text: &str) -> String {
        let masked = self.whole.mask(text);
        let path = self.whole.expose().splitn(4, '/').nth(3).unwrap_or_default();
        Secret::new(path.to_owned()).mask(&masked)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.shown)
    }
}

/// Whom to send to over HTTP and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where.
    pub url: Url,
    /// The value of the `Authorization` header.
    pub(super) authorization: Option<Secret>,
    /// Trusted in place of the built-in certificates, PEM.
    pub(super) roots: Option<Vec<u8>>,
    /// The URL of an HTTP proxy.
    pub(super) proxy: Option<String>,
}

impl Endpoint {
    /// Checks what belongs to a URL. An error names the key.
    pub(super) fn new(
        url: Url,
        authorization: Option<Secret>,
        ca_file: Option<&Path>,
        proxy: Option<&str>,
    ) -> Result<Self, (&'static str, String)> {
        if let Some(value) = &authorization {
            let header = HeaderValue::from_str(value.expose());
            header.map_err(|_| ("authorization", "is no value of a header".to_owned()))?;
        }
        let roots = ca_file.map(read_roots).transpose().map_err(|reason| ("ca_file", reason))?;
        if let Some(proxy) = proxy {
            if proxy.contains('@') {
                return Err(("proxy", "may hold no password".to_owned()));
            }
            Proxy::new(proxy).map_err(|_| ("proxy", "is no URL of a proxy".to_owned()))?;
        }
        Ok(Self { url, authorization, roots, proxy: proxy.map(str::to_owned) })
    }

    /// Takes all secrets out of a text that comes from elsewhere.
    pub(super) fn mask(&self, text: &str) -> String {
        let masked = self.url.mask(text);
        self.authorization.as_ref().map_or_else(|| masked.clone(), |secret| secret.mask(&masked))
    }
}

/// The certificates in a PEM text.
pub(super) fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = parse_pem(pem).filter_map(Result::ok);
    let certificates = items.filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}

fn read_roots(path: &Path) -> Result<Vec<u8>, String> {
    let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if certificates(&pem).is_empty() {
        return Err(format!("{}: holds no certificate (PEM)", path.display()));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<Url, &'static str> {
        Url::new(Secret::new(text.to_owned()))
    }

    #[test]
    fn only_the_host_of_a_url_shows() {
        let hook = url("https://hooks.example.com:8443/services/T0/B0/s3cr3t?k=1").unwrap();
        assert_eq!(hook.to_string(), "https://hooks.example.com:8443/***");
        assert_eq!(format!("{hook:?}"), "Url(https://hooks.example.com:8443/***)");
        assert_eq!(hook.mask("not at /services/T0/B0/s3cr3t?k=1"), "not at /***");
        assert_eq!(url("http://10.0.0.1:9093/").unwrap().to_string(), "http://10.0.0.1:9093/");
        assert_eq!(
            url("http://am/x/").unwrap().join("/api/v2/alerts"),
            "http://am/x/api/v2/alerts"
        );
    }

    #[test]
    fn what_is_no_url_of_ours_is_refused() {
        for (text, reason) in [
            ("", "is no URL"),
            ("hooks.example.com/x", "is no URL"),
            ("/x", "does not begin with http"),
            ("ftp://example.com/", "does not begin with http"),
            ("https://user:word@example.com/", "holds a password"),
            ("https://", "is no URL"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
