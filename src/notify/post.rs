//! One POST of JSON to a recipient, and what its answer means: delivered, later, or never.
//!
//! It follows no redirect and reads little of what comes back.

use std::{io::Read as _, time::Duration};

use jiff::fmt::rfc2822::DateTimeParser;
use ureq::{
    Agent, Proxy,
    http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER},
    tls::{RootCerts, TlsConfig},
};

use super::{
    Failure,
    line::Retry,
    url::{Endpoint, certificates},
};
use crate::time::Timestamp;

/// Posts to one recipient.
#[derive(Debug)]
pub(super) struct Poster {
    agent: Agent,
    to: Endpoint,
    url: String,
}

/// A header's name and value.
pub(super) type Header = (&'static str, String);

impl Poster {
    /// Posts to an endpoint, below its URL where `path` is not empty.
    pub(super) fn new(to: &Endpoint, path: &str, timeout: Duration) -> Self {
        let roots = to.roots.as_deref().map_or(RootCerts::WebPki, |pem| certificates(pem).into());
        let config = Agent::config_builder()
            // The whole of it: name, connection, request, answer.
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Not what the environment says: whose it is, is not known.
            .proxy(to.proxy.as_deref().and_then(|proxy| Proxy::new(proxy).ok()))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .max_response_header_size(ANSWER_HEAD_BYTES_MAX)
            .user_agent(concat!("voxplane/", env!("CARGO_PKG_VERSION")))
            .build();
        let url = if path.is_empty() { to.url.expose().to_owned() } else { to.url.join(path) };
        Self { agent: config.new_agent(), to: to.clone(), url }
    }

    /// Posts a body. Gives what the other side says, in a few words.
    pub(super) fn post(
        &self,
        body: &[u8],
        headers: &[Header],
        now: Timestamp,
    ) -> Result<String, Failure> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(authorization) = &self.to.authorization {
            request = request.header("Authorization", authorization.expose());
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send(body) {
            Ok(response) => judge(response, now)
                .map(|said| self.to.mask(&said))
                .map_err(|failure| Failure { reason: self.to.mask(&failure.reason), ..failure }),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &ureq::Error) -> Failure {
        // A certificate or a name may be set right while we go on trying.
        let reason = format!("{}: {error}", self.to.url);
        Failure { reason: self.to.mask(&reason), retry: Retry::Later }
    }
}

fn judge(response: Response<ureq::Body>, now: Timestamp) -> Result<String, Failure> {
    let status = response.status();
    let asked = retry_after(response.headers(), now);
    // What an agent has not read to its end it does not use again, so a long answer costs little.
    let mut text = Vec::new();
    let body = response.into_body().into_reader();
    let _ = body.take(ANSWER_BYTES_MAX).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let words: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS_MAX).collect();
    let said = format!("{status} {}", words.trim()).trim_end().to_owned();
    if status.is_success() {
        return Ok(said);
    }
    let is_passing = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    let retry = match asked {
        _ if status == StatusCode::TOO_MANY_REQUESTS => asked.map_or(Retry::Later, Retry::After),
        Some(after) if is_passing => Retry::After(after),
        None if is_passing => Retry::Later,
        _ => Retry::Never,
    };
    Err(Failure { reason: said, retry })
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = value.parse() {
        return Some(Duration::from_secs(secs));
    }
    let date = DateTimeParser::new().parse_timestamp(value).ok()?;
    let date = Timestamp::from_nanos(u64::try_from(date.as_nanosecond()).ok()?);
    Some(date.since(now))
}

/// Read of an answer; the rest is of no interest.
const ANSWER_BYTES_MAX: u64 = 1024;
const ANSWER_HEAD_BYTES_MAX: usize = 16 << 10;
/// Of those, shown.
const SHOWN_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        let after = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }
}
