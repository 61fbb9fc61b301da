//! Media as it arrives: from a datagram to its stream, and from a stream to its call.

use core::time::Duration;
use std::net::SocketAddr;

use arrayvec::ArrayVec;

use super::{
    Parsed as Batch, Role, Shard,
    dialog::{DialogId, Phase},
    outbox::Outbox,
    report::Report,
    routes::Action,
    sequence::MAX_DROPOUT,
    stream::{State, Stream, StreamKey},
    timers::Timer,
};
use crate::{
    limits::{FIRST_REPORT, STREAM_IDLE},
    time::Timestamp,
    wire::{
        Datagram, IpMarks,
        classify::{Kind, classify},
        rtp::RtpPacket,
    },
};

/// Datagrams looked at together.
pub(super) const BATCH: usize = 64;

/// One RTP packet of a batch, ready for its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parsed<'a> {
    key: StreamKey,
    hash: u64,
    at: Timestamp,
    marks: IpMarks,
    packet: RtpPacket<'a>,
}

impl Shard {
    /// Takes in up to [`BATCH`] datagrams of media ports.
    ///
    /// One short pass after the other, so that the cache misses of a batch overlap: parse, look
    /// into the index, bring in the streams, measure. RTCP, which is rare, waits for the RTP
    /// before it.
    pub(super) fn handle_media(&mut self, datagrams: &[Datagram<'_>], out: &mut Outbox) {
        let mut batch = Batch::new();
        for datagram in datagrams {
            match classify(datagram.payload) {
                Kind::Rtp => match RtpPacket::parse(datagram.payload) {
                    Ok(packet) => batch.push(self.parsed(datagram, packet)),
                    Err(_) => self.health.media_other += 1,
                },
                Kind::Rtcp => {
                    self.measure(&mut batch, out);
                    self.handle_rtcp(datagram, out);
                }
                kind => self.count_other(kind),
            }
        }
        self.measure(&mut batch, out);
    }

    /// Takes in datagrams that pass between others, signalling and media mixed, in the order in
    /// which they pass.
    pub fn observe<'a>(
        &mut self,
        datagrams: impl IntoIterator<Item = Datagram<'a>>,
        out: &mut Outbox,
    ) {
        let mut batch = Batch::new();
        // From within: a datagram is large, and does not go through the hands of `next`.
        datagrams.into_iter().for_each(|datagram| match classify(datagram.payload) {
            // Of a packet that is cut off or encrypted the header says all there is.
            Kind::Rtp => match RtpPacket::parse(datagram.payload)
                .or_else(|_| RtpPacket::parse_header(datagram.payload))
            {
                Ok(packet) => {
                    batch.push(self.parsed(&datagram, packet));
                    if batch.is_full() {
                        self.measure(&mut batch, out);
                    }
                }
                Err(_) => self.health.media_other += 1,
            },
            kind => {
                self.measure(&mut batch, out);
                self.observe_other(kind, &datagram, out);
            }
        });
        self.measure(&mut batch, out);
    }

    #[cold]
    fn observe_other(&mut self, kind: Kind, datagram: &Datagram<'_>, out: &mut Outbox) {
        match kind {
            Kind::Rtcp => self.observe_rtcp(datagram, out),
            Kind::Sip => self.observe_sip(datagram, out),
            // What stands in a stream of SIP is SIP, however it begins.
            _ if datagram.transport.is_stream() => self.observe_sip(datagram, out),
            kind => self.count_other(kind),
        }
    }

    #[inline]
    fn parsed<'a>(&self, datagram: &Datagram<'a>, packet: RtpPacket<'a>) -> Parsed<'a> {
        let key = StreamKey::new(&datagram.src, &datagram.dst, packet.ssrc());
        let hash = self.streams.hash(&key);
        Parsed { key, hash, at: datagram.received_at, marks: datagram.marks, packet }
    }

    #[cold]
    const fn count_other(&mut self, kind: Kind) {
        match kind {
            Kind::KeepAlive => self.health.keep_alive += 1,
            Kind::Stun => self.health.stun += 1,
            Kind::Dtls => self.health.dtls += 1,
            Kind::Zrtp => self.health.zrtp += 1,
            _ => self.health.media_other += 1,
        }
    }

    /// Measures a batch and empties it.
    fn measure(&mut self, batch: &mut Batch<'_>, out: &mut Outbox) {
        // Loads of a whole batch overlap, where those of one packet after the other would queue.
        batch.iter().for_each(|parsed| self.streams.touch_index(parsed.hash));
        let likely: ArrayVec<_, BATCH> =
            batch.iter().filter_map(|parsed| self.streams.likely(parsed.hash)).collect();
        self.streams.touch(&likely);
        self.health.rtp_packets += batch.len() as u64;
        for parsed in &*batch {
            self.handle_rtp(parsed, out);
        }
        batch.clear();
    }

    #[inline]
    fn handle_rtp(&mut self, parsed: &Parsed<'_>, out: &mut Outbox) {
        let Some(slot) = self.streams.find(&parsed.key, parsed.hash) else {
            self.begin_stream(parsed, out);
            return;
        };
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let (at, packet) = (parsed.at, &parsed.packet);
        if stream.state != State::Live && !self.admit(slot, parsed) {
            return;
        }
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if stream.is_for_closeup(packet, parsed.marks) {
            stream.look_at(packet, parsed.marks);
        }
        if stream.is_media(packet.payload_type()) {
            if let Some(jitter_us) = stream.arrive(at, packet, &self.depths)
                && let Some(distributions) = &mut self.distributions
            {
                distributions.record(stream.group, jitter_us, stream.variation_us());
            }
        } else {
            self.change_format(slot, at, packet);
        }
        if self.streams.at(slot).is_some_and(|stream| stream.is_echoed) {
            self.echo(slot, parsed, out);
        }
    }

    /// Whether a packet of a stream that is not live is to be measured.
    #[cold]
    fn admit(&mut self, slot: u32, parsed: &Parsed<'_>) -> bool {
        let own = self.health.own_faults();
        let Some(stream) = self.streams.at_mut(slot) else { return false };
        match stream.state {
            State::Live => true,
            State::Vacant => false,
            State::Probation { next } => match parsed.packet.sequence().wrapping_sub(next) {
                0 => {
                    stream.state = State::Live;
                    true
                }
                // Between the two that make a stream others may be lost or come again.
                REPEATED => true,
                missing if missing < MAX_DROPOUT => {
                    let next = next.wrapping_add(missing).wrapping_add(1);
                    stream.state = State::Probation { next };
                    true
                }
                _ => {
                    self.health.unconfirmed += 1;
                    stream.begin_again(parsed.at, &parsed.packet, own);
                    stream.look_at(&parsed.packet, parsed.marks);
                    false
                }
            },
            State::Left { .. } => {
                stream.come_back(parsed.at, &parsed.packet);
                true
            }
            // Its call is over. Unless another one expects this source, these are stragglers.
            State::Closed => {
                if self.known_owner(parsed.key.src(), parsed.key.dst()).is_some() {
                    self.streams.remove(slot);
                    self.insert_stream(parsed);
                }
                false
            }
        }
    }

    #[cold]
    fn begin_stream(&mut self, parsed: &Parsed<'_>, out: &mut Outbox) {
        if let Some(slot) = self.insert_stream(parsed)
            && self.streams.at(slot).is_some_and(|stream| stream.is_echoed)
        {
            self.echo(slot, parsed, out);
        }
    }

    fn insert_stream(&mut self, parsed: &Parsed<'_>) -> Option<u32> {
        let Parsed { key, at, packet, .. } = parsed;
        self.stream_serial += 1;
        let serial = self.stream_serial;
        let owner = self.owner_of_media(key.src(), key.dst());
        let dialog = owner.and_then(|slot| self.dialogs.get(slot));
        let format = dialog.map_or_else(
            || super::stream::Format::assumed(packet.payload_type()),
            |dialog| dialog.format(key.dst(), packet.payload_type()),
        );
        let mut stream = Stream::new(*key, serial, *at, packet, format, self.health.own_faults());
        stream.look_at(packet, parsed.marks);
        let Some(slot) = self.streams.insert(parsed.hash, stream) else {
            self.health.streams_refused += 1;
            return None;
        };
        match owner {
            Some(owner) => self.attach(slot, owner),
            None if self.config.role == Role::Observe => self.remember_orphan(slot, serial),
            None => self.group(slot),
        }
        let first_look = if owner.is_some() { FIRST_REPORT } else { PROBATION };
        self.timers.wake(*at + first_look, Timer::Stream { slot, serial });
        Some(slot)
    }

    /// Tries to find the call of an orphan: its signalling may have come after its media.
    pub(super) fn join(&mut self, slot: u32) {
        let Some(stream) = self.streams.at(slot) else { return };
        if let Some(owner) = self.known_owner(stream.src(), stream.dst()) {
            self.attach(slot, owner);
        }
    }

    /// The call that is known to expect media from `src` at `dst`.
    fn known_owner(&self, src: SocketAddr, dst: SocketAddr) -> Option<u32> {
        match self.config.role {
            Role::Answer => self.dialogs.find_media(src, dst.port()),
            Role::Observe => self.dialogs.find_between(src, dst),
        }
    }

    /// The call that media from `src` to `dst` belong to.
    fn owner_of_media(&mut self, src: SocketAddr, dst: SocketAddr) -> Option<u32> {
        let known = self.known_owner(src, dst);
        if known.is_some() || self.config.role == Role::Observe {
            return known;
        }
        let slot = self.dialogs.find_unlatched(src, dst.port())?;
        self.dialogs.change_media(slot, |dialog| dialog.media.latched = Some(src));
        Some(slot)
    }

    /// Makes a stream a call's.
    pub(super) fn attach(&mut self, slot: u32, owner: u32) {
        let Some(dialog) = self.dialogs.get_mut(owner) else { return };
        if dialog.streams.len() >= dialog.streams_max() {
            let last_at = |&(slot, _): &(u32, u64)| self.streams.at(slot).map(Stream::last_at);
            let others = dialog.streams.iter().enumerate();
            let silent = others.min_by_key(|(_, other)| last_at(other)).map_or(0, |(at, _)| at);
            dialog.streams.remove(silent);
        }
        let Some(stream) = self.streams.at_mut(slot) else { return };
        dialog.streams.push((slot, stream.serial));
        stream.set_dialog(dialog.id);
        dialog.media.is_awaited = false;
        let (src, dst) = (stream.src(), stream.dst());
        stream.set_format(dialog.format(dst, stream.payload_type()));
        let towards = dialog.seen.as_deref().map(|seen| seen.direction(src, dst));
        stream.direction = towards.unwrap_or_default();
        // Signalling vouches for it: no probation.
        stream.state = State::Live;
        stream.is_echoed = dialog.action == Action::Echo;
        self.group(slot);
    }

    /// Finds the group that a stream's packets count in.
    #[cold]
    fn group(&mut self, slot: u32) {
        let Some(distributions) = &mut self.distributions else { return };
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let dialog = stream.dialog().and_then(|id| self.dialogs.by_id(id));
        let source = dialog.map_or_else(|| stream.src(), |dialog| dialog.peer);
        stream.group = self.groups.place(stream.codec(), self.config.trunks.of(source.ip()));
        distributions.make_room(&self.groups);
    }

    #[cold]
    fn change_format(&mut self, slot: u32, at: Timestamp, packet: &RtpPacket<'_>) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let dialog = stream.dialog().and_then(|id| self.dialogs.by_id(id));
        let payload_type = packet.payload_type();
        let format = dialog.map_or_else(
            || super::stream::Format::assumed(payload_type),
            |dialog| dialog.format(stream.dst(), payload_type),
        );
        let codec = stream.codec();
        stream.arrive_as(at, packet, format, &self.depths);
        if stream.codec() != codec {
            self.group(slot);
        }
    }

    /// Sends a packet back where it came from, under our own SSRC.
    fn echo(&mut self, slot: u32, parsed: &Parsed<'_>, out: &mut Outbox) {
        let Some(id) = self.streams.at(slot).and_then(|stream| stream.dialog()) else { return };
        let Some(dialog) = self.dialogs.by_id(id) else { return };
        let (src, packet) = (parsed.key.src(), &parsed.packet);
        // Never a reflector: only to an address that signalling gave or that has latched, and not
        // to one that holds the call.
        if dialog.phase != Phase::Answered || !dialog.media.sends_to(src) {
            return;
        }
        let media = &mut dialog.media;
        let ssrc = media.ssrc;
        let bytes = out.send(parsed.key.dst(), src, |bytes| {
            bytes.extend_from_slice(packet.bytes());
        });
        bytes[SSRC_OFFSET..SSRC_OFFSET + 4].copy_from_slice(&ssrc.0.to_be_bytes());
        let sent = &mut media.sent;
        if sent.packets == 0 {
            sent.first_at = parsed.at;
        }
        let step = packet.sequence().wrapping_sub(sent.last_sequence).cast_signed();
        if sent.packets == 0 || step.unsigned_abs() > MAX_DROPOUT {
            sent.first_sequence = packet.sequence();
        }
        sent.last_sequence = packet.sequence();
        sent.packets += 1;
        sent.octets += packet.payload().len() as u64;
        sent.last_rtp_time = packet.timestamp();
        sent.last_at = parsed.at;
    }

    /// Whether a stream has nothing more to do.
    pub(super) fn is_over(&self, slot: u32, now: Timestamp) -> bool {
        let Some(stream) = self.streams.at(slot) else { return true };
        match stream.state {
            State::Probation { .. } | State::Vacant => true,
            State::Closed => now.since(stream.last_at()) >= STREAM_IDLE,
            State::Live | State::Left { .. } => {
                now.since(stream.last_at()) >= STREAM_IDLE && !self.is_remembered(slot, stream)
            }
        }
    }

    /// Whether a call will end this stream when it ends itself.
    fn is_remembered(&self, slot: u32, stream: &Stream) -> bool {
        let dialog = stream.dialog().and_then(|id| Some((id, self.dialogs.get(id.slot)?)));
        dialog.is_some_and(|(id, dialog)| {
            dialog.id == id && dialog.streams.contains(&(slot, stream.serial))
        })
    }

    /// Takes a stream out of the table.
    pub(super) fn drop_stream(&mut self, slot: u32) {
        let is_unconfirmed = |stream: &Stream| matches!(stream.state, State::Probation { .. });
        let unconfirmed = self.streams.at(slot).is_some_and(is_unconfirmed);
        self.health.unconfirmed += u64::from(unconfirmed);
        self.streams.remove(slot);
    }

    /// Passes on the last report of a stream and stops measuring it.
    pub(super) fn finish_stream(&mut self, slot: u32, now: Timestamp, out: &mut Outbox) {
        self.report_stream(slot, now, true, out);
        if let Some(stream) = self.streams.at_mut(slot) {
            stream.close(now);
        }
    }

    /// Passes on the state of a live stream.
    pub(super) fn report_stream(
        &mut self,
        slot: u32,
        now: Timestamp,
        is_final: bool,
        out: &mut Outbox,
    ) {
        let (shard, own) = (self.config.id, self.health.own_faults());
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let is_measured = matches!(stream.state, State::Live | State::Left { .. });
        if is_measured && (is_final || stream.has_news()) {
            let call = stream.dialog().map(|DialogId { serial, .. }| self.call_ref(serial));
            let Some(stream) = self.streams.at_mut(slot) else { return };
            let report = stream.report(shard, call, now, is_final, own, &self.depths);
            out.report(Report::Stream(report));
            for runs in stream.loss_runs(shard, call, is_final) {
                out.report(Report::LossRuns(runs));
            }
        }
    }
}

/// How long a source that signalling does not know may take for its second packet.
const PROBATION: Duration = Duration::from_secs(2);

/// The sequence number of the last packet, counted from the next.
const REPEATED: u16 = u16::MAX;

/// Where the SSRC stands in an RTP header (RFC 3550 section 5.1).
const SSRC_OFFSET: usize = 8;
