//! `/api/qos/registrations`: the contacts of all shards as one list, as they are made, renewed,
//! taken back and as they end; its pages, filters and orders. Time is virtual.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use serde_json::{Value, json};
use voxplane::{
    control::Calls,
    http::Server,
    id::ShardId,
    shard::{Outbox, Shard, ShardConfig, owner, registrar::RegistrarSettings},
    time::Timestamp,
    wire::{Datagram, IpMarks, Transport},
};

mod http;
use http::{get, serve, wall};

/// The shards of an appliance, control, and the time; nothing is told until [`tell`](Self::tell).
struct Shards {
    shards: Vec<Shard>,
    calls: Calls,
    out: Outbox,
    now: Timestamp,
    cseq: u32,
}

impl Shards {
    fn new(registrar: RegistrarSettings) -> Self {
        let config = |id| ShardConfig { id: ShardId(id), registrar, ..ShardConfig::default() };
        let now = wall();
        Self {
            shards: (0..SHARDS).map(|id| Shard::new(config(id))).collect(),
            calls: Calls::new(now, 0),
            out: Outbox::default(),
            now,
            cseq: 0,
        }
    }

    /// A REGISTER of `user` from an address; the shard that took it.
    fn register(&mut self, user: &str, source: &str, headers: &str) -> usize {
        self.cseq += 1;
        let Self { cseq, now, .. } = *self;
        let text = format!(
            "REGISTER sip:box.example SIP/2.0\r\nVia: SIP/2.0/TCP {source};branch=z9hG4bK{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@box.example>;tag=a\r\n\
             To: <sip:{user}@box.example>\r\nCall-ID: of-{user}\r\nCSeq: {cseq} REGISTER\r\n\
             {headers}Content-Length: 0\r\n\r\n"
        );
        let datagram = Datagram {
            received_at: now,
            src: source.parse().unwrap(),
            dst: "192.0.2.9:5060".parse().unwrap(),
            transport: Transport::Tcp,
            marks: IpMarks::UNKNOWN,
            payload: text.as_bytes(),
        };
        let shard = usize::from(owner(text.as_bytes(), SHARDS, 0).0);
        self.shards[shard].handle_admitted(&datagram, &mut self.out);
        self.out.clear();
        shard
    }

    /// Tells control of what has changed, as far as there is room for so many users.
    fn tell(&mut self, room: usize) {
        for shard in &mut self.shards {
            shard.poll(self.now, &mut self.out);
            let mut left = room;
            shard.tell_registered(|user| {
                let is_told = left > 0;
                left = left.saturating_sub(1);
                if is_told {
                    self.calls.take_registered(user);
                }
                is_told
            });
        }
    }

    /// The list, once there is time to make it.
    fn serve(&mut self) -> Server {
        self.now = self.now + Duration::from_secs(1);
        self.tell(usize::MAX);
        serve(self.calls.snapshot(self.now))
    }
}

fn list(server: &Server, query: &str) -> Value {
    let answer = get(server.local_addr(), &format!("/api/qos/registrations{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

/// The users of a list.
fn users(list: &Value) -> Vec<&str> {
    let all = list["registrations"].as_array().unwrap().iter();
    all.map(|it| it["aor"].as_str().unwrap().strip_suffix("@box.example").unwrap()).collect()
}

const SHARDS: u16 = 4;

#[test]
fn a_contact_is_shown_with_its_times_and_its_sender() {
    let mut all = Shards::new(RegistrarSettings::default());
    let made_at = all.now;
    let contact = "Contact: <sip:ann@198.51.100.1:5070;transport=tcp>;q=0.7;expires=100\r\n\
                   User-Agent: Phone 7\r\n";
    all.register("Ann", "198.51.100.1:40001", contact);
    all.now = all.now + Duration::from_secs(60);
    let renewed_at = all.now;
    all.register("Ann", "198.51.100.1:40002", contact);
    let server = all.serve();
    let expected = json!({
        "aor": "sip:Ann@box.example",
        "contact": "sip:ann@198.51.100.1:5070;transport=tcp",
        "params": ";q=0.7",
        "source": "198.51.100.1:40002",
        "transport": "tcp",
        "user_agent": "Phone 7",
        "call_id": "of-Ann",
        "registered_at": made_at,
        "refreshed_at": renewed_at,
        "expires_at": renewed_at + Duration::from_secs(100),
        "expires_in_seconds": 99,
    });
    let answer = json!({"count": 1, "total": 1, "registrations": [expected]});
    assert_eq!(list(&server, ""), answer);
}

#[test]
fn users_of_all_shards_are_one_list_that_is_paged_filtered_and_sorted() {
    let mut all = Shards::new(RegistrarSettings::default());
    let mut homes = Vec::new();
    // One second and ten fewer to go, one after the other.
    for (n, user) in ["dora", "carl", "bob", "ann"].into_iter().enumerate() {
        let source = format!("192.0.2.{}:5060", 10 * (n + 1));
        let headers =
            format!("Contact: <sip:{n}@h>\r\nExpires: {}\r\nUser-Agent: A{n}\r\n", 900 - 10 * n);
        homes.push(all.register(user, &source, &headers));
        all.now = all.now + Duration::from_secs(1);
    }
    homes.dedup();
    assert!(homes.len() > 1, "all of them live on one shard");
    all.register("carl", "192.0.2.20:5060", "Contact: <sip:1@h>\r\nExpires: 850\r\n");
    let server = all.serve();
    for (query, expected, total) in [
        ("", vec!["ann", "bob", "carl", "dora"], 4),
        ("?sort=-aor", vec!["dora", "carl", "bob", "ann"], 4),
        ("?sort=registered", vec!["dora", "carl", "bob", "ann"], 4),
        ("?sort=-registered", vec!["ann", "bob", "carl", "dora"], 4),
        ("?sort=refreshed", vec!["dora", "bob", "ann", "carl"], 4),
        ("?sort=expires", vec!["carl", "ann", "bob", "dora"], 4),
        ("?sort=source", vec!["dora", "carl", "bob", "ann"], 4),
        ("?limit=2&offset=1", vec!["bob", "carl"], 4),
        ("?offset=4", vec![], 4),
        ("?limit=0", vec![], 4),
        ("?aor=CARL", vec!["carl"], 1),
        ("?aor=box.example&limit=1", vec!["ann"], 4),
        ("?contact=2%40h", vec!["bob"], 1),
        ("?user_agent=a3", vec!["ann"], 1),
        ("?source=192.0.2.10", vec!["dora"], 1),
        ("?source=192.0.2.0%2F27", vec!["bob", "carl", "dora"], 3),
        ("?source=192.0.2.0%2F27&aor=d", vec!["dora"], 1),
        ("?aor=nobody", vec![], 0),
    ] {
        let body = list(&server, query);
        let expected: Vec<_> = expected.into_iter().map(|user| format!("sip:{user}")).collect();
        assert_eq!(users(&body), expected, "{query}");
        assert_eq!((&body["count"], &body["total"]), (&expected.len().into(), &total.into()));
    }
    for bad in ["?sort=mos", "?sort=-", "?source=1.2.3.4%2F40", "?limit=1001", "?to=ann"] {
        let target = format!("/api/qos/registrations{bad}");
        assert_eq!(get(server.local_addr(), &target).status, 400, "{bad}");
    }
}

#[test]
fn what_is_taken_back_or_over_is_not_listed() {
    let mut all = Shards::new(RegistrarSettings::default());
    let two = "Contact: <sip:1@h>;expires=100, <sip:2@h>;expires=200\r\n";
    all.register("ann", "192.0.2.1:5060", two);
    all.register("bob", "192.0.2.2:5060", two);
    assert_eq!(list(&all.serve(), "")["total"], 4);
    all.register("bob", "192.0.2.2:5060", "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(users(&list(&all.serve(), "")), ["sip:ann"; 2]);
    all.now = all.now + Duration::from_secs(98);
    let left = list(&all.serve(), "");
    assert_eq!(left["registrations"][0]["contact"], "sip:2@h");
    assert_eq!(left["total"], 1);
    all.now = all.now + Duration::from_secs(100);
    assert_eq!(list(&all.serve(), "")["total"], 0);
}

#[test]
fn a_list_is_made_anew_within_a_second_whatever_the_clock_does() {
    let mut all = Shards::new(RegistrarSettings::default());
    let listed = |all: &mut Shards| all.calls.snapshot(all.now).registered.len();
    for (user, after, expected) in [("ann", 0, 1), ("bob", 999, 1), ("carl", 1000, 3)] {
        all.register(user, "192.0.2.1:5060", "Contact: <sip:1@h>\r\n");
        all.tell(usize::MAX);
        let begun = all.now;
        all.now = begun + Duration::from_millis(after);
        assert_eq!(listed(&mut all), expected, "{user}");
        all.now = begun;
    }
    all.now = all.now - Duration::from_secs(3600);
    all.register("dora", "192.0.2.1:5060", "Contact: <sip:1@h>\r\n");
    all.tell(usize::MAX);
    assert_eq!(listed(&mut all), 4);
}

/// Where control does not take what is told, a shard remembers as many users as it has room for.
#[test]
fn what_finds_no_room_is_told_later_or_counted_and_ends_by_itself() {
    let settings = RegistrarSettings { max_bindings_per_shard: 3, ..RegistrarSettings::default() };
    let mut all = Shards::new(settings);
    let shard = all.register("u0", "192.0.2.1:5060", "");
    let mut same = (1..).map(|n| format!("u{n}")).filter(|user| {
        let text = format!("REGISTER sip:b SIP/2.0\r\nTo: <sip:{user}@box.example>\r\n\r\n");
        usize::from(owner(text.as_bytes(), SHARDS, 0).0) == shard
    });
    let contact = "Contact: <sip:1@h>;expires=100\r\n";
    let told: Vec<_> = same.by_ref().take(3).collect();
    for user in &told {
        all.register(user, "192.0.2.1:5060", contact);
    }
    // One at a time is enough, if slow.
    for _ in 0..3 {
        all.tell(1);
    }
    all.now = all.now + Duration::from_secs(1);
    assert_eq!(all.calls.snapshot(all.now).registered.len(), 3);
    // All of them go and three others come.
    for user in &told {
        all.register(user, "192.0.2.1:5060", "Contact: *\r\nExpires: 0\r\n");
    }
    let others: Vec<_> = same.take(3).collect();
    for user in &others {
        all.register(user, "192.0.2.1:5060", contact);
    }
    assert_eq!(all.shards[shard].health().registrations.untold, 3);
    assert_eq!(list(&all.serve(), "")["total"], 0);
    // Who registers again is told of again.
    all.register(&others[0], "192.0.2.1:5060", contact);
    assert_eq!(list(&all.serve(), "")["total"], 1);
}
