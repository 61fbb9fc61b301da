//! Finished calls as one long text, made piece by piece while it is read. However many calls there
//! are, it holds a few hundred.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
    sync::Arc,
};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{entry, filter::Filter, reader::Reader};
use crate::{control::record::CallRecord, time::Timestamp};

/// How calls are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line a call (RFC 4180); streams are left out.
    Csv,
    /// A JSON object a line, all of the call but its timeline.
    JsonLines,
}

/// Calls as text.
pub struct Export {
    reader: Reader,
    filter: Filter,
    format: Format,
    names: Vec<String>,
    /// Found and not yet written.
    waiting: VecDeque<u64>,
    /// The last one found.
    after: Option<u64>,
    text: Vec<u8>,
    at: usize,
    is_done: bool,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Export {
    pub(super) fn new(reader: Reader, filter: Filter, format: Format) -> Self {
        let names = columns();
        let mut text = Vec::new();
        if format == Format::Csv {
            text.extend_from_slice(names.join(",").as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        Self {
            reader,
            filter,
            format,
            names,
            waiting: VecDeque::new(),
            after: None,
            text,
            at: 0,
            is_done: false,
        }
    }

    /// Makes the next piece of text.
    fn go_on(&mut self) -> io::Result<()> {
        self.text.clear();
        self.at = 0;
        if self.waiting.is_empty() {
            self.waiting = self.reader.some(&self.filter, self.after).into();
            self.after = self.waiting.back().copied();
            self.is_done = self.waiting.is_empty();
        }
        let ids: Vec<u64> = self.waiting.drain(..PIECE.min(self.waiting.len())).collect();
        for record in self.reader.records(&ids).map_err(io::Error::other)? {
            match self.format {
                Format::JsonLines => {
                    self.text.extend_from_slice(record.as_bytes());
                    self.text.push(b'\n');
                }
                Format::Csv => self.line(&record),
            }
        }
        Ok(())
    }

    fn line(&mut self, record: &str) {
        let Ok(Value::Object(fields)) = serde_json::from_str(record) else { return };
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            match fields.get(name) {
                None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => {}
                Some(Value::String(text)) => quote(&mut self.text, text),
                Some(plain) => self.text.extend_from_slice(plain.to_string().as_bytes()),
            }
        }
        self.text.extend_from_slice(b"\r\n");
    }
}

impl Read for Export {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() && !self.is_done {
            self.go_on()?;
        }
        let len = (&self.text[self.at..]).read(to)?;
        self.at += len;
        Ok(len)
    }
}

/// Writes a text as one field. What a table program would run as a formula is made plain text:
/// names and devices of callers are their own choice.
fn quote(to: &mut Vec<u8>, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_plain = !text.contains(['"', ',', '\r', '\n']);
    if is_plain && !is_formula {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    to.push(b'"');
    if is_formula {
        to.push(b'\'');
    }
    to.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    to.push(b'"');
}

/// The names of a call's fields in their order, without those that are lists.
fn columns() -> Vec<String> {
    let empty = CallRecord::opened(Timestamp::MIN, Arc::default());
    let fields: Fields = serde_json::from_slice(&entry::text(&empty)).unwrap_or_default();
    fields.0.into_iter().filter(|(_, value)| !value.is_array()).map(|(name, _)| name).collect()
}

/// The fields of a JSON object in the order in which they stand there.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Each)
    }
}

/// Calls of one piece.
const PIECE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let field = |text: &str| {
            let mut to = Vec::new();
            quote(&mut to, text);
            String::from_utf8(to).unwrap()
        };
        assert_eq!(field("sip:a@b"), "sip:a@b");
        assert_eq!(field("a, \"b\"\n"), "\"a, \"\"b\"\"\n\"");
        assert_eq!(field("=1+2"), "\"'=1+2\"");
        assert_eq!(field(""), "");
    }

    #[test]
    fn columns_are_those_of_a_call_in_their_order() {
        let names = columns();
        assert_eq!(names[..3], ["call_id", "from", "to"]);
        assert!(names.iter().any(|name| name == "mos_score"));
        assert!(!names.iter().any(|name| name == "streams"));
    }
}
