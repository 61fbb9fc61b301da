//! A call joins the SIP and the media of one call with its sockets.
//!
//! It reads the clock only to stamp the packets it sends.

use std::{io, net::SocketAddr, time::Duration};

use rand_core::Rng as _;
use voxplane::{
    source::{
        clock,
        udp::{Outgoing, RecvBatch, UdpOptions, UdpSocket},
    },
    time::Timestamp,
    wire::sip::SipMessage,
};

use crate::{
    audio::Clip,
    engine::{Generator, Route},
    impair::{Purpose, rng},
    media::Media,
    options::{AudioCodec, Scenario},
    receive::Received,
    request::Names,
    sdp::{self, MediaAddresses},
    truth::Truth,
    uac::{Counts, Event, Outcome, Uac},
};

/// One call from its INVITE to its end.
#[derive(Debug)]
pub(crate) struct Call {
    /// When the engine will look at it next.
    pub(crate) armed: Option<Timestamp>,
    index: u32,
    uac: Uac,
    codec: AudioCodec,
    sockets: Option<Sockets>,
    session: Option<Session>,
    setup: Option<Duration>,
    result: Option<(Truth, Received)>,
}

impl Call {
    /// A call that has not begun. `run_id` tells its Call-ID from that of the same call of
    /// another run with the same seed.
    pub(crate) fn new(
        scenario: &Scenario,
        route: &Route,
        local: SocketAddr,
        index: u32,
        run_id: u64,
    ) -> Self {
        let seed = scenario.seed;
        let names = Names {
            call_id: format!("{index}-{seed:x}-{run_id:x}@{}", local.ip()),
            from_tag: format!("{index:x}.{run_id:x}"),
            callee: route.callee.clone(),
            local,
        };
        Self {
            armed: None,
            index,
            uac: Uac::new(names),
            codec: scenario.codec,
            sockets: None,
            session: None,
            setup: None,
            result: None,
        }
    }

    /// Takes media ports and sends the INVITE.
    ///
    /// # Errors
    /// There is no socket to be had; the call is then over.
    pub(crate) fn start(
        &mut self,
        scenario: &Scenario,
        now: Timestamp,
        local: SocketAddr,
        out: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        let sockets = match Sockets::bind(local) {
            Ok(sockets) => sockets,
            Err(error) => {
                self.uac.hang_up(now, Outcome::NoSocket, out);
                return Err(error);
            }
        };
        let session_id = rng(scenario.seed, self.index, Purpose::Session).next_u32();
        let offer = sdp::offer(self.codec, sockets.addresses(), session_id);
        self.sockets = Some(sockets);
        self.uac.invite(now, &offer, out);
        Ok(())
    }

    /// Takes a SIP message of this call.
    pub(crate) fn receive_sip(
        &mut self,
        scenario: &Scenario,
        at: Timestamp,
        message: &SipMessage<'_>,
        out: &mut Vec<Vec<u8>>,
    ) {
        if let Some(Event::Answered { setup }) = self.uac.receive(at, message, out) {
            self.setup = Some(setup);
            match sdp::answer(message.body(), self.codec) {
                Some(remote) => self.session = Some(Session::new(scenario, self.index, at, remote)),
                None => self.uac.hang_up(at, Outcome::NoAudio, out),
            }
        }
        self.close_if_over();
    }

    /// Ends the call; see [`Uac::hang_up`].
    pub(crate) fn hang_up(&mut self, now: Timestamp, intended: Outcome, out: &mut Vec<Vec<u8>>) {
        self.uac.hang_up(now, intended, out);
        if let Some(session) = &mut self.session {
            session.hung_up = true;
        }
        self.close_if_over();
    }

    /// Does what is due.
    pub(crate) fn serve(
        &mut self,
        now: Timestamp,
        clip: &Clip,
        generator: &mut Generator,
        batch: &mut RecvBatch,
        out: &mut Vec<Vec<u8>>,
    ) {
        self.uac.poll(now, out);
        if let (Some(session), Some(sockets)) = (&mut self.session, &self.sockets) {
            session.serve(now, sockets, clip, generator, batch);
            if session.hang_up_due().is_some_and(|due| due <= now) {
                self.hang_up(now, Outcome::Completed, out);
            }
        }
        self.close_if_over();
    }

    /// When [`serve`](Self::serve) has something to do.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let session = self.session.as_ref().and_then(Session::next_due);
        [self.uac.next_due(), session].into_iter().flatten().min()
    }

    /// Whether nothing more will happen, apart from repeated answers to repeated messages.
    pub(crate) const fn is_over(&self) -> bool {
        self.uac.outcome().is_some()
    }

    /// How it ended; `None` while it has not.
    pub(crate) const fn outcome(&self) -> Option<Outcome> {
        self.uac.outcome()
    }

    /// The Call-ID.
    pub(crate) fn call_id(&self) -> &str {
        self.uac.call_id()
    }

    /// What the call came to.
    pub(crate) fn into_result(self) -> CallResult {
        let (truth, received) = self.result.unwrap_or_default();
        CallResult {
            index: self.index,
            call_id: self.uac.call_id().to_owned(),
            outcome: self.uac.outcome().unwrap_or(Outcome::Interrupted),
            setup: self.setup,
            repeats: self.uac.counts(),
            truth,
            received,
        }
    }

    /// Gives the ports back.
    fn close_if_over(&mut self) {
        if !self.is_over() {
            return;
        }
        self.sockets = None;
        if let Some(session) = self.session.take() {
            self.result = Some((*session.media.truth(), session.media.receiver().counts()));
        }
    }
}

/// What a call came to.
#[derive(Clone, Debug)]
pub struct CallResult {
    /// Counted from 0 in the order of starts.
    pub index: u32,
    /// The Call-ID.
    pub call_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// From INVITE to 2xx; `None` if it was never answered.
    pub setup: Option<Duration>,
    /// SIP messages sent again.
    pub repeats: Counts,
    /// RTP that was sent.
    pub truth: Truth,
    /// RTP that came back.
    pub received: Received,
}

/// The media of an answered call and where it goes.
#[derive(Debug)]
struct Session {
    media: Media,
    remote: MediaAddresses,
    /// The earliest end.
    ends_at: Timestamp,
    last_sent: Timestamp,
    /// A socket had no room; not before this.
    retry_at: Option<Timestamp>,
    hung_up: bool,
    /// Packets to send before the RTP socket is looked at again, and how many it was last time.
    look_in: u32,
    look_every: u32,
    overflow: u32,
}

impl Session {
    fn new(scenario: &Scenario, index: u32, now: Timestamp, remote: MediaAddresses) -> Self {
        Self {
            media: Media::start(scenario, index, now),
            remote,
            ends_at: now + scenario.duration,
            last_sent: now,
            retry_at: None,
            hung_up: false,
            look_in: 1,
            look_every: 1,
            overflow: 0,
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        if self.hung_up {
            return None;
        }
        let packet = self.media.packet_due().map(|due| due.max(self.retry_at.unwrap_or(due)));
        [packet, self.hang_up_due(), Some(self.media.report_due())].into_iter().flatten().min()
    }

    /// Once all packets are out, the far end gets time to read them before it reads the BYE.
    fn hang_up_due(&self) -> Option<Timestamp> {
        let is_sent = self.media.packet_due().is_none() && !self.hung_up;
        is_sent.then(|| self.ends_at.max(self.last_sent + LAST_PACKET_TO_BYE))
    }

    fn serve(
        &mut self,
        now: Timestamp,
        sockets: &Sockets,
        clip: &Clip,
        generator: &mut Generator,
        batch: &mut RecvBatch,
    ) {
        if self.hung_up {
            return;
        }
        self.retry_at = self.retry_at.filter(|&retry_at| retry_at > now);
        while self.retry_at.is_none()
            && let Some(due) = self.media.packet_due().filter(|&due| due <= now)
        {
            self.send_packet(due, sockets, clip, generator);
            self.look_in -= 1;
            if self.look_in == 0 {
                let found = self.receive_rtp(sockets, generator, batch);
                self.look_every = if found { 1 } else { (self.look_every * 2).min(LOOK_EVERY_MAX) };
                self.look_in = self.look_every;
            }
        }
        if self.media.report_due() <= now {
            self.send_report(now, sockets, generator);
            self.receive_rtcp(sockets, generator, batch);
        }
        if self.hang_up_due().is_some_and(|due| due <= now) {
            self.receive_rtp(sockets, generator, batch);
            self.receive_rtcp(sockets, generator, batch);
        }
    }

    fn send_packet(
        &mut self,
        due: Timestamp,
        sockets: &Sockets,
        clip: &Clip,
        generator: &mut Generator,
    ) {
        let Some(payload) = self.media.packet(clip) else { return };
        let outgoing = Outgoing { src: None, dst: self.remote.rtp, payload: &payload };
        let at = clock::now();
        match sockets.rtp.send_batch(&[outgoing]) {
            Ok(0) => {
                generator.send_waits += 1;
                self.retry_at = Some(at + RETRY_AFTER);
            }
            Ok(_) => {
                self.media.packet_sent(at);
                self.last_sent = at;
                generator.lag.record(at.since(due));
            }
            Err(_) => {
                generator.send_errors += 1;
                self.media.packet_refused();
            }
        }
    }

    fn send_report(&mut self, now: Timestamp, sockets: &Sockets, generator: &mut Generator) {
        let mut report = Vec::with_capacity(REPORT_LEN);
        let cname = format!("loadgen@{}", sockets.rtp.local_addr().ip());
        self.media.report(now, &cname, &mut report);
        let outgoing = Outgoing { src: None, dst: self.remote.rtcp, payload: &report };
        if !matches!(sockets.rtcp.send_batch(&[outgoing]), Ok(1)) {
            generator.send_errors += 1;
        }
    }

    fn receive_rtp(
        &mut self,
        sockets: &Sockets,
        generator: &mut Generator,
        batch: &mut RecvBatch,
    ) -> bool {
        let mut found = false;
        while let Ok(count) = batch.receive(&sockets.rtp)
            && count > 0
        {
            found = true;
            for datagram in batch.datagrams() {
                self.media.receive_rtp(datagram.received_at, datagram.payload);
            }
            if let Some(overflow) = batch.overflow() {
                generator.own_drops += u64::from(overflow.wrapping_sub(self.overflow));
                self.overflow = overflow;
            }
        }
        found
    }

    fn receive_rtcp(
        &mut self,
        sockets: &Sockets,
        generator: &mut Generator,
        batch: &mut RecvBatch,
    ) {
        while let Ok(count) = batch.receive(&sockets.rtcp)
            && count > 0
        {
            for datagram in batch.datagrams() {
                let told = self.media.receive_rtcp(datagram.received_at, datagram.payload);
                if let Some(round_trip) = told {
                    generator.round_trip.record(round_trip);
                }
            }
        }
    }
}

/// The ports of one call: the far end tells calls apart by them.
#[derive(Debug)]
struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Sockets {
    /// An even port for RTP and the odd one after it for RTCP (RFC 3550 section 11). Where the
    /// other port of every pair tried is taken, RTCP gets any port; the offer names it.
    fn bind(local: SocketAddr) -> io::Result<Self> {
        let bind = |port| UdpSocket::bind(SocketAddr::new(local.ip(), port), MEDIA_OPTIONS);
        for _ in 0..PAIRS_TRIED {
            let first = bind(0)?;
            let port = first.local_addr().port();
            if let Ok(second) = bind(port ^ 1) {
                let is_even = port.is_multiple_of(2);
                let (rtp, rtcp) = if is_even { (first, second) } else { (second, first) };
                return Ok(Self { rtp, rtcp });
            }
        }
        Ok(Self { rtp: bind(0)?, rtcp: bind(0)? })
    }

    const fn addresses(&self) -> MediaAddresses {
        MediaAddresses { rtp: self.rtp.local_addr(), rtcp: self.rtcp.local_addr() }
    }
}

/// A call receives 50 small packets a second and is looked at several times in it.
const MEDIA_OPTIONS: UdpOptions = UdpOptions {
    reuse_port: false,
    receive_buffer_bytes: 128 * 1024,
    send_buffer_bytes: 64 * 1024,
    reads_marks: false,
};
/// More would mean that ports have run out.
const PAIRS_TRIED: u32 = 8;
/// The far end reads RTP and SIP from different sockets and may read a BYE before the packets
/// that came ahead of it.
const LAST_PACKET_TO_BYE: Duration = Duration::from_millis(100);
/// A full socket buffer empties in less.
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// A socket that has been silent is looked at every this many packets, 320 ms; the kernel stamps
/// what waits there.
const LOOK_EVERY_MAX: u32 = 16;
/// SR with one block and SDES fit.
const REPORT_LEN: usize = 128;
