//! The Prometheus text exposition of a snapshot, format 0.0.4. Base units: seconds and ratios.
//!
//! It shows the counters of the API under conventional names and computes nothing of its own. It
//! is written out, not registered with a client library: all figures already stand in a snapshot,
//! a registry would want each of them a second time, and `prometheus-client` writes OpenMetrics
//! alone.

mod page;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) use self::page::Page;
use super::{
    door::{Counters, Shared},
    signalling,
};
use crate::{
    alerts,
    control::{
        finished::{Finished, FinishedGroup, Histogram},
        record::{CallState, ShardHealth, Shed, Snapshot},
        spreads::{self, BOUNDS_US, Distribution, Spreads},
    },
    notify, store,
    time::{NANOS_PER_SEC, Timestamp},
};

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is shown.
pub(super) struct Sources<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) store: Option<store::Status>,
    pub(super) notifiers: &'a [notify::Status],
    pub(super) alerts: alerts::Figures,
    pub(super) door: &'a Shared,
    pub(super) now: Timestamp,
}

/// Renders everything.
pub(super) fn render(sources: &Sources<'_>) -> String {
    let Sources { snapshot, store, notifiers, alerts, door, now } = sources;
    let mut page = Page::with_capacity(CAPACITY);
    appliance(&mut page, snapshot, *now);
    calls(&mut page, snapshot);
    finished(&mut page, &snapshot.finished);
    distributions(&mut page, &snapshot.spreads);
    signalling::render(&mut page, &snapshot.sip);
    registrations(&mut page, snapshot);
    shards(&mut page, &snapshot.shards);
    for &(name, kind, help, value) in ALERTS {
        page.single(name, kind, help, value(alerts));
    }
    if let Some(store) = store {
        self::store(&mut page, store);
    }
    for &(name, kind, help, value) in NOTIFIER {
        page.family(name, kind, help);
        for notifier in *notifiers {
            let labels = format!("notifier=\"{}\",kind=\"{}\"", notifier.name, notifier.kind);
            page.sample(name, &labels, value(notifier));
        }
    }
    let help = "Clients that listen to live events.";
    page.single(
        "voxplane_http_live_clients",
        "gauge",
        help,
        door.counters.live_clients.load(Relaxed),
    );
    for &(name, help, value) in DOOR {
        page.single(name, "counter", help, value(&door.counters).load(Relaxed));
    }
    if let Some(log) = &door.access_log {
        let help = "Lines of the access log that were written.";
        page.single("voxplane_http_log_lines_total", "counter", help, log.written());
        let help = "Lines of the access log that were lost: the disk did not take them in time.";
        page.single("voxplane_http_log_lines_lost_total", "counter", help, log.lost());
    }
    page.into_text()
}

fn appliance(page: &mut Page, snapshot: &Snapshot, now: Timestamp) {
    let name = "voxplane_build_info";
    page.family(name, "gauge", "Always 1; the version stands in the label.");
    page.sample(name, concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    let help = "Unix time when the appliance started.";
    page.single("voxplane_start_time_seconds", "gauge", help, unix_secs(snapshot.started_at));
    let help = "Age of the figures on this page.";
    let age = now.since(snapshot.taken_at).as_secs_f64();
    page.single("voxplane_snapshot_age_seconds", "gauge", help, age);
}

fn calls(page: &mut Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let name = "voxplane_calls";
    page.family(name, "gauge", "Calls that are not over, by state.");
    for (state, label) in STATES {
        let count = snapshot.active.iter().filter(|call| call.state == state).count();
        page.sample(name, &format!("state=\"{label}\""), count);
    }
    let help = "Streams that belong to no call.";
    page.single("voxplane_orphan_streams", "gauge", help, snapshot.orphans.len());
    let help = "Finished calls that an alert was raised about.";
    page.single("voxplane_calls_with_issues_total", "counter", help, totals.with_issues);
    let help = "Finished calls whose figures our own losses may have touched.";
    page.single("voxplane_calls_suspect_total", "counter", help, totals.suspect);
    let name = "voxplane_call_responses_total";
    page.family(name, "counter", "Finished calls by their last response to the INVITE.");
    for (code, count) in &snapshot.finished.responses {
        page.sample(name, &format!("code=\"{code}\""), count);
    }
}

/// What finished calls add up to, by codec and trunk.
fn finished(page: &mut Page, finished: &Finished) {
    let groups: Vec<(String, &FinishedGroup)> = finished
        .groups
        .iter()
        .map(|group| (format!("codec=\"{}\",trunk=\"{}\"", group.codec, group.trunk), group))
        .collect();
    let name = "voxplane_calls_finished_total";
    page.family(name, "counter", "Calls that are over, by whether they had been answered.");
    for (labels, group) in &groups {
        page.sample(name, &format!("{labels},result=\"answered\""), group.answered);
        page.sample(name, &format!("{labels},result=\"failed\""), group.failed);
    }
    for &(name, help, value) in PACKETS {
        page.family(name, "counter", help);
        groups.iter().for_each(|(labels, group)| page.sample(name, labels, value(group)));
    }
    let name = "voxplane_call_mos";
    page.family(name, "histogram", "MOS of finished calls by scale; see mos_score in the API.");
    for (labels, group) in &groups {
        for (scale, mos) in group.mos.iter().filter(|(_, mos)| mos.count() > 0) {
            let labels = format!("{labels},scale=\"{}\"", scale.name());
            page.histogram(name, &labels, mos.cumulative(), mos.sum(), mos.count());
        }
    }
    for &(name, help, value) in HISTOGRAMS {
        page.family(name, "histogram", help);
        for (labels, group) in &groups {
            let found = value(group);
            page.histogram(name, labels, found.cumulative(), found.sum(), found.count());
        }
    }
}

/// What packets add up to while calls are up.
fn distributions(page: &mut Page, found: &Spreads) {
    let all = [(String::new(), found.all)];
    let by_codec = found.by_codec.iter();
    let by_codec: Vec<_> = by_codec
        .map(|(codec, spread)| (format!("codec=\"{}\"", spreads::codec_name(*codec)), *spread))
        .collect();
    let by_trunk = found
        .by_trunk
        .iter()
        .map(|(trunk, spread)| (format!("trunk=\"{}\"", spreads::trunk_name(*trunk)), *spread));
    let by_trunk: Vec<_> = by_trunk.collect();
    let codec = ("codec", ", by codec", &by_codec[..]);
    let trunk = ("trunk", ", by trunk", &by_trunk[..]);
    for (of, by, labelled) in [("rtp", "", &all[..]), codec, trunk] {
        let name = format!("voxplane_{of}_interarrival_jitter_seconds");
        let help = format!("Interarrival jitter of RFC 3550 after each packet{by}.");
        page.family(&name, "histogram", &help);
        labelled
            .iter()
            .for_each(|(labels, spread)| spread_us(page, &name, labels, &spread.jitter_us));
        let name = format!("voxplane_{of}_delay_variation_seconds");
        let help = format!("Delay of each packet over the fastest, clock drift aside{by}.");
        page.family(&name, "histogram", &help);
        labelled
            .iter()
            .for_each(|(labels, spread)| spread_us(page, &name, labels, &spread.variation_us));
    }
    let name = "voxplane_rtcp_round_trip_seconds";
    page.family(name, "histogram", "Round-trip times that RTCP reports gave.");
    spread_us(page, name, "", &found.rtt_us);
}

fn spread_us(page: &mut Page, name: &str, labels: &str, us: &Distribution) {
    let cumulative = BOUNDS_US.into_iter().zip(us.up_to);
    let cumulative = cumulative.map(|(bound, up_to)| (float(bound) / 1e6, up_to));
    page.histogram(name, labels, cumulative, us.mean * float(us.count) / 1e6, us.count);
}

fn store(page: &mut Page, store: &store::Status) {
    let help = "Whether finished calls reach the disk.";
    let is_up = u64::from(store.state.is_writing());
    page.single("voxplane_store_up", "gauge", help, is_up);
    let help = "Calls in the history.";
    page.single("voxplane_store_calls", "gauge", help, store.calls);
    let help = "Calls and alerts that wait to be written.";
    page.single("voxplane_store_pending", "gauge", help, store.pending);
    let help = "How long the oldest of them has waited.";
    page.single("voxplane_store_lag_seconds", "gauge", help, float(store.lag_ms) / 1e3);
    let help = "Calls and alerts that were never written: there was no room to let them wait.";
    page.single("voxplane_store_dropped_total", "counter", help, store.dropped);
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
    page.sample(name, "class=\"4xx\"", counts.failed_4xx);
    page.sample(name, "class=\"5xx\"", counts.failed_5xx);
    let help = "REGISTERs refused for want of room, which are among the failures.";
    page.single("voxplane_registrations_refused_total", "counter", help, counts.refused);
    let help = "Changes that the list of registrations lacks, for want of room.";
    page.single("voxplane_registrations_untold_total", "counter", help, counts.untold);
}

fn shards(page: &mut Page, shards: &[ShardHealth]) {
    for &(name, kind, help, value) in SHARD {
        page.family(name, kind, help);
        for shard in shards {
            page.sample(name, &format!("shard=\"{}\"", shard.shard), value(shard));
        }
    }
    let name = "voxplane_shard_busy_ratio";
    page.family(name, "gauge", "Share of the last interval that a shard spent working.");
    for shard in shards {
        page.sample(name, &format!("shard=\"{}\"", shard.shard), shard.busy);
    }
    let name = "voxplane_shard_nap_seconds";
    page.family(name, "gauge", "How long a shard naps between turns.");
    for shard in shards {
        page.sample(name, &format!("shard=\"{}\"", shard.shard), f64::from(shard.nap_us) / 1e6);
    }
    let name = "voxplane_own_drops_total";
    page.family(name, "counter", "What the appliance lost itself, by cause.");
    for shard in shards {
        for &(cause, value) in DROPS {
            let labels = format!("shard=\"{}\",cause=\"{cause}\"", shard.shard);
            page.sample(name, &labels, value(shard));
        }
    }
    let name = "voxplane_sip_shed_total";
    page.family(name, "counter", "SIP over a limit, which was not handled, by whose limit.");
    for shard in shards {
        for &(limit, value) in SHED {
            let labels = format!("shard=\"{}\",limit=\"{limit}\"", shard.shard);
            page.sample(name, &labels, value(&shard.shed));
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

/// The states of calls that are not over, with their names.
const STATES: [(CallState, &str); 3] =
    [(CallState::Trying, "trying"), (CallState::Ringing, "ringing"), (CallState::Active, "active")];

/// Name, help and value of a count of each group of finished calls.
type GroupMetric = (&'static str, &'static str, fn(&FinishedGroup) -> u64);

/// Name, help and the histogram itself of each group of finished calls.
type GroupHistogram = (&'static str, &'static str, fn(&FinishedGroup) -> &Histogram);

const PACKETS: &[GroupMetric] = &[
    (
        "voxplane_call_packets_expected_total",
        "RTP packets sent in finished calls, by their sequence numbers; the worse direction.",
        |g| g.packets_expected,
    ),
    ("voxplane_call_packets_lost_total", "Of these, lost by the network.", |g| g.packets_lost),
    (
        "voxplane_call_packets_discarded_total",
        "Packets of finished calls that came too late for the assumed jitter buffer.",
        |g| g.packets_discarded,
    ),
];

const HISTOGRAMS: &[GroupHistogram] = &[
    ("voxplane_call_loss_ratio", "Share of packets lost of each finished call.", |g| &g.loss_ratio),
    (
        "voxplane_call_jitter_seconds",
        "Interarrival jitter of each finished call; see jitter_avg_ms in the API.",
        |g| &g.jitter_s,
    ),
    (
        "voxplane_call_round_trip_seconds",
        "Mean round-trip time of each finished call; see latency_avg_ms in the API.",
        |g| &g.round_trip_s,
    ),
    (
        "voxplane_call_session_request_delay_seconds",
        "Session request delay of RFC 6076 of each finished call.",
        |g| &g.srd_s,
    ),
    ("voxplane_call_duration_seconds", "Seconds from answer to end of each answered call.", |g| {
        &g.duration_s
    }),
];

/// Name, type, help and value of what alerts count.
type AlertMetric = (&'static str, &'static str, &'static str, fn(&alerts::Figures) -> u64);

const ALERTS: &[AlertMetric] = &[
    ("voxplane_alerts_open", "gauge", "Alerts that fire or are acknowledged.", |a| a.open as u64),
    (
        "voxplane_alerts_raised_total",
        "counter",
        "Alerts raised; begins anew when alerts are cleared.",
        |a| a.total,
    ),
    (
        "voxplane_alerts_suppressed_total",
        "counter",
        "Alerts not raised because too many were open.",
        |a| a.suppressed,
    ),
    (
        "voxplane_alert_notices_lost_total",
        "counter",
        "Changes of alerts that notifiers or live clients were not told of: they did not keep up.",
        |a| a.notices_lost,
    ),
];

const SHARD: &[ShardMetric] = &[
    ("voxplane_phone_reports_total", "counter", "Reports of phones (RFC 6035) taken.", |s| {
        s.phone_reports.into()
    }),
    ("voxplane_phone_reports_refused_total", "counter", "Reports of phones that are none.", |s| {
        s.phone_reports_refused.into()
    }),
    ("voxplane_auth_challenges_total", "counter", "Requests asked for credentials.", |s| {
        s.auth_challenges.into()
    }),
    ("voxplane_auth_failures_total", "counter", "Requests with wrong credentials.", |s| {
        s.auth_failures.into()
    }),
    (
        "voxplane_shard_reports_waiting",
        "gauge",
        "Reports in the ring from shard to control.",
        |s| s.reports_waiting.into(),
    ),
    ("voxplane_shard_calls_active", "gauge", "Calls in a shard's dialog table.", |s| {
        s.calls_active.into()
    }),
    ("voxplane_calls_accepted_total", "counter", "Calls that a shard has taken on.", |s| {
        s.calls_total
    }),
    ("voxplane_calls_refused_total", "counter", "Calls refused: dialog table full.", |s| {
        s.calls_refused
    }),
    ("voxplane_streams_active", "gauge", "Streams in a shard's stream table.", |s| {
        s.streams_active.into()
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
        s.stalls.into()
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

/// Name and count of a part of [`Shed`].
type Limit = (&'static str, fn(&Shed) -> u64);

const SHED: &[Limit] = &[
    ("source", |s| s.source),
    ("unverified", |s| s.unverified),
    ("calls", |s| s.calls),
    ("answers", |s| s.answers),
];

/// Name, type, help and value of what each notifier counts.
type NotifierMetric = (&'static str, &'static str, &'static str, fn(&notify::Status) -> u64);

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
    (
        "voxplane_http_limited_total",
        "HTTP requests refused: their address had sent too many, or too many wrong tokens.",
        |d| &d.limited,
    ),
    ("voxplane_http_auth_failures_total", "HTTP requests with a wrong token.", |d| {
        &d.auth_failures
    }),
    ("voxplane_http_live_events_total", "Live events, each counted once for all clients.", |d| {
        &d.live_events
    }),
    ("voxplane_http_live_dropped_total", "Live clients dropped: they did not keep up.", |d| {
        &d.live_dropped
    }),
    ("voxplane_http_live_refused_total", "Live clients refused: there were 64 others.", |d| {
        &d.live_refused
    }),
    ("voxplane_http_unanswered_total", "HTTP requests that failed on our side.", |d| &d.unanswered),
];

/// Room for the page of two shards and some groups.
const CAPACITY: usize = 64 << 10;

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

    #[test]
    fn the_limits_add_up_to_all_that_was_shed() {
        let shed = Shed { source: 1, unverified: 20, calls: 300, answers: 4_000 };
        let sum: u64 = SHED.iter().map(|(_, value)| value(&shed)).sum();
        assert_eq!((sum, shed.total()), (4_321, 4_321));
    }
}
