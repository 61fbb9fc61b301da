//! loadgen places SIP calls with impaired RTP and knows exactly what it did to every packet.
//!
//! ```text
//! options ─▶ engine (sockets, clock) ─▶ report
//!              │ per call
//!              ├─ uac      SIP transactions, time as input
//!              └─ media    RTP and RTCP of a call, time as input
//!                  ├─ impair   what is lost, held back, repeated, delayed: from a seed
//!                  └─ truth    what was really sent, and when
//! verify: the truth against what the appliance's API says
//! ```
//!
//! Only `engine` and `verify` touch sockets and clocks; everything else is a function of its
//! input and of a seed, so that a run can be repeated packet by packet.

pub mod audio;
pub mod call;
pub mod engine;
pub mod histogram;
pub mod impair;
pub mod jitter;
pub mod media;
pub mod options;
pub mod receive;
pub mod report;
pub mod request;
pub mod sdp;
pub mod truth;
pub mod uac;
pub mod verify;
