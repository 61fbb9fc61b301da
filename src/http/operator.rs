//! What an operator can have the appliance do, beside what is about alerts: read its configuration
//! again, hang up calls.

use core::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{query, reply::Reply};
use crate::{control::record::Snapshot, id::CallRef};

/// Does what an operator asks for.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Reads the configuration again and takes what can be taken, whole or not at all.
    ///
    /// # Errors
    /// Why it was not taken, in one sentence.
    fn reload(&self) -> Result<Reloaded, String>;

    /// Has a call hung up; false if its shard has too many orders waiting.
    fn hang_up(&self, call: CallRef) -> bool;

    /// Has all calls hung up; false if a shard has too many orders waiting.
    fn hang_up_all(&self) -> bool;
}

/// What a configuration that was read again says otherwise, by the names of the settings.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// In force now.
    pub applied: Vec<&'static str>,
    /// In force after the next start.
    pub needs_restart: Vec<&'static str>,
}

/// Who does it; a server over nothing but a snapshot has none.
pub(super) type Someone = Option<Arc<dyn Operator>>;

/// The body of `/api/reload`.
#[derive(Serialize)]
struct Taken {
    success: bool,
    message: String,
    #[serde(flatten)]
    changes: Reloaded,
}

/// The body of `/api/calls/…/hangup`.
#[derive(Serialize)]
struct HungUp {
    success: bool,
    message: String,
    calls: usize,
}

pub(super) fn reload(operator: &Someone) -> Result<Reply, Reply> {
    let changes = someone(operator)?.reload().map_err(|reason| Reply::error(400, &reason))?;
    let Reloaded { applied, needs_restart } = &changes;
    let list = |keys: &[&str]| keys.join(", ");
    let message = match (applied.is_empty(), needs_restart.is_empty()) {
        (true, true) => "nothing has changed".to_owned(),
        (false, true) => format!("in force now: {}", list(applied)),
        (true, false) => format!("after the next start: {}", list(needs_restart)),
        (false, false) => {
            let (now, later) = (list(applied), list(needs_restart));
            format!("in force now: {now}; after the next start: {later}")
        }
    };
    Ok(Reply::json(&Taken { success: true, message, changes }))
}

pub(super) fn hang_up(
    encoded: &str,
    operator: &Someone,
    snapshot: &Snapshot,
) -> Result<Reply, Reply> {
    let id = query::call_id(encoded)?;
    let operator = someone(operator)?;
    let up = snapshot.active.iter().filter(|call| call.call_id == id && !call.state.is_over());
    let up: Vec<CallRef> = up.filter_map(|call| call.reference).collect();
    if up.is_empty() {
        return Err(Reply::error(404, &format!("no call with id {id:?} is up")));
    }
    if !up.iter().all(|&call| operator.hang_up(call)) {
        return Err(busy());
    }
    let message = format!("call {id} is being hung up");
    Ok(Reply::json(&HungUp { success: true, message, calls: up.len() }))
}

pub(super) fn hang_up_all(operator: &Someone, snapshot: &Snapshot) -> Result<Reply, Reply> {
    if !someone(operator)?.hang_up_all() {
        return Err(busy());
    }
    let calls = snapshot.active.iter().filter(|call| !call.state.is_over()).count();
    let message = "all calls are being hung up".to_owned();
    Ok(Reply::json(&HungUp { success: true, message, calls }))
}

fn someone(operator: &Someone) -> Result<&dyn Operator, Reply> {
    operator.as_deref().ok_or_else(|| Reply::error(503, "nothing runs that could be told to"))
}

fn busy() -> Reply {
    Reply::error(503, "a shard has too many orders waiting, try again")
}
