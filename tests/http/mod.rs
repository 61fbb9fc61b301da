//! What the tests of the HTTP API share: a server over a hand-made snapshot, and a plain client.
//! It knows no assertion.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use voxplane::{
    alerts::{Alerts, Rules},
    control::{
        finished::Finished,
        ladders::Ladders,
        record::{
            BurstRecord, CallRecord, CallScore, CallSignalling, CallState, CloseupRecord,
            Conditions, Direction, EndedBy, Expected, Figures, Integrity, MosSum, MosTotals,
            RttFigures, ShardHealth, SipRecord, Snapshot, StreamRecord, TimelinePoint, Totals,
            WorstInterval,
        },
        signalling::Place,
        snapshot::SnapshotCell,
        spreads::{Distribution, Spread, Spreads},
        streams::CallStreams,
    },
    http::{Limits, Options, Server, Tokens},
    id::{CallRef, ShardId, Ssrc, StreamRef, Trunk},
    notify::Handle,
    quality::{MosBasis, MosKind, Rating, Scale, Source},
    shard::{
        Counts,
        buffer::BufferReport,
        health::OwnFaults,
        report::{Bursts, Closeup, DelayVariation, StreamReport},
        signalling::figures::{SessionCounts, SipFigures},
    },
    store::Reader,
    time::Timestamp,
    wire::codec::Codec,
};

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Status line and header fields.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: String,
}

impl Answer {
    /// An answer from its bytes.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The body of an answer that came in chunks (RFC 9112 section 7.1).
    pub(crate) fn dechunked(&self) -> String {
        let (mut rest, mut body) = (self.body.as_str(), String::new());
        loop {
            let (size, after) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return body;
            }
            body.push_str(&after[..size]);
            rest = after[size..].strip_prefix("\r\n").unwrap();
        }
    }

    /// The error's message.
    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// A server over `snapshot`.
pub(crate) fn serve(snapshot: Snapshot) -> Server {
    let snapshots = SnapshotCell::default();
    snapshots.store(snapshot);
    start(snapshots, None)
}

/// A server over `snapshots` that asks for one of `tokens`.
pub(crate) fn start(snapshots: SnapshotCell, tokens: Option<Tokens>) -> Server {
    Server::start(Options { tokens, ..options() }, snapshots).unwrap()
}

/// A server over `snapshots` and a history.
pub(crate) fn start_with(snapshots: SnapshotCell, store: Reader) -> Server {
    Server::start(Options { store: Some(store), ..options() }, snapshots).unwrap()
}

/// A server over `snapshot` that shows how notifiers are.
pub(crate) fn start_notifying(snapshot: Snapshot, notify: Handle) -> Server {
    let snapshots = SnapshotCell::default();
    snapshots.store(snapshot);
    Server::start(Options { notify: Some(notify), ..options() }, snapshots).unwrap()
}

/// A server over `snapshots` and alerts.
pub(crate) fn start_alerts(snapshots: SnapshotCell, alerts: Alerts) -> Server {
    Server::start(Options { alerts, ..options() }, snapshots).unwrap()
}

/// A server on a port of its own that asks for nothing and has the program's rules, and nothing
/// that they could judge.
pub(crate) fn options() -> Options {
    Options {
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        tokens: None,
        limits: Limits::default(),
        access_log: None,
        store: None,
        notify: None,
        alerts: Alerts::start(Rules::default(), None, None, at(0)),
        operator: None,
    }
}

/// A connection that gives up reading after half a minute.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Sends `bytes` and reads the answer to its end.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(to)?;
    stream.write_all(bytes)?;
    read_answer(&mut stream)
}

/// Reads an answer to its end.
pub(crate) fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Answer::parse(&bytes)
}

/// A request without a body.
pub(crate) fn request(to: SocketAddr, method: &str, target: &str, headers: &str) -> Answer {
    let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    exchange(to, text.as_bytes()).unwrap()
}

/// GET.
pub(crate) fn get(to: SocketAddr, target: &str) -> Answer {
    request(to, "GET", target, "")
}

/// POST, or another method, with a body.
pub(crate) fn send(to: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    exchange(to, text.as_bytes()).unwrap()
}

/// Runs `action` and says how long it took.
#[expect(clippy::disallowed_methods, reason = "the point is to measure real time")]
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = action();
    (result, start.elapsed())
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the server compares a snapshot's time to it")]
pub(crate) fn wall() -> Timestamp {
    Timestamp::MIN + SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Seconds after a fixed day.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_769_860_800 + seconds)
}

/// A call that started `started` seconds after the day began, with or without a score.
pub(crate) fn call(id: &str, started: u64, mos: Option<f64>) -> CallRecord {
    let basis = MosBasis {
        kind: MosKind::Cq,
        scale: Scale::Nb,
        source: Source::Measured,
        is_delay_assumed: false,
    };
    CallRecord {
        reference: None,
        call_id: id.to_owned(),
        from: Some("sip:alice@192.0.2.1".to_owned()),
        to: Some("sip:echo@192.0.2.2".to_owned()),
        user_agent: None,
        source: Some([192, 0, 2, 1].into()),
        trunk: Some(Trunk::of([192, 0, 2, 1].into())),
        state: CallState::Active,
        status_code: Some(200),
        ended_by: None,
        start_time: at(started),
        answer_time: Some(at(started + 1)),
        end_time: None,
        duration_seconds: 60.0,
        signalling: CallSignalling { srd_ms: Some(12.5), ..CallSignalling::default() },
        packets_sent: 3000,
        figures: Figures {
            packets_received: Some(2940),
            packets_lost: Some(60),
            packet_loss_percentage: Some(2.0),
            ..Figures::default()
        },
        jitter_avg_ms: Some(3.0),
        jitter_max_ms: Some(9.0),
        latency_avg_ms: None,
        latency_max_ms: None,
        rtt: RttFigures::default(),
        codec: Some("PCMU"),
        score: CallScore {
            mos_score: mos,
            mos_lq: mos,
            r_factor: mos.map(|_| 80.0),
            mos_basis: mos.map(|_| basis),
            mos_reason: mos.is_none().then_some("codec unknown"),
            quality_rating: mos.map(Rating::from_mos),
            jitter_buffer: None,
        },
        worst_interval: WorstInterval::default(),
        integrity: Integrity::Clean,
        own_drops: 0,
        own_stalls: 0,
        conditions: Conditions::default(),
        expected: Expected::default(),
        streams: CallStreams::new(id, vec![report(0xDEAD_BEEF)], None),
        timeline: vec![TimelinePoint {
            direction: Direction::Rx,
            time: at(started + 5),
            packets_received: 250,
            packets_lost: 0,
            packets_discarded: 0,
            jitter_ms: 1.5,
            mos: Some(4.25),
            integrity: Integrity::Clean,
        }],
    }
}

/// The same call, over.
pub(crate) fn ended(call: CallRecord) -> CallRecord {
    CallRecord {
        state: CallState::Ended,
        ended_by: Some(EndedBy::Caller),
        end_time: Some(call.start_time + Duration::from_secs(61)),
        ..call
    }
}

/// What a shard says of a stream of that call.
fn report(ssrc: u32) -> StreamReport {
    let shard = ShardId(0);
    StreamReport {
        direction: Direction::Rx,
        stream: StreamRef { shard, serial: 1 },
        call: Some(CallRef { shard, serial: 1 }),
        at: at(61),
        is_final: false,
        src: "192.0.2.1:4000".parse().unwrap(),
        dst: "192.0.2.2:20000".parse().unwrap(),
        ssrc: Ssrc(ssrc),
        payload_type: 0,
        codec: Codec::Pcmu,
        clock_rate: 8000,
        ptime_ticks: 160,
        first_at: at(1),
        last_at: at(61),
        counts: Counts { received: 2940, expected: 3000, ..Counts::default() },
        jitter_samples: 2939,
        jitter_max_us: 9000,
        jitter_us: 3000,
        jitter_p95_us: 8000,
        jitter_sum_us: 2939 * 3000,
        delta_max_us: 40_000,
        burst_ratio: 1.0,
        burst_density: 0.0,
        gap_density: 2.0,
        bursts: Bursts::default(),
        closeup: Closeup::default(),
        own: OwnFaults::default(),
        variation: DelayVariation::default(),
        buffers: BufferReport::default(),
        has_left: false,
    }
}

/// A stream of which little is known.
pub(crate) fn stream(ssrc: u32, call_id: Option<&str>) -> StreamRecord {
    StreamRecord {
        direction: Direction::Rx,
        src: "192.0.2.1:4000".parse().unwrap(),
        dst: "192.0.2.2:20000".parse().unwrap(),
        ssrc: Ssrc(ssrc),
        payload_type: Some(0),
        codec: Some("PCMU"),
        clock_rate: Some(8000),
        ptime_ms: Some(20.0),
        first_time: Some(at(1)),
        last_time: Some(at(61)),
        packets_received: Some(2940),
        packets_expected: Some(3000),
        packets_lost: Some(60),
        loss_percentage: Some(2.0),
        packets_out_of_order: Some(0),
        packets_duplicate: Some(0),
        packets_discarded: Some(0),
        jitter_mean_ms: Some(3.0),
        jitter_max_ms: Some(9.0),
        jitter_p95_ms: None,
        pdv_p50_ms: None,
        pdv_p95_ms: None,
        pdv_p99_ms: None,
        pdv_max_ms: None,
        skew_ppm: None,
        max_delta_ms: None,
        mean_delta_ms: None,
        burst_ratio: Some(1.0),
        burst_density: None,
        gap_density: None,
        bursts: BurstRecord::default(),
        closeup: CloseupRecord::default(),
        discard_percentage: Some(0.0),
        rtt_ms: None,
        rtt: RttFigures::default(),
        mos_cq: None,
        mos_lq: None,
        r_factor: None,
        mos_basis: None,
        mos_reason: None,
        impairments: None,
        jitter_buffer: None,
        buffers: None,
        rtcp_bye: None,
        remote: None,
        call_id: call_id.map(str::to_owned),
    }
}

/// Two active calls, five finished ones, an orphan, one shard with two own drops.
/// Signalling of which some is known.
fn sip() -> SipRecord {
    let mut figures = SipFigures::default();
    figures.sessions =
        SessionCounts { attempts: 9, decided: 8, answered: 6, ..SessionCounts::default() };
    figures.malformed = 3;
    SipRecord::of(&figures, Place::Callee)
}

pub(crate) fn snapshot() -> Snapshot {
    let mut quiet = call("b@192.0.2.1", 200, None);
    quiet.figures.packet_loss_percentage = Some(0.5);
    quiet.duration_seconds = 5.0;
    let history = [
        ("one", 10, Some(4.4)),
        ("two", 20, Some(3.0)),
        ("three", 30, None),
        ("four", 40, Some(3.5)),
        ("one", 50, Some(2.0)),
    ];
    let history: Vec<_> =
        history.into_iter().map(|(id, start, mos)| Arc::new(ended(call(id, start, mos)))).collect();
    Snapshot {
        taken_at: wall(),
        started_at: wall() - Duration::from_secs(3600),
        active: vec![Arc::new(call("a/b@192.0.2.1", 100, Some(4.1))), Arc::new(quiet)],
        finished: Finished::of(history.iter().map(AsRef::as_ref)).into(),
        history,
        orphans: vec![Arc::new(stream(7, None))],
        phone_reports: Arc::default(),
        registered: Arc::default(),
        totals: Totals {
            calls: 8,
            answered: 6,
            failed: 2,
            mos: MosTotals {
                nb: MosSum { calls: 4, sum: 12.9 },
                wb: MosSum { calls: 1, sum: 4.3 },
                fb: MosSum::default(),
            },
            with_issues: 2,
            suspect: 1,
        },
        shards: vec![ShardHealth {
            calls_active: 2,
            calls_total: 10,
            rtp_packets: 123_456,
            ring_full: 2,
            reports_waiting: 7,
            nap_us: 500,
            busy: 0.25,
            ..ShardHealth::default()
        }],
        spreads: spreads().into(),
        sip: sip().into(),
        ladders: Ladders::default(),
    }
}

/// 1,000 packets of PCMA from one network.
fn spreads() -> Spreads {
    let jitter_us = Distribution {
        count: 1000,
        mean: 1500.0,
        p50: 1000,
        p95: 4000,
        p99: 8000,
        max: 9000,
        up_to: [10; 14],
    };
    let variation_us = Distribution {
        count: 1000,
        mean: 2500.0,
        p50: 2000,
        p95: 5000,
        p99: 9000,
        max: 9500,
        up_to: [20; 14],
    };
    let all = Spread { jitter_us, variation_us };
    let trunk = Trunk::of([192, 0, 2, 1].into());
    Spreads {
        all,
        by_codec: vec![(Codec::Pcma, all)],
        by_trunk: vec![(Some(trunk), all)],
        rtt_us: Distribution::default(),
    }
}
