//! The registrar (RFC 3261 section 10.3): bindings made, renewed, counted and ended, all of a
//! REGISTER or none of it. Time is virtual.

mod common;

use common::{Sent, US, World, addr, secs};
use voxplane::{
    shard::{ShardConfig, health::Registrations, owner, registrar::RegistrarSettings},
    wire::sip::HeaderName,
};

/// One client: its REGISTERs have one Call-ID and count up.
struct Client {
    world: World,
    call_id: &'static str,
    cseq: u32,
    to: &'static str,
}

impl Client {
    fn new() -> Self {
        Self::with(RegistrarSettings::default())
    }

    fn with(registrar: RegistrarSettings) -> Self {
        let world = World::new(ShardConfig { registrar, ..ShardConfig::default() });
        Self { world, call_id: "first", cseq: 0, to: "<sip:ann@box.example>" }
    }

    /// The same one again, with other header lines.
    fn register(&mut self, headers: &str) -> Sent {
        self.cseq += 1;
        self.send(self.cseq, headers)
    }

    fn send(&mut self, cseq: u32, headers: &str) -> Sent {
        let (to, call_id) = (self.to, self.call_id);
        let request = format!(
            "REGISTER sip:{US} SIP/2.0\r\nVia: SIP/2.0/UDP {FAR};branch=z9hG4bK{cseq}{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: {to};tag=a\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        self.world.send(addr(FAR), addr(US), request);
        self.world.take_one()
    }

    /// What a REGISTER without a Contact is told.
    fn contacts(&mut self) -> Vec<String> {
        contacts(&self.register(""))
    }

    fn counts(&self) -> Registrations {
        self.world.shard.health().registrations
    }
}

fn contacts(answer: &Sent) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.values(HeaderName::Contact)
}

const FAR: &str = "198.51.100.1:5070";
const ONE: &str = "Contact: <sip:ann@198.51.100.1:5070;transport=udp>;q=0.7\r\n";
const TWO: &str = "Contact: <sip:ann@198.51.100.2>\r\n";

#[test]
fn a_contact_lasts_as_long_as_was_said() {
    let mut ann = Client::new();
    let granted = contacts(&ann.register(ONE));
    assert_eq!(granted, ["<sip:ann@198.51.100.1:5070;transport=udp>;q=0.7;expires=3600"]);
    ann.world.run_for(secs(3599));
    assert_eq!(ann.contacts(), ["<sip:ann@198.51.100.1:5070;transport=udp>;q=0.7;expires=1"]);
    assert_eq!((ann.counts().active, ann.counts().users), (1, 1));
    // By the timer alone: nobody asks.
    ann.world.run_for(secs(1));
    assert_eq!((ann.counts().active, ann.counts().users), (0, 0));
    assert_eq!(ann.world.deadline, None);
}

#[test]
fn times_come_from_the_contact_then_from_expires_and_are_held_within_bounds() {
    let mut ann = Client::new();
    let headers = "Contact: <sip:a@h>;expires=70, <sip:b@h>\r\nm: <sip:c@h>;expires=99999\r\n\
                   Expires: 120\r\n";
    let granted = contacts(&ann.register(headers));
    assert_eq!(
        granted,
        ["<sip:c@h>;expires=7200", "<sip:b@h>;expires=120", "<sip:a@h>;expires=70"]
    );
    let refused = ann.register("Contact: <sip:d@h>, <sip:a@h>;expires=59\r\n");
    assert_eq!(refused.status(), 423);
    assert_eq!(refused.values(HeaderName::MinExpires), ["60"]);
    assert_eq!(ann.contacts().len(), 3, "of what is refused nothing is done");
    ann.world.run_for(secs(119));
    assert_eq!(ann.contacts().len(), 2);
}

#[test]
fn contacts_are_renewed_and_taken_back_by_what_they_mean() {
    let mut ann = Client::new();
    ann.register(ONE);
    ann.register(TWO);
    // Another spelling of the first one.
    let again = "Contact: <sip:%61nn@198.51.100.1:5070;Transport=UDP>;expires=100;q=1\r\n";
    let granted = contacts(&ann.register(again));
    assert_eq!(granted.len(), 2);
    assert_eq!(granted[0], "<sip:%61nn@198.51.100.1:5070;Transport=UDP>;q=1;expires=100");
    let left = contacts(&ann.register("Contact: <sip:ann@198.51.100.2>;expires=0\r\n"));
    assert_eq!(left.len(), 1);
    // Other users are others.
    ann.to = "<sip:bob@box.example>";
    assert!(ann.contacts().is_empty());
    // One is the same by any name.
    ann.to = "\"Ann\" <sip:%61nn@BOX.example;user=phone>";
    assert_eq!(ann.contacts().len(), 1);
    assert!(contacts(&ann.register("Contact: *\r\nExpires: 0\r\n")).is_empty());
    assert_eq!(ann.counts().users, 0);
}

#[test]
fn a_star_is_alone_and_ends_all() {
    let mut ann = Client::new();
    ann.register(&format!("{ONE}{TWO}"));
    for bad in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:a@h>\r\nExpires: 0\r\n",
    ] {
        assert_eq!(ann.register(bad).status(), 400, "{bad}");
    }
    assert_eq!(ann.counts().active, 2);
}

#[test]
fn a_register_that_comes_late_changes_nothing() {
    let mut ann = Client::new();
    ann.send(5, ONE);
    let late = ann.send(4, &format!("{TWO}Contact: <sip:ann@198.51.100.1:5070;transport=udp>\r\n"));
    assert_eq!(late.status(), 500);
    assert_eq!(ann.send(4, "Contact: *\r\nExpires: 0\r\n").status(), 500);
    assert_eq!(ann.counts().active, 1, "nor is the new one of the two there");
    // The same one again is the same transaction, whose answer was lost.
    assert_eq!(contacts(&ann.send(5, ONE)).len(), 1);
    // A client that has started again counts from one, under another Call-ID.
    ann.call_id = "second";
    assert_eq!(contacts(&ann.send(1, ONE)).len(), 1);
    assert_eq!(contacts(&ann.send(2, "Contact: *\r\nExpires: 0\r\n")).len(), 0);
}

#[test]
fn what_finds_no_room_is_refused_and_counted() {
    let settings = RegistrarSettings { max_bindings_per_shard: 12, ..RegistrarSettings::default() };
    let mut ann = Client::with(settings);
    let many = |from: u32, count: u32| -> String {
        (from..from + count).map(|n| format!("Contact: <sip:{n}@h>\r\n")).collect()
    };
    assert_eq!(contacts(&ann.register(&many(0, 10))).len(), 10);
    let full = ann.register(&many(10, 1));
    assert_eq!((full.status(), full.values(HeaderName::RetryAfter)), (503, vec!["60".to_owned()]));
    // What is there can be renewed.
    assert_eq!(ann.register(&many(3, 1)).status(), 200);
    ann.to = "<sip:bob@box.example>";
    assert_eq!(ann.register(&many(0, 3)).status(), 503);
    assert_eq!(ann.register(&many(0, 2)).status(), 200);
    let counts = ann.counts();
    assert_eq!((counts.active, counts.users, counts.refused), (12, 2, 2));
    assert_eq!((counts.attempts, counts.succeeded, counts.failed_5xx), (5, 3, 2));
}

#[test]
fn an_answer_is_no_amplifier() {
    let mut ann = Client::new();
    for n in 0..10 {
        let long = "x".repeat(400);
        ann.register(&format!("Contact: <sip:{n}@h;{long}>\r\n"));
    }
    let mut asked = 0;
    for answer in [ann.register(""), ann.register("Contact: <sip:new@h>;expires=0\r\n")] {
        asked += 1;
        assert!(answer.bytes.len() < 1000, "{asked}: {}", answer.bytes.len());
    }
}

#[test]
fn contacts_that_cannot_be_are_refused_and_unknown_parameters_kept() {
    let mut ann = Client::new();
    let long = format!("Contact: <sip:{}@h>\r\n", "x".repeat(600));
    for bad in [
        // A `?` needs angle brackets (RFC 4475 section 3.1.2.16).
        "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\n",
        "Contact: <sip:a b@h>\r\n",
        "Contact: <sip:a@h>;x=\"1\r\n 2\"\r\n",
        &long,
    ] {
        assert_eq!(ann.register(bad).status(), 400, "{bad}");
    }
    // RFC 4475 sections 3.3.11, 3.3.12 and 3.3.13: all of these are contacts.
    for (good, granted) in [
        ("<sip:1@h;unknownparam>", "<sip:1@h;unknownparam>;expires=3600"),
        ("<sip:2@h>;unknownparam", "<sip:2@h>;unknownparam;expires=3600"),
        ("<sip:3@h?Route=%3Csip:h2%3E>", "<sip:3@h?Route=%3Csip:h2%3E>;expires=3600"),
        ("\"A, B\" <sip:4@h>;x=\"y;z\"", "<sip:4@h>;x=\"y;z\";expires=3600"),
        ("mailto:a@b", "<mailto:a@b>;expires=3600"),
    ] {
        assert_eq!(contacts(&ann.register(&format!("Contact: {good}\r\n")))[0], granted);
    }
    assert_eq!(ann.counts().failed_4xx, 4);
    ann.to = "<tel:+15551234>";
    assert_eq!(ann.register(ONE).status(), 200);
    let long = format!("<sip:{}@h>", "x".repeat(600));
    for bad in ["<isbn:2983792873>", long.leak()] {
        ann.to = bad;
        assert_eq!(ann.register(ONE).status(), 400, "{bad}");
    }
}

#[test]
fn all_of_one_user_meet_on_one_shard_and_calls_go_by_their_call_id() {
    let message = |method: &str, to: &str, call_id: u32| {
        format!("{method} sip:{US} SIP/2.0\r\nt: {to}\r\nCall-ID: {call_id}\r\n\r\n")
    };
    let shard = |text: String| owner(text.as_bytes(), 64, 7).0;
    let home = shard(message("REGISTER", "<sip:ann@box.example>", 0));
    for id in 0..50 {
        let to = "Ann <SIP:%61nn@Box.Example;a=b>;x";
        assert_eq!(shard(message("REGISTER", to, id)), home);
    }
    let spread = |method, to: &dyn Fn(u32) -> String| {
        let shards = (0..50).map(|id| shard(message(method, &to(id), id)));
        shards.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(spread("REGISTER", &|id| format!("<sip:{id}@h>")) > 20);
    assert!(spread("OPTIONS", &|_| "<sip:ann@box.example>".to_owned()) > 20);
}
