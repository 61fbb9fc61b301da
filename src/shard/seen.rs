//! Both sides of a call that is only observed: where each wants its media, in which formats, and
//! the reports that tell how far apart they are. It follows no signalling itself.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;

use super::{
    flow::Will,
    report::{Direction, Flow, RoundTrip},
    rtcp::Answers,
    stream::Format,
};
use crate::{
    id::{PayloadType, Ssrc},
    time::Timestamp,
    wire::sdp::{Media, SessionDescription},
};

/// What has been seen of a call between two others.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Where the sides want their media: of late, and from before a change.
    endpoints: Vec<Endpoint>,
    /// What the caller and the callee do with their audio.
    wills: [Will; 2],
    /// Branches of the INVITE that have no final response yet; the first one seen stays in front
    /// until it has.
    pub(crate) pending: Vec<u64>,
    /// The branch by which the INVITE was first seen.
    pub(crate) first_branch: Option<u64>,
    /// The far ends that have answered, by the hash of their tags: more than one where a proxy
    /// has forked the INVITE.
    pub(crate) answered: Vec<u64>,
    /// Whether the caller has taken the INVITE back.
    pub(crate) is_cancelled: bool,
    sent: ArrayVec<SentReport, SENT_REPORTS_MAX>,
    /// The last round trip from here to each side and back.
    halves: [Option<Half>; 2],
    /// The last answer of each kind that each side has given.
    answers: [[Option<Answer>; 2]; 2],
    pub(crate) rtt: RoundTrip,
}

/// Where one side receives one of its media.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    side: Side,
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
    formats: ArrayVec<Format, SEEN_FORMATS_MAX>,
}

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Callee,
}

/// A sender report or a receiver's reference time that has passed.
#[derive(Clone, Copy, Debug)]
struct SentReport {
    ssrc: Ssrc,
    ntp_middle: u32,
    at: Timestamp,
}

/// What a side has said about a report that it has received: LSR and DLSR (RFC 3550 section
/// 6.4.1), or LRR and DLRR (RFC 3611 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) to: Answers,
    pub(crate) ssrc: Ssrc,
    pub(crate) lsr: u32,
    pub(crate) dlsr: u32,
}

/// A round trip from here to one side and back.
#[derive(Clone, Copy, Debug)]
struct Half {
    us: u32,
    at: Timestamp,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// Which way a stream to this side goes.
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Caller => Direction::Tx,
            Self::Callee => Direction::Rx,
        }
    }
}

impl Seen {
    /// Takes in the session description that a side has sent. `source` stands in for an address
    /// that it leaves out. What it named before is kept for packets still under way, within a
    /// bound.
    pub(crate) fn describe(&mut self, side: Side, sdp: &SessionDescription<'_>, source: IpAddr) {
        self.wills[side as usize] = Will::read(sdp);
        for endpoint in sdp.media().filter_map(|media| Endpoint::read(side, &media, source)) {
            let is_same = |known: &Endpoint| known.side == side && known.rtp == endpoint.rtp;
            self.endpoints.retain(|known| !is_same(known));
            if self.endpoints.len() == ENDPOINTS_MAX {
                self.endpoints.remove(0);
            }
            self.endpoints.push(endpoint);
        }
    }

    /// Which way media is expected to go.
    pub(crate) const fn flow(&self) -> Flow {
        let [caller, callee] = self.wills;
        Will::between(caller, callee)
    }

    /// Notes that the INVITE is under way on this branch.
    pub(crate) fn add_branch(&mut self, branch: u64) {
        self.first_branch.get_or_insert(branch);
        if self.pending.len() < BRANCHES_MAX && !self.pending.contains(&branch) {
            self.pending.push(branch);
        }
    }

    /// Notes that the far end with this tag has answered.
    pub(crate) fn add_answer(&mut self, tag: u64) {
        if self.answered.len() < BRANCHES_MAX && !self.answered.contains(&tag) {
            self.answered.push(tag);
        }
    }

    /// All addresses that media of the call may come from or go to.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoints.iter().flat_map(|endpoint| [endpoint.rtp, endpoint.rtcp])
    }

    /// Between which addresses its media go.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let of = |side| self.endpoints.iter().filter(move |known| known.side == side);
        of(Side::Caller).flat_map(move |caller| {
            of(Side::Callee).flat_map(|callee| [(caller.rtp, callee.rtp), (callee.rtp, caller.rtp)])
        })
    }

    /// Whether an address is one of the call's.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.side_of(address).is_some()
    }

    /// Which way media between these addresses go: towards whom they are sent to, or away from
    /// whom they come from where that is all that is known.
    pub(crate) fn direction(&self, src: SocketAddr, dst: SocketAddr) -> Direction {
        let towards = self.side_of(dst).or_else(|| self.side_of(src).map(Side::other));
        towards.map_or(Direction::Rx, Side::direction)
    }

    /// What a payload type means on its way to `dst`: what the receiver has said, or where it has
    /// said nothing about it, what anybody in the call has.
    pub(crate) fn format(&self, dst: SocketAddr, payload_type: PayloadType) -> Option<Format> {
        let find = |endpoint: &Endpoint| {
            endpoint.formats.iter().find(|format| format.payload_type == payload_type).copied()
        };
        // The newest last.
        let newest = self.endpoints.iter().rev();
        let told = newest.clone().filter(|endpoint| endpoint.rtp == dst).find_map(find);
        // Some answers leave out what the offer has said.
        let is_clear = |format: &Format| format.clock_rate != 0;
        let clear = told.filter(is_clear).or_else(|| newest.filter_map(find).find(is_clear));
        clear.or(told)
    }

    /// Whether both sides have said where they want their media.
    pub(crate) fn is_described(&self) -> bool {
        let has = |side| self.endpoints.iter().any(|endpoint| endpoint.side == side);
        has(Side::Caller) && has(Side::Callee)
    }

    /// Who sends from `src` to `dst`.
    pub(crate) fn sender(&self, src: SocketAddr, dst: SocketAddr) -> Option<Side> {
        self.side_of(src).or_else(|| self.side_of(dst).map(Side::other))
    }

    /// Remembers a sender report or a reference time on its way.
    pub(crate) fn on_report(&mut self, ssrc: Ssrc, ntp_middle: u32, at: Timestamp) {
        if self.sent.is_full() {
            self.sent.remove(0);
        }
        self.sent.push(SentReport { ssrc, ntp_middle, at });
    }

    /// Takes in what a side says about a stream it receives: when it got the sender's last report
    /// tells how far it is from here, without any clock but ours. Gives back the whole way, once
    /// both halves are known, microseconds.
    pub(crate) fn on_answer(&mut self, side: Side, answer: Answer, at: Timestamp) -> Option<u32> {
        let is_it = |sent: &&SentReport| sent.ssrc == answer.ssrc && sent.ntp_middle == answer.lsr;
        let sent = self.sent.iter().rev().find(is_it).filter(|_| answer.lsr != 0)?;
        let held = Duration::from_nanos((u64::from(answer.dlsr) * 1_000_000_000) >> 16);
        let nanos = at.since(sent.at).as_nanos().cast_signed() - held.as_nanos().cast_signed();
        let known = &mut self.answers[side as usize][answer.to as usize];
        let is_repeated = *known == Some(answer);
        // A hold stated a little too long is a short way.
        if is_repeated || nanos < -HOLD_ERROR_MAX_NANOS {
            return None;
        }
        let us = u32::try_from(nanos.max(0) / 1000).ok()?;
        *known = Some(answer);
        self.halves[side as usize] = Some(Half { us, at });
        let other = self.halves[side.other() as usize]?;
        let is_fresh = at.since(other.at) < HALF_LASTS;
        is_fresh.then(|| us.saturating_add(other.us))
    }

    fn side_of(&self, address: SocketAddr) -> Option<Side> {
        let mut newest = self.endpoints.iter().rev();
        newest.find(|known| known.rtp == address || known.rtcp == address).map(|known| known.side)
    }
}

impl Endpoint {
    /// Where a media description wants its RTP; `None` if it wants none, or not now.
    fn read(side: Side, media: &Media<'_>, source: IpAddr) -> Option<Self> {
        let ip = media.connection().unwrap_or(source);
        if !media.is_rtp() || media.port() == 0 || ip.is_unspecified() {
            return None;
        }
        let rtp = SocketAddr::new(ip, media.port());
        let rtcp = match media.rtcp() {
            Some((port, ip)) => SocketAddr::new(ip.unwrap_or_else(|| rtp.ip()), port),
            None if media.rtcp_mux() => rtp,
            None => SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1)),
        };
        let formats = media.formats().take(SEEN_FORMATS_MAX).map(|payload_type| {
            let (codec, clock_rate) = media.codec(payload_type);
            Format { payload_type: PayloadType(payload_type), codec, clock_rate }
        });
        Some(Self { side, rtp, rtcp, formats: formats.collect() })
    }
}

/// Addresses remembered of one call: audio and video of both sides, and those before a change.
pub(crate) const ENDPOINTS_MAX: usize = 8;

/// Hops and branches of one INVITE, and answers to it, that are told apart.
const BRANCHES_MAX: usize = 16;

/// Formats remembered of one media description.
const SEEN_FORMATS_MAX: usize = 24;

/// Reports that wait to be answered: two of each kind of each of four sources.
const SENT_REPORTS_MAX: usize = 16;

/// How much longer than it did a side may say that it held a report.
const HOLD_ERROR_MAX_NANOS: i128 = 10_000_000;

/// How long one half of a round trip may wait for the other: some intervals of RTCP.
const HALF_LASTS: Duration = Duration::from_secs(30);
