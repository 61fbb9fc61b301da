//! What calls of test numbers hear: one RTP stream for each call, packet by packet when it is due.
//!
//! Packet n of a talkspurt is due n packet times after its start, by the clock and not by when the
//! one before was sent, so that nothing drifts. What makes a call send or stop is looked at for
//! every packet: that it is up, that the far end wants to hear, and where.

use core::time::Duration;
use std::{net::SocketAddr, sync::Arc};

use zerocopy::IntoBytes as _;

use super::{
    Shard,
    dialog::{Dialog, Media, Phase},
    outbox::Outbox,
    pacing::Turn,
    routes::Action,
    stream::Format,
};
use crate::{
    limits::SENDS_PER_TURN,
    sound::Loop,
    time::Timestamp,
    wire::{rtp::RtpHeader, sdp::Direction},
};

/// One stream that is sent.
#[derive(Debug)]
pub(crate) struct Sending {
    sound: Arc<Loop>,
    format: Format,
    ptime: Duration,
    /// When the first packet of this talkspurt is due, and its RTP time.
    start: Timestamp,
    rtp_start: u32,
    /// The next packet, counted from there.
    index: u64,
    sequence: u16,
    /// Whether the next packet goes on from the one before: no marker.
    is_talking: bool,
    is_queued: bool,
}

impl Sending {
    fn due(&self) -> Timestamp {
        self.start + self.ptime.saturating_mul(u32::try_from(self.index).unwrap_or(u32::MAX))
    }

    /// Ticks of the RTP clock from the start to a packet.
    fn ticks_before(&self, index: u64) -> u64 {
        let ptime_ms = u64::try_from(self.ptime.as_millis()).unwrap_or(0);
        index * ptime_ms * u64::from(self.format.clock_rate) / 1000
    }

    /// RTP time at a moment that is not before the start.
    #[expect(clippy::cast_possible_truncation, reason = "RTP time is modulo 2^32")]
    fn rtp_time(&self, at: Timestamp) -> u32 {
        let ticks =
            at.since(self.start).as_nanos() * u128::from(self.format.clock_rate) / 1_000_000_000;
        self.rtp_start.wrapping_add(ticks as u32)
    }

    /// Ticks of the RTP clock that a packet takes.
    pub(crate) fn ptime_ticks(&self) -> u32 {
        u32::try_from(self.ticks_before(1)).unwrap_or(0)
    }

    /// Whether this is what is to be sent, and goes on by itself.
    fn is_going_on(&self, sound: &Arc<Loop>, format: Format, ptime: Duration) -> bool {
        self.is_queued
            && Arc::ptr_eq(&self.sound, sound)
            && self.format == format
            && self.ptime == ptime
    }
}

impl Shard {
    /// Begins to send what a call is to hear, or goes on with what is right now; for whenever a
    /// call has come to be answered, or its media has changed. Stops nothing: each packet looks for
    /// itself.
    pub(super) fn update_sending(&mut self, slot: u32, now: Timestamp) {
        let Some(dialog) = self.dialogs.get(slot).filter(|dialog| dialog.is_heard()) else {
            return;
        };
        let (Some(sound), Some(&format)) = (dialog.action.sound(), dialog.media.formats.first())
        else {
            return;
        };
        let sound = self.config.sounds.get(sound, format.codec, format.clock_rate);
        let Some(sound) = sound.map(Arc::clone) else { return };
        let ptime = packet_time(&sound, format.clock_rate, dialog.media.ptime_ms);
        let before = dialog.media.sending.as_deref();
        if before.is_some_and(|before| before.is_going_on(&sound, format, ptime)) {
            return;
        }
        // Its first packet holds what is heard from now on.
        let start = on_grid(now) + ptime;
        let (sequence, rtp_start) = match before {
            Some(before) => (before.sequence, before.rtp_time(start)),
            None => (self.rng.u16(..), self.rng.u32(..)),
        };
        let sending = Sending {
            sound,
            format,
            ptime,
            start,
            rtp_start,
            index: 0,
            sequence,
            is_talking: false,
            is_queued: true,
        };
        let Some(dialog) = self.dialogs.get_mut(slot) else { return };
        dialog.media.sending = Some(Box::new(sending));
        self.pacing.push(ptime, Turn { due: start, dialog: dialog.id });
    }

    /// Sends what is due, a bounded part of it.
    pub(super) fn send_due(&mut self, now: Timestamp, out: &mut Outbox) {
        for _ in 0..SENDS_PER_TURN {
            let Some((ptime, turn)) = self.pacing.pop_due(now) else { return };
            if let Some(due) = self.send_turn(ptime, turn, now, out) {
                self.pacing.push(ptime, Turn { due, ..turn });
            }
        }
    }

    /// Sends the packets of a call that are due, and says when the next one is.
    fn send_turn(
        &mut self,
        ptime: Duration,
        Turn { due, dialog: id }: Turn,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<Timestamp> {
        let dialog = self.dialogs.by_id(id)?;
        let destination = dialog.destination();
        let is_heard = dialog.is_heard();
        let media = &mut dialog.media;
        let sending = media.sending.as_deref_mut()?;
        if sending.ptime != ptime || sending.due() != due {
            // It has begun anew since.
            return None;
        }
        let Some(destination) = destination.filter(|_| is_heard) else {
            sending.is_queued = false;
            return None;
        };
        let late = now.since(due);
        if late > LATE_MAX {
            // Nobody waits for these any more: the stream goes on with what is due now.
            let skipped = u64::try_from(late.as_nanos() / ptime.as_nanos()).unwrap_or(u64::MAX);
            sending.index += skipped;
            sending.is_talking = false;
            self.health.rtp_skipped += skipped;
        }
        loop {
            let due = media.sending.as_deref().map(Sending::due)?;
            if due > now {
                return Some(due);
            }
            media.send(destination, due, out);
            self.health.rtp_sent += 1;
        }
    }
}

impl Dialog {
    /// Whether the far end is to hear something: it is answered or hears early media, and does not
    /// hold the call.
    fn is_heard(&self) -> bool {
        let is_early = self.action == Action::Early && matches!(self.phase, Phase::Ringing { .. });
        (is_early || self.phase == Phase::Answered)
            && matches!(self.media.direction, Direction::SendRecv | Direction::SendOnly)
            && self.destination().is_some()
    }

    /// Where media goes: only to an address that signalling gave or that has latched.
    fn destination(&self) -> Option<SocketAddr> {
        // Nothing can be sent to port 0.
        self.media.latched.or(self.media.remote_rtp).filter(|address| address.port() != 0)
    }
}

impl Media {
    /// Sends the next packet, which is due.
    fn send(&mut self, destination: SocketAddr, due: Timestamp, out: &mut Outbox) {
        let Some(sending) = self.sending.as_deref_mut() else { return };
        let from = sending.ticks_before(sending.index);
        let ticks = sending.ticks_before(sending.index + 1) - from;
        let ticks = u32::try_from(ticks).unwrap_or(0);
        let (sequence, marker) = (sending.sequence, !sending.is_talking);
        #[expect(clippy::cast_possible_truncation, reason = "RTP time is modulo 2^32")]
        let rtp_time = sending.rtp_start.wrapping_add(from as u32);
        let header =
            RtpHeader::new(sending.format.payload_type, marker, sequence, rtp_time, self.ssrc);
        out.send(self.local, destination, |bytes| {
            bytes.extend_from_slice(header.as_bytes());
            sending.sound.copy(from, ticks, bytes);
        });
        sending.index += 1;
        sending.sequence = sequence.wrapping_add(1);
        sending.is_talking = true;
        let sent = &mut self.sent;
        if sent.packets == 0 {
            (sent.first_at, sent.first_sequence) = (due, sequence);
        }
        sent.last_sequence = sequence;
        sent.last_rtp_time = rtp_time;
        sent.last_at = due;
        sent.packets += 1;
        sent.octets += sending.sound.octets(ticks) as u64;
    }
}

/// The packet time that is asked for, or a part of it that one packet can hold.
fn packet_time(sound: &Loop, clock_rate: u32, asked_ms: u8) -> Duration {
    let mut ms = u32::from(asked_ms);
    while ms > 1 && sound.octets(clock_rate / 1000 * ms) > PAYLOAD_MAX {
        ms /= 2;
    }
    Duration::from_millis(ms.into())
}

/// The next whole millisecond: packets of many calls are then due at the same moments, and are sent
/// together.
const fn on_grid(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().next_multiple_of(GRID_NANOS))
}

const GRID_NANOS: u64 = 1_000_000;

/// A packet that is later than this is not sent: no jitter buffer waits for it. Those that are less
/// late are sent at once, at most ten of 10 ms.
const LATE_MAX: Duration = Duration::from_millis(100);

/// What an Ethernet frame holds beside the headers of IPv6, UDP and RTP. Only linear audio at high
/// rates would be more.
const PAYLOAD_MAX: usize = 1500 - 40 - 8 - 12;
