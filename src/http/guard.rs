//! Who may ask for what: a token of a role that is enough, or, without tokens, no page of another
//! site. It does no I/O but to read the tokens again.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{reply::Reply, routes, token::Role, tokens::Tokens};

/// What stands between a request's head and its body.
#[derive(Debug, Default)]
pub(super) struct Guard {
    tokens: Option<Tokens>,
    looked_at: Option<Instant>,
}

impl Guard {
    /// A guard that asks for one of `tokens`, or lets everyone on this host in.
    pub(super) fn new(tokens: Option<Tokens>) -> Self {
        Self { tokens, looked_at: None }
    }

    /// Has the tokens read again if that was not done lately.
    pub(super) fn look(&mut self, now: Instant) {
        let Some(tokens) = &self.tokens else { return };
        if self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK) {
            self.looked_at = Some(now);
            // What is wrong with the file is logged and stands in health.
            let _ = tokens.reload();
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    ///
    /// The answer to who may not ask for this.
    pub(super) fn admit(
        &self,
        method: &str,
        target: &str,
        headers: &[httparse::Header<'_>],
    ) -> Result<(), Reply> {
        let path = target.split('?').next().unwrap_or(target);
        match &self.tokens {
            Some(_) if path == OPEN_PATH => Ok(()),
            Some(tokens) => authorize(method, path, headers, tokens),
            None if HARMLESS.contains(&method) => Ok(()),
            None => refuse_pages(headers),
        }
    }
}

fn authorize(
    method: &str,
    path: &str,
    headers: &[httparse::Header<'_>],
    tokens: &Tokens,
) -> Result<(), Reply> {
    let tokens = tokens.set();
    let Some(token) = values(headers, "Authorization").next().and_then(|text| tokens.find(text))
    else {
        let reply = Reply::error(401, "send an API token as `Authorization: Bearer TOKEN`");
        return Err(reply.with_header("WWW-Authenticate", "Bearer"));
    };
    let needed = if HARMLESS.contains(&method) { Role::Read } else { routes::role_to_change(path) };
    if token.role < needed {
        let (needed, role) = (needed.name(), token.role.name());
        let message = format!("this needs a token of the role {needed}, and yours is {role}");
        let challenge = "Bearer error=\"insufficient_scope\"";
        return Err(Reply::error(403, &message).with_header("WWW-Authenticate", challenge));
    }
    Ok(())
}

/// Refuses what the page of another site makes a browser send: without a token, that it comes from
/// this host is all that speaks for a request. A name that leads here from elsewhere is none of
/// ours either.
fn refuse_pages(headers: &[httparse::Header<'_>]) -> Result<(), Reply> {
    let host = values(headers, "Host").next();
    if host.is_some_and(|host| !is_local(host)) {
        let message = "without a token, what changes something must be sent to localhost or a \
                       loopback address; set api_token_file";
        return Err(Reply::error(403, message));
    }
    let origins = values(headers, "Origin");
    let is_own = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"http://");
        authority.is_some_and(|authority| host.is_some_and(|host| authority == host))
    };
    if origins.into_iter().all(is_own) {
        Ok(())
    } else {
        Err(Reply::error(403, "a page of another origin may not change anything here"))
    }
}

/// Whether a Host header names this machine.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = core::str::from_utf8(host) else { return false };
    let host = host.trim();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    name.eq_ignore_ascii_case("localhost") || is_loopback
}

/// The values of all fields of that name.
pub(super) fn values<'a>(
    headers: &'a [httparse::Header<'_>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

/// The one path that needs no token: supervisors ask it.
const OPEN_PATH: &str = "/healthz";

/// Methods that change nothing.
const HARMLESS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// How often the tokens are read again while there are requests.
const LOOK: Duration = Duration::from_secs(1);
