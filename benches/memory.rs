//! Resident memory of the running appliance with 20,000 active calls, a measured stream each.
//!
//! Starts the real program, opens the calls over loopback from as many media addresses, sends
//! each of them two seconds of RTP and reads what the kernel says about the process.
#![expect(clippy::unwrap_used, reason = "a bench may fail")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "../tests/live/mod.rs"]
mod live;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use live::Appliance;

use voxplane::{
    id::{PayloadType, Ssrc},
    source::udp::{BATCH, Outgoing, RecvBatch, UdpOptions, UdpSocket},
    wire::{rtp::RtpHeader, sdp::SessionDescription, sip::SipMessage},
};
use zerocopy::IntoBytes as _;

fn main() {
    let is_smoke_run = std::env::args().any(|arg| arg == "--test");
    let calls = if is_smoke_run { 200 } else { CALLS };
    let appliance = Appliance::start();
    let before = resident_kib(&appliance);
    let mut phones = Phones::new(appliance.sip, calls);
    for first in (0..calls).step_by(STEP as usize) {
        phones.call(first..(first + STEP).min(calls));
        thread::sleep(CALL_PAUSE);
    }
    for packet in 0..PACKETS {
        phones.talk(calls, packet);
    }
    // Two rounds of reports, so that every stream is scored and has a timeline.
    thread::sleep(Duration::from_secs(11));
    let after = resident_kib(&appliance);
    let active = appliance.json("/healthz")["active_calls"].as_u64().unwrap();
    println!("memory: {active} active calls, {calls} opened");
    println!("memory: {before} KiB idle, {after} KiB with calls");
    println!("memory: {} bytes a call", (after - before) * 1024 / u64::from(calls));
    assert_eq!(active, u64::from(calls));
    assert!(after < MEMORY_MAX_KIB, "more than {MEMORY_MAX_KIB} KiB");
}

/// What the kernel says the program has resident.
fn resident_kib(appliance: &Appliance) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", appliance.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Callers, each with a media address of its own on the loopback network.
struct Phones {
    sip: UdpSocket,
    rtp: UdpSocket,
    target: SocketAddr,
    /// The appliance's RTP port of each call.
    ports: Vec<u16>,
}

impl Phones {
    fn new(target: SocketAddr, calls: u32) -> Self {
        let bind = |address: &str| {
            UdpSocket::bind(address.parse().unwrap(), UdpOptions::default()).unwrap()
        };
        let ports = vec![0; calls as usize];
        Self { sip: bind("127.0.0.1:0"), rtp: bind("0.0.0.0:0"), target, ports }
    }

    /// Opens calls and acknowledges their answers.
    fn call(&mut self, numbers: std::ops::Range<u32>) {
        let mut open = numbers.len();
        let invites: Vec<_> = numbers.map(|number| self.request("INVITE", number, "")).collect();
        self.send(&invites);
        let mut batch = RecvBatch::new(BATCH, 2048);
        for _ in 0..ANSWER_WAITS {
            if open == 0 {
                return;
            }
            batch.receive(&self.sip).unwrap();
            let mut acks = Vec::new();
            for datagram in batch.datagrams() {
                let answer = SipMessage::parse(datagram.payload).unwrap();
                let text = String::from_utf8_lossy(datagram.payload);
                if text.starts_with("SIP/2.0 200") {
                    let to = String::from_utf8_lossy(answer.to().unwrap()).into_owned();
                    let call_id = String::from_utf8_lossy(answer.call_id().unwrap());
                    let number: u32 = call_id.split('-').next().unwrap().parse().unwrap();
                    let sdp = SessionDescription::parse(answer.body()).unwrap();
                    self.ports[number as usize] = sdp.media().next().unwrap().port();
                    acks.push(self.request("ACK", number, to.rsplit_once(";tag=").unwrap().1));
                }
            }
            open -= acks.len();
            self.send(&acks);
            thread::sleep(Duration::from_micros(200));
        }
        panic!("{open} calls are not answered");
    }

    /// Sends one packet of every call, at a pace that two cores can follow.
    fn talk(&self, calls: u32, packet: u16) {
        let payload = [0xFF; 160];
        for first in (0..calls).step_by(STEP as usize) {
            let numbers = first..(first + STEP).min(calls);
            let packets: Vec<Vec<u8>> = numbers
                .clone()
                .map(|number| {
                    let time = u32::from(packet) * 160;
                    let header =
                        RtpHeader::new(PayloadType(0), packet == 0, packet, time, Ssrc(number));
                    [header.as_bytes(), &payload].concat()
                })
                .collect();
            let outgoing: Vec<_> = numbers
                .zip(&packets)
                .map(|(number, payload)| {
                    let dst = SocketAddr::new(self.target.ip(), self.ports[number as usize]);
                    Outgoing { src: Some(media_ip(number)), dst, payload }
                })
                .collect();
            self.rtp.send_batch(&outgoing).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
    }

    fn send(&self, requests: &[String]) {
        let outgoing: Vec<_> = requests
            .iter()
            .map(|text| Outgoing { src: None, dst: self.target, payload: text.as_bytes() })
            .collect();
        self.sip.send_batch(&outgoing).unwrap();
    }

    fn request(&self, method: &str, number: u32, tag: &str) -> String {
        let us = self.sip.local_addr();
        let to_tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        let sdp = if method == "INVITE" {
            let (ip, port) = (media_ip(number), self.rtp.local_addr().port());
            format!(
                "v=0\r\no=- {number} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
            )
        } else {
            String::new()
        };
        format!(
            "{method} sip:sink@{target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {us};rport;branch=z9hG4bK{number}{method}\r\n\
             From: <sip:phone{number}@{us}>;tag={number}\r\n\
             To: <sip:sink@{target}>{to_tag}\r\n\
             Call-ID: {number}-memory@{us}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:phone{number}@{us}>\r\nMax-Forwards: 70\r\n\
             User-Agent: memory bench\r\nContent-Type: application/sdp\r\n\
             Content-Length: {len}\r\n\r\n{sdp}",
            target = self.target,
            len = sdp.len(),
        )
    }
}

fn media_ip(number: u32) -> IpAddr {
    let [_, a, b, c] = (0x0001_0000 + number).to_be_bytes();
    IpAddr::from([127, a, b, c])
}

/// Calls and packets that are sent by one system call.
const STEP: u32 = 64;
const _: () = assert!(STEP as usize == BATCH);

const CALLS: u32 = 20_000;
/// Keeps the one source of all calls below what `[sip_limits]` lets it send.
const CALL_PAUSE: Duration = Duration::from_millis(10);
const PACKETS: u16 = 100;
/// One second and more.
const ANSWER_WAITS: u32 = 5000;
const MEMORY_MAX_KIB: u64 = 100 * 1024;
