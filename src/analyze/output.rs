//! Where finished calls and streams are handed to, one at a time, to be shown at the end.
//!
//! Never holds more of them than it shows: its memory does not grow with the input, unless all
//! rows of the tables are asked for.

use std::io::{self, Write};

use super::{
    Format, Options, call_text,
    ink::Ink,
    json::{self, Document},
    summary::Summary,
    text::Text,
};
use crate::control::record::{CallRecord, StreamRecord};

/// What will be shown, in its form.
#[derive(Debug)]
pub struct Output(Form);

#[derive(Debug)]
enum Form {
    Json(Document),
    Text(Text),
    Call(Box<OneCall>),
}

/// The call that was asked for.
#[derive(Debug)]
struct OneCall {
    call_id: String,
    format: Format,
    ink: Ink,
    /// The newest of that Call-ID.
    record: Option<CallRecord>,
}

impl Output {
    /// What `options` ask for; text in colours where those are seen.
    #[must_use]
    pub fn new(options: &Options, has_colours: bool) -> Self {
        let ink = Ink(has_colours);
        Self(match (&options.call, options.format) {
            (Some(call_id), format) => {
                let call_id = call_id.clone();
                Form::Call(Box::new(OneCall { call_id, format, ink, record: None }))
            }
            (None, Format::Json) => Form::Json(Document::new(MEMORY)),
            (None, Format::Text) => Form::Text(Text::new(options.limit, ink)),
        })
    }

    /// Takes a call that is over, or still up at the end of the input, with its streams.
    ///
    /// # Errors
    ///
    /// If there is no room for temporary files.
    pub fn call(&mut self, record: &CallRecord) -> io::Result<()> {
        match &mut self.0 {
            Form::Json(document) => document.call(record),
            Form::Text(text) => {
                text.call(record);
                Ok(())
            }
            Form::Call(call) => {
                call.take(record);
                Ok(())
            }
        }
    }

    /// Takes a stream that belongs to no call.
    ///
    /// # Errors
    ///
    /// If there is no room for temporary files.
    pub fn stream(&mut self, record: &StreamRecord) -> io::Result<()> {
        match &mut self.0 {
            Form::Json(document) => document.stream(record),
            Form::Text(text) => {
                text.stream(record);
                Ok(())
            }
            Form::Call(_) => Ok(()),
        }
    }

    /// Whether the call that was asked for has been seen, if one was. Asked once all calls have
    /// been handed in, and before anything is written.
    ///
    /// # Errors
    ///
    /// If it has not.
    pub fn check(&self, summary: &Summary) -> Result<(), CallMissing> {
        match &self.0 {
            Form::Call(call) if call.record.is_none() => Err(call.missing(summary)),
            Form::Call(_) | Form::Json(_) | Form::Text(_) => Ok(()),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// If `to` cannot be written to; [`CallMissing`] as the error's source, and nothing written,
    /// if [`check`](Self::check) fails.
    pub fn finish(self, summary: &Summary, to: &mut dyn Write) -> io::Result<()> {
        match self.0 {
            Form::Json(document) => document.finish(summary, to),
            Form::Text(text) => text.finish(summary, to),
            Form::Call(call) => match (&call.record, call.format) {
                (None, _) => Err(io::Error::new(io::ErrorKind::NotFound, call.missing(summary))),
                (Some(record), Format::Json) => json::write_call(record, summary, to),
                (Some(record), Format::Text) => call_text::write(record, summary, call.ink, to),
            },
        }
    }
}

impl OneCall {
    fn take(&mut self, record: &CallRecord) {
        let is_newest =
            self.record.as_ref().is_none_or(|known| known.start_time <= record.start_time);
        if record.call_id == self.call_id && is_newest {
            self.record = Some(record.clone());
        }
    }

    fn missing(&self, summary: &Summary) -> CallMissing {
        let messages = summary.ladder.as_ref().map_or(0, |ladder| ladder.messages());
        CallMissing { call_id: self.call_id.clone(), messages }
    }
}

/// The call that was asked for is not in the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no call with the Call-ID {call_id:?}; SIP messages with it: {messages}")]
pub struct CallMissing {
    /// Its Call-ID.
    pub call_id: String,
    /// SIP messages with that Call-ID, of which none makes a call.
    pub messages: u64,
}

/// Octets of JSON that each list keeps in memory.
const MEMORY: usize = 4 << 20;
