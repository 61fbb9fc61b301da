//! Digest authentication (RFC 3261 section 22): who signs in gets in, once for each count of a
//! nonce, by SHA-256 and MD5; what is checked is what another implementation computes. Time is
//! virtual.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{Sent, US, World, addr, offer, secs};
use rsip::services::DigestGenerator;
use voxplane::{
    shard::{
        ShardConfig,
        auth::{Algorithm, Auth, AuthSettings, NonceKey, Users},
    },
    wire::sip::{Credentials, Method},
};

const FAR: &str = "198.51.100.1:5070";
const URI: &str = "sip:192.0.2.9:5060";

fn settings() -> AuthSettings {
    AuthSettings {
        realm: "box".to_owned(),
        users: Arc::new(Users::parse("ann:pass:word\nbob:other", "box").unwrap()),
        register: true,
        invite: true,
        rfc2069: false,
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
    }
}

/// A client and the world it signs in to.
struct Client {
    world: World,
    cseq: u32,
    from: &'static str,
    far: &'static str,
}

/// How a client answers a challenge.
#[derive(Clone, Copy)]
struct Answer<'a> {
    user: &'a str,
    password: &'a str,
    algorithm: rsip::headers::auth::Algorithm,
    /// Its count; without one it answers as RFC 2069 has it.
    count: Option<u8>,
}

const ANN: Answer<'_> = Answer {
    user: "ann",
    password: "pass:word",
    algorithm: rsip::headers::auth::Algorithm::Md5,
    count: Some(1),
};

impl Client {
    fn new(settings: AuthSettings) -> Self {
        let key = NonceKey::new(&[42; 32]);
        let auth = Some(Arc::new(Auth { settings: Arc::new(settings), key }));
        let world = World::new(ShardConfig { auth, ..ShardConfig::default() });
        Self { world, cseq: 0, from: "ann", far: FAR }
    }

    fn send(&mut self, method: &str, headers: &str) -> Vec<Sent> {
        self.cseq += 1;
        self.send_again(method, headers)
    }

    fn send_again(&mut self, method: &str, headers: &str) -> Vec<Sent> {
        let Self { cseq, from, far, .. } = *self;
        let body = if method == "INVITE" { offer(addr(far), "sendrecv") } else { String::new() };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let request = format!(
            "{method} {URI} SIP/2.0\r\nVia: SIP/2.0/UDP {far};branch=z9hG4bK{method}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}@box>;tag=a\r\nTo: <sip:{from}@box>\r\n\
             Call-ID: one\r\nCSeq: {cseq} {method}\r\nContact: <sip:{from}@{far}>\r\n\
             {headers}{content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.world.send(addr(far), addr(US), request);
        self.world.take()
    }

    /// The one answer to a REGISTER.
    fn register(&mut self, headers: &str) -> Sent {
        let mut sent = self.send("REGISTER", headers);
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    /// A nonce, as a challenge has it.
    fn nonce(&mut self) -> String {
        nonce(&self.register(""))
    }

    /// Signs in with an answer to a nonce; the status.
    fn sign_in(&mut self, nonce: &str, answer: Answer<'_>) -> u16 {
        self.register(&answer.header(nonce, rsip::Method::Register)).status()
    }
}

fn nonce(challenge: &Sent) -> String {
    assert_eq!(challenge.status(), 401);
    let text = challenge.text();
    let (_, rest) = text.split_once("nonce=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

impl Answer<'_> {
    /// The header with the digest that rsip computes.
    fn header(&self, nonce: &str, method: rsip::Method) -> String {
        use rsip::headers::auth::{Algorithm, AuthQop};
        let uri: rsip::Uri = URI.try_into().unwrap();
        let qop = self.count.map(|nc| AuthQop::Auth { cnonce: "c0ffee".to_owned(), nc });
        let generator = DigestGenerator {
            username: self.user,
            password: self.password,
            algorithm: self.algorithm,
            nonce,
            method: &method,
            qop: qop.as_ref(),
            uri: &uri,
            realm: "box",
        };
        let name = match self.algorithm {
            Algorithm::Md5 => "MD5",
            _ => "SHA-256",
        };
        let (user, response) = (self.user, generator.compute());
        let qop = self
            .count
            .map_or_else(String::new, |nc| format!(", qop=auth, nc={nc:08}, cnonce=\"c0ffee\""));
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"box\", nonce=\"{nonce}\", \
             uri=\"{URI}\", response=\"{response}\", algorithm={name}{qop}\r\n"
        )
    }
}

#[test]
fn a_challenge_offers_sha_256_first_and_is_small() {
    let mut client = Client::new(settings());
    let challenge = client.register("");
    let text = challenge.text();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("WWW-Auth")).collect();
    assert_eq!(lines.len(), 2);
    for (line, algorithm) in lines.iter().zip(["SHA-256", "MD5"]) {
        let value = line.strip_prefix("WWW-Authenticate: ").unwrap();
        let offered = Credentials::parse(value.as_bytes()).unwrap();
        assert_eq!(offered.realm, Some(&b"box"[..]));
        assert_eq!(offered.algorithm, Some(algorithm.as_bytes()));
        assert_eq!(offered.qop, Some(&b"auth"[..]));
        assert!(!line.contains("stale"));
    }
    let (_, request) = client.world.delivered.last().unwrap();
    assert!(challenge.bytes.len() < 3 * request.bytes.len(), "{}", challenge.bytes.len());
    let counts = client.world.shard.health().registrations;
    assert_eq!((counts.attempts, counts.challenged, counts.active), (0, 1, 0));
}

#[test]
fn both_algorithms_open_and_wrong_passwords_do_not() {
    for algorithm in [rsip::headers::auth::Algorithm::Md5, rsip::headers::auth::Algorithm::Sha256] {
        let mut client = Client::new(settings());
        let nonce = client.nonce();
        let answer = Answer { algorithm, ..ANN };
        assert_eq!(client.sign_in(&nonce, Answer { password: "word", ..answer }), 401);
        assert_eq!(client.sign_in(&nonce, Answer { user: "eve", ..answer }), 401);
        assert_eq!(client.sign_in(&nonce, Answer { user: "", password: "", ..answer }), 401);
        assert_eq!(client.sign_in(&nonce, answer), 200);
        // Another user may sign in, but not register for her.
        let bob = Answer { user: "bob", password: "other", count: Some(2), ..answer };
        assert_eq!(client.sign_in(&nonce, bob), 403);
        let health = client.world.shard.health();
        assert_eq!((health.auth_failures, health.registrations.failed_4xx), (4, 4));
        assert_eq!((health.registrations.attempts, health.registrations.succeeded), (5, 1));
    }
}

#[test]
fn a_count_opens_once_and_what_is_over_is_stale() {
    let mut client = Client::new(settings());
    let nonce = client.nonce();
    let header = ANN.header(&nonce, rsip::Method::Register);
    assert_eq!(client.register(&header).status(), 200);
    // The same message again: its answer was lost.
    assert_eq!(client.send_again("REGISTER", &header)[0].status(), 200);
    // The same credentials in another one: somebody has listened.
    let replayed = client.register(&header);
    assert!(replayed.status() == 401 && replayed.text().contains("stale=true"));
    assert_eq!(client.sign_in(&nonce, Answer { count: Some(2), ..ANN }), 200);
    client.world.run_for(secs(301));
    let over =
        client.register(&Answer { count: Some(3), ..ANN }.header(&nonce, rsip::Method::Register));
    assert!(over.status() == 401 && over.text().contains("stale=true"));
    let fresh = self::nonce(&over);
    // A nonce is for the address that it was sent to.
    client.far = "203.0.113.7:5060";
    let elsewhere = client.register(&ANN.header(&fresh, rsip::Method::Register));
    assert!(elsewhere.status() == 401 && elsewhere.text().contains("stale=true"));
    client.far = FAR;
    assert_eq!(client.sign_in(&fresh, ANN), 200);
    // None of these is a failure.
    assert_eq!(client.world.shard.health().auth_failures, 0);
    assert_eq!(client.world.shard.health().registrations.failed_4xx, 0);
}

/// Two of one address are asked at one instant, as they are when their requests stand together in
/// a TCP connection; what one has used is not the other's.
#[test]
fn nonces_of_one_instant_differ() {
    let mut client = Client::new(settings());
    let (first, second) = (client.nonce(), client.nonce());
    assert_ne!(first, second);
    assert_eq!([&first, &second].map(|nonce| client.sign_in(nonce, ANN)), [200, 200]);
}

#[test]
fn clients_of_rfc_2069_are_let_in_where_that_is_said() {
    let old = Answer { count: None, ..ANN };
    for (rfc2069, status) in [(false, 401), (true, 200)] {
        let mut client = Client::new(AuthSettings { rfc2069, ..settings() });
        let nonce = client.nonce();
        assert_eq!(client.sign_in(&nonce, old), status);
        assert_eq!(client.sign_in(&nonce, old), 401, "a nonce opens once");
    }
}

#[test]
fn a_call_signs_in_and_ack_and_cancel_never_do() {
    let mut client = Client::new(settings());
    let challenge = client.send("INVITE", "");
    assert_eq!(challenge.len(), 1);
    let nonce = nonce(&challenge[0]);
    assert!(client.send_again("ACK", "").is_empty());
    assert_eq!(client.world.shard.health().calls_total, 0);
    assert_eq!(client.send_again("CANCEL", "")[0].status(), 481);
    let header = ANN.header(&nonce, rsip::Method::Invite);
    let statuses: Vec<_> = client.send("INVITE", &header).iter().map(Sent::status).collect();
    assert_eq!(statuses.last(), Some(&200), "{statuses:?}");
    // What is within the call needs no more.
    let again = client.send_again("INVITE", &header);
    assert!(again.iter().all(|sent| sent.status() != 401), "{again:?}");
    assert_eq!(client.world.shard.calls_up(), 1);
    assert!(again[0].message().method() == Some(Method::Invite));
}

#[test]
fn each_policy_asks_for_what_it_says() {
    for (register, invite) in [(true, false), (false, true)] {
        let mut client = Client::new(AuthSettings { register, invite, ..settings() });
        let is_asked = |sent: &[Sent]| sent.iter().any(|sent| sent.status() == 401);
        assert_eq!(is_asked(&client.send("REGISTER", "")), register);
        assert_eq!(is_asked(&client.send("INVITE", "")), invite);
        assert!(!is_asked(&client.send("OPTIONS", "")));
    }
}

#[test]
fn credentials_that_are_none_are_asked_for_again() {
    let mut client = Client::new(settings());
    let nonce = client.nonce();
    let good = ANN.header(&nonce, rsip::Method::Register);
    for (from, to) in [
        // RFC 4475 section 3.3.7: a scheme that nobody knows.
        ("Digest username", "NoOneKnowsThisScheme username"),
        ("realm=\"box\"", "realm=\"elsewhere\""),
        ("algorithm=MD5", "algorithm=SHA-512-256"),
        ("qop=auth", "qop=auth-int"),
        ("nc=00000001", "nc=xyz"),
        ("nc=00000001", "nc=00000000"),
        ("response=\"", "response=\"0"),
        ("username=\"ann\", ", ""),
        ("uri=", "url="),
    ] {
        let bent = good.replace(from, to);
        assert_ne!(bent, good);
        assert_eq!(client.register(&bent).status(), 401, "{to}");
    }
    let elsewhere = good.replace("realm=\"box\"", "realm=\"elsewhere\"");
    assert_eq!(client.register(&format!("{elsewhere}{good}")).status(), 200);
}
