//! One capture file that is being read: its bytes, unpacked where it is compressed, and the
//! records in them.
//!
//! It decodes no packet, and holds no more of a file than a window.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    mem,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;

use super::{
    CaptureError, Progress,
    records::{NotRecords, RECORD_MAX, Record, Records, Step},
    totals::Counts,
};

pub(super) struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    records: Records,
    is_compressed: bool,
    /// Bytes taken from the file as it is stored.
    bytes_read: Arc<AtomicU64>,
    bytes_total: Option<u64>,
    /// What was read before and not yet walked.
    kept: Vec<u8>,
    /// Bytes that the next record has at least.
    needs: usize,
    /// Bytes yet to be passed over.
    to_skip: u64,
    /// Where in the unpacked file the next record begins.
    offset: u64,
    counts: Counts,
    state: State,
    /// Why the rest of the file was not read.
    failure: Option<io::Error>,
    warning: Option<String>,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let is_pipe = path.as_os_str() == "-";
        let unreadable = |source| CaptureError::Unreadable { name: name.clone(), source };
        let (file, bytes_total): (Box<dyn Read + Send>, _) = if is_pipe {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(unreadable)?;
            let metadata = file.metadata().map_err(unreadable)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut file = Counted { file, bytes_read: Arc::clone(&bytes_read) };
        let mut kept = read_head(&mut file).map_err(unreadable)?;
        if kept.is_empty() {
            return Err(CaptureError::Empty { name });
        }
        let is_compressed = kept.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn Read + Send> = if is_compressed {
            let packed = io::Cursor::new(mem::take(&mut kept)).chain(file);
            let mut unpacked = MultiGzDecoder::new(packed);
            kept = read_head(&mut unpacked).map_err(unreadable)?;
            Box::new(unpacked)
        } else {
            Box::new(file)
        };
        let (records, header_len) = match Records::recognise(&kept) {
            Ok(found) => found,
            Err(NotRecords::Short) => return Err(CaptureError::Short { name, bytes: kept.len() }),
            Err(NotRecords::Unknown) => {
                return Err(CaptureError::NotACapture { name, found: known_format(&kept) });
            }
        };
        kept.drain(..header_len);
        Ok(Self {
            name,
            reader,
            records,
            is_compressed,
            bytes_read,
            bytes_total,
            kept,
            needs: 0,
            to_skip: 0,
            offset: header_len as u64,
            counts: Counts::NONE,
            state: State::Reading,
            failure: None,
            warning: None,
        })
    }

    pub(super) const fn format_name(&self) -> &'static str {
        match (&self.records, self.is_compressed) {
            (Records::PcapNg(_), true) => "pcapng, gzip",
            (Records::Pcap(_), true) => "pcap, gzip",
            (records, false) => records.name(),
        }
    }

    /// Puts what was kept at the front of a window.
    pub(super) fn restore(&mut self, window: &mut Vec<u8>) -> Range<usize> {
        // Never shorter than it was: what is there would have to be zeroed again.
        if window.len() < self.kept.len() {
            window.resize(self.kept.len(), 0);
        }
        window[..self.kept.len()].copy_from_slice(&self.kept);
        let unread = 0..self.kept.len();
        self.kept.clear();
        unread
    }

    /// Keeps what is yet to be walked until the next window.
    pub(super) fn keep(&mut self, unread: &[u8]) {
        self.kept.clear();
        self.kept.extend_from_slice(unread);
    }

    /// Moves what is unread to the front of a window and fills it up behind that.
    pub(super) fn refill(&mut self, window: &mut Vec<u8>, unread: &mut Range<usize>) {
        let len = self.needs.max(WINDOW);
        debug_assert!(len <= RECORD_MAX.max(WINDOW));
        window.copy_within(unread.clone(), 0);
        *unread = 0..unread.len();
        window.resize(len, 0);
        while self.state == State::Reading && (unread.end < len || self.to_skip > 0) {
            match self.reader.read(&mut window[unread.end..]) {
                Ok(0) => self.state = State::Read,
                Ok(read) => unread.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state = State::Read;
                    self.failure = Some(error);
                }
            }
            self.skip(unread);
        }
    }

    /// The next record of those that are wholly within a window, by the short way of the most
    /// usual format. None does not mean that there is none: [`next`](Self::next) knows.
    #[inline]
    pub(super) fn next_plain(
        &mut self,
        window: &[u8],
        unread: &mut Range<usize>,
    ) -> Option<Record> {
        let (record, len) = self.records.packet(&window[unread.clone()])?;
        Some(self.found(record, len, unread))
    }

    #[inline]
    fn found(&mut self, mut record: Record, len: usize, unread: &mut Range<usize>) -> Record {
        record.start += unread.start;
        unread.start += len;
        self.offset += len as u64;
        self.counts.add(record.time, record.original_len);
        record
    }

    /// The next record of those that are wholly within a window.
    #[inline(never)]
    pub(super) fn next(&mut self, window: &[u8], unread: &mut Range<usize>) -> Option<Record> {
        if self.state == State::Done {
            return None;
        }
        loop {
            match self.records.step(&window[unread.clone()]) {
                Step::Packet(record, len) => return Some(self.found(record, len, unread)),
                Step::Other(len) => {
                    self.to_skip = len;
                    self.skip(unread);
                }
                Step::Needs(len) => {
                    self.run_out(len, unread);
                    return None;
                }
                Step::Damaged(how) => {
                    self.warn(how);
                    self.finish(unread);
                    return None;
                }
            }
        }
    }

    /// Whether no record will come any more.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was wrong with the file; once.
    pub(super) const fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    pub(super) fn progress(&self) -> Progress {
        let bytes_read = self.bytes_read.load(Ordering::Relaxed);
        Progress { bytes_read, bytes_total: self.bytes_total }
    }

    fn skip(&mut self, unread: &mut Range<usize>) {
        let len = usize::try_from(self.to_skip).unwrap_or(usize::MAX).min(unread.len());
        unread.start += len;
        self.offset += len as u64;
        self.to_skip -= len as u64;
        if Range::is_empty(unread) {
            *unread = 0..0;
        }
    }

    #[cold]
    fn run_out(&mut self, needs: usize, unread: &mut Range<usize>) {
        self.needs = needs;
        if self.state == State::Read {
            if let Some(error) = self.failure.take() {
                self.warn(&format!("cannot be read further ({error})"));
            } else if !Range::is_empty(unread) || self.to_skip > 0 {
                self.warn("cut off");
            }
            self.finish(unread);
        }
    }

    fn finish(&mut self, unread: &mut Range<usize>) {
        self.state = State::Done;
        *unread = 0..0;
    }

    fn warn(&mut self, what: &str) {
        let (name, packet, offset) = (&self.name, self.counts.packets + 1, self.offset);
        self.warning = Some(format!("{name}: {what} in packet {packet} at byte {offset}"));
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The file has ended; what was read of it has not.
    Read,
    Done,
}

/// A file that counts what is read of it.
struct Counted {
    file: Box<dyn Read + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// As much of the beginning of a file as tells its format.
fn read_head(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_LEN);
    reader.take(HEAD_LEN as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Formats that are taken for captures and are not read.
fn known_format(head: &[u8]) -> Option<&'static str> {
    FORMATS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
}

/// Fits a core's own cache together with what the packets' streams need of it.
const WINDOW: usize = 256 * 1024;
/// The longest header: pcap's.
const HEAD_LEN: usize = 24;
/// RFC 1952 section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const FORMATS: [(&[u8], &str); 9] = [
    (b"GMBU", "a capture of Microsoft Network Monitor 2"),
    (b"RTSS", "a capture of Microsoft Network Monitor 1"),
    (b"snoop\0\0\0", "a capture of snoop"),
    (b"#!rtpplay", "an rtpdump recording"),
    (b"\x28\xB5\x2F\xFD", "compressed with zstd"),
    (b"\xFD7zXZ\0", "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
    (b"\x04\x22\x4D\x18", "compressed with lz4"),
    (b"PK\x03\x04", "a zip archive"),
];
