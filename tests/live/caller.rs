//! A caller of the tests' own: plain SIP over one UDP socket, written out by hand. It has no
//! transactions: what is lost is lost.
#![allow(dead_code, reason = "each test file uses its part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// Someone who calls the appliance.
#[derive(Debug)]
pub(crate) struct Caller {
    socket: UdpSocket,
    to: SocketAddr,
}

/// A SIP message as text.
#[derive(Clone, Debug)]
pub(crate) struct Message(pub(crate) String);

impl Caller {
    /// A caller on a port of its own.
    pub(crate) fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, to }
    }

    /// Sends a request without a body.
    pub(crate) fn send(&self, method: &str, call: &str, to_tag: &str) {
        self.request(method, "sink", call, to_tag, "");
    }

    /// Sends an INVITE with an offer of PCMU at `rtp_port`.
    pub(crate) fn invite(&self, call: &str, rtp_port: u16) {
        self.request("INVITE", "sink", call, "", &self.offer(rtp_port));
    }

    /// The same to someone.
    pub(crate) fn invite_user(&self, user: &str, call: &str, rtp_port: u16) {
        self.request("INVITE", user, call, "", &self.offer(rtp_port));
    }

    /// Calls and is answered; returns the 200.
    pub(crate) fn dial(&self, call: &str, rtp_port: u16) -> Message {
        self.dial_user("sink", call, rtp_port)
    }

    /// Calls someone and is answered; returns the 200.
    pub(crate) fn dial_user(&self, user: &str, call: &str, rtp_port: u16) -> Message {
        self.request("INVITE", user, call, "", &self.offer(rtp_port));
        let answer = self.receive_until(|message| message.0.starts_with("SIP/2.0 200"));
        self.send("ACK", call, answer.to_tag());
        answer
    }

    /// Answers a request with 200.
    pub(crate) fn accept(&self, request: &Message) {
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|name| format!("{name}: {}\r\n", request.header(name).unwrap()));
        self.send_text(&format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", copied.concat()));
    }

    /// The next message, or `None` if there is none for 5 s.
    pub(crate) fn receive(&self) -> Option<Message> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(Message(String::from_utf8(bytes[..length].to_vec()).unwrap()))
    }

    /// The next message of a kind; others are passed over.
    pub(crate) fn receive_until(&self, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let message = self.receive().expect("an answer");
            if wanted(&message) {
                return message;
            }
        }
    }

    fn offer(&self, rtp_port: u16) -> String {
        let ip = self.socket.local_addr().unwrap().ip();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP 0\r\n"
        )
    }

    fn request(&self, method: &str, user: &str, call: &str, to_tag: &str, body: &str) {
        let (local, to) = (self.socket.local_addr().unwrap(), self.to);
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        self.send_text(&format!(
            "{method} sip:{user}@{to} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK-{method}-{call}\r\n\
             From: <sip:caller@{local}>;tag={call}\r\nTo: <sip:{user}@{to}>{tag}\r\n\
             Call-ID: {call}\r\nCSeq: 1 {method}\r\nContact: <sip:caller@{local}>\r\n\
             Max-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    fn send_text(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.to).unwrap();
    }
}

impl Message {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The tag in To; empty where there is none.
    pub(crate) fn to_tag(&self) -> &str {
        self.header("To").and_then(|to| to.split_once(";tag=")).map_or("", |(_, tag)| tag)
    }

    /// The port of the audio in the body.
    pub(crate) fn audio_port(&self) -> u16 {
        let (_, rest) = self.0.split_once("m=audio ").expect("an audio line");
        rest.split(' ').next().unwrap().parse().unwrap()
    }
}
