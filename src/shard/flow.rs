//! Which way the media of a call is expected to go, by its session descriptions: what is on hold
//! is not missed. Never looks at media itself.

use super::{
    Shard,
    dialog::Dialog,
    outbox::Outbox,
    report::{Flow, FlowReport, Report},
};
use crate::{
    time::Timestamp,
    wire::sdp::{Direction, MediaKind, SessionDescription},
};

/// What a side does with its audio, as it last said. An offer counts at once: whether it will be
/// taken is not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    sends: bool,
    receives: bool,
}

impl Will {
    /// Reads a session description.
    pub(crate) fn read(sdp: &SessionDescription<'_>) -> Self {
        let nothing = Self { sends: false, receives: false };
        let is_audio = |kind, is_rtp, port| kind == MediaKind::Audio && is_rtp && port != 0;
        let mut media = sdp.media();
        let audio = media.find(|media| is_audio(media.kind(), media.is_rtp(), media.port()));
        let Some(audio) = audio else { return nothing };
        // An unspecified address is the old way to hold (RFC 3264 section 8.4).
        if audio.connection().is_some_and(|ip| ip.is_unspecified()) {
            return nothing;
        }
        match audio.direction() {
            Direction::SendRecv => Self::default(),
            Direction::SendOnly => Self { sends: true, receives: false },
            Direction::RecvOnly => Self { sends: false, receives: true },
            Direction::Inactive => nothing,
        }
    }

    /// What goes between two sides.
    pub(crate) const fn between(caller: Self, callee: Self) -> Flow {
        Flow { rx: caller.sends && callee.receives, tx: callee.sends && caller.receives }
    }
}

impl Default for Will {
    /// RFC 8866 section 6.7.
    fn default() -> Self {
        Self { sends: true, receives: true }
    }
}

impl Shard {
    /// Passes on which way media is expected to go, if that is news and the call is up.
    pub(super) fn tell_flow(&mut self, slot: u32, at: Timestamp, out: &mut Outbox) {
        let Some(dialog) = self.dialogs.get_mut(slot).filter(|dialog| dialog.is_up()) else {
            return;
        };
        let flow = expected(dialog);
        if core::mem::replace(&mut dialog.flow, flow) == flow {
            return;
        }
        let serial = dialog.id.serial;
        out.report(Report::Flow(FlowReport { call: self.call_ref(serial), at, flow }));
    }
}

fn expected(dialog: &Dialog) -> Flow {
    match dialog.seen.as_deref() {
        Some(seen) => seen.flow(),
        None => {
            let receives = [Direction::SendRecv, Direction::RecvOnly];
            Flow { rx: receives.contains(&dialog.media.direction), tx: false }
        }
    }
}
