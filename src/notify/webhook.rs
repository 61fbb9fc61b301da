//! The generic webhook: the notification as JSON, signed so that the other side can tell that it
//! is ours and fresh.
//!
//! It knows no service.

use ring::hmac;
use serde::Serialize;

use super::{About, Notification, post::Header, secret::Secret};
use crate::{
    json,
    time::{NANOS_PER_SEC, Timestamp},
};

/// The body.
pub(super) fn body(notification: &Notification, about: &About) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        /// Of this form.
        version: u8,
        #[serde(flatten)]
        notification: &'a Notification,
        source: &'a str,
        link: Option<String>,
    }
    let link = about.link_to(notification);
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and all of it has a form in JSON.
    let _ = json::write(&mut bytes, &Body { version: 1, notification, source: &about.host, link });
    bytes
}

/// The headers that tell repeated deliveries from new ones and, with a key, ours from others'.
///
/// The signature is HMAC-SHA256 (RFC 2104) of the time stamp, a full stop and the body.
pub(super) fn headers(
    notification: &Notification,
    body: &[u8],
    key: Option<&Secret>,
    now: Timestamp,
) -> Vec<Header> {
    let id = format!("{}-{}", notification.id, notification.state);
    let mut headers = vec![("X-Voxplane-Delivery", id)];
    let Some(key) = key else { return headers };
    let time = (now.as_nanos() / NANOS_PER_SEC).to_string();
    let mut context =
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()));
    for part in [time.as_bytes(), b".", body] {
        context.update(part);
    }
    let digits =
        context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    headers.push(("X-Voxplane-Timestamp", time));
    headers.push(("X-Voxplane-Signature", format!("sha256={digits}")));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::State;

    #[test]
    fn the_signature_is_that_of_another_program() {
        // printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'key of ours'
        let test = Notification::test(State::Firing, Timestamp::from_nanos(7));
        let key = Secret::new("key of ours".to_owned());
        let now = Timestamp::from_secs(1_700_000_000);
        let headers = headers(&test, b"{\"a\":1}", Some(&key), now);
        assert_eq!(headers[0], ("X-Voxplane-Delivery", "7-firing".to_owned()));
        assert_eq!(headers[1].1, "1700000000");
        assert_eq!(
            headers[2].1,
            "sha256=1c975d320d014ad6df6f00494b165f9194b89cc8fb28e314dda44f2993afe107"
        );
    }
}
