//! voxplane answers SIP calls, or sees them in captures, measures every RTP packet of them, scores
//! them and shows them.
//!
//! This page is the map. Each module says more at its head.
//!
//! # The path of a packet
//!
//! ```text
//! source/ ──▶ wire/ ──▶ shard/ ──▶ ring ──▶ control/ ──▶ http/
//! bytes in    views     state per   rtrb     join, score   read-only
//! + kernel    on bytes  core, pure                         snapshots
//! time stamps                                      ├─────▶ store/ ──▶ http/
//!                                                  │       history: calls as they finish
//!                                                  └─────▶ analyze/
//!                                                          captures: calls as they finish
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`source`] | datagrams with their times, from sockets or captures; the clock |
//! | [`wire`] | views of RTP, RTCP, SIP, SDP and captured frames over the bytes as they came |
//! | [`sound`] | what test numbers send: a tone, silence, a recording, encoded once |
//! | [`shard`] | one core's calls and streams: a state machine that answers or observes |
//! | [`ring`] | what passes between threads |
//! | [`control`] | calls joined from the shards' reports, scored, published |
//! | [`quality`] | the E-model and what it needs to know of codecs; pure functions |
//! | [`store`] | finished calls, alerts and trends in a database; what readers ask of them |
//! | [`alerts`] | rules, and the alerts that they raise about calls, trunks and the box |
//! | [`notify`] | tells people and systems of alerts: webhooks, chats, pagers, syslog, commands |
//! | [`http`] | the API over control's newest snapshot, behind a guarded door |
//! | [`analyze`] | the same engine over captures; its calls and streams as text or JSON |
//! | [`runtime`] | brings them together: an executor a shard, the control thread |
//! | [`config`], [`limits`] | what is told, and every bound with its cost |
//! | [`time`], [`id`] | the words that all stages share |
//! | [`trunks`] | names for the networks that calls come from |
//!
//! # Invariants
//!
//! - Data goes one way. A stage knows stages to its left and none to its right.
//! - A shard reads no clock and makes no system call: time and bytes are its input, an
//!   [`Outbox`](shard::Outbox) its output. The same input gives the same output.
//! - A call lives on one shard, by a hash of its Call-ID, and so does its media: the shard answers
//!   with a port of its own. Nothing is shared and nothing is locked between shards.
//! - An RTP packet costs no allocation once its shard has warmed up.
//! - Every table, ring and queue has a bound. What does not fit is dropped, counted and shown, and
//!   the calls that it may have touched are marked suspect.
//! - A shard that observes says nothing to anybody, and measures with the same code.
//! - Media is sent only to an address that signalling gave or that has latched to a live call,
//!   and a response only to the address that its request came from.
//! - `unsafe` is in [`source`] and nowhere else.
//! - One function gives a figure wherever it is shown. What is not known is `null` with a reason.

pub mod config;
pub mod id;
pub mod limits;
pub mod time;
pub mod trunks;

pub mod source;

pub mod wire;

pub mod sound;

pub mod shard;

pub mod ring;

pub mod quality;

pub mod control;

mod json;

pub mod store;

pub mod alerts;

pub mod notify;

pub mod http;

pub mod analyze;

pub mod runtime;
