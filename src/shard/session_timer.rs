//! Session timers (RFC 4028), as the side that is refreshed: a call whose caller has promised to
//! say from time to time that it is there, and does not, is over.
//!
//! Never refreshes itself: where that is asked for, or the caller does not know of timers, there is
//! none, as the RFC leaves to the server.

use core::time::Duration;

use super::dialog::{Dialog, SessionTimer};
use crate::{
    time::Timestamp,
    wire::sip::{HeaderName, SipMessage},
};

/// An interval that is too short to be accepted.
#[derive(Debug)]
pub(super) struct TooShort;

/// The interval after which a session is over, if a request sets one.
///
/// # Errors
/// If it is shorter than [`MIN_INTERVAL_SECS`].
pub(super) fn interval(request: &SipMessage<'_>) -> Result<Option<Duration>, TooShort> {
    let Some(value) = request.values(HeaderName::SessionExpires).next() else { return Ok(None) };
    let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let seconds = parts.next().and_then(|text| str::from_utf8(text).ok()?.parse::<u32>().ok());
    let knows_timers = [HeaderName::Supported, HeaderName::Require]
        .iter()
        .any(|&name| request.lists(name, "timer"));
    let Some(seconds) = seconds.filter(|_| knows_timers) else { return Ok(None) };
    if seconds < MIN_INTERVAL_SECS {
        return Err(TooShort);
    }
    let is_ours = parts.any(|parameter| parameter.eq_ignore_ascii_case(b"refresher=uas"));
    Ok((!is_ours).then(|| Duration::from_secs(seconds.into())))
}

/// The headers of a 2xx that agrees to an interval.
pub(super) fn headers(interval: Option<Duration>) -> String {
    interval.map_or_else(String::new, |interval| {
        format!(
            "Require: timer\r\nSession-Expires: {};refresher=uac\r\n",
            interval.as_secs().max(1)
        )
    })
}

/// The header of a 422.
pub(super) fn min_interval() -> String {
    format!("Min-SE: {MIN_INTERVAL_SECS}\r\n")
}

impl Dialog {
    /// Notes the interval that a 2xx will agree to.
    pub(super) fn set_session(&mut self, interval: Option<Duration>) {
        if interval.is_some() || self.extras.is_some() {
            self.extras().session =
                interval.map(|interval| SessionTimer { interval, until: Timestamp::MAX });
        }
    }

    /// Starts the interval: the 2xx is sent now. The call is given up a little before its end, so
    /// that the BYE comes while the far end still knows of it (RFC 4028 section 10).
    pub(super) fn confirm_session(&mut self, now: Timestamp) {
        if let Some(session) = self.extras.as_mut().and_then(|extras| extras.session.as_mut()) {
            let margin = (session.interval / 3).min(MARGIN);
            session.until = now + (session.interval - margin);
        }
    }
}

/// The least that RFC 4028 section 4 lets a Min-SE be.
const MIN_INTERVAL_SECS: u32 = 90;

/// RFC 4028 section 10: the BYE comes so long before the end, or a third of the interval if that is
/// shorter.
const MARGIN: Duration = Duration::from_secs(32);
