//! A JSON array that grows: its elements wait until it is known what stands around them.
//!
//! Never holds more than a bound in memory: what is beyond goes to an unlinked temporary file.

use std::io::{self, BufReader, BufWriter, Seek as _, Write};

use serde::Serialize;
use tempfile::SpooledTempFile;

use crate::json;

/// Elements of a JSON array, each on a line of its own.
#[derive(Debug)]
pub(super) struct Spill {
    text: BufWriter<SpooledTempFile>,
    is_empty: bool,
}

impl Spill {
    /// An empty array that keeps at most `memory` octets in memory, beside its buffer.
    pub(super) fn new(memory: usize) -> Self {
        let text = BufWriter::with_capacity(BUFFER, tempfile::spooled_tempfile(memory));
        Self { text, is_empty: true }
    }

    /// Adds an element.
    ///
    /// # Errors
    ///
    /// If there is no room for temporary files, or `value` has no form in JSON.
    pub(super) fn push<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let before: &[u8] = if self.is_empty { b"\n" } else { b",\n" };
        self.is_empty = false;
        self.text.write_all(before)?;
        json::write(&mut self.text, value)
    }

    /// Writes the array.
    ///
    /// # Errors
    ///
    /// If the elements cannot be written here or read there.
    pub(super) fn copy(self, to: &mut dyn Write) -> io::Result<()> {
        let mut text = self.text.into_inner().map_err(io::IntoInnerError::into_error)?;
        text.rewind()?;
        to.write_all(b"[")?;
        io::copy(&mut BufReader::with_capacity(BUFFER, text), to)?;
        to.write_all(if self.is_empty { b"]" } else { b"\n]" })
    }
}

/// Octets that go to and from a file at a time.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn array(memory: usize, elements: u64) -> (String, bool) {
        let mut spill = Spill::new(memory);
        for element in 0..elements {
            spill.push(&element).unwrap();
        }
        spill.text.flush().unwrap();
        let is_on_disk = spill.text.get_ref().is_rolled();
        let mut text = Vec::new();
        spill.copy(&mut text).unwrap();
        (String::from_utf8(text).unwrap(), is_on_disk)
    }

    #[test]
    fn it_is_an_array() {
        assert_eq!(array(100, 0).0, "[]");
        assert_eq!(array(100, 1).0, "[\n0\n]");
        assert_eq!(array(100, 3).0, "[\n0,\n1,\n2\n]");
    }

    #[test]
    fn on_disk_it_is_the_same_as_in_memory() {
        let (in_memory, is_on_disk) = array(1 << 20, 50_000);
        assert!(!is_on_disk);
        let (spilled, is_on_disk) = array(1000, 50_000);
        assert!(is_on_disk);
        assert!(spilled == in_memory);
        let numbers: Vec<u64> = serde_json::from_str(&spilled).unwrap();
        assert!(numbers.into_iter().eq(0..50_000));
    }
}
