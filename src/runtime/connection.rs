//! One connection that SIP comes over: bytes in, messages out, and back. A task of the executor.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_io::{AsyncRead as _, AsyncWrite as _};
use glommio::net::TcpStream;

use super::{streams::Hub, tls::Layer};
use crate::{
    limits::CONNECTION_SEND_MAX,
    source::{
        clock,
        sip_framing::{SipFraming, Verdict},
    },
    time::Timestamp,
    wire::Transport,
};

/// What a connection and those who send over it both know.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    /// Bytes that wait to be sent.
    out: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
    end: Cell<End>,
    /// When it is over unless something comes.
    deadline: Cell<Timestamp>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    GoesOn,
    /// What waits to be sent is sent, then it is closed.
    Flushes,
    /// It is closed.
    Now,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, local: SocketAddr, transport: Transport) -> Self {
        let patience = if transport == Transport::Tls { HANDSHAKE_MAX } else { IDLE_MAX };
        Self {
            peer,
            local,
            transport,
            out: RefCell::default(),
            waker: RefCell::default(),
            end: Cell::new(End::GoesOn),
            deadline: Cell::new(clock::now() + patience),
        }
    }

    /// Sends a message; false if it was not to be sent any more. A far end that does not read what
    /// it is sent loses its connection: a message less would be one that it waits for.
    #[must_use]
    pub(super) fn send(&self, message: &[u8]) -> bool {
        let mut out = self.out.borrow_mut();
        if self.end.get() == End::Now || out.len() + message.len() > CONNECTION_SEND_MAX {
            self.end.set(End::Now);
            self.wake();
            return false;
        }
        out.extend_from_slice(message);
        self.wake();
        true
    }

    /// Closes it: at once, or after what waits to be sent.
    pub(super) fn close(&self, is_hurried: bool) {
        self.end.set(if is_hurried { End::Now } else { End::Flushes });
        self.wake();
    }

    /// Whether nothing has come for too long.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        self.deadline.get() <= now
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The task's own part of a connection.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    layer: Layer,
    framing: SipFraming,
    connection: Rc<Connection>,
    hub: Rc<Hub>,
    /// Bytes as they go out, and how many of them have gone.
    wire: Vec<u8>,
    written: usize,
    plain: Vec<u8>,
    /// The far end has said its last.
    is_deaf: bool,
}

/// What a step came to.
enum Step {
    Again,
    Over,
}

impl Session {
    pub(super) const fn new(
        stream: TcpStream,
        layer: Layer,
        connection: Rc<Connection>,
        hub: Rc<Hub>,
    ) -> Self {
        Self {
            stream,
            layer,
            framing: SipFraming::from_start(),
            connection,
            hub,
            wire: Vec::new(),
            written: 0,
            plain: Vec::new(),
            is_deaf: false,
        }
    }

    /// Goes on with it as far as it goes; ready once it is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.waker.replace(Some(context.waker().clone()));
        for _ in 0..STEPS_PER_POLL {
            match ready!(self.step(context)) {
                Ok(Step::Again) => {}
                Ok(Step::Over) => return Poll::Ready(()),
                Err(error) => {
                    let peer = self.connection.peer;
                    tracing::debug!(%peer, %error, "a SIP connection is broken");
                    return Poll::Ready(());
                }
            }
        }
        // Others have their turn first.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        if self.connection.end.get() == End::Now {
            return Poll::Ready(Ok(Step::Over));
        }
        // Who does not take what it is sent is not listened to.
        ready!(self.flush(context))?;
        if self.connection.end.get() == End::Flushes {
            return Poll::Ready(Ok(Step::Over));
        }
        if self.is_deaf || !self.hub.has_room(context.waker()) {
            return Poll::Pending;
        }
        let hub = Rc::clone(&self.hub);
        let mut buffer = hub.buffer();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if read == 0 {
            // It may still wait for an answer.
            self.is_deaf = true;
            self.connection.deadline.set(clock::now() + LAST_ANSWERS);
            return Poll::Ready(Ok(Step::Again));
        }
        self.take(&buffer[..read]);
        Poll::Ready(Ok(Step::Again))
    }

    /// Writes all there is to write.
    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.wire.len() {
                self.wire.clear();
                self.written = 0;
                self.layer.seal(&mut self.connection.out.borrow_mut(), &mut self.wire)?;
                if self.wire.is_empty() {
                    // Idle connections hold no buffers.
                    self.wire = Vec::new();
                    return Poll::Ready(Ok(()));
                }
            }
            let rest = &self.wire[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
    }

    /// Takes received bytes: hands on the messages that are whole with them.
    fn take(&mut self, bytes: &[u8]) {
        let now = clock::now();
        let mut plain = core::mem::take(&mut self.plain);
        let opened = self.layer.open(bytes, &mut plain);
        let Self { framing, connection, hub, .. } = self;
        let waited = framing.waiting() > 0;
        let mut messages = 0_u32;
        let verdict = framing.take(&plain, |message| {
            messages += 1;
            hub.receive(now, connection, message);
        });
        plain.clear();
        self.plain = plain;
        // A keep-alive is answered (RFC 5626 section 4.4.1).
        for _ in 0..self.framing.take_pings() {
            let _ = self.connection.send(PONG);
        }
        let is_broken = verdict == Verdict::NotSip
            || self.framing.is_lost()
            || self.framing.take_too_long() > 0
            || opened.is_err();
        if is_broken {
            // Where the next message begins nobody knows.
            self.hub.note_broken();
            self.connection.close(false);
            return;
        }
        let patience = match (self.layer.is_handshaking(), self.framing.waiting() > 0) {
            (true, _) => return,
            // What has begun has a time to be finished in, however slowly it drips.
            (false, true) if waited && messages == 0 => return,
            (false, true) => MESSAGE_MAX_TIME,
            (false, false) => IDLE_MAX,
        };
        self.connection.deadline.set(now + patience);
    }
}

/// Steps of one connection before others have their turn.
const STEPS_PER_POLL: usize = 16;

/// The answer to a keep-alive.
const PONG: &[u8] = b"\r\n";

/// How long a connection stays without a message: phones send a keep-alive every two minutes or
/// more often (RFC 5626 section 4.4.1), trunks may be still for as long as a call.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// How long a message may take from its first byte to its last: 64 times T1 (RFC 3261 section
/// 17.1.1.2), after which its sender has given it up.
const MESSAGE_MAX_TIME: Duration = Duration::from_secs(32);

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a far end that has said its last is given answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
