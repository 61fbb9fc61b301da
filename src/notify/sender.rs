//! How one recipient is reached: picks the form and the way of each kind.
//!
//! It tries once; whether it tries again is the line's business.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    About, Failure, Kind, Notification, Settings, chat, command, incident,
    line::Job,
    post::{Header, Poster},
    secret::Secret,
    syslog, webhook,
};
use crate::time::Timestamp;

/// Reaches one recipient.
#[derive(Debug)]
pub(super) struct Sender {
    about: About,
    timeout: Duration,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Webhook { poster: Poster, hmac_key: Option<Secret> },
    Slack(Poster),
    Teams(Poster),
    PagerDuty { poster: Poster, routing_key: Secret },
    Alertmanager { poster: Poster, resend: Duration },
    Syslog(syslog::Sender),
    Command(Vec<String>),
}

impl Sender {
    /// Gets ready; nothing is reached yet.
    pub(super) fn new(settings: &Settings, host: &str) -> Self {
        let timeout = settings.timeout;
        let way = match settings.kind.clone() {
            Kind::Webhook { to, hmac_key } => {
                Way::Webhook { poster: Poster::new(&to, "", timeout), hmac_key }
            }
            Kind::Slack(to) => Way::Slack(Poster::new(&to, "", timeout)),
            Kind::Teams(to) => Way::Teams(Poster::new(&to, "", timeout)),
            Kind::PagerDuty { to, routing_key } => {
                Way::PagerDuty { poster: Poster::new(&to, "", timeout), routing_key }
            }
            Kind::Alertmanager { to, resend } => {
                Way::Alertmanager { poster: Poster::new(&to, ALERTMANAGER_PATH, timeout), resend }
            }
            Kind::Syslog { server, facility } => {
                Way::Syslog(syslog::Sender::new(server, facility, timeout))
            }
            Kind::Command(argv) => Way::Command(argv),
        };
        let about = About { host: host.to_owned(), link: settings.link.clone() };
        Self { about, timeout, way }
    }

    /// Tries once. Gives what the other side said.
    pub(super) fn deliver(&mut self, job: &Job, now: Timestamp) -> Result<String, Failure> {
        if let Way::Alertmanager { poster, resend } = &self.way {
            return self.alert(poster, job.notifications(), *resend, now);
        }
        let mut said = String::new();
        for notification in job.notifications() {
            said = self.one(notification, now)?;
        }
        Ok(said)
    }

    fn one(&mut self, notification: &Notification, now: Timestamp) -> Result<String, Failure> {
        let about = &self.about;
        match &mut self.way {
            Way::Webhook { poster, hmac_key } => {
                let body = webhook::body(notification, about);
                let headers = webhook::headers(notification, &body, hmac_key.as_ref(), now);
                poster.post(&body, &headers, now)
            }
            Way::Slack(poster) => post(poster, &chat::slack(notification, about), now),
            Way::Teams(poster) => post(poster, &chat::teams(notification, about), now),
            Way::PagerDuty { poster, routing_key } => {
                let event = incident::pagerduty(notification, about, routing_key.expose());
                let mask = |text: String| routing_key.mask(&text);
                post(poster, &event, now)
                    .map(mask)
                    .map_err(|failure| Failure { reason: mask(failure.reason), ..failure })
            }
            Way::Syslog(sender) => sender.send(notification, about),
            Way::Command(argv) => {
                let body = webhook::body(notification, about);
                command::run(argv, notification, &body, self.timeout)
            }
            Way::Alertmanager { .. } => Ok(String::new()),
        }
    }

    fn alert(
        &self,
        poster: &Poster,
        notifications: &[Arc<Notification>],
        resend: Duration,
        now: Timestamp,
    ) -> Result<String, Failure> {
        post(poster, &incident::alertmanager(notifications, &self.about, resend, now), now)
    }
}

fn post(poster: &Poster, body: &Value, now: Timestamp) -> Result<String, Failure> {
    const NONE: &[Header] = &[];
    poster.post(body.to_string().as_bytes(), NONE, now)
}

/// Below the URL of an Alertmanager.
const ALERTMANAGER_PATH: &str = "/api/v2/alerts";
