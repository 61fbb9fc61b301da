//! Voice quality reports that phones send after or during their calls (RFC 6035): taken from
//! PUBLISH (RFC 3903) and from NOTIFY outside any dialog, as phones send them without being asked.
//!
//! They are passed on to control, which knows the calls. Nothing is remembered here: an entity-tag
//! is given and never asked for.

use core::{
    fmt::Write as _,
    hash::{BuildHasher, Hasher},
};

use super::{
    Shard,
    outbox::Outbox,
    report::{CALL_ID_PIECE, PhoneReport, Report, Side},
    response::{Status, warning},
};
use crate::wire::{
    Datagram,
    sip::{HeaderName, Method, SipMessage},
    vq_rtcpxr::{Metrics, VqReport},
};

impl Shard {
    /// Answers a PUBLISH, or a NOTIFY with such a report; false for all else.
    pub(super) fn takes_phone_report(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        out: &mut Outbox,
    ) -> bool {
        let event = request.values(HeaderName::Event).next().unwrap_or_default();
        let package = event.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is_event = package.eq_ignore_ascii_case(EVENT.as_bytes());
        let is_type = request.has_content_type(CONTENT_TYPE);
        match request.method() {
            Some(Method::Publish) => {}
            Some(Method::Notify) if is_event || is_type => {}
            _ => return false,
        }
        // Some phones leave the event out of a NOTIFY; what the body is, is said all the same.
        let is_ours = is_event || is_type && package.is_empty();
        let (status, headers) = match self.take_report(datagram, request, is_ours, is_type, out) {
            Ok(()) => (Status::OK, self.published(request)),
            Err(refused) => refused,
        };
        self.health.phone_reports_refused += u32::from(status != Status::OK);
        self.respond(datagram, request, status, &headers, out);
        true
    }

    fn take_report(
        &mut self,
        datagram: &Datagram<'_>,
        request: &SipMessage<'_>,
        is_ours: bool,
        is_type: bool,
        out: &mut Outbox,
    ) -> Result<(), (Status, String)> {
        if !is_ours {
            return Err((Status::BAD_EVENT, ALLOW_EVENTS.to_owned()));
        }
        // A refresh or an end of what was published before (RFC 3903 section 4.1).
        if request.body().trim_ascii().is_empty() && request.method() == Some(Method::Publish) {
            return Ok(());
        }
        if !is_type {
            return Err((Status::UNSUPPORTED_MEDIA_TYPE, format!("Accept: {CONTENT_TYPE}\r\n")));
        }
        let report = VqReport::parse(request.body())
            .map_err(|error| (Status::BAD_REQUEST, warning(&error)))?;
        // Its sender has not heard our answer, and has said nothing new.
        if self.signalling.is_again() {
            return Ok(());
        }
        self.health.phone_reports += 1;
        out.report(Report::Phone(of(datagram, &report, Side::Local, report.local())));
        if let Some(remote) = report.remote() {
            out.report(Report::Phone(of(datagram, &report, Side::Remote, remote)));
        }
        Ok(())
    }

    /// The headers that a PUBLISH wants to see in its 200 (RFC 3903 section 6).
    fn published(&self, request: &SipMessage<'_>) -> String {
        let mut headers = String::new();
        if request.method() == Some(Method::Publish) {
            let seed = self.config.seed;
            let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
            hasher.write(request.call_id().unwrap_or_default());
            hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
            let expires = request.expires().unwrap_or(EXPIRES_S_MAX).min(EXPIRES_S_MAX);
            // Writing to a string cannot fail.
            let _ = write!(headers, "SIP-ETag: {:016x}\r\nExpires: {expires}\r\n", hasher.finish());
        }
        headers
    }
}

fn of(
    datagram: &Datagram<'_>,
    report: &VqReport<'_>,
    side: Side,
    metrics: Metrics<'_>,
) -> PhoneReport {
    let name = report.call_id().unwrap_or_default();
    let mut call_id = [0; CALL_ID_PIECE];
    let len = name.len().min(CALL_ID_PIECE);
    call_id[..len].copy_from_slice(&name[..len]);
    PhoneReport {
        at: datagram.received_at,
        source: datagram.src.ip(),
        kind: report.kind(),
        is_final: report.is_final(),
        side,
        call_id,
        call_id_len: u16::try_from(name.len()).unwrap_or(u16::MAX),
        codec: metrics.codec(),
        sample_rate: metrics.sample_rate(),
        figures: metrics.figures(),
    }
}

const EVENT: &str = "vq-rtcpxr";

/// What a 489 tells (RFC 6665 section 8.2.2): the events that are known.
pub(super) const ALLOW_EVENTS: &str = "Allow-Events: vq-rtcpxr\r\n";

const CONTENT_TYPE: &str = "application/vq-rtcpxr";

/// RFC 6035 section 4.3: a subscription lasts an hour.
const EXPIRES_S_MAX: u32 = 3600;
