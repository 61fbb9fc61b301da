//! SIP over TCP and TLS, on the running appliance: calls in one connection, in pieces, through
//! either shard; keep-alives; what is no SIP; a connection that is lost; the certificate.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
    StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

mod live;
use live::{Appliance, Refusal, Scratch, is_installed};

#[test]
fn many_calls_in_one_connection_however_their_bytes_come() {
    let appliance = Appliance::start();
    let mut phone = Phone::tcp(&appliance);
    let calls: Vec<_> = (0..20).map(|n| format!("piecemeal-{n}")).collect();
    let invites: String = calls.iter().map(|call| phone.request("INVITE", call, 1, "")).collect();
    for piece in invites.as_bytes().chunks(7) {
        phone.stream.write_all(piece).unwrap();
    }
    // Calls of two shards: answers come as they are ready.
    let mut answers = Vec::new();
    while answers.len() < calls.len() {
        let answer = phone.read();
        if answer.starts_with("SIP/2.0 200") {
            let contact = header(&answer, "Contact");
            assert!(contact.contains(";transport=tcp"), "{contact}");
            answers.push(answer);
        }
    }
    for answer in &answers {
        let (call, tag) = (header(answer, "Call-ID"), tag(answer));
        let ack = phone.request("ACK", call, 1, tag);
        let bye = phone.request("BYE", call, 2, tag);
        phone.stream.write_all(format!("{ack}{bye}").as_bytes()).unwrap();
    }
    for _ in &calls {
        let answer = phone.read();
        assert!(answer.starts_with("SIP/2.0 200") && answer.contains("2 BYE"), "{answer}");
    }
    let history = appliance.history(calls.len());
    assert!(history.iter().all(|call| call["ended_by"] == "caller"));
}

#[test]
fn a_keep_alive_is_answered_with_an_empty_line() {
    let appliance = Appliance::start();
    let mut phone = Phone::tcp(&appliance);
    phone.stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    phone.stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    let options = phone.request("OPTIONS", "after", 1, "");
    phone.stream.write_all(options.as_bytes()).unwrap();
    assert!(phone.read().starts_with("SIP/2.0 200"));
}

#[test]
fn who_speaks_no_sip_is_hung_up_on_and_counted() {
    let appliance = Appliance::start();
    let lie = "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n";
    for nonsense in ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", lie] {
        let mut stream = TcpStream::connect(appliance.sip).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0, "{nonsense}");
    }
    appliance.wait_for("/healthz", |health| {
        let shards = health["shards"].as_array().unwrap();
        shards.iter().map(|shard| shard["connections_broken"].as_u64().unwrap()).sum::<u64>() == 3
            && shards.iter().all(|shard| shard["connections"] == 0)
    });
}

#[test]
fn a_malformed_message_is_refused_and_the_next_one_answered() {
    let appliance = Appliance::start();
    let mut phone = Phone::tcp(&appliance);
    let good = phone.request("OPTIONS", "good", 1, "");
    let bad = good.replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE");
    phone.stream.write_all(format!("{bad}{good}").as_bytes()).unwrap();
    assert!(phone.read().starts_with("SIP/2.0 400"));
    assert!(phone.read().starts_with("SIP/2.0 200"));
}

#[test]
fn a_call_outlives_its_connection() {
    let appliance = Appliance::start();
    let mut phone = Phone::tcp(&appliance);
    let tag = phone.call("outlives");
    drop(phone);
    let mut phone = Phone::tcp(&appliance);
    let bye = phone.request("BYE", "outlives", 2, &tag);
    phone.stream.write_all(bye.as_bytes()).unwrap();
    assert!(phone.read().starts_with("SIP/2.0 200"));
    assert_eq!(appliance.history(1)[0]["ended_by"], "caller");
}

#[test]
fn calls_are_hung_up_through_their_connections() {
    let appliance = Appliance::start();
    let mut phone = Phone::tcp(&appliance);
    // Of both shards, most likely.
    let mut calls: Vec<_> = (0..8).map(|n| format!("up-{n}")).collect();
    calls.iter().for_each(|call| drop(phone.call(call)));
    appliance.signal("TERM");
    while !calls.is_empty() {
        let bye = phone.read();
        assert!(bye.starts_with("BYE ") && bye.contains("Via: SIP/2.0/TCP "), "{bye}");
        let call = header(&bye, "Call-ID").to_owned();
        calls.retain(|known| *known != call);
        let head = bye.split_once("\r\n").unwrap().1.replace("Max-Forwards: 70\r\n", "");
        phone.stream.write_all(format!("SIP/2.0 200 OK\r\n{head}").as_bytes()).unwrap();
    }
    let (status, log) = appliance.ended();
    assert!(status.success(), "{log}");
}

#[test]
fn calls_over_tls_with_a_certificate_made_at_start() {
    let appliance = Appliance::with(SELF_SIGNED, &["--shards", "2"]);
    let mut phone = Phone::tls(appliance.sip_tls.unwrap());
    let tag = phone.call("secret");
    let bye = phone.request("BYE", "secret", 2, &tag);
    phone.stream.write_all(bye.as_bytes()).unwrap();
    let answer = phone.read();
    assert!(answer.starts_with("SIP/2.0 200") && answer.contains("2 BYE"), "{answer}");
    assert_eq!(appliance.history(1)[0]["state"], "ended");
}

#[test]
fn openssl_is_shown_the_certificate_over_tls_1_3() {
    if !is_installed("openssl", "openssl") {
        return;
    }
    let config = "sip_tls = '127.0.0.1:0'\ntls_certificate = 'tests/fixtures/notify/server.pem'\n\
        tls_key = 'tests/fixtures/notify/server.key'\n";
    let appliance = Appliance::with(config, &["--shards", "1"]);
    let shown = |version: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &appliance.sip_tls.unwrap().to_string()])
            .args([version, "-CAfile", "tests/fixtures/notify/ca.pem"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = shown("-tls1_3");
    assert!(text.contains("TLSv1.3") && text.contains("Verify return code: 0 (ok)"), "{text}");
    let text = shown("-tls1_2");
    assert!(text.contains("TLSv1.2") && text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[test]
fn a_certificate_that_is_renewed_is_shown_to_the_next_connection() {
    let dir = Scratch::new();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        dir.file("key.pem", pem("PRIVATE KEY", &made.signing_key.serialize_der()));
        let certificate = made.cert.der().to_vec();
        (dir.file("certificate.pem", pem("CERTIFICATE", &certificate)), certificate)
    };
    let (path, first) = renew();
    let config = format!(
        "sip_tls = '127.0.0.1:0'\ntls_certificate = '{}'\ntls_key = '{}'\n",
        path.display(),
        dir.path().join("key.pem").display()
    );
    let appliance = Appliance::with(&config, &["--shards", "1"]);
    let shown = || {
        let (tls, _) = tls_to(appliance.sip_tls.unwrap());
        tls.conn.peer_certificates().unwrap()[0].to_vec()
    };
    assert_eq!(shown(), first);
    let mut phone = Phone::tls(appliance.sip_tls.unwrap());
    let (_, second) = renew();
    let key = std::fs::read(dir.path().join("key.pem")).unwrap();
    dir.file("key.pem", "no key");
    let refused = appliance.post("/api/reload", "");
    assert!(refused.status == 400 && refused.body.contains("key.pem"), "{refused:?}");
    assert_eq!(shown(), first);
    dir.file("key.pem", key);
    assert_eq!(appliance.post("/api/reload", "").status, 200);
    assert_eq!(shown(), second);
    // Who was connected before stays so.
    phone.call("through the old one");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let dir = Scratch::new();
    let path = dir.file("broken.pem", "no certificate");
    let key = "tests/fixtures/notify/server.key";
    for (certificate, word) in
        [(path.to_str().unwrap(), "broken.pem"), ("missing.pem", "missing.pem")]
    {
        let config = format!(
            "sip_tls = '127.0.0.1:0'\ntls_certificate = '{certificate}'\ntls_key = '{key}'\n"
        );
        Refusal::of_run(&config, &[]).assert(1, &["TLS", word]);
    }
    Refusal::of_run("sip_tls = '127.0.0.1:0'\n", &[]).assert(2, &["sip_tls", "tls_self_signed"]);
}

/// A SIP client over a connection.
struct Phone {
    stream: Box<dyn ReadWrite>,
    transport: &'static str,
    local: SocketAddr,
    peer: SocketAddr,
    /// What was read beyond the last message.
    rest: Vec<u8>,
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Phone {
    fn tcp(appliance: &Appliance) -> Self {
        let stream = connect(appliance.sip);
        let local = stream.local_addr().unwrap();
        let stream = Box::new(stream);
        Self { stream, transport: "TCP", local, peer: appliance.sip, rest: Vec::new() }
    }

    fn tls(peer: SocketAddr) -> Self {
        let (tls, local) = tls_to(peer);
        Self { stream: Box::new(tls), transport: "TLS", local, peer, rest: Vec::new() }
    }

    fn request(&self, method: &str, call: &str, cseq: u32, to_tag: &str) -> String {
        let Self { transport, local, peer, .. } = self;
        let to = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let body = match method {
            "INVITE" => {
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio 9 RTP/AVP 0\r\n"
            }
            _ => "",
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:sink@{peer} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};rport;\
             branch=z9hG4bK{method}{call}\r\nMax-Forwards: 70\r\nFrom: <sip:a@{local}>;tag=f\r\n\
             To: <sip:sink@{peer}>{to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:a@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Has a call answered; gives the tag of the far end.
    fn call(&mut self, call: &str) -> String {
        let invite = self.request("INVITE", call, 1, "");
        self.stream.write_all(invite.as_bytes()).unwrap();
        loop {
            let answer = self.read();
            if answer.starts_with("SIP/2.0 200") {
                let tag = tag(&answer).to_owned();
                let ack = self.request("ACK", call, 1, &tag);
                self.stream.write_all(ack.as_bytes()).unwrap();
                return tag;
            }
            assert!(answer.starts_with("SIP/2.0 1"), "{answer}");
        }
    }

    /// The next message.
    fn read(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.rest).into_owned();
            if let Some(head) = text.find("\r\n\r\n").map(|end| end + 4) {
                let body: usize = header(&text, "Content-Length").parse().unwrap();
                if self.rest.len() >= head + body {
                    let message: Vec<_> = self.rest.drain(..head + body).collect();
                    return String::from_utf8(message).unwrap();
                }
            }
            let mut buffer = [0; 4096];
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the connection has ended after {text:?}");
            self.rest.extend_from_slice(&buffer[..len]);
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    message.lines().find_map(value).unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn tag(message: &str) -> &str {
    header(message, "To").split_once(";tag=").unwrap().1
}

/// A connection that has shaken hands, and our end of it.
fn tls_to(peer: SocketAddr) -> (StreamOwned<ClientConnection, TcpStream>, SocketAddr) {
    let stream = connect(peer);
    let local = stream.local_addr().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    tls.flush().unwrap();
    tls.conn.complete_io(&mut tls.sock).unwrap();
    assert_eq!(tls.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    (tls, local)
}

/// A text in the form of RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Takes any certificate: whose it is, is not what is tested.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

const SELF_SIGNED: &str = "sip_tls = '127.0.0.1:0'\ntls_self_signed = true\n";

/// Longer than anything takes, even where other tests have the machine.
const PATIENCE: Duration = Duration::from_secs(20);
