//! Has a running appliance do what an operator asks for: take a configuration that is read again,
//! hang up calls. Orders go to the shards through rings; nobody waits for a shard.

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};

use rtrb::Producer;

use super::{
    control,
    park::Doorbell,
    tls::{self, Acceptor},
};
use crate::{
    alerts::Alerts,
    config::{Changes, Config, ConfigError},
    http,
    id::CallRef,
    notify,
    shard::{
        Command, ShardConfig,
        auth::{Auth, NonceKey},
    },
    source::{clock, host},
    store::Feeder,
};

/// Reads the configuration again, from where it was read at the start.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// What an order may have to reach.
pub(super) struct Operator {
    pub(super) reread: Reread,
    /// What is in force.
    pub(super) config: Mutex<Config>,
    pub(super) shards: Mutex<Vec<(Producer<Command>, Doorbell)>>,
    pub(super) control: Sender<control::Settings>,
    pub(super) alerts: Alerts,
    pub(super) store: Feeder,
    pub(super) notifiers: notify::Handle,
    pub(super) tls: Option<Acceptor>,
    pub(super) nonces: NonceKey,
    pub(super) tokens: Option<http::Tokens>,
    pub(super) access_log: Option<http::AccessLogHandle>,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

impl http::Operator for Operator {
    fn reload(&self) -> Result<http::Reloaded, String> {
        // Whoever moves the log away says so in this way, whatever has become of the rest.
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        let new = (self.reread)().map_err(|error| error.to_string());
        let taken = new.and_then(|new| self.take(new));
        match &taken {
            Ok(Changes { applied, needs_restart }) => {
                let (now, later) = (applied.join(", "), needs_restart.join(", "));
                tracing::info!(now, later, "the configuration has been read again");
            }
            Err(error) => tracing::warn!(error, "the configuration stays as it was"),
        }
        taken.map(|Changes { applied, needs_restart }| http::Reloaded { applied, needs_restart })
    }

    fn hang_up(&self, call: CallRef) -> bool {
        let mut shards = self.shards();
        let shard = shards.get_mut(usize::from(call.shard.0));
        shard.is_some_and(|shard| tell(shard, Command::HangUp(call.serial)))
    }

    fn hang_up_all(&self) -> bool {
        let mut shards = self.shards();
        // Every shard is told, whatever another one has waiting.
        let mut are_told = true;
        for shard in &mut *shards {
            are_told &= tell(shard, Command::HangUpAll);
        }
        are_told
    }
}

impl Operator {
    /// Takes a configuration as far as a running appliance can. What can fail comes first: either
    /// all of it is taken or nothing.
    fn take(&self, new: Config) -> Result<Changes, String> {
        // They are read again without an order as well.
        self.tokens.as_ref().map_or(Ok(()), http::Tokens::reload)?;
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = current.changes(&new);
        let new = current.taking(new);
        let renewed = match (&self.tls, &new.sip_tls) {
            // A certificate made at the start is no older than the configuration.
            (Some(_), Some(tls)) if current.sip_tls != new.sip_tls || tls.identity.is_a_file() => {
                let server = tls::server(&tls.identity, &host::name());
                Some(server.map_err(|error| format!("TLS for SIP: {error}"))?)
            }
            _ => None,
        };
        let mut shards = self.shards();
        if shards.iter().any(|(commands, _)| commands.is_full()) {
            return Err("a shard has too many orders waiting, try again".to_owned());
        }
        let (now, trunks) = (clock::now(), Arc::clone(&new.trunks));
        // The first that changes something: it changes all of its own or nothing, and so does the
        // second, which is told again what it was told before if that fails.
        self.notifiers
            .replace(&new.notify)
            .map_err(|error| format!("the system refuses: {error}"))?;
        if let Err(error) = self.alerts.reconfigure(&new.rules, Arc::clone(&trunks), now) {
            self.notifiers
                .replace(&current.notify)
                .map_err(|error| format!("the system refuses: {error}"))?;
            return Err(format!("what the API has changed about rules does not fit: {error}"));
        }
        if let (Some(acceptor), Some(renewed)) = (&self.tls, renewed) {
            acceptor.renew(renewed);
        }
        self.store.keep(new.store);
        let auth = new.sip_auth.as_ref().map(|settings| {
            Arc::new(Auth { settings: Arc::clone(settings), key: self.nonces.clone() })
        });
        let settings = shard_settings(&new, auth);
        for shard in &mut *shards {
            tell(shard, Command::Settings(Box::new(settings.clone())));
        }
        // Control lives as long as the shards do.
        let _ = self.control.send(control::Settings { scoring: new.scoring.clone(), trunks });
        *current = new;
        Ok(changes)
    }

    fn shards(&self) -> MutexGuard<'_, Vec<(Producer<Command>, Doorbell)>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all shards are told by a configuration; which one it is, it learns besides.
pub(super) fn shard_settings(config: &Config, auth: Option<Arc<Auth>>) -> ShardConfig {
    ShardConfig {
        advertise: config.advertise,
        dialogs_max: config.max_calls_per_shard,
        answer_delay: config.answer_delay,
        routes: Arc::clone(&config.routes),
        sounds: config.sounds.clone(),
        ring_timeout: config.ring_timeout,
        idle_timeout: config.idle_timeout,
        sip_limits: config.sip_limits,
        auth,
        registrar: config.registrar,
        jitter_buffers: config.jitter_buffers,
        rtcp_xr: config.rtcp_xr,
        ladders: config.ladder.memory_mib > 0,
        scoring: Arc::new(config.scoring.clone()),
        trunks: Arc::clone(&config.trunks),
        ..ShardConfig::default()
    }
}

fn tell((commands, bell): &mut (Producer<Command>, Doorbell), command: Command) -> bool {
    let is_told = commands.push(command).is_ok();
    bell.ring();
    is_told
}
