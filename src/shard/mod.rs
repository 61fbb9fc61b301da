//! One shard: the state machine that answers calls, or observes those of others, and measures
//! their media.
//!
//! Sans-IO: datagrams and times go in, an [`Outbox`] comes out. The live appliance, a capture
//! and a simulation run this same code and must get the same numbers. It reads no clock, makes
//! no system call, and allocates nothing for an RTP packet once it has warmed up.

use core::{ops::Range, time::Duration};
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arrayvec::ArrayVec;

pub mod admission;
mod answer;
pub mod auth;
mod buckets;
pub mod buffer;
mod call;
mod command;
mod dialog;
mod dialogs;
pub mod distributions;
mod envelope;
mod flow;
pub mod health;
mod index;
mod invite;
mod jitter;
pub mod keys;
mod loss;
mod media;
mod observe;
mod offers;
mod outbox;
mod pacing;
mod phone_report;
pub mod registrar;
pub mod report;
mod response;
pub mod routes;
mod rtcp;
mod seen;
mod sending;
mod sequence;
mod session_timer;
pub mod signalling;
mod silence;
mod stream;
mod streams;
mod tags;
mod timers;
mod user_agent;
mod variation;

pub use command::Command;
pub use dialogs::owner;
pub use outbox::{Outbox, Passed, Transmit};
pub use sequence::Counts;

use self::{
    admission::{Admission, SipLimits},
    auth::{Auth, Door},
    buffer::{Depths, JitterBuffers},
    dialog::Dialog,
    dialogs::Dialogs,
    distributions::{Distributions, Groups},
    health::ShardHealth,
    keys::KeySource,
    pacing::Pacing,
    registrar::{Registrar, RegistrarSettings},
    report::{CallEvent, CallReport, Report},
    response::Contact,
    routes::Routes,
    signalling::{Signalling, SipFigures},
    streams::Streams,
    tags::Tags,
    timers::{Timer, Timers},
};
use crate::{
    id::{CallRef, ShardId},
    limits::{DIALOGS_MAX, REPORT_INTERVAL, STREAMS_MAX, TIMERS_PER_TURN},
    quality::score::Scoring,
    sound::Sounds,
    time::Timestamp,
    trunks::Trunks,
    wire::Datagram,
};

/// What a shard does with the calls that come to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It answers them.
    #[default]
    Answer,
    /// It sees them pass between others, and says nothing.
    Observe,
}

/// What a shard is told when it is made.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// What it does with calls.
    pub role: Role,
    /// Which shard it is.
    pub id: ShardId,
    /// The local port that SIP comes to over UDP; all others carry media.
    pub sip_port: u16,
    /// The even ports of its RTP; RTCP is one above each.
    pub rtp_ports: Vec<u16>,
    /// The address that Contact and SDP name, where that is not the one a request came to.
    pub advertise: Option<IpAddr>,
    /// Calls in the table at once, finished ones that linger included.
    pub dialogs_max: usize,
    /// Streams in the table at once.
    pub streams_max: usize,
    /// How long a call rings before it is answered.
    pub answer_delay: Duration,
    /// What is done with a call, by the user part of its Request-URI.
    pub routes: Arc<Routes>,
    /// What calls can hear.
    pub sounds: Sounds,
    /// How long a call rings that is never answered.
    pub ring_timeout: Duration,
    /// A call of which nothing has been heard for so long is over.
    pub idle_timeout: Duration,
    /// How much SIP is taken in from whom.
    pub sip_limits: SipLimits,
    /// Who has to sign in; `None` for nobody.
    pub auth: Option<Arc<Auth>>,
    /// What the registrar grants.
    pub registrar: RegistrarSettings,
    /// The jitter buffers that are emulated for every stream.
    pub jitter_buffers: JitterBuffers,
    /// Whether the SIP messages of calls are passed on, for their ladders.
    pub ladders: bool,
    /// Whether extended reports (RFC 3611) are sent.
    pub rtcp_xr: bool,
    /// How the scores in them are made: as those of the API are.
    pub scoring: Arc<Scoring>,
    /// What the networks that streams come from are called.
    pub trunks: Arc<Trunks>,
    /// Seeds hashes, tags, SSRCs. Secret in a live appliance, fixed in a simulation.
    pub seed: u64,
    /// The secret that keys for SRTP are made from.
    pub keys: KeySource,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            role: Role::Answer,
            id: ShardId(0),
            sip_port: 5060,
            rtp_ports: vec![20_000],
            advertise: None,
            dialogs_max: DIALOGS_MAX,
            streams_max: STREAMS_MAX,
            answer_delay: Duration::ZERO,
            routes: Arc::default(),
            sounds: Sounds::default(),
            ring_timeout: Duration::from_secs(180),
            idle_timeout: Duration::from_secs(300),
            sip_limits: SipLimits::default(),
            auth: None,
            registrar: RegistrarSettings::default(),
            jitter_buffers: JitterBuffers::default(),
            ladders: false,
            rtcp_xr: true,
            scoring: Arc::default(),
            trunks: Arc::default(),
            seed: 0,
            keys: KeySource::default(),
        }
    }
}

/// The state of one shard.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    dialogs: Dialogs,
    streams: Streams,
    /// The settings of the jitter buffers, as packets need them.
    depths: Depths,
    stream_serial: u64,
    timers: Timers,
    pacing: Pacing,
    health: ShardHealth,
    signalling: Signalling,
    admission: Admission,
    tags: Tags,
    door: Door,
    registrar: Registrar,
    /// `None` where calls are only observed: nobody asks for those of a capture.
    distributions: Option<Box<Distributions>>,
    groups: Groups,
    /// Streams whose call may yet be announced, where calls are only observed.
    orphans: VecDeque<(u32, u64)>,
    rng: fastrand::Rng,
    /// SDP being written, before its length is known.
    scratch: Vec<u8>,
    /// A response being written that is to be kept, before its length is known.
    kept: Vec<u8>,
    is_closing: bool,
    /// The time of the last poll: what is sent now is sent then, however long ago it was asked.
    now: Timestamp,
}

impl Shard {
    /// An idle shard.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        // Each shard has its own sequence of random numbers from the common seed.
        let rng = fastrand::Rng::with_seed(config.seed ^ (u64::from(config.id.0) << 48) ^ RNG_SALT);
        Self {
            dialogs: Dialogs::new(config.dialogs_max, config.seed),
            streams: Streams::new(config.streams_max, config.seed),
            depths: Depths::new(&config.jitter_buffers),
            stream_serial: 0,
            timers: Timers::default(),
            pacing: Pacing::default(),
            health: ShardHealth { shard: config.id.0, ..ShardHealth::default() },
            signalling: Signalling::new(config.dialogs_max, config.seed, config.ladders),
            admission: Admission::new(&config.sip_limits, config.dialogs_max, config.seed),
            tags: Tags::new(config.seed),
            door: Door::default(),
            registrar: Registrar::new(config.registrar, config.seed),
            distributions: (config.role == Role::Answer).then(Box::default),
            groups: Groups::default(),
            orphans: VecDeque::new(),
            rng,
            scratch: Vec::new(),
            kept: Vec::new(),
            is_closing: false,
            now: Timestamp::MIN,
            config,
        }
    }

    /// Takes in a batch of datagrams, in order of arrival.
    pub fn handle(&mut self, batch: &[Datagram<'_>], out: &mut Outbox) {
        if self.config.role == Role::Observe {
            self.observe(batch.iter().copied(), out);
            return;
        }
        let sip_port = self.config.sip_port;
        for part in batch.chunk_by(|a, b| is_sip(a, sip_port) == is_sip(b, sip_port)) {
            if is_sip(&part[0], sip_port) {
                for datagram in part {
                    if self.takes_in(datagram) {
                        self.handle_admitted(datagram, out);
                    }
                }
            } else {
                part.chunks(media::BATCH).for_each(|part| self.handle_media(part, out));
            }
        }
    }

    /// Takes in a SIP message that this shard or another has [taken in](Self::takes_in).
    pub fn handle_admitted(&mut self, datagram: &Datagram<'_>, out: &mut Outbox) {
        let sent = out.transmits().len();
        self.handle_sip(datagram, out);
        self.signalling.pass_on(datagram, out);
        self.note_sent(self.now.max(datagram.received_at), sent, out);
    }

    /// Does what is due by `now`, a bounded part of it, and says when more is.
    pub fn poll(&mut self, now: Timestamp, out: &mut Outbox) -> Option<Timestamp> {
        self.now = now;
        self.signalling.settle(now);
        // Media first: what signalling takes note of begins after it.
        self.send_due(now, out);
        let sent = out.transmits().len();
        for _ in 0..TIMERS_PER_TURN {
            match self.timers.pop_due(now) {
                Some(Timer::Dialog { slot, serial }) => self.poll_dialog(slot, serial, now, out),
                Some(Timer::Stream { slot, serial }) => self.poll_stream(slot, serial, now, out),
                Some(Timer::Registrar) => self.poll_registrar(now),
                None => break,
            }
        }
        self.note_sent(now, sent, out);
        self.next_deadline()
    }

    /// When something is next due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.next_media()).min()
    }

    /// When media of ours is next to be sent.
    #[must_use]
    pub fn next_media(&self) -> Option<Timestamp> {
        self.pacing.next()
    }

    /// Answers nothing new from now on and hangs up what is up. [`calls_up`](Self::calls_up)
    /// and further polls tell when all is done.
    pub fn close(&mut self, now: Timestamp, out: &mut Outbox) {
        self.is_closing = true;
        self.hang_up_all(self.dialogs.slots_up(), now, out);
    }

    /// Says all there is to say about calls that are only observed: nothing more will pass. Those
    /// whose end was not seen stay as they are.
    pub fn finish(&mut self, now: Timestamp, out: &mut Outbox) {
        self.signalling.settle(now);
        self.signalling.tell(self.config.id, out);
        for slot in self.dialogs.slots_ended() {
            self.forget(slot, now, out);
        }
        for slot in self.streams.slots() {
            self.finish_stream(slot, now, out);
            self.drop_stream(slot);
        }
    }

    /// How many calls are up.
    #[must_use]
    pub const fn calls_up(&self) -> usize {
        self.dialogs.up()
    }

    /// Whether a closing shard has nothing more to say: every call is reported and every BYE
    /// answered.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.dialogs.iter().all(Dialog::is_quiet)
    }

    /// The shard's own state.
    #[must_use]
    pub fn health(&self) -> ShardHealth {
        ShardHealth {
            calls_active: u32::try_from(self.dialogs.up()).unwrap_or(u32::MAX),
            streams_active: u32::try_from(self.streams.len()).unwrap_or(u32::MAX),
            shed: self.admission.shed(),
            registrations: self.registrar.counts(),
            ..self.health
        }
    }

    /// The counters of what happens around the shard, for its runtime to add to.
    pub const fn health_mut(&mut self) -> &mut ShardHealth {
        &mut self.health
    }

    /// Exchanges the distributions filled so far for an empty set.
    pub fn swap_distributions(&mut self, mut empty: Box<Distributions>) -> Box<Distributions> {
        empty.make_room(&self.groups);
        let mut filled = self.distributions.replace(empty).unwrap_or_default();
        self.signalling.swap(&mut filled.sip);
        filled
    }

    /// The memory of its streams, looked at in the order in which packets come; for a runtime that
    /// can choose its pages.
    pub fn stream_memory(&mut self) -> Range<*const u8> {
        self.streams.memory()
    }

    /// The figures of the SIP that has passed, since they were last exchanged.
    #[must_use]
    pub const fn sip_figures(&self) -> &SipFigures {
        self.signalling.figures()
    }

    /// Which shard this is.
    #[must_use]
    pub const fn id(&self) -> ShardId {
        self.config.id
    }

    fn poll_dialog(&mut self, slot: u32, serial: u64, now: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot).filter(|dialog| dialog.id.serial == serial)
        else {
            return;
        };
        if dialog.armed > now {
            return;
        }
        dialog.armed = Timestamp::MAX;
        self.run_dialog(slot, now, out);
        self.arm(slot);
    }

    fn poll_stream(&mut self, slot: u32, serial: u64, now: Timestamp, out: &mut Outbox) {
        let Some(stream) = self.streams.get_mut(slot, serial) else { return };
        let is_orphan = stream.dialog().is_none();
        if self.is_over(slot, now) {
            self.finish_stream(slot, now, out);
            self.drop_stream(slot);
            return;
        }
        if is_orphan {
            self.join(slot);
        }
        self.report_stream(slot, now, false, out);
        self.timers.wake(now + REPORT_INTERVAL, Timer::Stream { slot, serial });
    }

    /// Sees to it that the dialog is woken when it is next due.
    fn arm(&mut self, slot: u32) {
        let idle = self.config.idle_timeout;
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        let deadline = dialog.deadline(idle);
        if deadline < dialog.armed {
            dialog.armed = deadline;
            let serial = dialog.id.serial;
            self.timers.wake(deadline, Timer::Dialog { slot, serial });
        }
    }

    fn report_call(&self, dialog: &Dialog, at: Timestamp, event: CallEvent, out: &mut Outbox) {
        let call = self.call_ref(dialog.id.serial);
        out.report(Report::Call(CallReport { call, at, event }));
    }

    /// Has what was sent from `from` on counted, and what it changes told.
    fn note_sent(&mut self, at: Timestamp, from: usize, out: &mut Outbox) {
        self.signalling.send(at, from, out);
        self.signalling.tell(self.config.id, out);
    }

    const fn call_ref(&self, serial: u64) -> CallRef {
        CallRef { shard: self.config.id, serial }
    }

    /// Where the far end of a request shall send the next one.
    fn contact(&self, datagram: &Datagram<'_>) -> Contact {
        Contact { address: self.advertised(datagram.dst), transport: datagram.transport }
    }

    /// The address that the far end shall see for a local one. It must be of the same family.
    fn advertised(&self, local: SocketAddr) -> SocketAddr {
        let advertise = self.config.advertise.filter(|ip| ip.is_ipv4() == local.is_ipv4());
        SocketAddr::new(advertise.unwrap_or_else(|| local.ip()), local.port())
    }
}

/// Whether a datagram is SIP and no media.
fn is_sip(datagram: &Datagram<'_>, sip_port: u16) -> bool {
    datagram.dst.port() == sip_port || datagram.transport.is_stream()
}

/// A batch of media, parsed.
type Parsed<'a> = ArrayVec<media::Parsed<'a>, { media::BATCH }>;

/// Any number: keeps the shards' random numbers from being their hashes' seeds.
const RNG_SALT: u64 = 0x9E37_79B9_7F4A_7C15;
