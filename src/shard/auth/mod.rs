//! Digest access authentication (RFC 3261 section 22, RFC 7616, RFC 8760): who has to sign in, and
//! whether he has.
//!
//! The digest's `uri` is not compared with the Request-URI: proxies change that, and phones differ
//! in what they put there. What an eavesdropper could win by it is nothing, since each count of a
//! nonce opens once. ACK and CANCEL are never challenged (section 22.1).

mod nonce;
mod settings;
mod users;

use core::{
    hash::{BuildHasher, Hasher},
    time::Duration,
};
use std::{fmt::Write as _, sync::Arc};

use md5::{Digest as _, Md5};
use serde::Deserialize;

use self::nonce::{LIFETIME, Used};
pub use self::{
    nonce::NonceKey,
    settings::{AuthError, AuthSettings, RawAuth},
    users::{Users, UsersError},
};
use super::{
    Shard,
    outbox::Outbox,
    response::{Content, Status},
};
use crate::{
    time::Timestamp,
    wire::{
        Datagram,
        sip::{Credentials, HeaderName, Method, SipMessage, StartLine, Uri, is_same_user},
    },
};

/// What all shards share: who can sign in, and the key of this run.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Who has to sign in for what.
    pub settings: Arc<AuthSettings>,
    /// What nonces are made with.
    pub key: NonceKey,
}

/// A hash that digests are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RFC 7616.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// RFC 2617; all that many phones know.
    #[serde(rename = "MD5")]
    Md5,
}

/// One shard's part of it.
#[derive(Debug, Default)]
pub(crate) struct Door {
    used: Used,
    /// The time of the last nonce.
    asked_at: Timestamp,
}

impl Door {
    /// The time that a nonce made now is to have: each has its own, though requests that are read
    /// from a connection together have come at one time. Two clients of one address would have one
    /// nonce, and the second to use it would be told that it is stale.
    fn ask_at(&mut self, now: Timestamp) -> Timestamp {
        let is_taken = now <= self.asked_at && self.asked_at.since(now) < TOGETHER_MAX;
        self.asked_at = if is_taken { self.asked_at + Duration::from_nanos(1) } else { now };
        self.asked_at
    }
}

/// More nonces than nanoseconds of this are not made at one time; a clock that is set back by more
/// has its way.
const TOGETHER_MAX: Duration = Duration::from_millis(1);

/// What credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Who it is, is known; or it does not matter.
    Admitted,
    /// There are none.
    Missing,
    /// They were right, once: the nonce or its count is over.
    Stale,
    /// They are wrong.
    Wrong,
    /// They are those of another user.
    Forbidden,
}

impl Shard {
    /// Whether a request is from somebody who may make it. If not, it has been answered.
    pub(super) fn admits(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) -> bool {
        self.verdict(datagram, request, out) == Verdict::Admitted
    }

    /// The same, with why not.
    pub(super) fn verdict(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) -> Verdict {
        let Some(auth) = self.config.auth.clone() else { return Verdict::Admitted };
        let is_asked = match request.method() {
            Some(Method::Register) => auth.settings.register,
            Some(Method::Invite) => auth.settings.invite,
            _ => false,
        };
        if !is_asked {
            return Verdict::Admitted;
        }
        let verdict = self.judge(&auth, datagram, request);
        self.health.auth_challenges +=
            u32::from(!matches!(verdict, Verdict::Admitted | Verdict::Forbidden));
        self.health.auth_failures +=
            u32::from(matches!(verdict, Verdict::Wrong | Verdict::Forbidden));
        match verdict {
            // Its nonce was sent to this address and to no other.
            Verdict::Admitted => self.admission.learn(datagram.src.ip()),
            Verdict::Forbidden => self.respond(datagram, request, Status::FORBIDDEN, "", out),
            _ => {
                let at = self.door.ask_at(datagram.received_at);
                let nonce = auth.key.nonce(at, datagram.src.ip(), self.config.id);
                let headers = auth.settings.challenges(&nonce, verdict == Verdict::Stale);
                let content = Content { headers: &headers, ..Content::default() };
                self.respond_with(datagram, request, Status::UNAUTHORIZED, content, out);
            }
        }
        verdict
    }

    fn judge(&mut self, auth: &Auth, datagram: &Datagram<'_>, request: &SipMessage<'_>) -> Verdict {
        let settings = &*auth.settings;
        let is_ours = |offered: &Credentials<'_>| offered.realm == Some(settings.realm.as_bytes());
        let mut all = request.values(HeaderName::Authorization).filter_map(Credentials::parse);
        let Some(offered) = all.find(is_ours) else { return Verdict::Missing };
        let Some(algorithm) = settings.offers(offered.algorithm) else { return Verdict::Missing };
        let (Some(name), Some(nonce)) = (offered.username, offered.nonce) else {
            return Verdict::Wrong;
        };
        let StartLine::Request { method_text, .. } = request.start_line() else {
            return Verdict::Wrong;
        };
        let (hash, is_known) = settings.users.hash(name, algorithm);
        let Some((expected, count)) = expected(&offered, algorithm, hash, method_text) else {
            return Verdict::Wrong;
        };
        if offered.qop.is_none() && !settings.rfc2069 {
            return Verdict::Wrong;
        }
        let answer = offered.response.unwrap_or_default().to_ascii_lowercase();
        if !(auth.key.is_same(expected.as_bytes(), &answer) & is_known) {
            return Verdict::Wrong;
        }
        let now = datagram.received_at;
        let made_at = auth.key.made_at(nonce, datagram.src.ip(), self.config.id);
        let Some(made_at) = made_at.filter(|&at| now.since(at) <= LIFETIME) else {
            return Verdict::Stale;
        };
        let transaction = self.transaction(request);
        if !self.door.used.take((made_at, nonce), count, transaction, now) {
            return Verdict::Stale;
        }
        let to = Uri::parse(request.to_uri());
        if request.method() == Some(Method::Register)
            && !to.user.is_some_and(|user| is_same_user(user, name))
        {
            return Verdict::Forbidden;
        }
        Verdict::Admitted
    }

    /// The same for a request that comes again, and for no other one.
    fn transaction(&self, request: &SipMessage<'_>) -> u64 {
        let mut hasher = foldhash::quality::FixedState::with_seed(self.config.seed).build_hasher();
        hasher.write(request.call_id().unwrap_or_default());
        hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
        hasher.write(request.via().and_then(|via| via.branch).unwrap_or_default());
        hasher.finish()
    }
}

impl AuthSettings {
    /// The algorithm of a name, if it is offered; MD5 where none is said (RFC 7616 section 3.4).
    fn offers(&self, name: Option<&[u8]>) -> Option<Algorithm> {
        let is_it = |algorithm: &&Algorithm| {
            name.map_or(**algorithm == Algorithm::Md5, |name| {
                name.eq_ignore_ascii_case(algorithm.name().as_bytes())
            })
        };
        self.algorithms.iter().find(is_it).copied()
    }

    /// The header lines that ask for credentials (RFC 8760 section 2.4).
    fn challenges(&self, nonce: &str, is_stale: bool) -> String {
        let stale = if is_stale { ", stale=true" } else { "" };
        let mut lines = String::new();
        for algorithm in &self.algorithms {
            let (realm, name) = (&self.realm, algorithm.name());
            // Writing to a string cannot fail.
            let _ = write!(
                lines,
                "WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", \
                 algorithm={name}, qop=\"auth\"{stale}\r\n"
            );
        }
        lines
    }
}

impl Algorithm {
    pub(super) const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// The hash of texts with colons between them, in hexadecimal digits.
    fn hash(self, texts: &[&[u8]]) -> String {
        let all = texts.join(&b':');
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        match self {
            Self::Sha256 => hex(ring::digest::digest(&ring::digest::SHA256, &all).as_ref()),
            Self::Md5 => hex(&Md5::digest(&all)),
        }
    }
}

/// The answer that a user with this hash gives (RFC 7616 section 3.4.1), and the count that it
/// uses; `None` if the credentials lack what goes into it.
fn expected(
    offered: &Credentials<'_>,
    algorithm: Algorithm,
    hash: &str,
    method: &[u8],
) -> Option<(String, u32)> {
    let request = algorithm.hash(&[method, offered.uri?]);
    let (hash, nonce, request) = (hash.as_bytes(), offered.nonce?, request.as_bytes());
    let Some(qop) = offered.qop else {
        return Some((algorithm.hash(&[hash, nonce, request]), 1));
    };
    if !qop.eq_ignore_ascii_case(b"auth") {
        return None;
    }
    let (digits, cnonce) = (offered.nc?, offered.cnonce?);
    let count = u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((algorithm.hash(&[hash, nonce, digits, cnonce, qop, request]), count))
}
