//! When a participant of an RTP session sends its next report (RFC 3550 section 6.3.1).
//!
//! Pure arithmetic and a die that is handed in: it reads no clock, and knows no call.

use core::time::Duration;

use crate::wire::codec::Codec;

/// What the time between two reports of one participant depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// Participants, this one included.
    pub(super) members: u32,
    /// How many of them have sent RTP of late.
    pub(super) senders: u32,
    /// Whether this one is among those.
    pub(super) is_sender: bool,
    /// Bandwidth of the session, bits a second; above 0.
    pub(super) session_bps: u32,
    /// Mean length of RTCP datagrams, octets, headers of IP and UDP included.
    pub(super) mean_len: u16,
    /// Whether this one has sent no report yet.
    pub(super) is_first: bool,
}

impl Interval {
    /// The interval before chance has its say: at least 5 s, half of that for the first report,
    /// and longer where the share of the bandwidth is too small for that.
    pub(super) fn deterministic(&self) -> Duration {
        let least = if self.is_first { RTCP_INTERVAL / 2 } else { RTCP_INTERVAL };
        let receivers = self.members.saturating_sub(self.senders);
        let (sharers, share) = if self.senders * 4 > self.members {
            (self.members, 1.0)
        } else if self.is_sender {
            (self.senders, SENDERS_SHARE)
        } else {
            (receivers, 1.0 - SENDERS_SHARE)
        };
        let bits = f64::from(sharers) * f64::from(self.mean_len) * 8.0;
        let bits_per_second = f64::from(self.session_bps) * RTCP_SHARE * share;
        let scaled = Duration::try_from_secs_f64(bits / bits_per_second);
        scaled.unwrap_or(INTERVAL_MAX).clamp(least, INTERVAL_MAX)
    }

    /// The interval that this participant is to take: spread by half either way, so that no two
    /// stay in step, and shortened by what reconsideration makes longer.
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> Duration {
        self.deterministic().mul_f64((0.5 + rng.f64()) / RECONSIDERATION)
    }
}

/// The least bandwidth of a session with this codec, bits a second: one sender's lowest rate, and
/// the headers of IPv4, UDP and RTP fifty times a second.
pub(super) const fn session_bps(codec: Codec) -> u32 {
    let payload = match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 64_000,
        Codec::L16 => 128_000,
        Codec::G726_32 => 32_000,
        Codec::G728 => 16_000,
        Codec::Gsm => 13_000,
        Codec::GsmEfr => 12_200,
        Codec::Ilbc => 13_300,
        Codec::G729 => 8_000,
        Codec::Opus | Codec::AmrWb | Codec::Evs | Codec::Speex => 6_000,
        Codec::G723 => 5_300,
        _ => 4_750,
    };
    payload + HEADERS_BPS
}

/// Least mean time between reports of one participant (RFC 3550 section 6.2).
pub(super) const RTCP_INTERVAL: Duration = Duration::from_secs(5);

/// No bandwidth is so small that the far end shall hear nothing for longer.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// The share of a session's bandwidth that RTCP may take (RFC 3550 section 6.2).
const RTCP_SHARE: f64 = 0.05;

/// The share of that which is the senders', where they are few (RFC 3550 section 6.2).
const SENDERS_SHARE: f64 = 0.25;

/// e - 3/2 (RFC 3550 section 6.3.1): by so much a timer that is drawn again when it expires, and
/// then goes on if the new time is later, takes longer on average.
const RECONSIDERATION: f64 = core::f64::consts::E - 1.5;

/// 40 octets, fifty times a second.
const HEADERS_BPS: u32 = 40 * 8 * 50;

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Interval = Interval {
        members: 2,
        senders: 1,
        is_sender: false,
        session_bps: session_bps(Codec::Pcmu),
        mean_len: 250,
        is_first: false,
    };

    #[test]
    fn a_call_of_two_reports_every_five_seconds_and_first_after_half_of_it() {
        assert_eq!(CALL.deterministic(), Duration::from_secs(5));
        let first = Interval { is_first: true, ..CALL };
        assert_eq!(first.deterministic(), Duration::from_millis(2500));
        // The lowest rate there is makes room for it.
        let narrow = Interval { session_bps: session_bps(Codec::Amr), ..CALL };
        assert_eq!(narrow.deterministic(), Duration::from_secs(5));
    }

    /// Section 6.3.1 point by point, with 100 participants at 1000 bits a second of RTCP.
    #[test]
    fn the_interval_grows_with_who_shares_the_bandwidth() {
        let crowd = Interval { members: 100, session_bps: 20_000, mean_len: 50, ..CALL };
        let seconds = |senders, is_sender| {
            Interval { senders, is_sender, ..crowd }.deterministic().as_secs_f64()
        };
        let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got}");
        // Up to a quarter: 250 bits a second for the senders, 750 for the receivers.
        near(seconds(25, true), 25.0 * 400.0 / 250.0);
        near(seconds(10, true), 10.0 * 400.0 / 250.0);
        near(seconds(25, false), 75.0 * 400.0 / 750.0);
        // More than that: all share all.
        near(seconds(26, true), 100.0 * 400.0 / 1000.0);
        near(seconds(26, false), 100.0 * 400.0 / 1000.0);
        // Nobody sends.
        near(seconds(0, false), 100.0 * 400.0 / 750.0);
        let crawling = Interval { session_bps: 1, ..crowd };
        assert_eq!(crawling.deterministic(), INTERVAL_MAX);
    }

    #[test]
    fn chance_spreads_it_evenly_by_half_either_way() {
        let mut rng = fastrand::Rng::with_seed(7);
        let draws: Vec<_> = (0..20_000).map(|_| CALL.draw(&mut rng).as_secs_f64()).collect();
        let (least, most) = (2.5 / RECONSIDERATION, 7.5 / RECONSIDERATION);
        assert!(draws.iter().all(|draw| (least..most).contains(draw)));
        let tenths = |draw: &f64| (draw - least) / (most - least) * 10.0;
        for tenth in 0..10 {
            let is_in =
                |draw: &&f64| (f64::from(tenth)..f64::from(tenth) + 1.0).contains(&tenths(draw));
            let count = draws.iter().filter(is_in).count();
            assert!((1850..2150).contains(&count), "{tenth}: {count}");
        }
    }
}
