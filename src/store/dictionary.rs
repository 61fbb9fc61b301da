//! Texts that many calls share, each kept once, searched by what they contain.
//!
//! It never forgets a text by itself: who holds the numbers builds a new one of those in use.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use memchr::memmem;

/// Texts with their numbers, from 0; letter case of ASCII is not kept.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// All texts in a row, each with [`END`] after it.
    texts: Vec<u8>,
    /// Where each text begins.
    starts: Vec<u32>,
    /// Numbers by hash; where hashes clash, by the hash after.
    numbers: HashMap<u64, u32, RandomState>,
    hasher: RandomState,
}

impl Dictionary {
    /// The number of a text, a new one if it has none.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        let mut text = text.as_bytes().to_ascii_lowercase();
        text.retain(|&byte| byte != END);
        let mut hash = std::hash::BuildHasher::hash_one(&self.hasher, &text);
        while let Some(&number) = self.numbers.get(&hash) {
            if self.text(number) == text {
                return number;
            }
            hash = hash.wrapping_add(1);
        }
        let (Ok(number), Ok(start)) =
            (u32::try_from(self.starts.len()), u32::try_from(self.texts.len()))
        else {
            // 4 GB of different texts: the bound on calls is reached long before.
            return 0;
        };
        self.starts.push(start);
        self.texts.extend_from_slice(&text);
        self.texts.push(END);
        self.numbers.insert(hash, number);
        number
    }

    /// A text by its number, in lower case; empty if there is none.
    pub(super) fn text(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let Some(&start) = self.starts.get(number) else { return b"" };
        let end = self.starts.get(number + 1).map_or(self.texts.len(), |&next| next as usize);
        &self.texts[start as usize..end - 1]
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The texts that contain `part`, letter case of ASCII aside.
    pub(super) fn containing(&self, part: &str) -> Set {
        let mut found = Set::new(self.len());
        let part = part.as_bytes().to_ascii_lowercase();
        if part.contains(&END) {
            return found;
        }
        let finder = memmem::Finder::new(&part);
        let (mut at, mut number) = (0, 0);
        while let Some(hit) = self.texts.get(at..).and_then(|rest| finder.find(rest)) {
            number = self.text_at(at + hit, number);
            found.insert(number);
            // On with the next text.
            number += 1;
            let Some(&next) = self.starts.get(number) else { break };
            at = next as usize;
        }
        found
    }

    /// The texts that begin with `part`, letter case of ASCII aside.
    pub(super) fn starting_with(&self, part: &str) -> Set {
        let mut found = Set::new(self.len());
        let part = part.as_bytes().to_ascii_lowercase();
        for (number, &start) in self.starts.iter().enumerate() {
            if self.texts[start as usize..].starts_with(&part) {
                found.insert(number);
            }
        }
        found
    }

    /// The number of the text that a place is in, which is not before text number `from`.
    fn text_at(&self, place: usize, from: usize) -> usize {
        let is_before = |&start: &u32| start as usize <= place;
        // In steps that double: of a part that many texts have, the next is near.
        let mut step = 1;
        while self.starts.get(from + step).is_some_and(is_before) {
            step *= 2;
        }
        let low = from + step / 2;
        let high = (from + step).min(self.starts.len());
        low + self.starts[low..high].partition_point(is_before) - 1
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.texts.capacity() + self.starts.capacity() * 4 + self.numbers.capacity() * 17
    }
}

/// A set of numbers.
#[derive(Clone, Debug)]
pub(super) struct Set {
    words: Vec<u64>,
    /// How many numbers there are, in it or not.
    len: usize,
}

impl Set {
    /// An empty set with room for the numbers below `len`.
    pub(super) fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    pub(super) fn insert(&mut self, number: usize) {
        if let Some(word) = self.words.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let word = self.words.get(number as usize / 64).copied().unwrap_or(0);
        word >> (number % 64) & 1 != 0
    }

    /// Whether all numbers are in it.
    pub(super) fn is_all(&self) -> bool {
        let count: u32 = self.words.iter().map(|word| word.count_ones()).sum();
        count as usize == self.len
    }
}

/// What no text contains.
const END: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_once_and_found_by_a_part() {
        let mut dictionary = Dictionary::default();
        let texts = ["sip:alice@a", "", "sip:bob@b", "SIP:Alice@A", "x\0y", "é%_'"];
        let numbers: Vec<_> = texts.iter().map(|text| dictionary.number(text)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 3, 4]);
        let found = |part: &str| -> Vec<u32> {
            let set = dictionary.containing(part);
            (0..5).filter(|&number| set.contains(number)).collect()
        };
        assert_eq!(found("ALICE"), [0]);
        assert_eq!(found("sip:"), [0, 2]);
        assert_eq!(found("@b"), [2]);
        assert_eq!(found("a"), [0]);
        assert_eq!(found("xy"), [3]);
        assert_eq!(found("x\0y"), [0; 0]);
        assert_eq!(found("%"), [4]);
        assert_eq!(found("alice@asip"), [0; 0], "no part of two texts");
        assert_eq!(found(""), [0, 1, 2, 3, 4]);
        assert!(dictionary.containing("").is_all() && !dictionary.containing("sip:").is_all());
        let set = dictionary.starting_with("SIP:b");
        assert!(set.contains(2) && !set.contains(0) && !set.contains(1));
    }

    #[test]
    fn texts_far_apart_are_found() {
        let mut dictionary = Dictionary::default();
        for number in 0..5000_u32 {
            assert_eq!(dictionary.number(&format!("<{number}>")), number);
        }
        for part in ["<7>", "99", "4321", "<", "0>"] {
            let set = dictionary.containing(part);
            for number in 0..5000_u32 {
                let expected = format!("<{number}>").contains(part);
                assert_eq!(set.contains(number), expected, "{part} in {number}");
            }
        }
    }
}
