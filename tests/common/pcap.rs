//! Captures made by hand: packets built up from payloads, and the files that hold them.
//!
//! It shares no code with the reader that it tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::cast_possible_truncation, reason = "lengths in headers are cut on purpose")]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use voxplane::{
    source::capture::{Capture, Chunk, Totals},
    time::Timestamp,
    wire::Transport,
};

/// A datagram that was read of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub at: u64,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub transport: Transport,
    pub payload: Vec<u8>,
}

/// A file that is there for one test.
#[derive(Debug)]
pub struct TempFile(PathBuf);

impl TempFile {
    pub fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("capture-{}-{number}.pcap", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Reads captures to their end.
pub fn read(files: &[&[u8]]) -> (Vec<Got>, Totals) {
    let files: Vec<_> = files.iter().map(|bytes| TempFile::new(bytes)).collect();
    let paths: Vec<_> = files.iter().map(TempFile::path).collect();
    let mut capture = Capture::open(&paths).unwrap();
    let mut chunk = Chunk::default();
    let mut got = Vec::new();
    while capture.fill(&mut chunk) {
        assert!(!chunk.frames().is_empty());
        got.extend(chunk.frames().iter().map(|frame| {
            let datagram = chunk.datagram(frame);
            Got {
                at: datagram.received_at.as_nanos(),
                src: datagram.src,
                dst: datagram.dst,
                transport: datagram.transport,
                payload: datagram.payload.to_vec(),
            }
        }));
    }
    assert!(chunk.frames().is_empty() && !capture.fill(&mut chunk));
    (got, capture.totals().clone())
}

/// What is read of packets on one kind of link, a second apart.
pub fn read_packets(link: u32, packets: &[Vec<u8>]) -> (Vec<Got>, Totals) {
    let mut file = Pcap::new(link);
    for (second, packet) in (1..).zip(packets) {
        file.packet(second * 1_000_000_000, packet);
    }
    read(&[&file.bytes])
}

/// Payloads alone.
pub fn payloads(got: &[Got]) -> Vec<Vec<u8>> {
    got.iter().map(|got| got.payload.clone()).collect()
}

/// A reason's count.
pub fn ignored(totals: &Totals, name: &str) -> u64 {
    totals.ignored.iter().find(|(reason, _)| *reason == name).map_or(0, |(_, count)| count)
}

pub fn seconds(count: u64) -> Timestamp {
    Timestamp::from_secs(count)
}

/// A pcap file.
#[derive(Clone, Debug)]
pub struct Pcap {
    pub bytes: Vec<u8>,
    is_big: bool,
    unit_nanos: u64,
}

impl Pcap {
    pub fn new(link: u32) -> Self {
        Self::with(link, false, false)
    }

    pub fn with(link: u32, is_big: bool, is_nano: bool) -> Self {
        let (magic, unit_nanos) = if is_nano { (0xA1B2_3C4D, 1) } else { (0xA1B2_C3D4, 1000) };
        let mut file = Self { bytes: Vec::new(), is_big, unit_nanos };
        file.u32s(&[magic]);
        let version: [u16; 2] = [2, 4];
        for part in version {
            file.bytes.extend(if is_big { part.to_be_bytes() } else { part.to_le_bytes() });
        }
        file.u32s(&[0, 0, 262_144, link]);
        file
    }

    pub fn packet(&mut self, at: u64, bytes: &[u8]) {
        self.cut_packet(at, bytes, bytes.len());
    }

    /// A packet of which only the beginning was captured.
    pub fn cut_packet(&mut self, at: u64, bytes: &[u8], len: usize) {
        let fraction = at % 1_000_000_000 / self.unit_nanos;
        let lengths = [len as u32, bytes.len() as u32];
        self.u32s(&[(at / 1_000_000_000) as u32, fraction as u32, lengths[0], lengths[1]]);
        self.bytes.extend_from_slice(&bytes[..len]);
    }

    fn u32s(&mut self, values: &[u32]) {
        self.bytes.extend(words(self.is_big, values));
    }
}

/// A pcapng file.
#[derive(Clone, Debug)]
pub struct PcapNg {
    pub bytes: Vec<u8>,
    is_big: bool,
}

impl PcapNg {
    pub fn new(is_big: bool) -> Self {
        let mut file = Self { bytes: Vec::new(), is_big };
        file.section(is_big);
        file
    }

    pub fn section(&mut self, is_big: bool) {
        self.is_big = is_big;
        let version: u32 = if is_big { 0x0001_0000 } else { 1 };
        let body = words(is_big, &[0x1A2B_3C4D, version, u32::MAX, u32::MAX]);
        self.block(0x0A0D_0D0A, &body);
    }

    /// An interface, with options as numbers and values.
    pub fn interface(&mut self, link: u16, options: &[(u16, &[u8])]) {
        let mut body = self.u16s(&[link, 0]);
        body.extend(words(self.is_big, &[0]));
        for (code, value) in options {
            body.extend(self.u16s(&[*code, value.len() as u16]));
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body);
    }

    /// An enhanced packet; its time is in units of its interface.
    pub fn packet(&mut self, interface: u32, units: u64, bytes: &[u8]) {
        let (high, low, len) = ((units >> 32) as u32, units as u32, bytes.len() as u32);
        let mut body = words(self.is_big, &[interface, high, low, len, len]);
        body.extend_from_slice(bytes);
        self.block(6, &body);
    }

    pub fn simple_packet(&mut self, bytes: &[u8]) {
        let mut body = words(self.is_big, &[bytes.len() as u32]);
        body.extend_from_slice(bytes);
        self.block(3, &body);
    }

    pub fn old_packet(&mut self, interface: u16, units: u64, bytes: &[u8]) {
        let mut body = self.u16s(&[interface, 0]);
        let (high, low, len) = ((units >> 32) as u32, units as u32, bytes.len() as u32);
        body.extend(words(self.is_big, &[high, low, len, len]));
        body.extend_from_slice(bytes);
        self.block(2, &body);
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) {
        let len = body.len().next_multiple_of(4);
        let total = len as u32 + 12;
        self.bytes.extend(words(self.is_big, &[kind, total]));
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len() + len - body.len(), 0);
        self.bytes.extend(words(self.is_big, &[total]));
    }

    fn u16s(&self, values: &[u16]) -> Vec<u8> {
        let is_big = self.is_big;
        values.iter().flat_map(|v| if is_big { v.to_be_bytes() } else { v.to_le_bytes() }).collect()
    }
}

fn words(is_big: bool, values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| if is_big { v.to_be_bytes() } else { v.to_le_bytes() }).collect()
}

/// UDP on IP between two addresses with ports, `192.0.2.1:5060` or `[2001:db8::1]:5060`.
pub fn udp(src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    ip(src.ip(), dst.ip(), 17, &udp_datagram(src.port(), dst.port(), payload))
}

pub fn udp_datagram(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16 + 8;
    let header = [src, dst, len, 0].map(u16::to_be_bytes);
    [header.as_flattened(), payload].concat()
}

/// TCP on IP; flags as in the header.
pub fn tcp(src: &str, dst: &str, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
    let mut segment = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 0, 0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    ip(src.ip(), dst.ip(), 6, &segment)
}

pub const SYN: u8 = 2;
pub const ACK: u8 = 16;

pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ipv4(src, dst, protocol, (0, 0), payload),
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, 64]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            packet.extend_from_slice(payload);
            packet
        }
        _ => panic!("{src} to {dst}"),
    }
}

/// With identification, and flags with offset.
pub fn ipv4(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    (identification, fragment): (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else { panic!("{src} to {dst}") };
    let mut packet = vec![0x45, 0];
    packet.extend((payload.len() as u16 + 20).to_be_bytes());
    packet.extend(identification.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend_from_slice(payload);
    packet
}

/// An IPv4 packet cut into fragments of so many bytes.
pub fn fragments(packet: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    assert!(size.is_multiple_of(8));
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    let pieces: Vec<_> = packet[20..].chunks(size).collect();
    let cut = |(index, piece): (usize, &&[u8])| {
        let more = if index + 1 < pieces.len() { 0x2000 } else { 0 };
        let fragment = more | (index * size / 8) as u16;
        ipv4(address(12), address(16), packet[9], (identification, fragment), piece)
    };
    pieces.iter().enumerate().map(cut).collect()
}

/// Ethernet around IP.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let kind = if packet.first().is_some_and(|first| first >> 4 == 6) { 0x86DD } else { 0x0800 };
    ethernet_of(kind, packet)
}

pub fn ethernet_of(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &kind.to_be_bytes(), payload].concat()
}
