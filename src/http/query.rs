//! Query parameters of a request, checked by name and by value. What is wrong is named, and a
//! request with anything wrong in it is not answered in part.

use core::ops::RangeInclusive;
use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::reply::Reply;
use crate::{store::Network, time::Timestamp};

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    ///
    /// 400 for a parameter that is not in `allowed` or stands there twice.
    pub(super) fn parse(text: &str, allowed: &[&str]) -> Result<Self, Reply> {
        let mut query = Self(Vec::new());
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !allowed.contains(&name.as_ref()) {
                let known = match allowed {
                    [] => "none is known here".to_owned(),
                    _ => format!("known here: {}", allowed.join(", ")),
                };
                let message = format!("unknown parameter {name:?}; {known}");
                return Err(Reply::error(400, &message));
            }
            if query.get(&name).is_some() {
                return Err(Reply::error(400, &format!("parameter {name:?} stands there twice")));
            }
            query.0.push((name.into_owned(), value.into_owned()));
        }
        Ok(query)
    }

    /// A parameter as it stands there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A count of at most `max`.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(super) fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, Reply> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.parse() {
            Ok(count) if count <= max => Ok(count),
            _ => Err(bad(name, text, &format!("a whole number from 0 to {max}"))),
        }
    }

    /// A number within `range`.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(super) fn number(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Reply> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let what = format!("a number from {} to {}", range.start(), range.end());
                Err(bad(name, text, &what))
            }
        }
    }

    /// A time in RFC 3339. A `+` that was not encoded reaches us as a space and is taken for one.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Reply> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse().or_else(|_| text.replace(' ', "+").parse()) {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(bad(name, text, "a time like 2026-01-31T12:00:00Z (RFC 3339)")),
        }
    }

    /// A network; `None` also if nothing stands there.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(super) fn network(&self, name: &str) -> Result<Option<Network>, Reply> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let what = "a network like 192.0.2.0/24 or the beginning of an address";
        text.parse().map(Some).map_err(|_| bad(name, text, what))
    }
}

/// What is sorted by, and whether the highest comes first, which a `-` before it says.
pub(super) fn order(text: &str) -> (&str, bool) {
    let descending = text.strip_prefix('-');
    (descending.unwrap_or(text), descending.is_some())
}

/// The Call-ID that stands percent-encoded in a path.
///
/// # Errors
///
/// 400 if it is not UTF-8.
pub(super) fn call_id(encoded: &str) -> Result<Cow<'_, str>, Reply> {
    let decoded = percent_decode_str(encoded).decode_utf8();
    decoded.map_err(|_| Reply::error(400, &format!("call id {encoded:?} is not UTF-8")))
}

/// Most that a number can be which counts something without a bound of its own: the greatest that
/// JSON carries everywhere (RFC 8259 section 6).
pub(super) const COUNT_MAX: usize = (1 << 53) - 1;

/// 400 for a parameter that is not what it should be.
pub(super) fn bad(name: &str, text: &str, what: &str) -> Reply {
    Reply::error(400, &format!("parameter {name:?} is {text:?}, not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: &Reply) -> String {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((reply.status, &body["error"]["code"]), (400, &"bad_request".into()));
        body["error"]["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |text: &str| Query::parse(text, &["limit", "since"]);
        assert!(message(&parse("limt=1").unwrap_err()).contains("\"limt\""));
        assert!(message(&parse("limit=1&limit=1").unwrap_err()).contains("twice"));
        for bad in ["-1", "", "1.5", "1e3", "x", "1001", "99999999999999999999"] {
            let query = parse(&format!("limit={bad}")).unwrap();
            assert!(message(&query.count("limit", 1, 1000).unwrap_err()).contains("\"limit\""));
        }
        for bad in ["", "nan", "inf", "5.1", "-0.1", "x"] {
            let query = parse(&format!("limit={bad}")).unwrap();
            assert!(message(&query.number("limit", 0.0..=5.0).unwrap_err()).contains("\"limit\""));
        }
        for bad in ["", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "1700000000"] {
            let query = parse(&format!("since={bad}")).unwrap();
            assert!(message(&query.time("since").unwrap_err()).contains("\"since\""), "{bad}");
        }
    }

    #[test]
    fn times_have_any_offset_encoded_or_not() {
        let time = |text: &str| Query::parse(text, &["t"]).unwrap().time("t").unwrap();
        let noon = "2026-01-31T12:00:00Z".parse().ok();
        assert_eq!(time("t=2026-01-31T12:00:00Z"), noon);
        assert_eq!(time("t=2026-01-31T14:00:00%2B02:00"), noon);
        assert_eq!(time("t=2026-01-31T14:00:00+02:00"), noon);
        assert_eq!(time(""), None);
    }
}
