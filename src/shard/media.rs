//! Media as it arrives: from a datagram to its stream, and from a stream to its call.

use core::time::Duration;

use arrayvec::ArrayVec;

use super::{
    Parsed as Batch, Shard,
    dialog::{DialogId, Phase, Policy},
    outbox::Outbox,
    report::Report,
    sequence::MAX_DROPOUT,
    stream::{State, Stream, StreamKey},
    timers::Timer,
};
use crate::{
    limits::{FIRST_REPORT, STREAM_IDLE},
    time::Timestamp,
    wire::{
        Datagram,
        classify::{Kind, classify},
        rtp::RtpPacket,
    },
};

/// Datagrams looked at together.
pub(super) const BATCH: usize = 64;

/// One RTP packet of a batch, ready for its stream.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    datagram: &'a Datagram<'a>,
    packet: RtpPacket<'a>,
    key: StreamKey,
    hash: u64,
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
                    Ok(packet) => {
                        let key = StreamKey::new(datagram.src, datagram.dst, packet.ssrc());
                        let hash = self.streams.hash(&key);
                        batch.push(Parsed { datagram, packet, key, hash });
                    }
                    Err(_) => self.health.media_other += 1,
                },
                Kind::Rtcp => {
                    self.measure(&batch, out);
                    batch.clear();
                    self.handle_rtcp(datagram, out);
                }
                Kind::KeepAlive => {}
                _ => self.health.media_other += 1,
            }
        }
        self.measure(&batch, out);
    }

    #[inline]
    fn measure(&mut self, batch: &Batch<'_>, out: &mut Outbox) {
        let likely: ArrayVec<_, BATCH> =
            batch.iter().filter_map(|parsed| self.streams.likely(parsed.hash)).collect();
        likely.iter().for_each(|&slot| self.streams.touch(slot));
        self.health.rtp_packets += batch.len() as u64;
        for parsed in batch {
            self.handle_rtp(parsed, out);
        }
    }

    #[inline]
    fn handle_rtp(&mut self, parsed: &Parsed<'_>, out: &mut Outbox) {
        let Some(slot) = self.streams.find(&parsed.key, parsed.hash) else {
            self.begin_stream(parsed, out);
            return;
        };
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let (at, packet) = (parsed.datagram.received_at, &parsed.packet);
        if stream.state != State::Live && !self.admit(slot, parsed) {
            return;
        }
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if stream.is_speech(packet.payload_type()) {
            if let Some(sample) = stream.arrive(at, packet) {
                self.distributions.jitter_us.saturating_record(sample.jitter_us.into());
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
        let own_drops = self.health.own_drops();
        let Some(stream) = self.streams.at_mut(slot) else { return false };
        match stream.state {
            State::Live => true,
            State::Vacant => false,
            State::Probation { next } if parsed.packet.sequence() == next => {
                stream.state = State::Live;
                true
            }
            State::Probation { .. } => {
                stream.begin_again(parsed.datagram.received_at, &parsed.packet, own_drops);
                false
            }
            // Its call is over. Unless another one expects this source, these are stragglers.
            State::Closed => {
                let port = parsed.datagram.dst.port();
                if self.dialogs.find_media(parsed.datagram.src, port).is_some() {
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
        let Parsed { datagram, packet, key, .. } = parsed;
        self.stream_serial += 1;
        let serial = self.stream_serial;
        let at = datagram.received_at;
        let owner = self.owner_of_media(datagram);
        let dialog = owner.and_then(|slot| self.dialogs.get(slot));
        let format = dialog.map_or_else(
            || super::stream::Format::assumed(packet.payload_type()),
            |dialog| dialog.media.format(packet.payload_type()),
        );
        let stream = Stream::new(*key, serial, at, packet, format, self.health.own_drops());
        let Some(slot) = self.streams.insert(parsed.hash, stream) else {
            self.health.streams_refused += 1;
            return None;
        };
        if let Some(owner) = owner {
            self.attach(slot, owner);
        }
        let first_look = if owner.is_some() { FIRST_REPORT } else { PROBATION };
        self.timers.wake(at + first_look, Timer::Stream { slot, serial });
        Some(slot)
    }

    /// Tries to find the call of an orphan: its signalling may have come after its media.
    pub(super) fn join(&mut self, slot: u32) {
        let Some(stream) = self.streams.at(slot) else { return };
        let (src, port) = (stream.key.src(), stream.key.dst().port());
        if let Some(owner) = self.dialogs.find_media(src, port) {
            self.attach(slot, owner);
        }
    }

    /// The call that a datagram's media belongs to.
    fn owner_of_media(&mut self, datagram: &Datagram<'_>) -> Option<u32> {
        let (src, port) = (datagram.src, datagram.dst.port());
        if let Some(slot) = self.dialogs.find_media(src, port) {
            return Some(slot);
        }
        let slot = self.dialogs.find_unlatched(src, port)?;
        self.dialogs.change_media(slot, |dialog| dialog.media.latched = Some(src));
        Some(slot)
    }

    /// Makes a stream a call's.
    fn attach(&mut self, slot: u32, owner: u32) {
        let Some(dialog) = self.dialogs.get_mut(owner) else { return };
        if dialog.streams.is_full() {
            let last_at = |&(slot, _): &(u32, u64)| self.streams.at(slot).map(Stream::last_at);
            let others = dialog.streams.iter().enumerate();
            let silent = others.min_by_key(|(_, other)| last_at(other)).map_or(0, |(at, _)| at);
            dialog.streams.remove(silent);
        }
        let Some(stream) = self.streams.at_mut(slot) else { return };
        dialog.streams.push((slot, stream.serial));
        stream.dialog = Some(dialog.id);
        dialog.media.is_awaited = false;
        stream.set_format(dialog.media.format(stream.payload_type()));
        // Signalling vouches for it: no probation.
        stream.state = State::Live;
        stream.is_echoed = dialog.policy == Policy::Echo;
    }

    #[cold]
    fn change_format(&mut self, slot: u32, at: Timestamp, packet: &RtpPacket<'_>) {
        let Some(stream) = self.streams.at_mut(slot) else { return };
        let dialog = stream.dialog.and_then(|id| self.dialogs.by_id(id));
        let payload_type = packet.payload_type();
        let format = dialog.map_or_else(
            || super::stream::Format::assumed(payload_type),
            |dialog| dialog.media.format(payload_type),
        );
        stream.arrive_as(at, packet, format);
    }

    /// Sends a packet back where it came from, under our own SSRC.
    fn echo(&mut self, slot: u32, parsed: &Parsed<'_>, out: &mut Outbox) {
        let Some(id) = self.streams.at(slot).and_then(|stream| stream.dialog) else { return };
        let Some(dialog) = self.dialogs.by_id(id) else { return };
        let (src, packet) = (parsed.datagram.src, &parsed.packet);
        // Never a reflector: only to an address that signalling gave or that has latched, and not
        // to one that holds the call.
        if dialog.phase != Phase::Answered || !dialog.media.sends_to(src) {
            return;
        }
        let media = &mut dialog.media;
        let ssrc = media.ssrc;
        let bytes = out.send(parsed.datagram.dst, src, |bytes| {
            bytes.extend_from_slice(parsed.datagram.payload);
        });
        bytes[SSRC_OFFSET..SSRC_OFFSET + 4].copy_from_slice(&ssrc.0.to_be_bytes());
        let sent = &mut media.sent;
        if sent.packets == 0 {
            sent.first_at = parsed.datagram.received_at;
        }
        let step = packet.sequence().wrapping_sub(sent.last_sequence).cast_signed();
        if sent.packets == 0 || step.unsigned_abs() > MAX_DROPOUT {
            sent.first_sequence = packet.sequence();
        }
        sent.last_sequence = packet.sequence();
        sent.packets += 1;
        sent.octets += packet.payload().len() as u64;
        sent.last_rtp_time = packet.timestamp();
        sent.last_at = parsed.datagram.received_at;
    }

    /// Whether a stream has nothing more to do.
    pub(super) fn is_over(&self, slot: u32, now: Timestamp) -> bool {
        let Some(stream) = self.streams.at(slot) else { return true };
        match stream.state {
            State::Probation { .. } | State::Vacant => true,
            State::Closed => now.since(stream.closed_at()) >= STREAM_IDLE,
            State::Live => {
                now.since(stream.last_at()) >= STREAM_IDLE && !self.is_remembered(slot, stream)
            }
        }
    }

    /// Whether a call will end this stream when it ends itself.
    fn is_remembered(&self, slot: u32, stream: &Stream) -> bool {
        let dialog = stream.dialog.and_then(|id| Some((id, self.dialogs.get(id.slot)?)));
        dialog.is_some_and(|(id, dialog)| {
            dialog.id == id && dialog.streams.contains(&(slot, stream.serial))
        })
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
        let (shard, own_drops) = (self.config.id, self.health.own_drops());
        let Some(stream) = self.streams.at_mut(slot) else { return };
        if stream.state == State::Live && (is_final || stream.has_news()) {
            let call = stream.dialog.map(|DialogId { serial, .. }| self.call_ref(serial));
            let Some(stream) = self.streams.at_mut(slot) else { return };
            out.report(Report::Stream(stream.report(shard, call, now, is_final, own_drops)));
        }
    }
}

/// How long a source that signalling does not know may take for its second packet.
const PROBATION: Duration = Duration::from_secs(2);

/// Where the SSRC stands in an RTP header (RFC 3550 section 5.1).
const SSRC_OFFSET: usize = 8;
