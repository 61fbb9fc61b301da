//! Whole calls over loopback: the engine against a far end that counts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod far_end;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use clap::Parser as _;
use far_end::respond;
use loadgen::{
    engine::{self, Route, RunResult},
    options::Options,
    report::Report,
    sdp,
    uac::Outcome,
};
use voxplane::{
    id::Ssrc,
    source::{
        clock,
        udp::{BATCH, Outgoing, RecvBatch, UdpOptions, UdpSocket},
    },
    time::Timestamp,
    wire::{
        rtcp::{ReportBlockValues, RtcpCompound, RtcpPacket, write_receiver_report},
        rtp::RtpPacket,
        sip::{Method, SipMessage, StartLine},
    },
};

#[test]
fn what_arrives_is_the_truth() {
    let line = "--calls 30 --rate 100 --duration 1s --loss 5 --jitter 3 --reorder 5 --duplicate 5";
    let (result, heard) = run("127.0.0.1", line, Behaviour::Answer);
    assert_eq!(result.calls.len(), 30);
    assert_eq!(heard.len(), 30);
    let (mut impaired, mut jitter_off) = ((0, 0, 0), 0);
    for call in &result.calls {
        assert_eq!(call.outcome, Outcome::Completed);
        let heard = heard.values().find(|heard| heard.call_id == call.call_id).unwrap();
        let truth = &call.truth;
        assert_eq!(heard.counts(), (truth.sent(), truth.duplicates(), truth.reordered()));
        assert_eq!(heard.lost(), truth.lost());
        let (sent, arrived) = (truth.jitter_mean().unwrap(), heard.jitter_mean());
        let tolerance = sent.mul_f64(0.1).max(Duration::from_micros(500));
        jitter_off += u32::from(sent.abs_diff(arrived) > tolerance);
        impaired.0 += truth.lost();
        impaired.1 += truth.duplicates();
        impaired.2 += truth.reordered();
    }
    // On a busy machine a thread may lose its core between reading the clock and sending.
    assert!(jitter_off <= 3, "the jitter of {jitter_off} calls is another");
    assert!(impaired.0 > 30 && impaired.1 > 30 && impaired.2 > 30, "{impaired:?}");
    assert!(result.generator.round_trip.quantiles().is_some(), "reports were answered");
}

#[test]
fn the_same_seed_sends_the_same_packets_whatever_the_threads() {
    let sent = |line: &str| -> BTreeSet<Vec<(u16, u32, u32, bool)>> {
        let (_, heard) = run("127.0.0.1", line, Behaviour::Answer);
        heard.into_values().map(|stream| stream.packets).collect()
    };
    let line = "--calls 6 --rate 100 --duration 300ms --loss 10 --reorder 10 --duplicate 10";
    let once = sent(&format!("{line} --seed 7"));
    assert_eq!(once, sent(&format!("{line} --seed 7 --threads 2")));
    assert_ne!(once, sent(&format!("{line} --seed 8")));
}

#[test]
fn ipv6_works_as_ipv4_does() {
    let (result, heard) = run("[::1]", "--calls 2 --duration 200ms", Behaviour::Answer);
    assert!(result.calls.iter().all(|call| call.outcome == Outcome::Completed));
    assert!(heard.values().all(|stream| stream.counts() == (10, 0, 0)));
}

#[test]
fn echoed_media_is_measured() {
    let line = "--calls 3 --rate 100 --duration 500ms --duplicate 20";
    let (result, _) = run("127.0.0.1", line, Behaviour::Echo);
    for call in &result.calls {
        assert_eq!(call.received.packets, u64::from(call.truth.sent()));
        assert_eq!(call.received.duplicates, u64::from(call.truth.duplicates()));
        assert_eq!(call.received.lost, 0);
    }
}

#[test]
fn rejections_are_counted_by_status() {
    let (result, _) = run("127.0.0.1", "--calls 4 --rate 100", Behaviour::Reject("486 Busy Here"));
    assert!(result.calls.iter().all(|call| call.outcome == Outcome::Rejected(486)));
    let options = options("127.0.0.1:9", "--calls 4");
    let report = Report::new(&options.scenario().unwrap(), &route(&options), &result, None, None);
    assert_eq!(report.calls.failures, BTreeMap::from([("486".to_owned(), 4)]));
    assert!(!report.is_success());
    assert!(report.to_string().contains("4 × 486"));
}

#[test]
fn an_answer_without_audio_is_ended_and_failed() {
    let (result, _) = run("127.0.0.1", "--calls 1", Behaviour::AnswerWithoutAudio);
    assert_eq!(result.calls[0].outcome, Outcome::NoAudio);
}

#[test]
fn an_interrupted_run_hangs_up_and_places_no_more_calls() {
    let stop = Arc::new(AtomicBool::new(false));
    let far_end = FarEnd::start("127.0.0.1", Behaviour::AnswerThenRaise(Arc::clone(&stop)));
    let options = options(&far_end.target, "--calls 100 --rate 1 --duration 1h");
    let scenario = options.scenario().unwrap();
    let result = engine::run(&scenario, &route(&options), 1, &stop).unwrap();
    let (_, byes) = far_end.finish();
    assert_eq!(result.calls.len(), 1);
    assert_eq!((result.calls[0].outcome, byes), (Outcome::Interrupted, 1));
}

#[test]
fn every_line_of_the_report_fits_a_terminal() {
    let (result, _) = run("127.0.0.1", "--calls 2 --duration 200ms", Behaviour::Echo);
    let options = options("127.0.0.1:9", "--calls 2");
    let report = Report::new(&options.scenario().unwrap(), &route(&options), &result, None, None);
    let text = report.to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["calls"]["completed"], 2);
    assert_eq!(json["sent"]["packets"], 20);
}

fn run(host: &str, line: &str, behaviour: Behaviour) -> (RunResult, BTreeMap<u16, Heard>) {
    let far_end = FarEnd::start(host, behaviour);
    let options = options(&far_end.target, line);
    let scenario = options.scenario().unwrap();
    let stop = AtomicBool::new(false);
    let result = engine::run(&scenario, &route(&options), options.threads, &stop).unwrap();
    (result, far_end.finish().0)
}

fn options(target: &str, line: &str) -> Options {
    let words = ["loadgen", target].into_iter().chain(line.split_whitespace());
    Options::try_parse_from(words).unwrap()
}

fn route(options: &Options) -> Route {
    Route::find(&options.target, &options.user, options.bind).unwrap()
}

/// What the far end does with calls.
#[derive(Clone)]
enum Behaviour {
    Answer,
    Echo,
    AnswerWithoutAudio,
    /// Answers, and interrupts the run with the first RTP packet.
    AnswerThenRaise(Arc<AtomicBool>),
    Reject(&'static str),
}

/// A stream as it arrived, by the port that it came from.
#[derive(Default)]
struct Heard {
    call_id: String,
    /// Sequence number, RTP time, SSRC, marker.
    packets: Vec<(u16, u32, u32, bool)>,
    times: Vec<Timestamp>,
}

impl Heard {
    /// Sequence numbers counted from the first packet, which is never held back.
    fn indices(&self) -> Vec<u16> {
        let first = self.packets[0].0;
        self.packets.iter().map(|packet| packet.0.wrapping_sub(first)).collect()
    }

    /// Unique, repeated, and late packets.
    fn counts(&self) -> (u32, u32, u32) {
        let (mut seen, mut repeated, mut late) = (BTreeSet::new(), 0, 0);
        for index in self.indices() {
            let highest = seen.last().copied().unwrap_or(0);
            match seen.insert(index) {
                false => repeated += 1,
                true if index < highest => late += 1,
                true => {}
            }
        }
        (u32::try_from(seen.len()).unwrap(), repeated, late)
    }

    fn lost(&self) -> u32 {
        let highest = self.indices().into_iter().max().unwrap();
        u32::from(highest) + 1 - self.counts().0
    }

    /// RFC 3550 section 6.4.1, in the plainest form.
    fn jitter_mean(&self) -> Duration {
        let mut seen = BTreeSet::new();
        let unique: Vec<_> =
            (0..self.packets.len()).filter(|&n| seen.insert(self.packets[n].0)).collect();
        let (mut jitter, mut sum) = (0.0, 0.0);
        for pair in unique.windows(2) {
            let arrival = self.times[pair[1]].nanos_from(self.times[pair[0]]) as f64 / 125_000.0;
            let media = self.packets[pair[1]].1.wrapping_sub(self.packets[pair[0]].1);
            jitter += ((arrival - f64::from(media.cast_signed())).abs() - jitter) / 16.0;
            sum += jitter;
        }
        Duration::from_secs_f64(sum / (unique.len() - 1) as f64 * 125e-6)
    }
}

/// A callee on loopback, in a thread of its own.
struct FarEnd {
    target: String,
    done: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeMap<u16, Heard>, u32)>,
}

impl FarEnd {
    fn start(host: &str, behaviour: Behaviour) -> Self {
        let bind = || {
            UdpSocket::bind(format!("{host}:0").parse().unwrap(), UdpOptions::default()).unwrap()
        };
        let sockets = [bind(), bind(), bind()];
        let target = sockets[0].local_addr().to_string();
        let done = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let [sip, rtp, rtcp] = sockets;
            let mut callee = Callee { sip, rtp, rtcp, behaviour, heard: BTreeMap::new(), byes: 0 };
            let mut batch = RecvBatch::new(BATCH, 2048);
            while !signal.load(Ordering::Relaxed) {
                callee.turn(&mut batch);
                thread::sleep(Duration::from_micros(200));
            }
            callee.turn(&mut batch);
            (callee.heard, callee.byes)
        });
        Self { target, done, thread }
    }

    /// The streams heard and the number of BYEs.
    fn finish(self) -> (BTreeMap<u16, Heard>, u32) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Callee {
    sip: UdpSocket,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    behaviour: Behaviour,
    heard: BTreeMap<u16, Heard>,
    byes: u32,
}

impl Callee {
    fn turn(&mut self, batch: &mut RecvBatch) {
        while batch.receive(&self.sip).unwrap() > 0 {
            for datagram in batch.datagrams() {
                if let Some(response) = self.answer(datagram.payload) {
                    send(&self.sip, datagram.src, &response);
                }
            }
        }
        while batch.receive(&self.rtp).unwrap() > 0 {
            for datagram in batch.datagrams() {
                let packet = RtpPacket::parse(datagram.payload).unwrap();
                let heard = self.heard.get_mut(&datagram.src.port()).expect("an invited stream");
                heard.packets.push((
                    packet.sequence(),
                    packet.timestamp(),
                    packet.ssrc().0,
                    packet.marker(),
                ));
                heard.times.push(datagram.received_at);
                match &self.behaviour {
                    Behaviour::Echo => send(&self.rtp, datagram.src, datagram.payload),
                    Behaviour::AnswerThenRaise(stop) => stop.store(true, Ordering::Relaxed),
                    _ => {}
                }
            }
        }
        while batch.receive(&self.rtcp).unwrap() > 0 {
            for datagram in batch.datagrams() {
                let report = answer_report(datagram.payload, datagram.received_at);
                send(&self.rtcp, datagram.src, &report);
            }
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let message = SipMessage::parse(bytes).unwrap();
        let StartLine::Request { method, .. } = message.start_line() else { return None };
        match (method, &self.behaviour) {
            (Method::Ack, _) => None,
            (Method::Bye, _) => {
                self.byes += 1;
                Some(respond(bytes, "200 OK", "", ""))
            }
            (Method::Invite, Behaviour::Reject(status)) => Some(respond(bytes, status, "", "")),
            (Method::Invite, Behaviour::AnswerWithoutAudio) => {
                Some(respond(bytes, "200 OK", "", "v=0\r\nm=audio 0 RTP/AVP 0\r\n"))
            }
            (Method::Invite, _) => {
                let codec = loadgen::options::AudioCodec::Pcmu;
                let theirs = sdp::answer(message.body(), codec).expect("the offer reads as SDP");
                let call_id = String::from_utf8(message.call_id().unwrap().to_vec()).unwrap();
                self.heard.insert(theirs.rtp.port(), Heard { call_id, ..Heard::default() });
                let (rtp, rtcp) = (self.rtp.local_addr(), self.rtcp.local_addr());
                let body = sdp::offer(codec, sdp::MediaAddresses { rtp, rtcp }, 1);
                Some(respond(bytes, "200 OK", "", &body))
            }
            _ => panic!("{method:?} is not expected"),
        }
    }
}

/// A receiver report that lets the sender of a sender report know its round trip.
fn answer_report(bytes: &[u8], received_at: Timestamp) -> Vec<u8> {
    let compound = RtcpCompound::parse(bytes).unwrap();
    let packets: Vec<_> = compound.packets().collect();
    let [RtcpPacket::SenderReport(report), RtcpPacket::Sdes(_)] = packets[..] else {
        panic!("a report is SR and SDES: {packets:?}")
    };
    let waited = clock::now().since(received_at).as_nanos() * 65_536 / 1_000_000_000;
    let block = ReportBlockValues {
        ssrc: report.ssrc(),
        lsr: u32::try_from((report.ntp() >> 16) & 0xFFFF_FFFF).unwrap(),
        dlsr: u32::try_from(waited).unwrap(),
        ..ReportBlockValues::default()
    };
    let mut out = Vec::new();
    write_receiver_report(&mut out, Ssrc(1), &[block]);
    out
}

fn send(socket: &UdpSocket, dst: std::net::SocketAddr, payload: &[u8]) {
    assert_eq!(socket.send_batch(&[Outgoing { src: None, dst, payload }]).unwrap(), 1);
}
