//! The torture messages of RFC 4475 and RFC 5118 against the appliance: each gets the final
//! response that it must, from the state machine and over UDP from the running program.
//!
//! The messages are not in this repository; see `torture.rs` for where they are looked for. Where
//! there are none, these tests say so and pass.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::{
    collections::BTreeSet,
    env, fs,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use voxplane::{
    shard::ShardConfig,
    wire::sip::{SipMessage, StartLine, call_id},
};

mod common;
mod live;
use common::{World, addr};
use live::Appliance;

/// Each message with its final response; 0 where there must be none.
const RFC_4475: [(&str, u16); 50] = [
    // Well-formed, but within no call that there is.
    ("wsinv", 481),
    ("intmeth", 501),
    ("esc01", 200),
    ("escnull", 200),
    ("esc02", 501),
    ("lwsdisp", 200),
    ("longreq", 200),
    ("dblreq", 200),
    ("semiuri", 200),
    ("transports", 200),
    ("mpart01", 200),
    ("unreason", 0),
    ("noreason", 0),
    ("badinv01", 400),
    ("clerr", 400),
    ("ncl", 400),
    ("scalar02", 400),
    ("scalarlg", 0),
    ("quotbal", 400),
    ("ltgtruri", 400),
    ("lwsruri", 400),
    ("lwsstart", 200),
    ("trws", 200),
    ("escruri", 400),
    ("baddate", 200),
    // Without brackets the question mark is the header's, and no Contact can have it.
    ("regbadct", 400),
    ("badaspec", 200),
    ("baddn", 200),
    ("badvers", 505),
    ("mismatch01", 400),
    ("mismatch02", 501),
    ("bigcode", 0),
    ("badbranch", 200),
    ("insuf", 400),
    ("unkscm", 416),
    ("novelsc", 416),
    ("unksm2", 400),
    ("bext01", 420),
    ("invut", 415),
    ("regaut01", 200),
    ("multi01", 400),
    ("mcl01", 400),
    ("bcast", 0),
    // Only a proxy answers 483.
    ("zeromf", 200),
    ("cparam01", 200),
    ("cparam02", 200),
    ("regescrt", 200),
    ("sdp01", 406),
    ("inv2543", 200),
    // Has no version in its request line: it is no SIP.
    ("test", 0),
];

const RFC_5118: [(&str, u16); 12] = [
    ("ipv6-good", 200),
    ("ipv6-bad", 400),
    ("port-ambiguous", 200),
    ("port-unambiguous", 200),
    // A BYE of no call.
    ("via-received-param-with-delim", 481),
    ("via-received-param-no-delim", 200),
    // Its Content-Length counts more than there is.
    ("ipv6-in-sdp", 400),
    ("mult-ip-in-header", 481),
    ("mult-ip-in-sdp", 200),
    ("ipv4-mapped-ipv6", 200),
    ("ipv6-bug-abnf-3-colons", 200),
    ("ipv6-correct-abnf-2-colons", 200),
];

#[test]
fn the_state_machine_answers_each_as_it_must() {
    let Some(messages) = messages() else { return };
    let mut wrong = Vec::new();
    for (name, bytes, expected) in messages {
        let mut world = World::new(ShardConfig::default());
        world.send(addr("198.51.100.1:5060"), addr(common::US), bytes);
        let last = world.take().pop().map_or(0, |sent| status(&sent.bytes));
        if last != expected {
            wrong.push(format!("{name}: {last}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_running_appliance_answers_each_over_udp() {
    let Some(messages) = messages() else { return };
    let start = || Appliance::with("", &["--shards", "1"]);
    let mut appliance = start();
    let (mut wrong, mut call_ids) = (Vec::new(), BTreeSet::new());
    for (name, bytes, expected) in messages {
        // Some have the Call-ID of another, whose call is up by now.
        if !call_ids.insert(call_id(&bytes).map(<[u8]>::to_vec)) {
            appliance = start();
        }
        // Who asks for no other port gets its response at the one in its Via.
        let message = SipMessage::parse(&bytes).ok();
        let via = message.and_then(|message| message.via());
        let port = via.filter(|via| via.rport.is_none()).map(|via| via.port.unwrap_or(5060));
        let local = SocketAddr::from(([127, 0, 0, 77], port.unwrap_or(0)));
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&bytes, appliance.sip).unwrap();
        let got = final_status(&socket, &appliance, name);
        if got != expected {
            wrong.push(format!("{name}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let health = appliance.json("/healthz");
    assert_eq!(health["shards"].as_array().unwrap().len(), 1, "{health:#}");
}

/// The last response before that to a question which is asked after the message.
fn final_status(socket: &UdpSocket, appliance: &Appliance, name: &str) -> u16 {
    let local = socket.local_addr().unwrap();
    let question = format!(
        "OPTIONS sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK-after-{name}\r\n\
         From: <sip:x@{local}>;tag=1\r\nTo: <sip:x@{}>\r\nCall-ID: after-{name}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        appliance.sip, appliance.sip
    );
    socket.send_to(question.as_bytes(), appliance.sip).unwrap();
    let mut last = 0;
    let mut buffer = [0; 65_536];
    loop {
        let len = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{name}: {error}"));
        let bytes = &buffer[..len];
        let own = format!("after-{name}");
        if SipMessage::parse(bytes).unwrap().call_id() == Some(own.as_bytes()) {
            return last;
        }
        last = status(bytes);
    }
}

fn status(bytes: &[u8]) -> u16 {
    match SipMessage::parse(bytes).unwrap().start_line() {
        StartLine::Response { code, .. } => code,
        StartLine::Request { .. } => panic!("a request"),
    }
}

/// All messages with what they must be answered with.
fn messages() -> Option<Vec<(&'static str, Vec<u8>, u16)>> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torture");
    let named = env::var_os("VOXPLANE_TORTURE").map(PathBuf::from);
    let mut roots = named.into_iter().chain([fixtures]);
    let Some(root) = roots.find(|root| root.join("rfc4475").is_dir()) else {
        println!("skipped: no torture messages; VOXPLANE_TORTURE can name where they are");
        return None;
    };
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut all = Vec::new();
    for (name, expected) in RFC_4475 {
        all.push((name, read(root.join("rfc4475").join(name).with_extension("dat")), expected));
    }
    for (name, expected) in RFC_5118 {
        // With the line ends of CRLF that its Content-Length counts.
        let text = String::from_utf8(read(root.join("rfc5118").join(name))).unwrap();
        let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        all.push((name, text.into_bytes(), expected));
    }
    Some(all)
}
