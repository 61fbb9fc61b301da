//! What a shard did and what it lost itself: counters that only grow, and a few levels.

use serde::Serialize;

/// One shard's own state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ShardHealth {
    /// Which shard.
    pub shard: u16,
    /// Calls in its dialog table that are up.
    pub calls_active: u32,
    /// Calls it has accepted since start.
    pub calls_total: u64,
    /// Streams in its table.
    pub streams_active: u32,
    /// RTP packets handled.
    pub rtp_packets: u64,
    /// RTP packets sent that were made here, for calls of test numbers.
    pub rtp_sent: u64,
    /// Those that were not sent, being more than 100 ms late: the machine was too busy.
    pub rtp_skipped: u64,
    /// RTCP datagrams handled.
    pub rtcp_packets: u64,
    /// Encrypted RTCP datagrams, counted and not read.
    pub srtcp_packets: u64,
    /// SIP messages handled.
    pub sip_messages: u64,
    /// SIP messages that are not SIP or that a strict server must refuse.
    pub sip_malformed: u64,
    /// Datagrams on media ports that are none of what is told apart here, or malformed.
    pub media_other: u64,
    /// STUN messages on media ports.
    pub stun: u64,
    /// DTLS records on media ports.
    pub dtls: u64,
    /// ZRTP messages on media ports.
    pub zrtp: u64,
    /// Datagrams that only hold an address binding open.
    pub keep_alive: u64,
    /// Packets that look like RTP and began no stream: no second one followed.
    pub unconfirmed: u64,
    /// Datagrams that the kernel dropped because a socket buffer was full.
    pub socket_overflow: u64,
    /// Datagrams longer than their receive slot, cut off.
    pub truncated: u64,
    /// SIP messages lost between shards because the ring was full.
    pub handoff_full: u64,
    /// Reports lost because the ring to control was full.
    pub ring_full: u64,
    /// Messages that no ladder shows because the ring to control was full. They were measured.
    pub ladder_dropped: u64,
    /// Datagrams not sent because the send queue was full.
    pub send_dropped: u64,
    /// SIP connections, TCP and TLS, that are open.
    pub connections: u32,
    /// SIP connections taken since start.
    pub connections_total: u32,
    /// SIP connections closed at once, for want of room.
    pub connections_refused: u32,
    /// SIP connections closed because no message could be made out.
    pub connections_broken: u32,
    /// SIP connections that could not be accepted.
    pub accept_errors: u32,
    /// Messages not sent because their connection had gone.
    pub connection_gone: u32,
    /// Calls refused because the dialog table was full.
    pub calls_refused: u64,
    /// Packets not measured because the stream table was full.
    pub streams_refused: u64,
    /// Times that it came to its work more than 50 ms late: the machine was too busy.
    pub stalls: u32,
    /// Reports in the ring to control that had not been taken when this was said.
    pub reports_waiting: u32,
    /// How long it naps between turns now, microseconds.
    pub nap_us: u32,
    /// Requests answered with a challenge, wrong credentials among them.
    pub auth_challenges: u32,
    /// Requests with wrong credentials, or those of another user.
    pub auth_failures: u32,
    /// Reports of phones that were taken.
    pub phone_reports: u32,
    /// Those that were none.
    pub phone_reports_refused: u32,
    /// SIP that was over a limit.
    pub shed: Shed,
    /// What its registrar did.
    pub registrations: Registrations,
    /// Share of time spent working, 0 to 1, over the last interval.
    pub busy: f64,
}

/// SIP that was not handled, as there was more of it than the limits allow: nothing that the
/// appliance has lost, since it was not to be taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shed {
    /// Messages of verified sources that sent more than one may.
    pub source: u64,
    /// Messages of sources that are not verified, which together may send so much.
    pub unverified: u64,
    /// Calls of sources that had too many without an ACK.
    pub calls: u64,
    /// Answers to malformed requests, and those far longer than their requests.
    pub answers: u64,
}

impl Shed {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.source + self.unverified + self.calls + self.answers
    }
}

/// What registrars did: two levels, and counters that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Registrations {
    /// Contacts that are registered.
    pub active: u32,
    /// Users that have any.
    pub users: u32,
    /// REGISTERs answered with more than a challenge.
    pub attempts: u64,
    /// REGISTERs that were asked for credentials, which is no failure.
    pub challenged: u64,
    /// Those that were granted.
    pub succeeded: u64,
    /// Those refused with a 4xx, wrong credentials among them.
    pub failed_4xx: u64,
    /// Those refused with a 5xx.
    pub failed_5xx: u64,
    /// Of these, for want of room.
    pub refused: u64,
    /// Changes that the list of registrations lacks, for want of room: it shows those users as they
    /// were, until they register again or their time is over.
    pub untold: u64,
}

impl Registrations {
    /// Those of several shards together.
    #[must_use]
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            active: sum.active + one.active,
            users: sum.users + one.users,
            attempts: sum.attempts + one.attempts,
            challenged: sum.challenged + one.challenged,
            succeeded: sum.succeeded + one.succeeded,
            failed_4xx: sum.failed_4xx + one.failed_4xx,
            failed_5xx: sum.failed_5xx + one.failed_5xx,
            refused: sum.refused + one.refused,
            untold: sum.untold + one.untold,
        })
    }

    /// REGISTERs that failed: ineffective registration attempts (RFC 6076 section 4.2).
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed_4xx + self.failed_5xx
    }
}

/// What a shard did to its own calls in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnFaults {
    /// Datagrams and reports that it lost.
    pub drops: u32,
    /// Times that it came to its work more than 50 ms late.
    pub stalls: u32,
}

impl OwnFaults {
    /// What has come since another moment; counters wrap.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            drops: self.drops.wrapping_sub(before.drops),
            stalls: self.stalls.wrapping_sub(before.stalls),
        }
    }

    /// The more of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { drops: self.drops.max(other.drops), stalls: self.stalls.max(other.stalls) }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.drops == 0 && self.stalls == 0
    }
}

impl ShardHealth {
    /// Everything that may have harmed its calls, in the lower bits of counters.
    #[must_use]
    pub const fn own_faults(&self) -> OwnFaults {
        OwnFaults { drops: lower(self.own_drops()), stalls: self.stalls }
    }

    /// Everything the shard lost itself.
    #[must_use]
    pub const fn own_drops(&self) -> u64 {
        self.socket_overflow
            + self.truncated
            + self.handoff_full
            + self.ring_full
            + self.send_dropped
            + self.streams_refused
    }
}

const fn lower(count: u64) -> u32 {
    (count & 0xFFFF_FFFF) as u32
}
