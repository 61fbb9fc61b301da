//! The `[[notify]]` tables of the configuration, read and checked, their secrets looked up.
//!
//! It reaches nobody: whether a recipient answers is what `voxplane check --notify` finds out.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    Severity,
    secret::{Env, Place, Secret},
    syslog::{Facility, Server},
    url::{Endpoint, Url},
};

/// One recipient, complete and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What it is called; no other is called so.
    pub name: String,
    /// How it is reached.
    pub kind: Kind,
    /// What is less severe than this is not sent.
    pub min_severity: Severity,
    /// Only what these rules raise is sent; empty lets all through.
    pub rules: Vec<String>,
    /// Whether it is told of an alert's end.
    pub send_resolved: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Notifications that wait; past it the oldest go.
    pub queue_max: usize,
    /// How long a notification is tried for.
    pub give_up_after: Duration,
    /// Where recipients reach the API, for links.
    pub link: Option<String>,
}

/// How a recipient is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A POST of the notification as JSON.
    Webhook {
        /// Where.
        to: Endpoint,
        /// Signs what is sent.
        hmac_key: Option<Secret>,
    },
    /// An incoming webhook of Slack.
    Slack(Endpoint),
    /// A workflow webhook of Microsoft Teams.
    Teams(Endpoint),
    /// PagerDuty's Events API v2.
    PagerDuty {
        /// Where.
        to: Endpoint,
        /// Which service.
        routing_key: Secret,
    },
    /// Prometheus Alertmanager's API v2.
    Alertmanager {
        /// Where its API begins.
        to: Endpoint,
        /// How often what fires is said again.
        resend: Duration,
    },
    /// A syslog server (RFC 5424).
    Syslog {
        /// Where.
        server: Server,
        /// As what.
        facility: Facility,
    },
    /// A command on this host: the program and its arguments.
    Command(Vec<String>),
}

impl Kind {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Syslog { .. } => "syslog",
            Self::Command(_) => "command",
        }
    }

    /// Where it goes, without what is secret.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Webhook { to, .. }
            | Self::Slack(to)
            | Self::Teams(to)
            | Self::PagerDuty { to, .. }
            | Self::Alertmanager { to, .. } => to.url.to_string(),
            Self::Syslog { server, .. } => server.to_string(),
            Self::Command(argv) => argv.first().cloned().unwrap_or_default(),
        }
    }
}

/// A table as it may stand in a file; what is `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// See [`Settings::name`]; 1 to 40 letters, digits, `-`, `_`.
    pub name: Option<String>,
    /// See [`Kind::name`].
    pub kind: Option<String>,
    /// See [`Settings::min_severity`].
    pub min_severity: Option<Severity>,
    /// See [`Settings::rules`].
    pub rules: Option<Vec<String>>,
    /// See [`Settings::send_resolved`].
    pub send_resolved: Option<bool>,
    /// See [`Settings::timeout`]; seconds, 1 to 60.
    pub timeout_s: Option<u64>,
    /// See [`Settings::queue_max`]; 10 to 10,000.
    pub queue_max: Option<u64>,
    /// See [`Settings::give_up_after`]; seconds, 0 to 86,400.
    pub give_up_after_s: Option<u64>,
    /// See [`Settings::link`].
    pub link: Option<String>,
    /// The URL, where nothing in it is secret.
    pub url: Option<String>,
    /// A file with the URL.
    pub url_file: Option<PathBuf>,
    /// A variable of the environment with the URL.
    pub url_env: Option<String>,
    /// A file with the value of the `Authorization` header.
    pub authorization_file: Option<PathBuf>,
    /// A variable of the environment with the value of the `Authorization` header.
    pub authorization_env: Option<String>,
    /// A file with the certificates (PEM) that are trusted in place of the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// The URL of an HTTP proxy.
    pub proxy: Option<String>,
    /// A file with the key that signs a webhook's body.
    pub hmac_key_file: Option<PathBuf>,
    /// A variable of the environment with that key.
    pub hmac_key_env: Option<String>,
    /// A file with PagerDuty's routing key.
    pub routing_key_file: Option<PathBuf>,
    /// A variable of the environment with PagerDuty's routing key.
    pub routing_key_env: Option<String>,
    /// See [`Kind::Alertmanager`]; seconds, 10 to 3,600.
    pub resend_s: Option<u64>,
    /// A syslog server: `udp://HOST:PORT` or `tcp://HOST:PORT`.
    pub address: Option<String>,
    /// The syslog facility by name.
    pub facility: Option<String>,
    /// The program and its arguments.
    pub command: Option<Vec<String>>,
}

/// Checks all tables, fills in what they leave out, looks up their secrets.
///
/// # Errors
/// The first thing that is wrong, by its notifier and key.
pub fn complete(tables: &[RawSettings], env: Env<'_>) -> Result<Vec<Settings>, SettingsError> {
    if tables.len() > NOTIFIERS_MAX {
        let reason = format!("{} of them; {NOTIFIERS_MAX} is the most", tables.len());
        return Err(SettingsError::Unusable { key: "notify".to_owned(), reason });
    }
    let mut all: Vec<Settings> = Vec::with_capacity(tables.len());
    for table in tables {
        let settings = table.complete(env)?;
        if all.iter().any(|other| other.name == settings.name) {
            let key = format!("notify.{}.name", settings.name);
            return Err(SettingsError::Unusable { key, reason: "another has it".to_owned() });
        }
        all.push(settings);
    }
    Ok(all)
}

impl RawSettings {
    fn complete(&self, env: Env<'_>) -> Result<Settings, SettingsError> {
        let name = self.name.as_deref().unwrap_or_default();
        let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_fine) {
            let reason = "1 to 40 letters, digits, `-`, `_` are needed".to_owned();
            return Err(SettingsError::Unusable { key: "notify.name".to_owned(), reason });
        }
        let kind = self.kind(env)?;
        self.refuse_keys_of_others(kind.name())?;
        let secs = |key, value, range| self.number(key, value, range).map(Duration::from_secs);
        let queue_max = self.number("queue_max", self.queue_max, QUEUE_MAX)?;
        Ok(Settings {
            name: name.to_owned(),
            kind,
            min_severity: self.min_severity.unwrap_or_default(),
            rules: self.rules.clone().unwrap_or_default(),
            send_resolved: self.send_resolved.unwrap_or(true),
            timeout: secs("timeout_s", self.timeout_s, TIMEOUT_SECS)?,
            queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            give_up_after: secs("give_up_after_s", self.give_up_after_s, GIVE_UP_SECS)?,
            link: self.link()?,
        })
    }

    fn kind(&self, env: Env<'_>) -> Result<Kind, SettingsError> {
        let kind = self.kind.as_deref().unwrap_or_default();
        Ok(match kind {
            "webhook" => {
                let hmac_key = self.secret(
                    "hmac_key",
                    self.hmac_key_file.as_ref(),
                    self.hmac_key_env.as_ref(),
                    env,
                )?;
                Kind::Webhook { to: self.endpoint(true, None, env)?, hmac_key }
            }
            "slack" => Kind::Slack(self.endpoint(false, None, env)?),
            "teams" => Kind::Teams(self.endpoint(false, None, env)?),
            "pagerduty" => {
                let (file, variable) = (&self.routing_key_file, &self.routing_key_env);
                let key = self.secret("routing_key", file.as_ref(), variable.as_ref(), env)?;
                let missing = || self.missing("routing_key_file or routing_key_env", kind);
                let routing_key = key.ok_or_else(missing)?;
                Kind::PagerDuty { to: self.endpoint(true, Some(PAGERDUTY_URL), env)?, routing_key }
            }
            "alertmanager" => {
                let resend = self.number("resend_s", self.resend_s, RESEND_SECS)?;
                let to = self.endpoint(true, None, env)?;
                Kind::Alertmanager { to, resend: Duration::from_secs(resend) }
            }
            "syslog" => {
                let address = self.address.as_deref();
                let address = address.ok_or_else(|| self.missing("address", kind))?;
                let server = address.parse().map_err(|reason| self.bad("address", reason))?;
                let facility = self.facility.as_deref().unwrap_or(FACILITY);
                let facility = facility.parse().map_err(|reason| self.bad("facility", reason))?;
                Kind::Syslog { server, facility }
            }
            "command" => {
                let argv = self.command.clone().unwrap_or_default();
                if !argv.first().is_some_and(|program| program.starts_with('/')) {
                    let reason = "the program's whole path and its arguments are needed";
                    return Err(self.bad("command", reason.to_owned()));
                }
                Kind::Command(argv)
            }
            "" => return Err(self.bad("kind", format!("one of {KINDS} is needed"))),
            other => return Err(self.bad("kind", format!("`{other}` is none of {KINDS}"))),
        })
    }

    /// Whom to send to over HTTP. A URL that holds a token in any case may not stand in the file.
    fn endpoint(
        &self,
        may_be_said: bool,
        default: Option<&str>,
        env: Env<'_>,
    ) -> Result<Endpoint, SettingsError> {
        let kind = self.kind.as_deref().unwrap_or_default();
        let secret = self.secret("url", self.url_file.as_ref(), self.url_env.as_ref(), env)?;
        let said = match (&self.url, secret) {
            (Some(_), Some(_)) => {
                return Err(self.bad("url", "stands beside url_file or url_env".to_owned()));
            }
            (Some(_), None) if !may_be_said => {
                let reason = "holds a secret: say url_file or url_env instead";
                return Err(self.bad("url", reason.to_owned()));
            }
            (Some(url), None) => Some(Secret::new(url.clone())),
            (None, secret) => secret,
        };
        let named = if may_be_said { "url, url_file or url_env" } else { "url_file or url_env" };
        let url = said.or_else(|| default.map(|url| Secret::new(url.to_owned())));
        let url = url.ok_or_else(|| self.missing(named, kind))?;
        let url = Url::new(url).map_err(|reason| self.bad("url", reason.to_owned()))?;
        let (file, variable) = (&self.authorization_file, &self.authorization_env);
        let authorization = self.secret("authorization", file.as_ref(), variable.as_ref(), env)?;
        Endpoint::new(url, authorization, self.ca_file.as_deref(), self.proxy.as_deref())
            .map_err(|(key, reason)| self.bad(key, reason))
    }

    fn secret(
        &self,
        key: &str,
        file: Option<&PathBuf>,
        variable: Option<&String>,
        env: Env<'_>,
    ) -> Result<Option<Secret>, SettingsError> {
        let (file, variable) = (file.map(PathBuf::as_path), variable.map(String::as_str));
        Place { key: self.path(key), file, env: variable }.read(env)
    }

    fn link(&self) -> Result<Option<String>, SettingsError> {
        let Some(link) = &self.link else { return Ok(None) };
        Url::new(Secret::new(link.clone())).map_err(|r| self.bad("link", r.to_owned()))?;
        Ok(Some(link.trim_end_matches('/').to_owned()))
    }

    fn refuse_keys_of_others(&self, kind: &str) -> Result<(), SettingsError> {
        const HTTP: &[&str] = &["webhook", "slack", "teams", "pagerduty", "alertmanager"];
        let keys: [(&str, bool, &[&str]); 16] = [
            ("link", self.link.is_some(), HTTP),
            ("url", self.url.is_some(), HTTP),
            ("url_file", self.url_file.is_some(), HTTP),
            ("url_env", self.url_env.is_some(), HTTP),
            ("authorization_file", self.authorization_file.is_some(), HTTP),
            ("authorization_env", self.authorization_env.is_some(), HTTP),
            ("ca_file", self.ca_file.is_some(), HTTP),
            ("proxy", self.proxy.is_some(), HTTP),
            ("hmac_key_file", self.hmac_key_file.is_some(), &["webhook"]),
            ("hmac_key_env", self.hmac_key_env.is_some(), &["webhook"]),
            ("routing_key_file", self.routing_key_file.is_some(), &["pagerduty"]),
            ("routing_key_env", self.routing_key_env.is_some(), &["pagerduty"]),
            ("resend_s", self.resend_s.is_some(), &["alertmanager"]),
            ("address", self.address.is_some(), &["syslog"]),
            ("facility", self.facility.is_some(), &["syslog"]),
            ("command", self.command.is_some(), &["command"]),
        ];
        match keys.iter().find(|(_, is_said, kinds)| *is_said && !kinds.contains(&kind)) {
            Some((key, ..)) => Err(self.bad(key, format!("means nothing to kind {kind}"))),
            None => Ok(()),
        }
    }

    fn number(&self, key: &str, value: Option<u64>, range: Range) -> Result<u64, SettingsError> {
        let value = value.unwrap_or(range.default);
        if (range.low..=range.high).contains(&value) {
            return Ok(value);
        }
        Err(self.bad(key, format!("{value} is not from {} to {}", range.low, range.high)))
    }

    fn missing(&self, keys: &str, kind: &str) -> SettingsError {
        self.bad(keys, format!("kind {kind} needs it"))
    }

    fn bad(&self, key: &str, reason: String) -> SettingsError {
        SettingsError::Unusable { key: self.path(key), reason }
    }

    fn path(&self, key: &str) -> String {
        format!("notify.{}.{key}", self.name.as_deref().unwrap_or_default())
    }
}

/// Why a table cannot be used. It never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key's value is missing or not fit for use.
    #[error("{key}: {reason}")]
    Unusable {
        /// Which, with its notifier.
        key: String,
        /// Why.
        reason: String,
    },
}

/// What a number may be, and is if nothing is said.
#[derive(Clone, Copy)]
struct Range {
    low: u64,
    default: u64,
    high: u64,
}

/// Each is a thread and up to one command that runs.
const NOTIFIERS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 40;
const KINDS: &str = "webhook, slack, teams, pagerduty, alertmanager, syslog, command";

const TIMEOUT_SECS: Range = Range { low: 1, default: 10, high: 60 };
/// Some 2 KB each, shared among notifiers.
const QUEUE_MAX: Range = Range { low: 10, default: 1000, high: 10_000 };
/// An alert that is an hour old is on the dashboard or forgotten.
const GIVE_UP_SECS: Range = Range { low: 0, default: 3600, high: 86_400 };
/// Prometheus says it again every minute (`--rules.alert.resend-delay`).
const RESEND_SECS: Range = Range { low: 10, default: 60, high: 3600 };

/// Facilities `local0` to `local7` are for what has none of its own (RFC 5424 section 6.2.1).
const FACILITY: &str = "local0";

/// The US service region; accounts in the EU have `events.eu.pagerduty.com`.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
