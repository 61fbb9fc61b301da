//! What an operator has a running shard do: hang up, take other settings.

use super::{Shard, ShardConfig, dialog::Dialog, outbox::Outbox, report::EndedBy};
use crate::time::Timestamp;

/// An order to one shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Hang up the call of this serial, if it is up.
    HangUp(u64),
    /// Hang up every call that is up.
    HangUpAll,
    /// Go on with these settings, as far as a running shard can: what it is, its ports, the sizes
    /// of its tables, its jitter buffers, its ladders and its secrets stay. What has begun under
    /// the old ones ends under them where it has taken note of them.
    Settings(Box<ShardConfig>),
}

impl Shard {
    /// Does what it is told.
    pub fn obey(&mut self, command: Command, now: Timestamp, out: &mut Outbox) {
        match command {
            Command::HangUp(serial) => {
                let is_it = |dialog: &&Dialog| dialog.id.serial == serial && dialog.is_up();
                let slot = self.dialogs.iter().find(is_it).map(|dialog| dialog.id.slot);
                self.hang_up_all(slot.into_iter().collect(), now, out);
            }
            Command::HangUpAll => self.hang_up_all(self.dialogs.slots_up(), now, out),
            Command::Settings(settings) => self.take_settings(*settings),
        }
    }

    /// Hangs up the calls in these slots and takes note of what is sent.
    pub(super) fn hang_up_all(&mut self, slots: Vec<u32>, now: Timestamp, out: &mut Outbox) {
        let sent = out.transmits().len();
        for slot in slots {
            self.hang_up(slot, EndedBy::Callee, now, out);
        }
        self.note_sent(now, sent, out);
    }

    fn take_settings(&mut self, settings: ShardConfig) {
        self.registrar.take_settings(settings.registrar);
        self.admission.take_limits(&settings.sip_limits);
        let ShardConfig {
            role, id, sip_port, dialogs_max, streams_max, ladders, seed, keys, ..
        } = self.config;
        let kept = &mut self.config;
        let (rtp_ports, jitter_buffers) =
            (core::mem::take(&mut kept.rtp_ports), kept.jitter_buffers);
        self.config = ShardConfig {
            role,
            id,
            sip_port,
            rtp_ports,
            dialogs_max,
            streams_max,
            jitter_buffers,
            ladders,
            seed,
            keys,
            ..settings
        };
    }
}
