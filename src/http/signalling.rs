//! The figures of SIP in Prometheus text: counters, and the times of RFC 6076 as summaries in
//! seconds. Ratios are left to whoever asks, who divides counters over a span of time.

use super::prometheus::Page;
use crate::control::signalling::{RegistrationRecord, SessionRecord, SipRecord, TimesRecord};

/// Renders what there is.
pub(super) fn render(page: &mut Page, sip: &SipRecord) {
    let name = "voxplane_sip_requests_total";
    page.family(name, "counter", "SIP requests received and sent, by method.");
    for (method, count) in &sip.requests {
        page.sample(name, &format!("method=\"{method}\""), count);
    }
    let name = "voxplane_sip_responses_total";
    page.family(name, "counter", "SIP responses received and sent, by status code.");
    for (code, count) in &sip.responses {
        page.sample(name, &format!("code=\"{code}\""), count);
    }
    let name = "voxplane_sip_retransmissions_total";
    page.family(name, "counter", "SIP messages that came or went before.");
    let ways = [("received", sip.retransmissions_received), ("sent", sip.retransmissions_sent)];
    for (way, count) in ways {
        page.sample(name, &format!("direction=\"{way}\""), count.unwrap_or(0));
    }
    let name = "voxplane_sip_session_attempts_total";
    page.single(name, "counter", "Sessions that an INVITE asked for.", sip.sessions.attempts);
    let name = "voxplane_sip_sessions_total";
    page.family(name, "counter", "Sessions of which the outcome is known, by outcome.");
    for (outcome, count) in OUTCOMES {
        page.sample(name, &format!("outcome=\"{outcome}\""), count(&sip.sessions));
    }
    let name = "voxplane_sip_sessions_ended_total";
    page.family(name, "counter", "Answered sessions that are over, by whether a BYE was answered.");
    page.sample(name, "result=\"completed\"", sip.sessions.completed);
    page.sample(name, "result=\"incomplete\"", sip.sessions.incomplete);
    let name = "voxplane_sip_hangups_total";
    page.family(name, "counter", "Answered sessions that were hung up, by whom.");
    page.sample(name, "by=\"caller\"", sip.sessions.ended_by_caller);
    page.sample(name, "by=\"callee\"", sip.sessions.ended_by_callee);
    let name = "voxplane_sip_registrations_total";
    page.family(name, "counter", "REGISTER requests, by outcome.");
    for (outcome, count) in REGISTRATIONS {
        page.sample(name, &format!("outcome=\"{outcome}\""), count(&sip.registrations));
    }
    let name = "voxplane_sip_q850_causes_total";
    page.family(name, "counter", "Causes of ITU-T Q.850 that sessions ended with.");
    for (cause, count) in &sip.q850_causes {
        page.sample(name, &format!("cause=\"{cause}\""), count);
    }
    for (name, help, times, unit) in TIMES {
        summary(page, name, help, times(sip), unit);
    }
}

/// One summary, whose figures are in `unit` seconds.
fn summary(page: &mut Page, name: &str, help: &str, times: &TimesRecord, unit: f64) {
    page.family(name, "summary", help);
    let quantiles = [("0.5", times.p50), ("0.95", times.p95), ("0.99", times.p99)];
    for (quantile, value) in quantiles {
        let labels = format!("quantile=\"{quantile}\"");
        page.sample(name, &labels, value.map_or(f64::NAN, |value| value * unit));
    }
    #[expect(clippy::cast_precision_loss, reason = "every Prometheus sample is a 64-bit float")]
    let sum = times.mean.unwrap_or(0.0) * times.count as f64 * unit;
    page.sample(&format!("{name}_sum"), "", sum);
    page.sample(&format!("{name}_count"), "", times.count);
}

type Outcome<T> = (&'static str, fn(&T) -> u64);

const OUTCOMES: [Outcome<SessionRecord>; 8] = [
    ("answered", |s| s.answered),
    ("redirected", |s| s.redirected),
    ("declined", |s| s.declined),
    ("ineffective", |s| s.ineffective),
    ("cancelled", |s| s.cancelled),
    ("challenged", |s| s.challenged),
    ("unanswered", |s| s.unanswered),
    ("failed", |s| s.failed),
];

const REGISTRATIONS: [Outcome<RegistrationRecord>; 3] =
    [("accepted", |r| r.accepted), ("challenged", |r| r.challenged), ("failed", |r| r.failed)];

/// Name, help, times and their unit in seconds.
type TimesMetric = (&'static str, &'static str, fn(&SipRecord) -> &TimesRecord, f64);

const MILLIS: f64 = 1e-3;

const TIMES: [TimesMetric; 9] = [
    ("voxplane_sip_rrd_seconds", "Registration request delay (RFC 6076).", |s| &s.rrd_ms, MILLIS),
    (
        "voxplane_sip_srd_seconds",
        "Session request delay of answered sessions (RFC 6076).",
        |s| &s.srd_ms,
        MILLIS,
    ),
    (
        "voxplane_sip_srd_failed_seconds",
        "Session request delay of failed sessions (RFC 6076).",
        |s| &s.srd_failed_ms,
        MILLIS,
    ),
    ("voxplane_sip_sdd_seconds", "Session disconnect delay (RFC 6076).", |s| &s.sdd_ms, MILLIS),
    (
        "voxplane_sip_sdd_failed_seconds",
        "Session disconnect delay of refused BYEs (RFC 6076).",
        |s| &s.sdd_failed_ms,
        MILLIS,
    ),
    ("voxplane_sip_sdt_seconds", "Session duration (RFC 6076).", |s| &s.sdt_s, 1.0),
    (
        "voxplane_sip_sdt_failed_seconds",
        "Session duration until an unanswered BYE was given up (RFC 6076).",
        |s| &s.sdt_failed_s,
        1.0,
    ),
    (
        "voxplane_sip_post_dial_delay_seconds",
        "From INVITE to 180, 183 or 2xx.",
        |s| &s.post_dial_delay_ms,
        MILLIS,
    ),
    ("voxplane_sip_time_to_100_seconds", "From INVITE to 100.", |s| &s.time_to_100_ms, MILLIS),
];
