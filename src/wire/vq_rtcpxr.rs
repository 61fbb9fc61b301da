//! Voice quality reports of phones (RFC 6035): a view of an `application/vq-rtcpxr` body.
//!
//! It takes what phones and the RFC's own examples do beside the grammar: any order of lines, no
//! blank after a colon, `Metrics:` for `LocalMetrics:`, metrics before any such line, an SSRC
//! without `0x`, folded lines, a STOP before START, keys that nobody knows, names in any case. A
//! value that is no number or out of its range is one that was not said. It scores nothing.

use super::{codec::Codec, text::split_word};

/// A report, as it came.
#[derive(Clone, Copy, Debug)]
pub struct VqReport<'a> {
    kind: VqKind,
    is_final: bool,
    body: &'a [u8],
    /// Where the lines about the far end's reception begin; the length if there are none.
    remote_at: usize,
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VqKind {
    /// All of a call so far.
    Session,
    /// A part of it.
    Interval,
    /// Something that is bad now.
    Alert,
}

/// The figures of one direction, by those who received it; what was not said is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VqFigures {
    /// Lost in the network, percent (NLR).
    pub lost: Option<f32>,
    /// Discarded by the jitter buffer, percent (JDR).
    pub discarded: Option<f32>,
    /// Lost or discarded inside bursts, percent (BLD).
    pub burst_density: Option<f32>,
    /// Mean burst, milliseconds (BD).
    pub burst_ms: Option<f32>,
    /// Lost or discarded inside gaps, percent (GLD).
    pub gap_density: Option<f32>,
    /// Mean gap, milliseconds (GD).
    pub gap_ms: Option<f32>,
    /// Good packets in a row that end a burst (GMIN).
    pub gmin: Option<f32>,
    /// Round trip of the network, milliseconds (RTD).
    pub round_trip_ms: Option<f32>,
    /// Delay within the end system, milliseconds (ESD).
    pub end_system_ms: Option<f32>,
    /// One way, mouth to ear, milliseconds: OWD, or else SOWD, which is half of a way and back.
    pub one_way_ms: Option<f32>,
    /// Jitter as RTCP has it, milliseconds (IAJ).
    pub jitter_ms: Option<f32>,
    /// Mean absolute jitter, milliseconds (MAJ).
    pub absolute_jitter_ms: Option<f32>,
    /// Nominal delay of the jitter buffer, milliseconds (JBN).
    pub buffer_ms: Option<f32>,
    /// R for listening (RLQ), 0 to 120.
    pub r_lq: Option<f32>,
    /// R for conversing (RCQ), 0 to 120.
    pub r_cq: Option<f32>,
    /// MOS for listening (MOSLQ), 1 to 5.
    pub mos_lq: Option<f32>,
    /// MOS for conversing (MOSCQ), 1 to 5.
    pub mos_cq: Option<f32>,
    /// Packet interval, milliseconds: FD times FPP.
    pub ptime_ms: Option<f32>,
}

/// One direction of a report.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a> {
    lines: &'a [u8],
}

impl<'a> VqReport<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// It does not begin as a report does, or names no call.
    pub fn parse(body: &'a [u8]) -> Result<Self, VqError> {
        let body = body.get(..BODY_MAX).unwrap_or(body);
        let start = body.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let body = &body[start..];
        let mut lines = Lines(body);
        let (name, value) = lines.next().ok_or(VqError::Empty)?;
        let known = KINDS.iter().find(|(known, _)| is(name, known));
        let kind = known.map(|&(_, kind)| kind).ok_or(VqError::Kind)?;
        let is_final = is(split_word(value).0, "CallTerm");
        let mut remote_at = body.len();
        loop {
            let at = body.len() - lines.0.len();
            let Some((name, _)) = lines.next() else { break };
            if is(name, "RemoteMetrics") {
                remote_at = at;
                break;
            }
        }
        let report = Self { kind, is_final, body, remote_at };
        if report.call_id().is_none_or(<[u8]>::is_empty) {
            return Err(VqError::NoCall);
        }
        Ok(report)
    }

    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> VqKind {
        self.kind
    }

    /// Whether the call is over.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.is_final
    }

    /// The Call-ID of the call.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        Metrics { lines: self.body }.line("CallID")
    }

    /// What the reporter received.
    #[must_use]
    pub fn local(&self) -> Metrics<'a> {
        Metrics { lines: &self.body[..self.remote_at] }
    }

    /// What it was told about what it sent; `None` if it says nothing of that.
    #[must_use]
    pub fn remote(&self) -> Option<Metrics<'a>> {
        let lines = &self.body[self.remote_at..];
        (!lines.is_empty()).then_some(Metrics { lines })
    }

    /// The SSRC of the stream that the reporter received: LocalAddr's.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        let value = self.local().value("LocalAddr", "SSRC")?;
        let digits = match value {
            [b'0', b'x' | b'X', digits @ ..] => digits,
            digits => digits,
        };
        u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl<'a> Metrics<'a> {
    /// All figures.
    #[must_use]
    pub fn figures(&self) -> VqFigures {
        let get = |line, key, high| self.number(line, key, 0.0, high);
        let percent = |line, key| get(line, key, 100.0);
        let ms = |line, key| get(line, key, MS_MAX);
        let frames = get("SessionDesc", "FPP", 255.0).filter(|&frames| frames > 0.0);
        VqFigures {
            lost: percent("PacketLoss", "NLR"),
            discarded: percent("PacketLoss", "JDR"),
            burst_density: percent("BurstGapLoss", "BLD"),
            burst_ms: ms("BurstGapLoss", "BD"),
            gap_density: percent("BurstGapLoss", "GLD"),
            gap_ms: ms("BurstGapLoss", "GD"),
            gmin: get("BurstGapLoss", "GMIN", 127.0),
            round_trip_ms: ms("Delay", "RTD"),
            end_system_ms: ms("Delay", "ESD"),
            one_way_ms: ms("Delay", "OWD").or_else(|| ms("Delay", "SOWD")),
            jitter_ms: ms("Delay", "IAJ"),
            absolute_jitter_ms: ms("Delay", "MAJ"),
            buffer_ms: ms("JitterBuffer", "JBN"),
            r_lq: get("QualityEst", "RLQ", 120.0),
            r_cq: get("QualityEst", "RCQ", 120.0),
            mos_lq: self.number("QualityEst", "MOSLQ", 1.0, 5.0),
            mos_cq: self.number("QualityEst", "MOSCQ", 1.0, 5.0),
            ptime_ms: ms("SessionDesc", "FD").map(|ms| ms * frames.unwrap_or(1.0)),
        }
    }

    /// The codec: PD by its name, or else what PT means where that is fixed.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let named = self.value("SessionDesc", "PD").map(|name| {
            // Some say `PCMU/8000`.
            Codec::from_name(name.split(|&byte| byte == b'/').next().unwrap_or(name))
        });
        let payload_type = || {
            let digits = str::from_utf8(self.value("SessionDesc", "PT")?).ok()?;
            let number = digits.parse().ok().filter(|&number: &u8| number < 96)?;
            Some(Codec::from_static(number)?.0)
        };
        named.filter(|&codec| codec != Codec::Unknown).or_else(payload_type).unwrap_or_default()
    }

    /// The codec's clock or sampling rate, Hz (SR).
    #[must_use]
    pub fn sample_rate(&self) -> Option<u32> {
        let digits = str::from_utf8(self.value("SessionDesc", "SR")?).ok()?;
        digits.parse().ok().filter(|rate| (1..=192_000).contains(rate))
    }

    /// The value of a line, blanks around it taken off.
    fn line(&self, name: &str) -> Option<&'a [u8]> {
        Lines(self.lines).find(|(known, _)| is(known, name)).map(|(_, value)| value)
    }

    /// The value of a key on a line, its quotes taken off.
    fn value(&self, line: &str, key: &str) -> Option<&'a [u8]> {
        let mut rest = self.line(line)?;
        while !rest.is_empty() {
            let equals = rest.iter().position(|&byte| byte == b'=')?;
            let name = rest[..equals].trim_ascii();
            let name = name.rsplit(u8::is_ascii_whitespace).next().unwrap_or(name);
            let after = rest[equals + 1..].trim_ascii_start();
            let (value, behind) = match after {
                [b'"', quoted @ ..] => {
                    let end = quoted.iter().position(|&byte| byte == b'"').unwrap_or(quoted.len());
                    (&quoted[..end], quoted.get(end + 1..).unwrap_or(&[]))
                }
                plain => split_word(plain),
            };
            if is(name, key) {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    fn number(&self, line: &str, key: &str, low: f32, high: f32) -> Option<f32> {
        let text = str::from_utf8(self.value(line, key)?).ok()?;
        let number: f32 = text.parse().ok()?;
        (low..=high).contains(&number).then_some(number)
    }
}

/// The lines of a body, folded ones as one: name and value.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let mut end = 0;
            loop {
                end += self.0[end..]
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .unwrap_or_else(|| self.0.len() - end);
                match self.0.get(end + 1) {
                    Some(b' ' | b'\t') => end += 1,
                    _ => break,
                }
            }
            let line = &self.0[..end];
            self.0 = self.0.get(end + 1..).unwrap_or(&[]);
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let name = line[..colon].trim_ascii();
            if !name.is_empty() {
                return Some((name, line.get(colon + 1..).unwrap_or(&[]).trim_ascii()));
            }
        }
        None
    }
}

fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// Why a body is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VqError {
    /// There is nothing.
    #[error("the report is empty")]
    Empty,
    /// The first line is that of no report.
    #[error("the first line is that of no voice quality report")]
    Kind,
    /// It does not say which call it is about.
    #[error("the report has no CallID")]
    NoCall,
}

const KINDS: [(&str, VqKind); 3] = [
    ("VQSessionReport", VqKind::Session),
    ("VQIntervalReport", VqKind::Interval),
    ("VQAlertReport", VqKind::Alert),
];

/// No duration of the RFC is longer: an hour.
const MS_MAX: f32 = 3_600_000.0;

/// A report has 1 to 3 KiB; what is behind this is not looked at.
const BODY_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "VQSessionReport: CallTerm\r\nCallID: 7f3@probe.example.net\r\n\
        LocalID: <sip:2001@example.net>\r\nLocalAddr: IP=192.0.2.10 PORT=10044 SSRC=0x1a2b3c4d\r\n\
        LocalMetrics:\r\nTimestamps:START=2025-03-01T10:00:00Z STOP=2025-03-01T10:03:20Z\r\n\
        SessionDesc:PT=8 PD=PCMA SR=8000 FD=20 FO=160 FPP=1 PPS=50 FMTP=\"a=1 NLR=9\" PLC=3\r\n\
        JitterBuffer:JBA=2 JBR=0 JBN=60 JBM=60 JBX=60\r\nPacketLoss:NLR=1.00 JDR=0.20\r\n\
        BurstGapLoss:BLD=25.00 BD=120 GLD=0.50 GD=45000 GMIN=16\r\n\
        Delay:RTD=80 ESD=90 SOWD=130 IAJ=4 MAJ=2\r\n\
        QualityEst:RLQ=88 RCQ=86 MOSLQ=4.3 MOSCQ=4.2\r\n\
        RemoteMetrics:\r\nPacketLoss:NLR=3.5\r\nQualityEst:MOSLQ=3.9\r\n";

    #[test]
    fn a_report_reads_whole() {
        let report = VqReport::parse(BODY.as_bytes()).unwrap();
        assert_eq!((report.kind(), report.is_final()), (VqKind::Session, true));
        assert_eq!(report.call_id(), Some(&b"7f3@probe.example.net"[..]));
        assert_eq!(report.ssrc(), Some(0x1a2b_3c4d));
        let local = report.local();
        assert_eq!((local.codec(), local.sample_rate()), (Codec::Pcma, Some(8000)));
        let expected = VqFigures {
            lost: Some(1.0),
            discarded: Some(0.2),
            burst_density: Some(25.0),
            burst_ms: Some(120.0),
            gap_density: Some(0.5),
            gap_ms: Some(45_000.0),
            gmin: Some(16.0),
            round_trip_ms: Some(80.0),
            end_system_ms: Some(90.0),
            one_way_ms: Some(130.0),
            jitter_ms: Some(4.0),
            absolute_jitter_ms: Some(2.0),
            buffer_ms: Some(60.0),
            r_lq: Some(88.0),
            r_cq: Some(86.0),
            mos_lq: Some(4.3),
            mos_cq: Some(4.2),
            ptime_ms: Some(20.0),
        };
        assert_eq!(local.figures(), expected);
        let remote = report.remote().unwrap().figures();
        let said = VqFigures { lost: Some(3.5), mos_lq: Some(3.9), ..VqFigures::default() };
        assert_eq!(remote, said);
    }

    #[test]
    fn what_phones_do_beside_the_grammar_is_taken() {
        let body = "\r\nvqintervalreport\nMetrics:\nPacketLoss: NLR=2\n JDR=1.5\n\
            Timestamps:STOP=2025-03-01T10:03:20Z START=2025-03-01T10:00:00Z\n\
            QualityEst:MOSLQ=4.1 EXTR=90 New=x\nSessionDesc:PT=0 FD=10 FPP=2\n\
            LocalAddr:IP=192.0.2.1 SSRC=1A2B\nCallID:9";
        let report = VqReport::parse(body.as_bytes()).unwrap();
        assert_eq!((report.kind(), report.is_final()), (VqKind::Interval, false));
        assert_eq!((report.call_id(), report.ssrc()), (Some(&b"9"[..]), Some(0x1a2b)));
        let figures = report.local().figures();
        assert_eq!((figures.lost, figures.discarded), (Some(2.0), Some(1.5)));
        assert_eq!((figures.mos_lq, figures.ptime_ms), (Some(4.1), Some(20.0)));
        assert_eq!(report.local().codec(), Codec::Pcmu);
        assert!(report.remote().is_none());
    }

    #[test]
    fn numbers_out_of_range_were_not_said_and_bad_reports_are_named() {
        let body = "VQAlertReport: Type=NLR Severity=Critical Dir=local\nCallID: 1\n\
            PacketLoss:NLR=101 JDR=-1\nQualityEst:MOSLQ=NaN MOSCQ=0.5 RLQ=inf RCQ=\nDelay:RTD=x";
        let report = VqReport::parse(body.as_bytes()).unwrap();
        assert_eq!(report.kind(), VqKind::Alert);
        assert_eq!(report.local().figures(), VqFigures::default());
        for (body, error) in [
            ("", VqError::Empty),
            ("\r\n \r\n", VqError::Empty),
            ("v=0\r\nCallID: 1", VqError::Kind),
            ("VQSessionReport\r\nLocalID: x\r\n", VqError::NoCall),
            ("VQSessionReport\r\nCallID:\r\n", VqError::NoCall),
        ] {
            assert_eq!(VqReport::parse(body.as_bytes()).unwrap_err(), error, "{body}");
        }
    }
}
