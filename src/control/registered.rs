//! Who is registered where: the contacts that the registrars of all shards have, as one list in
//! the order of their users. A user lives on one shard, so that no two of them tell of one.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;

use super::ladder::transport_name;
pub use crate::shard::registrar::{Binding, RegisteredUser};
use crate::time::Timestamp;

/// The contacts of all users.
#[derive(Debug, Default)]
pub(super) struct Registered {
    users: BTreeMap<Arc<[u8]>, Arc<[Binding]>>,
    /// The same for snapshots, and when it was made.
    shown: (Timestamp, Arc<Vec<RegisteredUser>>),
    has_changed: bool,
}

/// One registered contact, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingView {
    /// Canonical address of record.
    pub aor: String,
    /// The contact's URI.
    pub contact: String,
    /// Its parameters with their semicolons, without `expires`.
    pub params: String,
    /// Where its last REGISTER came from.
    pub source: SocketAddr,
    /// What carried that: `udp`, `tcp`, `tls`.
    pub transport: &'static str,
    /// Who sent it, by its User-Agent.
    pub user_agent: Option<String>,
    /// Its Call-ID.
    pub call_id: String,
    /// When the contact was first registered.
    pub registered_at: Timestamp,
    /// When it was registered last.
    pub refreshed_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// The same from when the list was made, whole seconds rounded up.
    pub expires_in_seconds: u64,
}

impl Registered {
    /// Takes in what a shard tells of a user.
    pub(super) fn take(&mut self, told: RegisteredUser) {
        self.has_changed = true;
        if told.bindings.is_empty() {
            self.users.remove(&told.user);
        } else {
            self.users.insert(told.user, told.bindings);
        }
    }

    /// The list for a snapshot at `now`: at most a second old, as a copy of it is long.
    pub(super) fn shown(&mut self, now: Timestamp) -> Arc<Vec<RegisteredUser>> {
        let (made_at, shown) = &mut self.shown;
        // A clock that steps back must not keep it from being made.
        let is_due = now.since(*made_at) >= SHOWN_EVERY || now < *made_at;
        if self.has_changed && is_due {
            self.has_changed = false;
            // Where a shard could not tell of an end, there is one all the same.
            self.users.retain(|_, bindings| bindings.iter().any(|it| it.expires_at > now));
            let user = |(user, bindings): (&Arc<_>, &Arc<_>)| RegisteredUser {
                user: Arc::clone(user),
                bindings: Arc::clone(bindings),
            };
            *made_at = now;
            *shown = Arc::new(self.users.iter().map(user).collect());
        }
        Arc::clone(shown)
    }
}

impl BindingView {
    /// A contact of a user as it is at `now`.
    #[must_use]
    pub fn new(user: &[u8], binding: &Binding, now: Timestamp) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let sender = &binding.sender;
        let left = binding.expires_at.since(now);
        Self {
            aor: text(user),
            contact: text(&binding.uri),
            params: text(&binding.params),
            source: sender.source,
            transport: transport_name(sender.transport),
            user_agent: sender.user_agent.as_deref().map(text),
            call_id: text(&sender.call_id),
            registered_at: binding.registered_at,
            refreshed_at: binding.refreshed_at,
            expires_at: binding.expires_at,
            expires_in_seconds: left.as_secs() + u64::from(left.subsec_nanos() > 0),
        }
    }
}

/// How often a list is made of what changes all the time.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
