//! Messages for people: an incoming webhook of Slack, a workflow webhook of Microsoft Teams.
//!
//! What callers may have written is plain text in both: it can mention nobody and link nowhere.

use serde_json::{Value, json};

use super::{About, Notification, Severity, State};

/// The body for Slack: blocks within an attachment, for its colour, and a text for phones.
pub(super) fn slack(notification: &Notification, about: &About) -> Value {
    let title = plain(&title(notification, about), TITLE_CHARS_MAX);
    let plain_text = |text: &str, limit| {
        let text = plain(text, limit);
        json!({ "type": "plain_text", "text": text, "emoji": false })
    };
    let mut blocks = vec![
        json!({ "type": "header", "text": plain_text(&title, TITLE_CHARS_MAX) }),
        json!({ "type": "section", "text": plain_text(&notification.message, TEXT_CHARS_MAX) }),
    ];
    let facts = facts(notification).into_iter();
    let fields: Vec<_> = facts
        .map(|(name, value)| plain_text(&format!("{name}: {value}"), FACT_CHARS_MAX))
        .collect();
    blocks.push(json!({ "type": "section", "fields": fields }));
    if let Some(link) = about.link_to(notification) {
        let text = json!({ "type": "plain_text", "text": "Show" });
        let button = json!({ "type": "button", "text": text, "url": link });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    let color = color(notification);
    json!({
        "text": escape(&title),
        "attachments": [{ "color": color, "fallback": escape(&title), "blocks": blocks }],
    })
}

/// The body for Teams: an adaptive card. Its text runs are not read as Markdown, unlike its text
/// blocks.
pub(super) fn teams(notification: &Notification, about: &About) -> Value {
    let run = |text: &str, limit, more: Value| {
        let mut run = json!({ "type": "TextRun", "text": plain(text, limit) });
        if let (Value::Object(run), Value::Object(more)) = (&mut run, more) {
            run.extend(more);
        }
        run
    };
    let line = |runs: Vec<Value>| json!({ "type": "RichTextBlock", "inlines": runs });
    let look = json!({ "weight": "Bolder", "size": "Large", "color": style(notification) });
    let mut body = vec![
        line(vec![run(&title(notification, about), TITLE_CHARS_MAX, look)]),
        line(vec![run(&notification.message, TEXT_CHARS_MAX, json!({}))]),
    ];
    for (name, value) in facts(notification) {
        let name = run(&format!("{name}: "), FACT_CHARS_MAX, json!({ "weight": "Bolder" }));
        body.push(line(vec![name, run(&value, FACT_CHARS_MAX, json!({}))]));
    }
    let link = about.link_to(notification).into_iter();
    let actions: Vec<_> =
        link.map(|url| json!({ "type": "Action.OpenUrl", "title": "Show", "url": url })).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn title(notification: &Notification, about: &About) -> String {
    let state = match notification.state {
        State::Firing => notification.severity.name(),
        State::Acknowledged | State::Resolved => notification.state.name(),
    };
    format!("[{}] {} on {}", state.to_uppercase(), notification.rule, about.host)
}

fn facts(notification: &Notification) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("State", notification.state.to_string()),
        ("Severity", notification.severity.to_string()),
    ];
    facts.extend(notification.figures().map(|figures| ("Measured", figures)));
    facts.extend(notification.call_id.clone().map(|call_id| ("Call-ID", call_id)));
    facts.push(("Since", notification.started_at.to_string()));
    facts.push(("Time", notification.time.to_string()));
    facts
}

/// One line, not too long, without control characters.
fn plain(text: &str, limit: usize) -> String {
    let mut plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    if plain.trim().is_empty() {
        // Slack refuses an empty text.
        "-".clone_into(&mut plain);
    }
    plain
}

/// The three characters that Slack's texts give a meaning to.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const fn color(notification: &Notification) -> &'static str {
    match (notification.state, notification.severity) {
        (State::Resolved, _) => "#2e7d32",
        (_, Severity::Info) => "#1565c0",
        (_, Severity::Warning) => "#f9a825",
        (_, Severity::Error) => "#e65100",
        (_, Severity::Critical) => "#b71c1c",
    }
}

/// The colours that an adaptive card knows.
const fn style(notification: &Notification) -> &'static str {
    match (notification.state, notification.severity) {
        (State::Resolved, _) => "Good",
        (_, Severity::Info) => "Accent",
        (_, Severity::Warning) => "Warning",
        (_, Severity::Error | Severity::Critical) => "Attention",
    }
}

/// Slack's header block takes 150, a field 2,000, a section 3,000; less is easier to read.
const TITLE_CHARS_MAX: usize = 150;
const TEXT_CHARS_MAX: usize = 1000;
const FACT_CHARS_MAX: usize = 300;
