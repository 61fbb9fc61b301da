//! Views over received bytes: RTP, RTCP, SIP, SDP, and the frames of a capture around them.
//!
//! A view checks lengths once, when it is made; after that its accessors cannot fail. Views
//! never allocate, never panic on any bytes, and know nothing of the state that is kept about
//! what they show.

use std::net::SocketAddr;

use crate::time::Timestamp;

pub mod classify;
pub mod codec;
pub mod frame;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sip;
mod text;

/// A datagram as a source hands it up: all that is known about it outside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// When it arrived: the kernel's or the capture's time stamp, not when it was read.
    pub received_at: Timestamp,
    /// Where it came from.
    pub src: SocketAddr,
    /// The address it was sent to, the local address itself and not a wildcard.
    pub dst: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What carries a SIP message or an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// User Datagram Protocol.
    Udp,
    /// Transmission Control Protocol: one SIP message of a connection.
    Tcp,
}
