//! Header fields by name, long or compact, in the order they came.
//!
//! Never takes a value apart.

use super::scan::{HeaderLines, split_header};

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: HeaderName,
    /// Its name as written.
    pub raw_name: &'a [u8],
    /// Its value without blanks around it; it may hold folds.
    pub value: &'a [u8],
}

/// An iterator over header fields in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    lines: HeaderLines<'a>,
}

impl<'a> Headers<'a> {
    pub(super) const fn new(head: &'a [u8]) -> Self {
        Self { lines: HeaderLines::new(head) }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((raw_name, value)) = split_header(self.lines.next_line()?) else { continue };
            let name = HeaderName::from_bytes(raw_name);
            return Some(Header { name, raw_name, value: value.trim_ascii() });
        }
    }
}

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?,)*) => {
        /// The name of a header field that something here asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $name, "`", $(" or `", $compact, "`")?)]
                $variant,
            )*
            /// Any other name.
            Other,
        }

        /// Names and compact forms, with what they mean.
        const NAMES: &[(&str, HeaderName)] = &[
            $(($name, HeaderName::$variant), $(($compact, HeaderName::$variant),)?)*
        ];

        impl HeaderName {
            /// The name in its long form; `None` for [`HeaderName::Other`].
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    Self::Other => None,
                }
            }
        }
    };
}

// The first SINGLE_COUNT are those that a message keeps the first of. Compact forms are those of
// the registry of RFC 3968.
header_names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    Contact "Contact" "m",
    UserAgent "User-Agent",
    ContentType "Content-Type" "c",
    ContentLength "Content-Length" "l",
    MaxForwards "Max-Forwards",
    Expires "Expires",
    Accept "Accept",
    AcceptContact "Accept-Contact" "a",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    Authorization "Authorization",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" "e",
    Date "Date",
    Diversion "Diversion",
    Event "Event" "o",
    HistoryInfo "History-Info",
    Identity "Identity" "y",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    Privacy "Privacy",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    Rack "RAck",
    Reason "Reason",
    RecordRoute "Record-Route",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    RejectContact "Reject-Contact" "j",
    Replaces "Replaces",
    RequestDisposition "Request-Disposition" "d",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    Rseq "RSeq",
    Server "Server",
    SessionExpires "Session-Expires" "x",
    Subject "Subject" "s",
    Supported "Supported" "k",
    Timestamp "Timestamp",
    Unsupported "Unsupported",
    Warning "Warning",
}

impl HeaderName {
    /// The name that bytes mean; names compare without case (RFC 3261 section 7.3.1).
    #[inline]
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        let Some((initial, places)) = name.first().zip(PLACES.get(name.len())) else {
            return Self::Other;
        };
        let [from, to] = places[usize::from(*initial) % INITIALS];
        // Most write a name as it is registered, which is quickly seen.
        SORTED[usize::from(from)..usize::from(to)]
            .iter()
            .map(|&(known, name)| (known.as_bytes(), name))
            .find(|&(known, _)| known == name || known.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(_, name)| name)
    }

    /// The place of a name that a message keeps the first of.
    #[inline]
    pub(super) const fn slot(self) -> Option<usize> {
        let index = self as usize;
        if index < SINGLE_COUNT { Some(index) } else { None }
    }

    /// A bit of its own.
    #[inline]
    pub(super) const fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// Names that a message keeps the first of: up to and with Expires.
pub(super) const SINGLE_COUNT: usize = HeaderName::Expires as usize + 1;

/// [`NAMES`] in order of length, and of their initials.
const SORTED: [(&str, HeaderName); NAMES.len()] = sorted();
/// For each length and initial where its names begin and end in [`SORTED`].
const PLACES: [[[u8; 2]; INITIALS]; NAME_LEN_MAX + 1] = places();
const NAME_LEN_MAX: usize = "P-Preferred-Identity".len();
/// Letters have the same lower five bits in both cases.
const INITIALS: usize = 1 << 5;

const fn sorted() -> [(&'static str, HeaderName); NAMES.len()] {
    let mut sorted = [("", HeaderName::Other); NAMES.len()];
    let (mut count, mut shape) = (0, 0);
    while shape < (NAME_LEN_MAX + 1) * INITIALS {
        let mut at = 0;
        while at < NAMES.len() {
            if self::shape(NAMES[at].0) == shape {
                sorted[count] = NAMES[at];
                count += 1;
            }
            at += 1;
        }
        shape += 1;
    }
    assert!(count == NAMES.len(), "no name is longer than NAME_LEN_MAX");
    sorted
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 names")]
const fn places() -> [[[u8; 2]; INITIALS]; NAME_LEN_MAX + 1] {
    let mut places = [[[0; 2]; INITIALS]; NAME_LEN_MAX + 1];
    let mut at = 0;
    while at < SORTED.len() {
        let shape = shape(SORTED[at].0);
        let [from, to] = &mut places[shape / INITIALS][shape % INITIALS];
        if *to == 0 {
            *from = at as u8;
        }
        at += 1;
        *to = at as u8;
    }
    places
}

/// Length and initial of a name, as one number.
const fn shape(name: &str) -> usize {
    name.len() * INITIALS + name.as_bytes()[0] as usize % INITIALS
}

const _: () = assert!(SINGLE_COUNT <= u16::BITS as usize && NAMES.len() < 256);
const _: () = assert!((HeaderName::Other as u32) < u64::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for &(text, name) in NAMES {
            assert_eq!(HeaderName::from_bytes(text.as_bytes()), name);
            assert_eq!(HeaderName::from_bytes(text.to_ascii_uppercase().as_bytes()), name);
            let long = name.name().unwrap();
            assert_eq!(HeaderName::from_bytes(long.as_bytes()), name);
        }
        for other in [&b""[..], b"n", b"Viaa", b"Call_ID", &[b'x'; 300]] {
            assert_eq!(HeaderName::from_bytes(other), HeaderName::Other);
        }
    }

    #[test]
    fn headers_come_in_order_with_their_folds() {
        let head = b"v :a\r\nX-Own:\r\n b\r\n c\r\njunk\r\nFROM:d\r\n";
        let headers: Vec<_> = Headers::new(head).collect();
        let [via, own, from] = headers[..] else { panic!("{headers:?}") };
        let expected = Header { name: HeaderName::Via, raw_name: b"v", value: b"a" };
        assert_eq!(via, expected);
        assert_eq!((own.name, own.raw_name), (HeaderName::Other, &b"X-Own"[..]));
        assert_eq!(own.value, b"b\r\n c");
        assert_eq!(from.name, HeaderName::From);
    }
}
