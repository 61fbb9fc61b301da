//! Who may ask for what, and how often: a token of a role that is enough, or, without tokens, no
//! page of another site. It does no I/O but to read the tokens again.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    door::Shared,
    intake::Asked,
    rate::Rate,
    reply::Reply,
    routes,
    token::{Role, TokenSet},
    tokens::Tokens,
};

/// How often one address may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests a second in the long run, and twice as many at once; 0 for any number.
    pub requests_per_second: u32,
    /// Requests a minute with a wrong token, before those of that address are refused unseen; 0
    /// for any number.
    pub failures_per_minute: u32,
    /// Whether clients on this host count as well.
    pub loopback: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_second: 100, failures_per_minute: 20, loopback: false }
    }
}

/// What stands between a request's head and its body.
#[derive(Debug)]
pub(super) struct Guard {
    tokens: Option<Tokens>,
    /// The tokens as they were when somebody last asked whether they have changed.
    known: Option<Arc<TokenSet>>,
    looked_at: Option<Instant>,
    requests: Option<Rate>,
    failures: Option<Rate>,
    spares_loopback: bool,
    shared: Arc<Shared>,
}

/// The guard in front of one client at one moment.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    guard: &'a mut Guard,
    from: IpAddr,
    now: Instant,
}

impl Guard {
    /// A guard that asks for one of the tokens, or lets everyone on this host in.
    pub(super) fn new(limits: &Limits, shared: Arc<Shared>) -> Self {
        let requests = f64::from(limits.requests_per_second);
        let failures = f64::from(limits.failures_per_minute);
        Self {
            tokens: shared.tokens.clone(),
            known: shared.tokens.as_ref().map(Tokens::set),
            looked_at: None,
            requests: (requests > 0.0).then(|| Rate::new(requests, requests * 2.0)),
            failures: (failures > 0.0).then(|| Rate::new(failures / 60.0, failures)),
            spares_loopback: !limits.loopback,
            shared,
        }
    }

    /// Whether the tokens have changed since this was last asked.
    pub(super) fn has_other_tokens(&mut self) -> bool {
        let (Some(tokens), Some(known)) = (&self.tokens, &mut self.known) else { return false };
        let newest = tokens.set();
        let is_other = !Arc::ptr_eq(&newest, known);
        *known = newest;
        is_other
    }

    /// The guard in front of the client at `from`.
    pub(super) fn visit(&mut self, from: IpAddr, now: Instant) -> Visit<'_> {
        Visit { guard: self, from, now }
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
}

impl Visit<'_> {
    /// Lets a request in, and notes what its token is called.
    ///
    /// # Errors
    ///
    /// The answer to who may not ask for this, or not so often.
    pub(super) fn admit(
        &mut self,
        asked: &mut Asked,
        headers: &[httparse::Header<'_>],
    ) -> Result<(), Reply> {
        let is_spared = self.guard.spares_loopback && self.from.is_loopback();
        if let Some(requests) = self.guard.requests.as_mut().filter(|_| !is_spared)
            && let Err(wait) = requests.take(self.from, self.now)
        {
            self.guard.shared.counters.limited.fetch_add(1, Relaxed);
            return Err(too_many("too many requests from your address", wait));
        }
        let Some(tokens) = &self.guard.tokens else {
            let is_harmless = HARMLESS.contains(&&*asked.method);
            return if is_harmless { Ok(()) } else { refuse_pages(headers) };
        };
        if asked.path() == OPEN_PATH {
            return Ok(());
        }
        // Before any token is looked at: who guesses must not learn whether he was right.
        if let Some(failures) = self.guard.failures.as_ref().filter(|_| !is_spared)
            && let Err(wait) = failures.check(self.from, self.now)
        {
            self.guard.shared.counters.limited.fetch_add(1, Relaxed);
            return Err(too_many("too many wrong tokens from your address", wait));
        }
        let offered = values(headers, "Authorization").next();
        let tokens = tokens.set();
        let Some(token) = offered.and_then(|offered| tokens.find(offered)) else {
            if offered.is_some() {
                self.guard.shared.counters.auth_failures.fetch_add(1, Relaxed);
                let failures = self.guard.failures.as_mut().filter(|_| !is_spared);
                // That there is one left was seen above.
                let _ = failures.map(|failures| failures.take(self.from, self.now));
            }
            let reply = Reply::error(401, "send an API token as `Authorization: Bearer TOKEN`");
            return Err(reply.with_header("WWW-Authenticate", "Bearer"));
        };
        asked.token = Some(Arc::clone(&token.name));
        check_role(token.role, asked)
    }
}

fn check_role(role: Role, asked: &Asked) -> Result<(), Reply> {
    let is_harmless = HARMLESS.contains(&&*asked.method);
    let needed = if is_harmless { Role::Read } else { routes::role_to_change(asked.path()) };
    if role >= needed {
        return Ok(());
    }
    let (needed, role) = (needed.name(), role.name());
    let message = format!("this needs a token of the role {needed}, and yours is {role}");
    let challenge = "Bearer error=\"insufficient_scope\"";
    Err(Reply::error(403, &message).with_header("WWW-Authenticate", challenge))
}

fn too_many(message: &str, wait: Duration) -> Reply {
    // Whole seconds (RFC 9110 section 10.2.3), and none too few.
    let seconds = wait.as_secs() + 1;
    let message = format!("{message}: try again in {seconds} s");
    Reply::error(429, &message).with_header("Retry-After", seconds.to_string())
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
