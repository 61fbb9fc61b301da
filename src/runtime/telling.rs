//! Tells the notifiers what happens to alerts.
//!
//! Control hands it over and goes on; whoever is told, and how often it is tried, the notifiers
//! decide.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use crate::{
    alerts::{AlertEvent, Change},
    notify::{self, Notification},
};

/// Starts the thread that tells. It ends when nobody is left who could hand it something.
///
/// # Errors
///
/// No thread can be started.
pub(super) fn start(notifiers: notify::Handle) -> io::Result<SyncSender<AlertEvent>> {
    let (sender, events) = sync_channel(EVENTS_MAX);
    thread::Builder::new().name("telling".to_owned()).spawn(move || {
        for event in events {
            notifiers.notify(notification(event));
        }
    })?;
    Ok(sender)
}

/// An event as those outside hear of it.
fn notification(event: AlertEvent) -> Notification {
    let AlertEvent { change, alert } = event;
    Notification {
        id: alert.id,
        rule: alert.rule,
        severity: alert.severity,
        state: match change {
            Change::Fired | Change::Updated => notify::State::Firing,
            Change::Acknowledged => notify::State::Acknowledged,
            Change::Resolved => notify::State::Resolved,
        },
        message: alert.message,
        call_id: alert.call_id,
        started_at: alert.timestamp,
        time: alert.updated_time,
        value: Some(alert.value),
        threshold: Some(alert.threshold),
        unit: alert.unit.to_owned(),
        // An object of plain numbers and texts: there is nothing that JSON cannot hold.
        evidence: serde_json::to_value(&alert.evidence).unwrap_or_default(),
    }
}

/// Events under way to the notifiers. They are taken at once, unless the machine stands still.
const EVENTS_MAX: usize = 4096;
