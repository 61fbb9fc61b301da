//! Where bytes come from: the system calls, the clocks and the `unsafe` of the data plane.
//!
//! A source yields [`Datagram`](crate::wire::Datagram)s with the kernel's time stamps. It knows
//! nothing of what is in them.

pub mod capture;
pub mod clock;
pub mod host;
pub mod udp;
