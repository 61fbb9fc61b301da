//! The Prometheus text exposition of a snapshot, format 0.0.4. Base units: seconds and ratios.
//!
//! It shows the counters of the API under conventional names and computes nothing of its own.

use core::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{door::Counters, signalling};
use crate::{
    control::{
        record::{ShardHealth, Snapshot},
        spreads::{self, Distribution, Spreads},
    },
    notify::Status,
    time::{NANOS_PER_SEC, Timestamp},
};

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders everything at the time `now`.
pub(super) fn render(
    snapshot: &Snapshot,
    notifiers: &[Status],
    door: &Counters,
    now: Timestamp,
) -> String {
    let mut page = Page(String::with_capacity(CAPACITY));
    appliance(&mut page, snapshot, now);
    calls(&mut page, snapshot);
    signalling::render(&mut page, &snapshot.sip);
    registrations(&mut page, snapshot);
    shards(&mut page, &snapshot.shards);
    for &(name, kind, help, value) in NOTIFIER {
        page.family(name, kind, help);
        for notifier in notifiers {
            let labels = format!("{{notifier=\"{}\",kind=\"{}\"}}", notifier.name, notifier.kind);
            page.sample(name, &labels, value(notifier));
        }
    }
    for &(name, help, value) in DOOR {
        page.family(name, "counter", help);
        page.sample(name, "", value(door).load(Relaxed));
    }
    page.0
}

/// Text being written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        self.line(format_args!("{name}{labels} {value}\n"));
    }

    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// One summary for each set of labels, which end with a comma where there are any.
    fn summaries_us<'a>(
        &mut self,
        name: &str,
        help: &str,
        labelled: impl Iterator<Item = (String, &'a Distribution)>,
    ) {
        self.family(name, "summary", help);
        for (labels, us) in labelled {
            for (quantile, value) in [("0.5", us.p50), ("0.95", us.p95), ("0.99", us.p99)] {
                let labels = format!("{{{labels}quantile=\"{quantile}\"}}");
                if us.count > 0 {
                    self.sample(name, &labels, float(value) / 1e6);
                } else {
                    self.sample(name, &labels, "NaN");
                }
            }
            let labels = labels.strip_suffix(',').map(|labels| format!("{{{labels}}}"));
            let labels = labels.unwrap_or_default();
            let sum = us.mean * float(us.count) / 1e6;
            self.sample(&format!("{name}_sum"), &labels, sum);
            self.sample(&format!("{name}_count"), &labels, us.count);
        }
    }

    fn line(&mut self, text: core::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

fn appliance(page: &mut Page, snapshot: &Snapshot, now: Timestamp) {
    let name = "voxplane_build_info";
    page.family(name, "gauge", "Always 1; the version stands in the label.");
    page.sample(name, concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    let help = "Unix time when the appliance started.";
    page.single("voxplane_start_time_seconds", "gauge", help, unix_secs(snapshot.started_at));
    let help = "Age of the figures on this page.";
    let age = now.since(snapshot.taken_at).as_secs_f64();
    page.single("voxplane_snapshot_age_seconds", "gauge", help, age);
}

fn calls(page: &mut Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let help = "Calls in any state before their end.";
    page.single("voxplane_calls_active", "gauge", help, snapshot.active.len());
    let help = "Streams that belong to no call.";
    page.single("voxplane_orphan_streams", "gauge", help, snapshot.orphans.len());
    let name = "voxplane_calls_finished_total";
    page.family(name, "counter", "Calls that are over, by whether they had been answered.");
    page.sample(name, "{result=\"answered\"}", totals.answered);
    page.sample(name, "{result=\"failed\"}", totals.failed);
    let help = "Answered calls outside a quality threshold.";
    page.single("voxplane_calls_with_issues_total", "counter", help, totals.with_issues);
    let help = "Finished calls whose figures our own losses may have touched.";
    page.single("voxplane_calls_suspect_total", "counter", help, totals.suspect);
    let name = "voxplane_call_mos";
    page.family(
        name,
        "summary",
        "MOS of finished calls that are scored and not suspect, by scale.",
    );
    for (scale, mos) in totals.mos.by_scale() {
        let labels = format!("{{scale=\"{}\"}}", scale.name());
        page.sample("voxplane_call_mos_sum", &labels, mos.sum);
        page.sample("voxplane_call_mos_count", &labels, mos.calls);
    }
    distributions(page, &snapshot.spreads);
}

fn distributions(page: &mut Page, found: &Spreads) {
    let jitter = "Interarrival jitter of RFC 3550 after each packet";
    let variation = "Delay of each packet over the fastest, clock drift aside";
    let all = [(String::new(), found.all)];
    let by_codec = found.by_codec.iter();
    let by_codec: Vec<_> = by_codec
        .map(|(codec, spread)| (format!("codec=\"{}\",", spreads::codec_name(*codec)), *spread))
        .collect();
    let by_trunk = found
        .by_trunk
        .iter()
        .map(|(trunk, spread)| (format!("trunk=\"{}\",", spreads::trunk_name(*trunk)), *spread));
    let by_trunk: Vec<_> = by_trunk.collect();
    let codec = ("codec", ", by codec", &by_codec[..]);
    let trunk = ("trunk", ", by trunk", &by_trunk[..]);
    for (of, by, labelled) in [("rtp", "", &all[..]), codec, trunk] {
        let each = || labelled.iter().map(|(labels, spread)| (labels.clone(), spread));
        let name = format!("voxplane_{of}_interarrival_jitter_seconds");
        let jitters = each().map(|(labels, spread)| (labels, &spread.jitter_us));
        page.summaries_us(&name, &format!("{jitter}{by}."), jitters);
        let name = format!("voxplane_{of}_delay_variation_seconds");
        let variations = each().map(|(labels, spread)| (labels, &spread.variation_us));
        page.summaries_us(&name, &format!("{variation}{by}."), variations);
    }
    let help = "Round-trip times that RTCP reports gave.";
    let rtt = [(String::new(), &found.rtt_us)].into_iter();
    page.summaries_us("voxplane_rtcp_round_trip_seconds", help, rtt);
}

fn registrations(page: &mut Page, snapshot: &Snapshot) {
    let counts = snapshot.registrations();
    let help = "Contacts that are registered.";
    page.single("voxplane_registrations_active", "gauge", help, counts.active);
    let help = "Users that have a registered contact.";
    page.single("voxplane_registrations_users", "gauge", help, counts.users);
    let help = "REGISTERs answered with more than a challenge.";
    page.single("voxplane_registrations_attempts_total", "counter", help, counts.attempts);
    let help = "REGISTERs that were asked for credentials.";
    page.single("voxplane_registrations_challenged_total", "counter", help, counts.challenged);
    let name = "voxplane_registrations_failures_total";
    page.family(name, "counter", "REGISTERs refused, by class of status.");
    page.sample(name, "{class=\"4xx\"}", counts.failed_4xx);
    page.sample(name, "{class=\"5xx\"}", counts.failed_5xx);
    let help = "REGISTERs refused for want of room, which are among the failures.";
    page.single("voxplane_registrations_refused_total", "counter", help, counts.refused);
}

fn shards(page: &mut Page, shards: &[ShardHealth]) {
    for &(name, kind, help, value) in SHARD {
        page.family(name, kind, help);
        for shard in shards {
            page.sample(name, &format!("{{shard=\"{}\"}}", shard.shard), value(shard));
        }
    }
    let name = "voxplane_shard_busy_ratio";
    page.family(name, "gauge", "Share of the last interval that a shard spent working.");
    for shard in shards {
        page.sample(name, &format!("{{shard=\"{}\"}}", shard.shard), shard.busy);
    }
    let name = "voxplane_own_drops_total";
    page.family(name, "counter", "What the appliance lost itself, by cause.");
    for shard in shards {
        for &(cause, value) in DROPS {
            let labels = format!("{{shard=\"{}\",cause=\"{cause}\"}}", shard.shard);
            page.sample(name, &labels, value(shard));
        }
    }
}

fn unix_secs(time: Timestamp) -> f64 {
    float(time.as_nanos()) / float(NANOS_PER_SEC)
}

#[expect(clippy::cast_precision_loss, reason = "every Prometheus sample is a 64-bit float")]
const fn float(value: u64) -> f64 {
    value as f64
}

/// Name, type, help and value of what each shard counts.
type ShardMetric = (&'static str, &'static str, &'static str, fn(&ShardHealth) -> u64);

const SHARD: &[ShardMetric] = &[
    ("voxplane_phone_reports_total", "counter", "Reports of phones (RFC 6035) taken.", |s| {
        s.phone_reports
    }),
    ("voxplane_phone_reports_refused_total", "counter", "Reports of phones that are none.", |s| {
        s.phone_reports_refused
    }),
    ("voxplane_auth_challenges_total", "counter", "Requests asked for credentials.", |s| {
        s.auth_challenges
    }),
    ("voxplane_auth_failures_total", "counter", "Requests with wrong credentials.", |s| {
        s.auth_failures
    }),
    ("voxplane_shard_calls_active", "gauge", "Calls in a shard's dialog table.", |s| {
        s.calls_active
    }),
    ("voxplane_calls_accepted_total", "counter", "Calls that a shard has taken on.", |s| {
        s.calls_total
    }),
    ("voxplane_calls_refused_total", "counter", "Calls refused: dialog table full.", |s| {
        s.calls_refused
    }),
    ("voxplane_streams_active", "gauge", "Streams in a shard's stream table.", |s| {
        s.streams_active
    }),
    ("voxplane_rtp_packets_total", "counter", "RTP packets handled.", |s| s.rtp_packets),
    (
        "voxplane_rtp_sent_total",
        "counter",
        "RTP packets sent that were made here, for calls of test numbers.",
        |s| s.rtp_sent,
    ),
    (
        "voxplane_rtp_skipped_total",
        "counter",
        "RTP packets of test numbers that were not sent, being more than 100 ms late.",
        |s| s.rtp_skipped,
    ),
    ("voxplane_rtcp_datagrams_total", "counter", "RTCP datagrams handled.", |s| s.rtcp_packets),
    (
        "voxplane_srtcp_datagrams_total",
        "counter",
        "Encrypted RTCP datagrams, counted and not read.",
        |s| s.srtcp_packets,
    ),
    ("voxplane_sip_messages_total", "counter", "SIP messages handled.", |s| s.sip_messages),
    ("voxplane_sip_malformed_total", "counter", "SIP messages that cannot be read.", |s| {
        s.sip_malformed
    }),
    ("voxplane_sip_connections", "gauge", "SIP connections, TCP and TLS, that are open.", |s| {
        s.connections.into()
    }),
    ("voxplane_sip_connections_total", "counter", "SIP connections taken.", |s| {
        s.connections_total.into()
    }),
    (
        "voxplane_sip_connections_refused_total",
        "counter",
        "SIP connections closed at once, for want of room.",
        |s| s.connections_refused.into(),
    ),
    (
        "voxplane_sip_connections_broken_total",
        "counter",
        "SIP connections closed because no message could be made out.",
        |s| s.connections_broken.into(),
    ),
    (
        "voxplane_sip_accept_errors_total",
        "counter",
        "SIP connections that could not be accepted.",
        |s| s.accept_errors.into(),
    ),
    (
        "voxplane_sip_connection_gone_total",
        "counter",
        "SIP messages not sent because their connection had gone.",
        |s| s.connection_gone.into(),
    ),
    (
        "voxplane_media_other_total",
        "counter",
        "Datagrams on media ports that are neither RTP nor RTCP.",
        |s| s.media_other,
    ),
    (
        "voxplane_ladder_dropped_total",
        "counter",
        "SIP messages that no ladder shows: the ring to control was full.",
        |s| s.ladder_dropped,
    ),
    ("voxplane_shard_stalls_total", "counter", "Times a shard was more than 50 ms late.", |s| {
        s.stalls
    }),
];

/// Cause and count of a part of [`ShardHealth::own_drops`].
type Drop = (&'static str, fn(&ShardHealth) -> u64);

const DROPS: &[Drop] = &[
    ("socket_overflow", |s| s.socket_overflow),
    ("truncated", |s| s.truncated),
    ("handoff_full", |s| s.handoff_full),
    ("ring_full", |s| s.ring_full),
    ("send_dropped", |s| s.send_dropped),
    ("streams_refused", |s| s.streams_refused),
];

/// Name, type, help and value of what each notifier counts.
type NotifierMetric = (&'static str, &'static str, &'static str, fn(&Status) -> u64);

const NOTIFIER: &[NotifierMetric] = &[
    ("voxplane_notifier_up", "gauge", "Whether a notifier's last attempt was well.", |n| {
        u64::from(n.is_well)
    }),
    ("voxplane_notifications_sent_total", "counter", "Notifications delivered.", |n| n.sent),
    (
        "voxplane_notifications_retried_total",
        "counter",
        "Attempts to deliver that failed and are made again.",
        |n| n.retried,
    ),
    (
        "voxplane_notifications_given_up_total",
        "counter",
        "Notifications refused, or tried for too long.",
        |n| n.gave_up,
    ),
    (
        "voxplane_notifications_dropped_total",
        "counter",
        "Notifications that found no room to wait.",
        |n| n.dropped,
    ),
    ("voxplane_notifications_queued", "gauge", "Notifications that wait.", |n| n.queued as u64),
];

/// Name, help and value of what the door counts.
type DoorMetric = (&'static str, &'static str, fn(&Counters) -> &AtomicU64);

const DOOR: &[DoorMetric] = &[
    ("voxplane_http_connections_total", "HTTP connections accepted.", |d| &d.connections),
    ("voxplane_http_requests_total", "Complete HTTP requests.", |d| &d.requests),
    ("voxplane_http_evicted_total", "HTTP connections closed to make room for others.", |d| {
        &d.evicted
    }),
    ("voxplane_http_overdue_total", "HTTP connections that ran out of time.", |d| &d.overdue),
    ("voxplane_http_refused_total", "HTTP connections refused: all others were busy.", |d| {
        &d.refused
    }),
    ("voxplane_http_accept_errors_total", "HTTP connections that could not be accepted.", |d| {
        &d.accept_errors
    }),
    ("voxplane_http_unanswered_total", "HTTP requests that failed on our side.", |d| &d.unanswered),
];

/// Room for the page of two shards.
const CAPACITY: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_add_up_to_all_own_drops() {
        let shard = ShardHealth {
            socket_overflow: 1,
            truncated: 20,
            handoff_full: 300,
            ring_full: 4_000,
            send_dropped: 50_000,
            streams_refused: 600_000,
            ..ShardHealth::default()
        };
        let sum: u64 = DROPS.iter().map(|(_, value)| value(&shard)).sum();
        assert_eq!(sum, shard.own_drops());
        assert_eq!(sum, 654_321);
    }
}
