//! loadgen places SIP calls with impaired RTP and knows exactly what it did to every packet.
//!
//! ```text
//! options ─▶ engine ─▶ call (its sockets) ─▶ report, verify
//!                       ├─ uac     SIP transactions ── request
//!                       └─ media   RTP and RTCP ── receive
//!                           ├─ impair   what is lost, held back, repeated, delayed: from a seed
//!                           └─ truth    what was really sent, and when
//! ```
//!
//! Only `engine`, `call` and `verify` touch sockets and read the clock; everything else is a
//! function of its input and of a seed, so that a run can be repeated packet by packet.

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
mod text;
pub mod truth;
pub mod uac;
pub mod verify;
