//! One shard with its sockets and rings, one turn at a time: receive, handle, send.
//!
//! The loop around it and its naps are [`super::executor`]'s.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use arrayvec::ArrayVec;
use rtrb::Consumer;

use crate::{
    limits::{BATCHES_PER_TURN, MEDIA_SLOT_BYTES, SEND_QUEUE_MAX, SIP_BATCH, SIP_SLOT_BYTES},
    ring::{Handed, HandoffReceiver, HandoffSender, ShardEnd},
    shard::{Command, Outbox, Shard, Transmit, health::ShardHealth, owner, report::Report},
    source::{
        clock,
        udp::{BATCH, Outgoing, RecvBatch, UdpSocket},
    },
    time::Timestamp,
    wire::{Datagram, IpMarks},
};

use super::{
    park::Doorbell,
    streams::{StreamParts, Streams},
};

/// What one shard works with. Made inside its own thread.
pub(super) struct Turn {
    pub(super) shard: Shard,
    sip: UdpSocket,
    media: Vec<MediaSocket>,
    ring: ShardEnd,
    commands: Consumer<Command>,
    others: Vec<Option<Neighbour>>,
    handed_in: Vec<HandoffReceiver>,
    streams: Streams,
    sip_batch: RecvBatch,
    media_batch: RecvBatch,
    outbox: Outbox,
    waiting: VecDeque<Waiting>,
    sip_overflow: u32,
    seed: u64,
    next_cold: usize,
    health_at: Timestamp,
}

/// All that a [`Turn`] is made of.
pub(super) struct Parts {
    pub(super) shard: Shard,
    pub(super) sip: UdpSocket,
    pub(super) media: Vec<UdpSocket>,
    pub(super) ring: ShardEnd,
    pub(super) commands: Consumer<Command>,
    /// One a shard; `None` for the own.
    pub(super) others: Vec<Option<Neighbour>>,
    pub(super) handed_in: Vec<HandoffReceiver>,
    pub(super) streams: StreamParts,
    pub(super) seed: u64,
}

/// Another shard, for datagrams that are its.
pub(super) struct Neighbour {
    pub(super) ring: HandoffSender,
    pub(super) bell: Doorbell,
}

/// How busy the shard is, as its loop knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Share of the last interval that was not rest, 0 to 1.
    pub(super) busy: f64,
    /// How long it naps.
    pub(super) nap: Duration,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Datagrams handled.
    pub(super) datagrams: usize,
    /// Whether there was more to do than this turn would.
    pub(super) has_more: bool,
    /// When the shard next has something to do.
    pub(super) next: Option<Timestamp>,
    /// When it next has media to send.
    pub(super) next_media: Option<Timestamp>,
    /// Whether media has come of late.
    pub(super) has_media: bool,
}

impl Load {
    fn nap_us(self) -> u32 {
        u32::try_from(self.nap.as_micros()).unwrap_or(u32::MAX)
    }
}

struct MediaSocket {
    socket: UdpSocket,
    overflow: u32,
    /// Turns for which it is still looked at every time.
    hot: u16,
}

/// A datagram that a socket had no room for.
struct Waiting {
    src: SocketAddr,
    dst: SocketAddr,
    bytes: Box<[u8]>,
}

impl Turn {
    /// In the executor that its connections are to live in.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let media = parts.media.into_iter();
        Ok(Self {
            shard: parts.shard,
            sip: parts.sip,
            media: media.map(|socket| MediaSocket { socket, overflow: 0, hot: 0 }).collect(),
            ring: parts.ring,
            commands: parts.commands,
            others: parts.others,
            handed_in: parts.handed_in,
            streams: Streams::new(parts.streams)?,
            sip_batch: RecvBatch::new(SIP_BATCH, SIP_SLOT_BYTES),
            media_batch: RecvBatch::new(BATCH, MEDIA_SLOT_BYTES),
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            sip_overflow: 0,
            seed: parts.seed,
            next_cold: 0,
            health_at: Timestamp::MIN,
        })
    }

    /// All sockets, for who waits for them: SIP's first.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        [&self.sip].into_iter().chain(self.media.iter().map(|media| &media.socket))
    }

    /// Looks at every socket in the next turn: something has been waited for.
    pub(super) fn warm_up(&mut self) {
        self.media.iter_mut().for_each(|media| media.hot = media.hot.max(1));
    }

    /// One turn: a bounded amount of work.
    pub(super) fn take(&mut self, load: Load) -> Done {
        let mut done = Done::default();
        // Media first: a BYE must not overtake the packets before it.
        self.receive_media(load.nap, &mut done);
        // Before SIP: its responses leave in this turn, and this is the turn's time.
        let now = clock::now();
        while let Ok(command) = self.commands.pop() {
            self.shard.obey(command, now, &mut self.outbox);
        }
        let next = self.shard.poll(now, &mut self.outbox);
        done.has_more |= next.is_some_and(|next| next <= now);
        self.receive_sip(&mut done);
        self.receive_streams(&mut done);
        self.receive_handed_in(&mut done);
        done.has_media = self.media.iter().any(|media| media.hot > 0);
        (done.next, done.next_media) = (self.shard.next_deadline(), self.shard.next_media());
        self.flush();
        self.report_health(now, load);
        done
    }

    /// Begins the end: hangs up.
    pub(super) fn close(&mut self) {
        self.shard.close(clock::now(), &mut self.outbox);
        self.flush();
    }

    /// Has the other shards look around.
    pub(super) fn wake_others(&self) {
        self.others.iter().flatten().for_each(|other| other.bell.ring());
    }

    /// Passes on the last word.
    pub(super) async fn finish(mut self) {
        self.health_at = Timestamp::MIN;
        self.report_health(clock::now(), Load { busy: 0.0, nap: Duration::ZERO });
        self.streams.stop().await;
    }

    fn receive_media(&mut self, nap: Duration, done: &mut Done) {
        for index in 0..self.media.len() {
            if self.media[index].hot > 0 {
                self.receive_from(index, done);
            }
        }
        // The others in turn: a source that begins is seen within a few naps, and its packets
        // carry the kernel's time stamps in any case.
        let looks = nap.as_micros().div_ceil(COLD_EVERY.as_micros()).max(1);
        for _ in 0..usize::try_from(looks).unwrap_or(1).min(self.media.len()) {
            self.next_cold = (self.next_cold + 1) % self.media.len();
            if self.media[self.next_cold].hot == 0 {
                self.receive_from(self.next_cold, done);
            }
        }
    }

    fn receive_from(&mut self, index: usize, done: &mut Done) {
        let media = &mut self.media[index];
        media.hot = media.hot.saturating_sub(1);
        for round in 0..BATCHES_PER_TURN {
            let Ok(count) = self.media_batch.receive(&media.socket) else { return };
            if count == 0 {
                return;
            }
            media.hot = HOT_TURNS;
            done.datagrams += count;
            note_drops(&mut self.shard, &self.media_batch, &mut media.overflow);
            let batch: ArrayVec<_, BATCH> = self.media_batch.datagrams().collect();
            self.shard.handle(&batch, &mut self.outbox);
            if count < BATCH {
                return;
            }
            done.has_more |= round + 1 == BATCHES_PER_TURN;
        }
    }

    fn receive_sip(&mut self, done: &mut Done) {
        for round in 0..BATCHES_PER_TURN {
            let Ok(count) = self.sip_batch.receive(&self.sip) else { return };
            done.datagrams += count;
            note_drops(&mut self.shard, &self.sip_batch, &mut self.sip_overflow);
            let Self { sip_batch, shard, others, outbox, seed, .. } = self;
            for datagram in sip_batch.datagrams() {
                give(&datagram, shard, others, outbox, *seed);
            }
            if count < SIP_BATCH {
                return;
            }
            done.has_more |= round + 1 == BATCHES_PER_TURN;
        }
    }

    /// Takes the messages that connections have brought.
    fn receive_streams(&mut self, done: &mut Done) {
        self.streams.welcome();
        for _ in 0..BATCHES_PER_TURN * SIP_BATCH {
            let Some(message) = self.streams.receive() else { return };
            done.datagrams += 1;
            let Self { shard, others, outbox, seed, .. } = self;
            give(&message.datagram(), shard, others, outbox, *seed);
        }
        done.has_more = true;
    }

    fn receive_handed_in(&mut self, done: &mut Done) {
        for receiver in &mut self.handed_in {
            for _ in 0..BATCHES_PER_TURN * SIP_BATCH {
                match receiver.receive() {
                    Some(Handed::Received(datagram)) => {
                        self.shard.handle_admitted(&datagram, &mut self.outbox);
                    }
                    Some(Handed::Verified(source)) => self.shard.verify(source),
                    Some(Handed::ToSend(sent)) => {
                        if !self.streams.send(sent.src, sent.dst, sent.payload) {
                            self.shard.health_mut().connection_gone += 1;
                        }
                    }
                    None => break,
                }
                done.datagrams += 1;
            }
        }
    }

    /// Sends and reports what the shard wants.
    fn flush(&mut self) {
        self.send_waiting();
        self.send();
        // Messages first: who learns that a call is over has all of them.
        self.shard.health_mut().ladder_dropped += self.ring.pass(self.outbox.passed());
        let lost = self.ring.publish(self.outbox.reports());
        self.shard.health_mut().ring_full += lost;
        self.outbox.clear();
        let others = &mut self.others;
        self.shard.tell_verified(|source| {
            let mut told = others.iter_mut().flatten().map(|to| to.ring.tell_verified(source));
            told.all(|told| told)
        });
        let ring = &mut self.ring;
        self.shard.tell_registered(|user| ring.tell_registered(user));
    }

    /// Sends the outbox; what finds no room waits, within bounds.
    fn send(&mut self) {
        let Self { outbox, shard, sip, media, waiting, streams, others, .. } = self;
        let mut run: ArrayVec<Outgoing<'_>, BATCH> = ArrayVec::new();
        let mut transmits = outbox.transmits().peekable();
        while let Some((transmit, payload)) = transmits.next() {
            let src = transmit.src;
            if transmit.transport.is_stream() {
                send_over_stream(transmit, payload, streams, others, shard.health_mut());
                continue;
            }
            run.push(Outgoing { src: Some(src.ip()), dst: transmit.dst, payload });
            let goes_on = transmits.peek().is_some_and(|(next, _)| {
                next.src.port() == src.port() && next.transport == transmit.transport
            });
            if run.is_full() || !goes_on {
                // What waits goes first.
                let socket = waiting.is_empty().then(|| socket_of(sip, media, src.port()));
                let sent = socket.map_or(0, |socket| send_all(socket, &run));
                for left in &run[sent..] {
                    if waiting.len() < SEND_QUEUE_MAX {
                        let bytes = left.payload.into();
                        waiting.push_back(Waiting { src, dst: left.dst, bytes });
                    } else {
                        shard.health_mut().send_dropped += 1;
                    }
                }
                run.clear();
            }
        }
    }

    fn send_waiting(&mut self) {
        while let Some(first) = self.waiting.front() {
            let outgoing =
                Outgoing { src: Some(first.src.ip()), dst: first.dst, payload: &first.bytes };
            let socket = socket_of(&self.sip, &self.media, first.src.port());
            if send_all(socket, &[outgoing]) == 0 {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn report_health(&mut self, now: Timestamp, load: Load) {
        if now < self.health_at {
            return;
        }
        self.health_at = now + HEALTH_INTERVAL;
        self.streams.sweep(now);
        let counts = self.streams.counts();
        let health = self.shard.health_mut();
        (health.busy, health.nap_us) = (load.busy, load.nap_us());
        health.reports_waiting = u32::try_from(self.ring.waiting()).unwrap_or(u32::MAX);
        health.connections = counts.open;
        health.connections_total = counts.total;
        health.connections_refused = counts.refused;
        health.connections_broken = counts.broken;
        health.accept_errors = counts.accept_errors;
        let lost = self.ring.publish(&[Report::Health(self.shard.health())]);
        self.shard.health_mut().ring_full += lost;
        let Self { ring, shard, .. } = self;
        ring.exchange(|empty| shard.swap_distributions(empty));
    }
}

/// Gives a SIP message to the shard that owns its call, if it is to be taken in.
fn give(
    datagram: &Datagram<'_>,
    shard: &mut Shard,
    others: &mut [Option<Neighbour>],
    outbox: &mut Outbox,
    seed: u64,
) {
    // Whatever is over a limit has cost little until here.
    if !shard.takes_in(datagram) {
        return;
    }
    let shards = u16::try_from(others.len()).unwrap_or(1);
    let owner = usize::from(owner(datagram.payload, shards, seed).0);
    let Some(other) = others.get_mut(owner).and_then(Option::as_mut) else {
        shard.handle_admitted(datagram, outbox);
        return;
    };
    if other.ring.send(datagram) {
        other.bell.ring();
    } else {
        shard.health_mut().handoff_full += 1;
    }
}

/// Sends a message through its connection, wherever that lives.
fn send_over_stream(
    transmit: &Transmit,
    payload: &[u8],
    streams: &Streams,
    others: &mut [Option<Neighbour>],
    health: &mut ShardHealth,
) {
    let &Transmit { src, dst, transport, .. } = transmit;
    let holder = streams.holder(dst);
    let Some(other) = others.get_mut(holder).and_then(Option::as_mut) else {
        health.connection_gone += u32::from(!streams.send(src, dst, payload));
        return;
    };
    let (received_at, marks) = (Timestamp::MIN, IpMarks::UNKNOWN);
    if other.ring.send_out(&Datagram { received_at, src, dst, transport, marks, payload }) {
        other.bell.ring();
    } else {
        health.handoff_full += 1;
    }
}

/// Sends datagrams of one socket and says how many are done with: sent, or impossible to send.
fn send_all(socket: &UdpSocket, outgoing: &[Outgoing<'_>]) -> usize {
    let mut done = 0;
    while done < outgoing.len() {
        match socket.send_batch(&outgoing[done..]) {
            Ok(0) => break,
            Ok(sent) => done += sent,
            // The first one cannot be sent: no route, or forbidden. As if the network lost it.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => done += 1,
            Err(_) => break,
        }
    }
    done
}

/// The socket that is bound to a port; SIP's has all others.
fn socket_of<'a>(sip: &'a UdpSocket, media: &'a [MediaSocket], port: u16) -> &'a UdpSocket {
    let found = media.iter().find(|media| media.socket.local_addr().port() == port);
    found.map_or(sip, |media| &media.socket)
}

/// Notes what the kernel dropped and what was cut off.
fn note_drops(shard: &mut Shard, batch: &RecvBatch, seen: &mut u32) {
    let health = shard.health_mut();
    health.truncated += batch.truncated();
    if let Some(total) = batch.overflow() {
        health.socket_overflow += u64::from(total.wrapping_sub(*seen));
        *seen = total;
    }
}

/// How long a socket that had something is looked at in every turn: 100 ms of naps.
const HOT_TURNS: u16 = 200;

/// How often one of the sockets without traffic is looked at: all of 32 within 16 ms.
const COLD_EVERY: Duration = Duration::from_micros(500);

/// How often a shard reports its own state.
pub(super) const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
