//! What tests need to play the far end of a call: responses to the messages that a caller sends.

use voxplane::wire::sip::{HeaderName, SipMessage};

/// The response to a request, its To tagged `far`.
pub(crate) fn respond(request: &[u8], status: &str, more_headers: &str, body: &str) -> Vec<u8> {
    let message = SipMessage::parse(request).unwrap();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let vias: String =
        message.values(HeaderName::Via).map(|via| format!("Via: {}\r\n", text(via))).collect();
    let to = text(message.to().unwrap());
    let tag = if to.contains(";tag=") || status.starts_with("100") { "" } else { ";tag=far" };
    let cseq = text(message.values(HeaderName::CSeq).next().unwrap());
    format!(
        "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {cseq}\r\n\
         {more_headers}Content-Length: {}\r\n\r\n{body}",
        text(message.from().unwrap()),
        text(message.call_id().unwrap()),
        body.len(),
    )
    .into_bytes()
}
