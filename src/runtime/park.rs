//! Waiting without napping: an idle shard sleeps in its executor until a socket, another shard
//! or a deadline wakes it.

use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Poll, Waker},
    time::Duration,
};
use std::{io, rc::Rc, sync::Arc};

use atomic_waker::AtomicWaker;
use glommio::{Task, net::UdpSocket as GlommioUdp, timer::Timer};

use crate::source::udp::UdpSocket;

/// Wakes one shard from any thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Doorbell(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    is_rung: AtomicBool,
    waker: AtomicWaker,
}

impl Doorbell {
    /// Wakes the shard, or keeps it from going to sleep. Costs one store while it is awake.
    pub(super) fn ring(&self) {
        if !self.0.is_rung.swap(true, Ordering::AcqRel) {
            self.0.waker.wake();
        }
    }

    fn is_rung(&self) -> bool {
        self.0.is_rung.swap(false, Ordering::AcqRel)
    }
}

/// Knows when a socket of the shard can be read, without reading it.
#[derive(Debug)]
pub(super) struct Watch {
    bell: Doorbell,
    state: Rc<State>,
    watchers: Vec<Task<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a socket became readable since the last sleep.
    is_ready: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
    /// Watchers whose socket became readable; they look again when the shard next sleeps.
    resting: RefCell<Vec<Waker>>,
    sleeps: Cell<u64>,
}

impl Watch {
    /// Watches sockets, each with a task of its own in this executor.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new<'a>(
        bell: Doorbell,
        sockets: impl Iterator<Item = &'a UdpSocket>,
    ) -> io::Result<Self> {
        let state = Rc::new(State::default());
        let mut watchers = Vec::new();
        for socket in sockets {
            let socket = glommio_socket2::Socket::from(socket.try_clone_std()?);
            let watcher = watch(GlommioUdp::from(socket), Rc::clone(&state));
            watchers.push(glommio::spawn_local(watcher));
        }
        Ok(Self { bell, state, watchers })
    }

    /// Stops watching and closes the descriptors. An executor that ends with tasks in it would
    /// keep them, and the ports with them.
    pub(super) async fn stop(self) {
        for watcher in self.watchers {
            watcher.cancel().await;
        }
    }

    /// Sleeps until a socket can be read, the bell rings or `limit` has passed.
    pub(super) async fn sleep(&self, limit: Duration) {
        self.state.sleeps.set(self.state.sleeps.get() + 1);
        self.state.is_ready.set(false);
        self.state.resting.borrow_mut().drain(..).for_each(Waker::wake);
        let mut deadline = pin!(Timer::new(limit));
        poll_fn(|context| {
            self.bell.0.waker.register(context.waker());
            *self.state.sleeper.borrow_mut() = Some(context.waker().clone());
            if self.state.is_ready.get() || self.bell.is_rung() {
                return Poll::Ready(());
            }
            deadline.as_mut().poll(context).map(|_| ())
        })
        .await;
    }
}

/// Looks at a socket once a sleep: a byte peeked at is as good as readiness, which glommio does
/// not offer for sockets that it does not read itself.
async fn watch(socket: GlommioUdp, state: Rc<State>) {
    let mut slept = 0;
    loop {
        poll_fn(|context| {
            if state.sleeps.get() > slept {
                return Poll::Ready(());
            }
            state.resting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        // An error is news, too: the shard will meet it when it reads.
        let _ = socket.peek_from(&mut [0]).await;
        slept = state.sleeps.get();
        state.is_ready.set(true);
        if let Some(sleeper) = state.sleeper.borrow_mut().take() {
            sleeper.wake();
        }
    }
}
