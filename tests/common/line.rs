//! A call whose RTCP is looked at: speech by the clock, reports by hand, a delay between both ends.
//!
//! Decides nothing about what is right.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module shared by test files")]

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use voxplane::{
    control::record::{CallRecord, StreamRecord},
    id::Ssrc,
    shard::ShardConfig,
    time::Timestamp,
    wire::rtcp::{
        self, DlrrSubBlock, ExtendedReport, ReportBlock, RtcpCompound, RtcpPacket, VoipMetrics,
        XrBlock,
    },
};

use crate::common::{Caller, Sent, World, ms, rtp};

/// A call that is up.
pub struct Line {
    pub world: World,
    pub caller: Caller,
    /// Where the appliance takes RTP.
    pub us: SocketAddr,
    pub ssrc: u32,
    /// The next sequence number.
    pub sequence: u16,
    pub timestamp: u32,
}

impl Line {
    pub fn new(user: &'static str, config: ShardConfig) -> Self {
        let caller = Caller { user, ..Caller::new("198.51.100.1:5070", "line") };
        Self::with(caller, config, |offer| offer)
    }

    /// The same with something else in the offer.
    pub fn with(
        mut caller: Caller,
        config: ShardConfig,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let mut world = World::new(config);
        let offer = change(caller.offer());
        world.send(caller.addr, caller.us, caller.request("INVITE", 1, &offer));
        let answer = world.take().into_iter().find(|sent| sent.status() == 200).expect("a 200");
        caller.to_tag = answer.to_tag();
        world.send(caller.addr, caller.us, caller.request("ACK", 1, ""));
        let us = answer.media_address();
        Self { world, caller, us, ssrc: 0x5EED, sequence: 1000, timestamp: 0 }
    }

    /// Talks for so many packets of 20 ms; those that `is_lost` says never arrive.
    pub fn talk(&mut self, count: u32, is_lost: impl Fn(u16) -> bool) {
        self.talk_in(ms(20), count, is_lost);
    }

    /// The same with a packet each `interval`.
    pub fn talk_in(&mut self, interval: Duration, count: u32, is_lost: impl Fn(u16) -> bool) {
        for _ in 0..count {
            let packet = rtp(0, false, self.sequence, self.timestamp, self.ssrc);
            if !is_lost(self.sequence) {
                self.world.send(self.caller.media, self.us, packet);
            }
            self.sequence = self.sequence.wrapping_add(1);
            let ticks = u32::try_from(interval.as_millis()).expect("short") * 8;
            self.timestamp = self.timestamp.wrapping_add(ticks);
            self.world.run_for(interval);
        }
    }

    /// Sends RTCP from the caller's port for it, at once there.
    pub fn say(&mut self, bytes: impl Into<Vec<u8>>) {
        self.world.send(above(self.caller.media), above(self.us), bytes);
    }

    /// What was sent by RTCP since it was last asked.
    pub fn heard(&mut self) -> Vec<Sent> {
        let mut sent = self.world.take();
        sent.retain(|sent| sent.src.port() != 5060 && is_rtcp(&sent.bytes));
        sent
    }

    /// Hangs up, and waits until all is said.
    pub fn hang_up(&mut self) -> Arc<CallRecord> {
        self.caller.hang_up(&mut self.world);
        self.world.run_for(ms(500));
        self.world.finished("line")
    }
}

/// A whole datagram with these extended reports.
pub fn extended(ssrc: u32, blocks: &[XrBlock<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    rtcp::write_receiver_report(&mut bytes, Ssrc(ssrc), &[]);
    rtcp::write_cname(&mut bytes, Ssrc(ssrc), "phone@198.51.100.1");
    rtcp::write_extended_report(&mut bytes, Ssrc(ssrc), blocks);
    bytes
}

/// The answer to the reference time in a report, held so long.
pub fn dlrr(report: &Sent, held: Duration) -> DlrrSubBlock {
    let parts = Parts::of(report);
    let middle = u32::try_from((parts.ntp.expect("a reference time") >> 16) & 0xFFFF_FFFF);
    DlrrSubBlock::new(parts.ssrc, middle.expect("masked"), units(held))
}

/// In 1/65536 s.
pub fn units(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).expect("short")
}

/// A datagram of the appliance, taken apart.
#[derive(Debug)]
pub struct Parts {
    pub at: Timestamp,
    pub ssrc: Ssrc,
    /// Packet types, in order.
    pub types: Vec<u8>,
    pub blocks: Vec<ReportBlock>,
    /// The types of XR blocks, in order.
    pub extended: Vec<u8>,
    /// Of the receiver reference time.
    pub ntp: Option<u64>,
    pub dlrr: Vec<DlrrSubBlock>,
    pub metrics: Vec<VoipMetrics>,
    pub summaries: Vec<rtcp::StatisticsSummary>,
}

impl Parts {
    pub fn of(sent: &Sent) -> Self {
        let mut parts = Self {
            at: sent.at,
            ssrc: Ssrc(0),
            types: Vec::new(),
            blocks: Vec::new(),
            extended: Vec::new(),
            ntp: None,
            dlrr: Vec::new(),
            metrics: Vec::new(),
            summaries: Vec::new(),
        };
        for packet in RtcpCompound::parse(&sent.bytes).expect("RTCP").packets() {
            parts.add(&packet);
        }
        parts
    }

    fn add(&mut self, packet: &RtcpPacket<'_>) {
        match packet {
            RtcpPacket::SenderReport(report) => {
                self.types.push(200);
                self.ssrc = report.ssrc();
                self.blocks.extend(report.blocks());
            }
            RtcpPacket::ReceiverReport(report) => {
                self.types.push(201);
                self.ssrc = report.ssrc();
                self.blocks.extend(report.blocks());
            }
            RtcpPacket::Sdes(sdes) => {
                self.types.push(202);
                let names: Vec<_> =
                    sdes.chunks().map(|chunk| (chunk.ssrc, chunk.cname())).collect();
                assert_eq!(names, [(self.ssrc, Some(&b"voxplane"[..]))]);
            }
            RtcpPacket::Bye(bye) => {
                self.types.push(203);
                assert!(bye.ssrcs().eq([self.ssrc]));
            }
            RtcpPacket::ExtendedReport(report) => {
                self.types.push(207);
                assert_eq!(report.ssrc(), self.ssrc);
                self.add_extended(report);
            }
            other => panic!("{other:?}"),
        }
    }

    fn add_extended(&mut self, report: &ExtendedReport<'_>) {
        for block in report.blocks() {
            match block {
                XrBlock::ReceiverReferenceTime(time) => {
                    self.extended.push(4);
                    self.ntp = Some(time.ntp());
                }
                XrBlock::Dlrr(answers) => {
                    self.extended.push(5);
                    self.dlrr.extend(answers);
                }
                XrBlock::StatisticsSummary(summary) => {
                    self.extended.push(6);
                    self.summaries.push(*summary);
                }
                XrBlock::VoipMetrics(metrics) => {
                    self.extended.push(7);
                    self.metrics.push(*metrics);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The streams of a call of one direction.
pub fn streams(
    call: &CallRecord,
    direction: voxplane::control::record::Direction,
) -> Vec<StreamRecord> {
    call.streams.records().filter(|stream| stream.direction == direction).collect()
}

pub fn above(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port() + 1)
}

/// By the packet type (RFC 5761 section 4).
fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|kind| (192..=223).contains(kind))
}
