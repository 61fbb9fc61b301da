//! `/api/qos/registrations`: the contacts that the registrars of all shards have. It shows what
//! holds at the time of its snapshot.

use serde::Serialize;

use super::{
    query::{Query, bad, order},
    reply::Reply,
};
use crate::{
    control::{
        record::Snapshot,
        registered::{Binding, BindingView},
    },
    store::Network,
};

/// What it can be asked for.
pub(super) const PARAMETERS: &[&str] =
    &["limit", "offset", "sort", "aor", "contact", "source", "user_agent"];

/// The body.
#[derive(Serialize)]
struct Registrations {
    /// Contacts listed here.
    count: usize,
    /// Contacts that the filters let through.
    total: usize,
    registrations: Vec<BindingView>,
}

/// A contact with its user.
type Entry<'a> = (&'a [u8], &'a Binding);

/// Which contacts; what is `None` lets all through.
struct Filter<'a> {
    aor: Option<&'a str>,
    contact: Option<&'a str>,
    user_agent: Option<&'a str>,
    source: Option<Network>,
}

/// A page of the contacts that the filters let through, in the order of their users or as asked.
pub(super) fn list(
    query: &Query,
    (limit, offset): (usize, usize),
    snapshot: &Snapshot,
) -> Result<Reply, Reply> {
    let now = snapshot.taken_at;
    let filter = Filter::read(query)?;
    let all = snapshot.registered.iter();
    let all = all.flat_map(|user| user.bindings.iter().map(|binding| (&*user.user, binding)));
    let mut found: Vec<Entry<'_>> =
        all.filter(|(_, binding)| binding.expires_at > now).filter(|it| filter.lets(*it)).collect();
    sort(&mut found, query.get("sort"))?;
    let shown = found.iter().skip(offset).take(limit);
    let shown: Vec<_> = shown.map(|(user, it)| BindingView::new(user, it, now)).collect();
    Ok(Reply::json(&Registrations { count: shown.len(), total: found.len(), registrations: shown }))
}

/// Sorts them; those that are equal stay in the order of their users.
fn sort(found: &mut [Entry<'_>], by: Option<&str>) -> Result<(), Reply> {
    let text = by.unwrap_or("aor");
    let (name, descending) = order(text);
    match name {
        // So they come.
        "aor" => {}
        "source" => found.sort_by_key(|(_, it)| it.sender.source),
        "registered" => found.sort_by_key(|(_, it)| it.registered_at),
        "refreshed" => found.sort_by_key(|(_, it)| it.refreshed_at),
        "expires" => found.sort_by_key(|(_, it)| it.expires_at),
        _ => {
            let what = "aor, source, registered, refreshed or expires, with - before it for \
                        descending";
            return Err(bad("sort", text, what));
        }
    }
    if descending {
        found.reverse();
    }
    Ok(())
}

impl<'a> Filter<'a> {
    fn read(query: &'a Query) -> Result<Self, Reply> {
        let source = query.network("source")?;
        let (aor, contact) = (query.get("aor"), query.get("contact"));
        Ok(Self { aor, contact, user_agent: query.get("user_agent"), source })
    }

    fn lets(&self, (user, binding): Entry<'_>) -> bool {
        let sender = &binding.sender;
        let agent = sender.user_agent.as_deref().unwrap_or_default();
        has(user, self.aor)
            && has(&binding.uri, self.contact)
            && has(agent, self.user_agent)
            && self.source.as_ref().is_none_or(|source| source.contains(sender.source.ip()))
    }
}

/// Whether a text has a part, letter case of ASCII aside.
fn has(text: &[u8], part: Option<&str>) -> bool {
    let Some(part) = part.filter(|part| !part.is_empty()) else { return true };
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}
