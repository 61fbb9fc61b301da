//! A capture of calls between others, of any size, with a known loss: INVITE to BYE, G.711 both
//! ways. It knows nothing of who reads it.
#![allow(dead_code, reason = "each test uses a part of this")]
#![allow(clippy::cast_possible_truncation, reason = "seconds, microseconds and small constants")]
#![allow(unreachable_pub, reason = "a module shared by tests and benches")]

use std::{
    io::{self, Write},
    net::Ipv4Addr,
};

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    /// Calls, begun evenly over the first second.
    pub calls: u32,
    /// Seconds of media in each direction.
    pub seconds: u32,
    /// Share of the RTP packets that are lost, 0 to 1. The first and the last of a stream never
    /// are: a receiver would not know.
    pub loss: f64,
    /// Seeds loss and delay.
    pub seed: u64,
}

/// What was written.
#[derive(Debug)]
pub struct Truth {
    /// Packets in the capture.
    pub packets: u64,
    /// RTP packets lost, by stream: twice the call's number, and one more on the way back. It is
    /// added to [`FIRST_SSRC`] to make the SSRC.
    pub lost: Vec<u64>,
    /// RTP packets sent in each stream.
    pub sent: u64,
}

/// The SSRC of the first stream.
pub const FIRST_SSRC: u32 = 0x1000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Sip(usize),
    Rtp { is_back: bool, frame: u32 },
}

/// One packet of a call, due at a time in microseconds from the start.
type Due = (u64, u32, Event);

impl Generator {
    /// Writes a pcap file of Ethernet frames, in order of time.
    pub fn write(&self, to: &mut impl Write) -> io::Result<Truth> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let frames = self.seconds * (1_000_000 / FRAME_US as u32);
        let mut truth =
            Truth { packets: 0, lost: vec![0; self.calls as usize * 2], sent: frames.into() };
        let calls: Vec<Call> = (0..self.calls).map(Call::new).collect();
        for field in [MAGIC, VERSION, 0, 0, SNAPLEN, ETHERNET] {
            to.write_all(&field.to_le_bytes())?;
        }
        // One window of time after the other: what falls beyond it waits for the next.
        let (mut waiting, mut packet): (Vec<Due>, _) = (Vec::new(), Vec::new());
        let last = 1_000_000 + u64::from(frames) * FRAME_US + 1_000_000;
        for window in (0..last).step_by(FRAME_US as usize) {
            for id in 0..self.calls {
                let start = u64::from(id) * 1_000_000 / u64::from(self.calls);
                let offsets = sip_offsets(u64::from(frames) * FRAME_US);
                let sip = offsets.iter().enumerate().map(|(step, at)| (start + at, step));
                waiting.extend(
                    sip.filter(|(at, _)| (window..window + FRAME_US).contains(at))
                        .map(|(at, step)| (at, id, Event::Sip(step))),
                );
                for is_back in [false, true] {
                    let first = start + MEDIA_US + if is_back { BACK_US } else { 0 };
                    // The one frame that is sent within this window.
                    let Some(frame) = (window + FRAME_US - 1).checked_sub(first) else { continue };
                    let frame = u32::try_from(frame / FRAME_US).expect("hours of frames");
                    if frame >= frames {
                        continue;
                    }
                    let is_edge = frame == 0 || frame + 1 == frames;
                    if !is_edge && rng.f64() < self.loss {
                        truth.lost[id as usize * 2 + usize::from(is_back)] += 1;
                        continue;
                    }
                    let at = first + u64::from(frame) * FRAME_US + rng.u64(..DELAY_US);
                    waiting.push((at, id, Event::Rtp { is_back, frame }));
                }
            }
            waiting.sort_unstable();
            let due = waiting.partition_point(|&(at, ..)| at < window + FRAME_US);
            for (at, id, event) in waiting.drain(..due) {
                calls[id as usize].write(event, &mut packet);
                let at = FIRST_US + at;
                let len = u32::try_from(packet.len()).expect("short packets");
                for field in [(at / 1_000_000) as u32, (at % 1_000_000) as u32, len, len] {
                    to.write_all(&field.to_le_bytes())?;
                }
                to.write_all(&packet)?;
                truth.packets += 1;
            }
        }
        assert!(waiting.is_empty(), "everything falls into some window");
        Ok(truth)
    }
}

/// One call: two hosts of its own.
#[derive(Debug)]
struct Call {
    id: u32,
    hosts: [Ipv4Addr; 2],
    ports: [u16; 2],
}

impl Call {
    fn new(id: u32) -> Self {
        let [_, a, b, c] = id.to_be_bytes();
        let port = 16_384 + (id % 10_000) as u16 * 2;
        Self {
            id,
            hosts: [Ipv4Addr::new(10, a, b, c), Ipv4Addr::new(172, 16 | a, b, c)],
            ports: [port, port + 20_000],
        }
    }

    /// Writes the frame of one event.
    fn write(&self, event: Event, frame: &mut Vec<u8>) {
        frame.clear();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        let ip = frame.len();
        frame.extend_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
        let (is_back, ports) = match event {
            Event::Sip(step) => (SIP[step].2, [5060; 2]),
            Event::Rtp { is_back, .. } => (is_back, self.ports),
        };
        let (from, to) = if is_back { (1, 0) } else { (0, 1) };
        frame.extend_from_slice(&self.hosts[from].octets());
        frame.extend_from_slice(&self.hosts[to].octets());
        let udp = frame.len();
        frame.extend_from_slice(&ports[from].to_be_bytes());
        frame.extend_from_slice(&ports[to].to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        match event {
            Event::Sip(step) => self.write_sip(step, frame),
            Event::Rtp { is_back, frame: index } => self.write_rtp(is_back, index, frame),
        }
        for start in [ip, udp] {
            let len = u16::try_from(frame.len() - start).expect("short packets").to_be_bytes();
            let at = if start == ip { ip + 2 } else { udp + 4 };
            frame[at..at + 2].copy_from_slice(&len);
        }
    }

    fn write_rtp(&self, is_back: bool, index: u32, frame: &mut Vec<u8>) {
        let stream = self.id * 2 + u32::from(is_back);
        // Any number: so that some sequences wrap.
        let sequence = (stream.wrapping_mul(40_503).wrapping_add(index) & 0xFFFF) as u16;
        frame.extend_from_slice(&[0x80, if index == 0 { 0x80 } else { 0 }]);
        frame.extend_from_slice(&sequence.to_be_bytes());
        frame.extend_from_slice(&(index * 160).to_be_bytes());
        frame.extend_from_slice(&(FIRST_SSRC + stream).to_be_bytes());
        frame.extend_from_slice(&[0xFF; 160]);
    }

    fn write_sip(&self, step: usize, frame: &mut Vec<u8>) {
        let (start_line, cseq, is_back, has_sdp) = SIP[step];
        let [caller, callee] = self.hosts;
        let (id, branch) = (self.id, step / 3);
        let body = if has_sdp {
            let (host, port) =
                if is_back { (callee, self.ports[1]) } else { (caller, self.ports[0]) };
            format!(
                "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
            )
        } else {
            String::new()
        };
        let to_tag = if step == 0 { String::new() } else { format!(";tag=b{id}") };
        let uri = if is_back { String::new() } else { format!(" sip:b{id}@{callee} SIP/2.0") };
        let text = format!(
            "{start_line}{uri}\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK{id}-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a{id}@{caller}>;tag=a{id}\r\n\
             To: <sip:b{id}@{callee}>{to_tag}\r\nCall-ID: {id}@{caller}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:a{id}@{caller}>\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        frame.extend_from_slice(text.as_bytes());
    }
}

/// When the messages of [`SIP`] pass, in microseconds after the call's start.
const fn sip_offsets(media_us: u64) -> [u64; 7] {
    let over = MEDIA_US + media_us + 50_000;
    [0, 5_000, 20_000, 60_000, 80_000, over, over + 10_000]
}

/// Start line (requests without the URI), CSeq, whether the callee sends it, whether it has SDP.
const SIP: [(&str, &str, bool, bool); 7] = [
    ("INVITE", "1 INVITE", false, true),
    ("SIP/2.0 100 Trying", "1 INVITE", true, false),
    ("SIP/2.0 180 Ringing", "1 INVITE", true, false),
    ("SIP/2.0 200 OK", "1 INVITE", true, true),
    ("ACK", "1 ACK", false, false),
    ("BYE", "2 BYE", false, false),
    ("SIP/2.0 200 OK", "2 BYE", true, false),
];

const FRAME_US: u64 = 20_000;
const DELAY_US: u64 = 2_000;
/// From INVITE to the first packet of media, and how much later the way back begins.
const MEDIA_US: u64 = 100_000;
const BACK_US: u64 = 5_000;
/// 2026-06-01T00:00:00Z.
const FIRST_US: u64 = 1_780_272_000_000_000;

const MAGIC: u32 = 0xA1B2_C3D4;
/// 2.4, minor in the upper half.
const VERSION: u32 = 4 << 16 | 2;
const SNAPLEN: u32 = 65_535;
const ETHERNET: u32 = 1;
