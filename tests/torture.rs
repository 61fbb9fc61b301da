//! The torture messages of RFC 4475 and RFC 5118: each reads as it must, or its fault is named.
//!
//! The messages are not in this repository. They are looked for in `tests/fixtures/torture` and in
//! the directory that `VOXPLANE_TORTURE` names, as `rfc4475/wsinv.dat` and `rfc5118/ipv6-good`,
//! byte for byte; where there are none, these tests say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::{env, fs, net::IpAddr, path::PathBuf};

use voxplane::wire::{
    sdp::SessionDescription,
    sip::{
        Defect, HeaderName, Method, NameAddr, SipError, SipMessage, StartLine, Uri, call_id,
        elements,
    },
};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// It passes; RFC 4475 has it well-formed, or leaves the fault to choice.
    Passes,
    /// It reads, and a server refuses it with this status for this defect.
    Refused(u16, Defect),
    /// It does not read.
    Unread(SipError),
}
use Verdict::{Passes, Refused, Unread};

/// RFC 4475 by section: well-formed, malformed, transaction, application, backward.
const RFC_4475: [(&str, Verdict); 50] = [
    ("wsinv", Passes),
    ("intmeth", Passes),
    ("esc01", Passes),
    ("escnull", Passes),
    ("esc02", Passes),
    ("lwsdisp", Passes),
    ("longreq", Passes),
    ("dblreq", Passes),
    ("semiuri", Passes),
    ("transports", Passes),
    ("mpart01", Passes),
    ("unreason", Passes),
    ("noreason", Passes),
    ("badinv01", Refused(400, Defect::Malformed(HeaderName::Via))),
    ("clerr", Refused(400, Defect::ContentTooShort { declared: 9999, actual: 154 })),
    ("ncl", Refused(400, Defect::Number(HeaderName::ContentLength))),
    ("scalar02", Refused(400, Defect::Number(HeaderName::MaxForwards))),
    ("scalarlg", Refused(400, Defect::Number(HeaderName::CSeq))),
    ("quotbal", Refused(400, Defect::OpenQuote(HeaderName::To))),
    ("ltgtruri", Refused(400, Defect::UriBrackets)),
    ("lwsruri", Refused(400, Defect::UriSpaces)),
    ("lwsstart", Passes),
    ("trws", Passes),
    ("escruri", Refused(400, Defect::UriHeaders)),
    ("baddate", Passes),
    ("regbadct", Passes),
    ("badaspec", Passes),
    ("baddn", Passes),
    ("badvers", Refused(505, Defect::Version)),
    ("mismatch01", Refused(400, Defect::MethodMismatch)),
    ("mismatch02", Refused(501, Defect::UnknownMethodMismatch)),
    ("bigcode", Unread(SipError::StatusCode)),
    ("badbranch", Passes),
    ("insuf", Refused(400, Defect::Missing(HeaderName::CallId))),
    ("unkscm", Refused(416, Defect::UriScheme)),
    ("novelsc", Refused(416, Defect::UriScheme)),
    ("unksm2", Refused(400, Defect::AddressOfRecord)),
    ("bext01", Refused(420, Defect::Extension)),
    ("invut", Refused(415, Defect::ContentType)),
    // Which schemes of authorization there are is for a registrar to know.
    ("regaut01", Passes),
    ("multi01", Refused(400, Defect::Repeated(HeaderName::CallId))),
    ("mcl01", Refused(400, Defect::Repeated(HeaderName::ContentLength))),
    // A client drops it for its second Via; a capture holds such responses rightly.
    ("bcast", Passes),
    // Only a proxy answers 483.
    ("zeromf", Passes),
    ("cparam01", Passes),
    ("cparam02", Passes),
    ("regescrt", Passes),
    ("sdp01", Refused(406, Defect::NotAcceptable)),
    ("inv2543", Passes),
    // In the archive of RFC 4475 but not in its text: a request line without a version.
    ("test", Unread(SipError::NotSip)),
];

/// RFC 5118, with the line ends of CRLF that its Content-Lengths count.
const RFC_5118: [(&str, Verdict); 12] = [
    ("ipv6-good", Passes),
    ("ipv6-bad", Refused(400, Defect::UriHost)),
    ("port-ambiguous", Passes),
    ("port-unambiguous", Passes),
    ("via-received-param-with-delim", Passes),
    ("via-received-param-no-delim", Passes),
    // The RFC has it well-formed, but counts 17 octets more than its body has.
    ("ipv6-in-sdp", Refused(400, Defect::ContentTooShort { declared: 268, actual: 251 })),
    ("mult-ip-in-header", Passes),
    ("mult-ip-in-sdp", Passes),
    ("ipv4-mapped-ipv6", Passes),
    ("ipv6-bug-abnf-3-colons", Passes),
    ("ipv6-correct-abnf-2-colons", Passes),
];

#[test]
fn rfc_4475_verdicts() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    assert_eq!(messages.count(), RFC_4475.len());
    for (name, expected) in RFC_4475 {
        let bytes = messages.read(name);
        assert_eq!(verdict(&bytes), expected, "{name}");
        assert_calls_stay_apart(name, &bytes);
    }
}

#[test]
fn rfc_5118_verdicts() {
    let Some(messages) = Messages::find("rfc5118", "") else { return };
    assert_eq!(messages.count(), RFC_5118.len());
    for (name, expected) in RFC_5118 {
        assert_eq!(verdict(&messages.read_crlf(name)), expected, "{name}");
    }
}

/// Each message of RFC 4475 has its own name in its Call-ID, but for one that has another and two
/// that have none.
fn assert_calls_stay_apart(name: &str, bytes: &[u8]) {
    let own = format!("{name}.");
    let found = call_id(bytes);
    match name {
        "insuf" => assert_eq!(found, None),
        "mpart01" => assert_eq!(found, Some(&b"3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA.."[..])),
        _ => assert!(found.unwrap().starts_with(own.as_bytes()), "{name}"),
    }
    if let Ok(message) = SipMessage::parse(bytes) {
        assert_eq!(message.call_id(), found, "{name}");
    }
}

#[test]
fn short_tortuous_invite() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("wsinv");
    let message = SipMessage::parse(&bytes).unwrap();
    let StartLine::Request { method: Method::Invite, uri, .. } = message.start_line() else {
        panic!("{:?}", message.start_line())
    };
    assert_eq!(Uri::parse(uri).param("unknownparam"), Some(&b""[..]));
    let to = NameAddr::parse(message.to().unwrap());
    assert_eq!(
        (to.uri, to.tag()),
        (&b"sip:vivekg@chair-dnrc.example.com"[..], Some(&b"1918181833n"[..]))
    );
    let from = NameAddr::parse(message.from().unwrap());
    assert_eq!(from.display, br#"J Rosenberg \\\""#);
    assert_eq!((from.uri, from.tag()), (&b"sip:jdrosen@example.com"[..], Some(&b"98asjd8"[..])));
    assert_eq!(message.max_forwards(), Some(68));
    let cseq = message.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let via = message.via().unwrap();
    assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"192.0.2.2"[..]));
    assert_eq!(via.branch, Some(&b"390skdjuw"[..]));
    let vias = message.values(HeaderName::Via).flat_map(elements).count();
    assert_eq!(vias, 3);
    let contact = NameAddr::parse(message.contact().unwrap());
    assert_eq!(contact.display, br#"Quoted string \"\""#);
    assert_eq!(contact.param("newparam"), Some(&b"newvalue"[..]));
    assert_eq!(
        (contact.param("secondparam"), contact.param("q")),
        (Some(&b""[..]), Some(&b"0.33"[..]))
    );
    assert_eq!(message.values(HeaderName::Subject).next(), Some(&b""[..]));
    let sdp = SessionDescription::parse(message.body()).unwrap();
    assert_eq!(sdp.connection(), Some(ip("192.0.2.4")));
    let ports: Vec<_> = sdp.media().map(|media| media.port()).collect();
    assert_eq!(ports, [49217, 3227]);
}

#[test]
fn the_wide_range_of_valid_characters() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("intmeth");
    let message = SipMessage::parse(&bytes).unwrap();
    let StartLine::Request { method, method_text, uri } = message.start_line() else { panic!() };
    assert_eq!(
        (method, method_text),
        (Method::Other, &b"!interesting-Method0123456789_*+`.%indeed'~"[..])
    );
    let uri = Uri::parse(uri);
    assert_eq!(uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
    assert_eq!(uri.host, b"example.com");
    let to = NameAddr::parse(message.to().unwrap());
    assert_eq!(to.display, b"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7F");
    assert_eq!(to.uri, &b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com"[..]);
    let from = NameAddr::parse(message.from().unwrap());
    assert_eq!(from.display, b"token1~` token2'+_ token3*%!.-");
    assert_eq!(from.tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(from.params().count(), 2);
    assert_eq!(message.call_id(), Some(&br#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#[..]));
    assert_eq!(message.cseq().unwrap().number, 139_122_385);
    assert_eq!(message.max_forwards(), Some(255));
    let via = message.via().unwrap();
    assert_eq!((via.transport, via.branch), (&b"TCP"[..], Some(&b"z9hG4bK-.!%66*_+`'~"[..])));
}

#[test]
fn escapes_stay_as_they_are() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("esc01");
    let message = SipMessage::parse(&bytes).unwrap();
    let StartLine::Request { uri, .. } = message.start_line() else { panic!() };
    let uri = Uri::parse(uri);
    assert_eq!(uri.user, Some(&b"sips%3Auser%40example.com"[..]));
    assert_eq!(uri.host, b"example.net");
    assert_eq!(NameAddr::parse(message.from().unwrap()).tag(), Some(&b"938"[..]));
    let contact = NameAddr::parse(message.contact().unwrap());
    assert_eq!(Uri::parse(contact.uri).param("n%61me"), Some(&b"v%61lue%25%34%31"[..]));
    assert_eq!(SessionDescription::parse(message.body()).unwrap().media().count(), 2);

    // An escaped method or header name is not the one it would be.
    let bytes = messages.read("esc02");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.method(), Some(Method::Other));
    assert_eq!(message.cseq().unwrap().method_text, b"RE%47IST%45R");
    assert_eq!(message.values(HeaderName::Contact).count(), 2);
    assert_eq!(NameAddr::parse(message.to().unwrap()).display, b"%Z%45");

    let bytes = messages.read("escnull");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.method(), Some(Method::Register));
    let users: Vec<_> = message
        .values(HeaderName::Contact)
        .map(|value| Uri::parse(NameAddr::parse(value).uri).user.unwrap())
        .collect();
    assert_eq!(users, [&b"%00"[..], b"%00%00"]);
}

#[test]
fn long_values_and_what_follows_a_message() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("longreq");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.values(HeaderName::Via).count(), 34);
    let via = message.via().unwrap();
    assert_eq!((via.host, via.branch), (&b"sip33.example.com"[..], None));
    let last = message.values(HeaderName::Via).last().unwrap();
    assert!(last.starts_with(b"SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=verylong"));
    assert!(NameAddr::parse(message.from().unwrap()).tag().unwrap().len() > 100);
    assert_eq!(message.body().len(), 150);

    let bytes = messages.read("dblreq");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.method(), Some(Method::Register));
    assert_eq!(message.body(), b"");

    let bytes = messages.read("mpart01");
    let message = SipMessage::parse(&bytes).unwrap();
    assert!(message.has_content_type("multipart/mixed"));
    assert_eq!(message.body().len(), 553);
    assert!(message.body().ends_with(b"--7a9cbec02ceef655--\r\n"));
    assert_eq!(message.via().unwrap().rport, Some(None));
    assert_eq!(message.user_agent(), Some(&b"SIPimp.org/0.2.5 (curses)"[..]));
}

#[test]
fn small_oddities_that_are_well_formed() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("lwsdisp");
    let message = SipMessage::parse(&bytes).unwrap();
    let from = NameAddr::parse(message.from().unwrap());
    assert_eq!((from.display, from.tag()), (&b"caller"[..], Some(&b"323"[..])));

    let bytes = messages.read("semiuri");
    let message = SipMessage::parse(&bytes).unwrap();
    let StartLine::Request { uri, .. } = message.start_line() else { panic!() };
    assert_eq!(Uri::parse(uri).user, Some(&b"user;par=u%40example.net"[..]));
    assert_eq!(Uri::parse(uri).params().count(), 0);
    assert_eq!(message.values(HeaderName::Accept).flat_map(elements).count(), 6);

    let bytes = messages.read("transports");
    let message = SipMessage::parse(&bytes).unwrap();
    let transports: Vec<_> = message
        .values(HeaderName::Via)
        .map(|value| voxplane::wire::sip::Via::parse(value).unwrap().transport)
        .collect();
    assert_eq!(transports, [&b"UDP"[..], b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]);

    let bytes = messages.read("unreason");
    let message = SipMessage::parse(&bytes).unwrap();
    let StartLine::Response { code: 200, reason } = message.start_line() else { panic!() };
    assert!(reason.starts_with(b"= 2**3 * 5**2 \xD0\xBD"));
    assert_eq!(message.method(), Some(Method::Invite));
    assert_eq!(message.body().len(), 154);

    let bytes = messages.read("noreason");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.start_line(), StartLine::Response { code: 100, reason: b"" });
}

#[test]
fn faults_of_the_upper_layers_leave_the_fields_right() {
    let Some(messages) = Messages::find("rfc4475", "dat") else { return };
    let bytes = messages.read("badbranch");
    let message = SipMessage::parse(&bytes).unwrap();
    assert!(!message.via().unwrap().has_unique_branch());

    let bytes = messages.read("inv2543");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!((message.via().unwrap().branch, message.content_length()), (None, None));
    let to = NameAddr::parse(message.to().unwrap());
    assert_eq!(
        (to.uri, to.param("user")),
        (&b"sip:+16505552222@ss1.example.net"[..], Some(&b"phone"[..]))
    );
    let from = NameAddr::parse(message.from().unwrap());
    assert_eq!((from.param("user"), from.tag()), (None, None));
    assert_eq!(SessionDescription::parse(message.body()).unwrap().media().count(), 1);

    // A parameter outside brackets is the header's, inside the URI's.
    for (name, in_header) in [("cparam01", true), ("cparam02", false)] {
        let bytes = messages.read(name);
        let message = SipMessage::parse(&bytes).unwrap();
        let contact = NameAddr::parse(message.contact().unwrap());
        assert_eq!(contact.param("unknownparam").is_some(), in_header);
        assert_eq!(Uri::parse(contact.uri).param("unknownparam").is_some(), !in_header);
    }
    let bytes = messages.read("regescrt");
    let message = SipMessage::parse(&bytes).unwrap();
    let contact = NameAddr::parse(message.contact().unwrap());
    assert_eq!(Uri::parse(contact.uri).headers, Some(&b"Route=%3Csip:sip.example.com%3E"[..]));

    let bytes = messages.read("bcast");
    assert_eq!(SipMessage::parse(&bytes).unwrap().values(HeaderName::Via).count(), 2);
    let bytes = messages.read("zeromf");
    assert_eq!(SipMessage::parse(&bytes).unwrap().max_forwards(), Some(0));
    let bytes = messages.read("multi01");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.call_id(), Some(&b"multi01.98asdh@192.0.2.1"[..]));
    assert_eq!(message.cseq().unwrap().number, 5);
}

#[test]
fn ipv6_addresses_where_they_may_stand() {
    let Some(messages) = Messages::find("rfc5118", "") else { return };
    let uri_of = |name: &str| {
        let bytes = messages.read(name);
        let message = SipMessage::parse(&bytes).unwrap();
        let StartLine::Request { uri, .. } = message.start_line() else { panic!() };
        let uri = Uri::parse(uri);
        (uri.ip(), uri.port)
    };
    assert_eq!(uri_of("ipv6-good"), (Some(ip("2001:db8::10")), None));
    assert_eq!(uri_of("port-ambiguous"), (Some(ip("2001:db8::10:5070")), None));
    assert_eq!(uri_of("port-unambiguous"), (Some(ip("2001:db8::10")), Some(5070)));
    assert_eq!(uri_of("ipv6-bug-abnf-3-colons"), (Some(ip("2001:db8::192.0.2.1")), None));
    assert_eq!(uri_of("ipv6-correct-abnf-2-colons"), (Some(ip("2001:db8::192.0.2.1")), None));

    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let bytes = messages.read(name);
        let via = SipMessage::parse(&bytes).unwrap().via().unwrap();
        assert_eq!(via.ip(), Some(ip("2001:db8::9:1")));
        assert_eq!(via.received_ip(), Some(ip("2001:db8::9:255")));
    }
    let bytes = messages.read("mult-ip-in-header");
    let message = SipMessage::parse(&bytes).unwrap();
    assert_eq!(message.via().unwrap().port, Some(6050));
    assert_eq!(message.values(HeaderName::Via).count(), 3);
    let bytes = messages.read("ipv4-mapped-ipv6");
    let message = SipMessage::parse(&bytes).unwrap();
    let via = message.via().unwrap();
    assert_eq!((via.ip(), via.port), (Some(ip("::ffff:192.0.2.10")), Some(19823)));
    let contact = NameAddr::parse(message.contact().unwrap());
    assert_eq!(contact.display, b"T. desk phone");
    assert_eq!(Uri::parse(contact.uri).ip(), Some(ip("::ffff:192.0.2.2")));
}

#[test]
fn ipv6_addresses_in_session_descriptions() {
    let Some(messages) = Messages::find("rfc5118", "") else { return };
    let media_of = |name: &str| -> Vec<_> {
        let bytes = messages.read(name);
        let message = SipMessage::parse(&bytes).unwrap();
        let sdp = SessionDescription::parse(message.body()).unwrap();
        sdp.media().map(|media| (media.connection(), media.port())).collect()
    };
    let one = Some(ip("2001:db8::20"));
    assert_eq!(media_of("ipv6-in-sdp"), [(one, 6000), (one, 6024)]);
    let mixed = [(Some(ip("192.0.2.1")), 22334), (Some(ip("2001:db8::1")), 6024)];
    assert_eq!(media_of("mult-ip-in-sdp"), mixed);
    let mapped = Some(ip("::ffff:192.0.2.2"));
    assert_eq!(media_of("ipv4-mapped-ipv6"), [(mapped, 6000), (mapped, 6024)]);
}

fn verdict(bytes: &[u8]) -> Verdict {
    match SipMessage::parse(bytes) {
        Err(error) => Unread(error),
        Ok(message) => match message.check() {
            Ok(()) => Passes,
            Err(defect) => Refused(defect.status(), defect),
        },
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The messages of one RFC.
struct Messages {
    directory: PathBuf,
    extension: &'static str,
}

impl Messages {
    fn find(rfc: &str, extension: &'static str) -> Option<Self> {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torture");
        let named = env::var_os("VOXPLANE_TORTURE").map(PathBuf::from);
        if let Some(named) = &named {
            assert!(named.is_dir(), "VOXPLANE_TORTURE: no directory {}", named.display());
        }
        let found = named.into_iter().chain([fixtures]).map(|root| root.join(rfc));
        let Some(directory) = found.into_iter().find(|directory| directory.is_dir()) else {
            println!("skipped: no messages of {rfc}; VOXPLANE_TORTURE can name where they are");
            return None;
        };
        Some(Self { directory, extension })
    }

    fn count(&self) -> usize {
        fs::read_dir(&self.directory).unwrap().count()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.join(name).with_extension(self.extension)).unwrap()
    }

    fn read_crlf(&self, name: &str) -> Vec<u8> {
        let text = String::from_utf8(self.read(name)).unwrap();
        text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
    }
}
