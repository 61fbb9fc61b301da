//! Every format of capture file gives the same packets with their times; files are merged by
//! time; what is broken is read as far as it goes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{io::Write as _, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use voxplane::source::capture::{Capture, CaptureError, Chunk};

#[path = "common/pcap.rs"]
mod pcap;

use pcap::{Pcap, PcapNg, TempFile, ethernet, ignored, payloads, read, udp};

const AT: u64 = 1_700_000_000_123_456_789;
const SECOND: u64 = 1_000_000_000;

fn packet(number: u32) -> Vec<u8> {
    ethernet(&udp("192.0.2.1:5060", "198.51.100.2:40000", &number.to_be_bytes()))
}

fn numbers(got: &[pcap::Got]) -> Vec<u32> {
    payloads(got).iter().map(|bytes| u32::from_be_bytes(bytes[..].try_into().unwrap())).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A pcap with so many packets, from `first` on, this far apart.
fn many(first: u32, count: u32, start: u64, step: u64) -> Vec<u8> {
    let mut file = Pcap::new(1);
    for number in 0..count {
        file.packet(start + u64::from(number) * step, &packet(first + number));
    }
    file.bytes
}

#[test]
fn pcap_in_both_byte_orders_and_units_plain_and_compressed() {
    for is_big in [false, true] {
        for is_nano in [false, true] {
            // The upper bits say that frames end with a check sequence of four bytes.
            let mut file = Pcap::with(0x2400_0001, is_big, is_nano);
            file.packet(AT, &packet(1));
            file.cut_packet(AT + SECOND, &packet(2), 40);
            let exact = if is_nano { AT } else { AT - 789 };
            let format = |is_packed| if is_packed { "pcap, gzip" } else { "pcap" };
            for (is_packed, bytes) in [(false, file.bytes.clone()), (true, gzip(&file.bytes))] {
                let (got, totals) = read(&[&bytes]);
                assert_eq!(got.iter().map(|got| got.at).collect::<Vec<_>>(), [exact]);
                assert_eq!((totals.packets, totals.bytes), (2, 2 * 46));
                assert_eq!(ignored(&totals, "ip_malformed"), 1);
                assert_eq!(totals.files[0].format, format(is_packed));
                assert_eq!(totals.last_time.unwrap().as_nanos(), exact + SECOND);
                assert!(totals.warnings.is_empty());
            }
        }
    }
}

#[test]
fn the_modified_pcap_has_longer_records() {
    let mut file = Pcap::new(1);
    file.bytes[..4].copy_from_slice(&0xA1B2_CD34_u32.to_le_bytes());
    for number in 1..=3 {
        let start = file.bytes.len();
        file.packet(AT, &packet(number));
        file.bytes.splice(start + 16..start + 16, [0; 8]);
    }
    assert_eq!(numbers(&read(&[&file.bytes]).0), [1, 2, 3]);
}

#[test]
fn pcapng_sections_interfaces_and_kinds_of_packet() {
    let mut file = PcapNg::new(false);
    file.block(0xBAD, b"nobody knows this one");
    file.interface(1, &[]);
    file.interface(101, &[(2, b"any"), (9, &[9]), (14, &2_i64.to_le_bytes())]);
    file.packet(0, AT / 1000, &packet(1));
    file.packet(1, AT, &packet(2)[14..]);
    file.simple_packet(&packet(3));
    file.old_packet(0, AT / 1000 + 1, &packet(4));
    file.section(true);
    file.interface(1, &[(9, &[0x80 | 20]), (14, &(-1_i64).to_be_bytes())]);
    file.interface(1, &[(9, &[12])]);
    file.block(5, &[0; 300_000]);
    file.packet(0, 1_700_000_000 << 20, &packet(5));
    file.packet(1, 17_000_000_123_456_789_000, &packet(6));
    file.old_packet(1, 17_000_000_123_456_789_000, &packet(7));
    for (bytes, format) in [(file.bytes.clone(), "pcapng"), (gzip(&file.bytes), "pcapng, gzip")] {
        let (got, totals) = read(&[&bytes]);
        assert_eq!(numbers(&got), [1, 2, 3, 4, 5, 6, 7]);
        let micros = AT - 789;
        let late = 17_000_000_123_456_789;
        let times: Vec<_> = got.iter().map(|got| got.at).collect();
        let second = 1_699_999_999 * SECOND;
        let last = AT + 2 * SECOND;
        assert_eq!(times, [micros, last, last, micros + 1000, second, late, late]);
        assert_eq!((totals.packets, totals.files[0].format), (7, format));
        assert_eq!(totals.warnings, [""; 0]);
    }
}

#[test]
fn a_file_longer_than_a_window_is_read_whole() {
    let file = many(0, 50_000, AT, 20_000_000);
    let (got, totals) = read(&[&file]);
    assert_eq!(numbers(&got), (0..50_000).collect::<Vec<_>>());
    assert_eq!(totals.packets, 50_000);
    let mut big = Pcap::new(101);
    let large = udp("192.0.2.1:1", "192.0.2.2:2", &[7; 60_000]);
    for _ in 0..30 {
        let mut packet = large.clone();
        packet.resize(262_144, 0);
        big.packet(AT, &packet);
    }
    let (got, _) = read(&[&big.bytes]);
    assert_eq!(payloads(&got), vec![vec![7; 60_000]; 30]);
}

#[test]
fn files_are_merged_by_time() {
    let even = many(0, 5_000, AT, 2 * SECOND);
    let odd = many(10_000, 5_000, AT + SECOND, 2 * SECOND);
    let late = many(20_000, 10, AT + 100_000 * SECOND, SECOND);
    let (got, totals) = read(&[&late, &odd, &gzip(&even)]);
    let expected = (0..5_000).flat_map(|n| [n, 10_000 + n]).chain(20_000..20_010);
    assert_eq!(numbers(&got), expected.collect::<Vec<_>>());
    let packets: Vec<_> = totals.files.iter().map(|file| file.packets).collect();
    assert_eq!((packets, totals.packets), (vec![10, 5_000, 5_000], 10_010));
    assert_eq!(totals.files[1].first_time.unwrap().as_nanos(), AT - 789 + SECOND);
}

#[test]
fn disorder_within_a_file_stays() {
    let mut file = Pcap::new(1);
    for (number, at) in [(1, 5), (2, 3), (3, 4), (4, 9)] {
        file.packet(AT + at * SECOND, &packet(number));
    }
    assert_eq!(numbers(&read(&[&file.bytes]).0), [1, 2, 3, 4]);
    let other = many(10, 2, AT + 6 * SECOND, SECOND);
    assert_eq!(numbers(&read(&[&file.bytes, &other]).0), [1, 2, 3, 10, 11, 4]);
}

#[test]
fn a_fragment_may_be_in_the_next_file() {
    let whole = udp("192.0.2.1:5060", "192.0.2.2:5060", &[9; 3000]);
    let pieces = pcap::fragments(&whole, 7, 1480);
    let files: Vec<_> = (0..)
        .zip(&pieces)
        .map(|(second, piece)| {
            let mut file = Pcap::new(101);
            file.packet(AT + second * SECOND, piece);
            file.bytes
        })
        .collect();
    let files: Vec<_> = files.iter().map(Vec::as_slice).collect();
    assert_eq!(payloads(&read(&files).0), [vec![9; 3000]]);
}

#[test]
fn a_cut_file_is_read_up_to_the_cut() {
    let file = many(0, 20, AT, SECOND);
    let record = 16 + 46;
    for end in 24..=file.len() {
        let (got, totals) = read(&[&file[..end]]);
        let whole = (end - 24) / record;
        assert_eq!(got.len(), whole);
        let is_cut = !(end - 24).is_multiple_of(record);
        assert_eq!(totals.warnings.len(), usize::from(is_cut));
        if is_cut {
            let at = 24 + whole * record;
            let what = format!(": cut off in packet {} at byte {at}", whole + 1);
            assert!(totals.warnings[0].ends_with(&what), "{}", totals.warnings[0]);
        }
    }
    let packed = gzip(&many(0, 5_000, AT, SECOND));
    let (got, totals) = read(&[&packed[..packed.len() / 2], &file]);
    assert!(got.len() > 1_000 && totals.files[1].packets == 20, "{}", got.len());
    assert!(totals.warnings[0].contains(": cannot be read further ("), "{}", totals.warnings[0]);
}

#[test]
fn a_length_that_lies_ends_its_file_only() {
    let whole = many(0, 10, AT, SECOND);
    let mut lying = many(100, 10, AT, SECOND);
    let at = 24 + 5 * 62 + 8;
    for lie in [262_145_u32, u32::MAX, i32::MAX as u32] {
        lying[at..at + 4].copy_from_slice(&lie.to_le_bytes());
        let (got, totals) = read(&[&whole, &lying]);
        assert_eq!(got.len(), 15);
        let warning = &totals.warnings[0];
        assert!(warning.ends_with("in packet 6 at byte 334"), "{warning}");
    }
    let mut file = PcapNg::new(false);
    file.interface(1, &[]);
    file.packet(0, AT / 1000, &packet(1));
    let good = file.bytes.len();
    for lie in [0_u32, 8, 13, 0x7FFF_FFFC, u32::MAX] {
        file.packet(0, AT / 1000, &packet(2));
        file.bytes[good + 4..good + 8].copy_from_slice(&lie.to_le_bytes());
        let (got, totals) = read(&[&file.bytes]);
        assert_eq!((numbers(&got), totals.warnings.len()), (vec![1], 1));
        file.bytes.truncate(good);
    }
    file.packet(3, AT / 1000, &packet(2));
    assert!(read(&[&file.bytes]).1.warnings[0].contains("was not described"));
}

#[test]
fn what_is_no_capture_is_said_in_a_sentence() {
    let error = |bytes: &[u8]| {
        let file = TempFile::new(bytes);
        let error = Capture::open(&[file.path()]).unwrap_err();
        error.to_string().rsplit_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(error(b""), "is empty");
    assert_eq!(
        error(&many(0, 0, AT, 0)[..20]),
        "ends within the header of a capture, after 20 bytes"
    );
    assert_eq!(error(b"Dear all, please find"), "is not a pcap or pcapng capture");
    let found = "is not a pcap or pcapng capture but a capture of Microsoft Network Monitor 2";
    assert_eq!(error(b"GMBU\0\x02\x01\0"), found);
    assert_eq!(error(&gzip(b"GMBU\0\x02\x01\0")), found);
    assert!(matches!(Capture::open(&[]), Err(CaptureError::NoFile)));
    let missing = PathBuf::from("/nonexistent/x.pcap");
    assert!(matches!(Capture::open(&[missing]), Err(CaptureError::Unreadable { .. })));
    assert!(matches!(Capture::open(&[".".into()]), Err(CaptureError::Unreadable { .. })));
}

#[test]
fn a_capture_without_packets_is_one() {
    let (got, totals) = read(&[&many(0, 0, AT, 0)]);
    assert_eq!((got.len(), totals.packets, totals.first_time), (0, 0, None));
    assert!(totals.warnings.is_empty());
}

#[test]
fn progress_ends_at_the_end() {
    for count in [1, 2] {
        let files: Vec<_> = (0..count).map(|_| TempFile::new(&many(0, 20_000, AT, 1))).collect();
        let paths: Vec<_> = files.iter().map(TempFile::path).collect();
        let mut capture = Capture::open(&paths).unwrap();
        let mut chunk = Chunk::default();
        let mut seen = 0;
        while capture.fill(&mut chunk) {
            let progress = capture.progress();
            assert!(progress.bytes_read >= seen && progress.bytes_read > 0);
            seen = progress.bytes_read;
        }
        let total = count * (24 + 20_000 * 62);
        assert_eq!((seen, capture.progress().bytes_total), (total, Some(total)));
    }
}

#[test]
fn chunks_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Chunk>();
}
