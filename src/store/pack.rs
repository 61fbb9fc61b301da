//! Texts of the store in few bytes: deflate that starts from what such texts have in common.
//! It knows nothing of what the texts say.

use core::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Packs a text: a byte that names the dictionary, the length, then raw deflate (RFC 1951).
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = vec![DICTIONARY_1];
    super::varint::write(&mut packed, text.len() as u64);
    PACKER.with_borrow_mut(|packer| {
        packer.reset();
        // Both fail only on a stream that is not at its beginning.
        let _ = packer.set_dictionary(DICTIONARY);
        packed.reserve(text.len() / 2 + 64);
        let mut done = 0;
        loop {
            let status = packer.compress_vec(&text[done..], &mut packed, FlushCompress::Finish);
            done = usize::try_from(packer.total_in()).unwrap_or(text.len()).min(text.len());
            match status {
                Ok(Status::Ok | Status::BufError) => packed.reserve(text.len() / 2 + 64),
                Ok(Status::StreamEnd) | Err(_) => return,
            }
        }
    });
    packed
}

/// The text again; `None` if it is not one that was packed.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (&DICTIONARY_1, mut rest) = packed.split_first()? else { return None };
    let len = super::varint::read(&mut rest)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= TEXT_MAX)?;
    // Room for more than there is, so that the end of the stream is always reached.
    let mut text = Vec::with_capacity(len + 16);
    UNPACKER.with_borrow_mut(|unpacker| {
        unpacker.reset(false);
        unpacker.set_dictionary(DICTIONARY).ok()?;
        let status = unpacker.decompress_vec(rest, &mut text, FlushDecompress::Finish);
        (matches!(status, Ok(Status::StreamEnd)) && text.len() == len).then_some(())
    })?;
    Some(text)
}

thread_local! {
    /// A compressor takes 256 KB; each thread that needs one keeps it.
    static PACKER: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
    static UNPACKER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Most of what is longer is gained by now, and it costs half the time of the default.
const LEVEL: Compression = Compression::new(4);

/// Names [`DICTIONARY`]. A better one gets another number; this one stays readable.
const DICTIONARY_1: u8 = 1;

/// What the texts have in common, the most common last. It must never change.
const DICTIONARY: &[u8] = include_bytes!("dictionary_1.txt");

/// No text of ours is longer.
const TEXT_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let noise: Vec<u8> = (0..10_000).map(|_| fastrand::u8(..)).collect();
        let like = &DICTIONARY[..DICTIONARY.len() / 2];
        for text in [&b""[..], b"x", b"{\"call_id\":\"1\"}", like, &noise, &DICTIONARY.repeat(9)] {
            let packed = pack(text);
            assert_eq!(unpack(&packed).as_deref(), Some(text));
            for cut in 0..packed.len().min(50) {
                assert_eq!(unpack(&packed[..cut]), None, "{cut} bytes of {}", packed.len());
            }
        }
        assert!(pack(like).len() < 64, "what is in the dictionary costs nothing");
        assert_eq!(unpack(&[9, 1, 2]), None);
    }
}
