//! Where bytes come from: the system calls, the clocks and the `unsafe` of the data plane.
//!
//! A source yields [`Datagram`](crate::wire::Datagram)s with the time stamps of the kernel or of a
//! capture. Of what is in them it knows at most where a message ends.

pub mod capture;
pub mod clock;
pub mod host;
pub(crate) mod sip_framing;
pub mod udp;
