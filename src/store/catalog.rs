//! The facts of every call in the history, in columns in memory: any filter and any order is one
//! pass over them, 8,192 calls at a time, that leaves out what cannot be on the page. It holds no
//! record and reads no disk.
//!
//! A call takes 41 bytes and its share of the texts, which are kept once each.

use std::{
    collections::{BTreeMap, BinaryHeap},
    net::IpAddr,
};

use super::{
    dictionary::{Dictionary, Set},
    entry::Facts,
    filter::{Filter, Key, Network, Page, Rank, thousandths_within},
};
use crate::time::Timestamp;

/// The calls of the history by their numbers, which grow in the order in which calls end.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    chunks: BTreeMap<u64, Box<Chunk>>,
    len: u64,
    /// From and To.
    parties: Dictionary,
    user_agents: Dictionary,
    codecs: Dictionary,
    sources: Sources,
    /// Calls that have gone since texts were last looked through.
    gone: u64,
}

/// One page of a list, by numbers.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Calls that the filter lets through.
    pub(super) total: u64,
    /// Those on the page, in order.
    pub(super) ids: Vec<u64>,
    /// The place of the last one, if there are more after it.
    pub(super) next: Option<Rank>,
}

/// Some calls that follow each other, each fact in a column.
#[derive(Debug)]
struct Chunk {
    /// How many of its places are taken.
    len: u32,
    /// [`TAKEN`] and what a call has of the others.
    flags: Vec<u8>,
    start: Vec<u64>,
    /// [`UNKNOWN`] where it is not known; so with the next two.
    mos: Vec<u16>,
    loss: Vec<u32>,
    jitter: Vec<u32>,
    duration: Vec<u32>,
    from: Vec<u32>,
    to: Vec<u32>,
    user_agent: Vec<u32>,
    codec: Vec<u16>,
    source: Vec<u32>,
    /// Of what lists are sorted by, in the order of [`SORTED`].
    bounds: [Bounds; SORTED.len()],
}

/// The lowest and the highest value that has been in a column. What has gone makes them no
/// narrower.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    low: u32,
    high: u32,
}

/// Addresses with their numbers, as texts and as what they mean.
#[derive(Debug, Default)]
struct Sources {
    texts: Dictionary,
    addresses: Vec<Option<IpAddr>>,
}

/// A filter in the numbers of the catalog.
struct Sieve {
    flags: Option<(u8, u8)>,
    mos: Option<(u16, u16)>,
    start: Option<(u64, u64)>,
    from: Option<Set>,
    to: Option<Set>,
    user_agent: Option<Set>,
    codec: Option<Set>,
    source: Option<Set>,
}

impl Catalog {
    /// How many calls there are.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Adds a call, or replaces the one of that number.
    pub(super) fn insert(&mut self, id: u64, facts: &Facts) {
        let from = self.parties.number(facts.from.as_deref().unwrap_or_default());
        let to = self.parties.number(facts.to.as_deref().unwrap_or_default());
        let user_agent = self.user_agents.number(facts.user_agent.as_deref().unwrap_or_default());
        let codec = self.codecs.number(facts.codec.as_deref().unwrap_or_default());
        let source = self.sources.number(facts.source);
        let (chunk, index) = place(id);
        let chunk = self.chunks.entry(chunk).or_default();
        if chunk.flags[index] & TAKEN == 0 {
            chunk.len += 1;
            self.len += 1;
        }
        chunk.flags[index] = TAKEN
            | if facts.is_answered { ANSWERED } else { 0 }
            | if facts.has_alert { ALERT } else { 0 };
        chunk.start[index] = facts.start.as_nanos();
        chunk.mos[index] = facts
            .mos
            .map_or(u16::MAX, |mos| u16::try_from(mos).unwrap_or(u16::MAX).min(u16::MAX - 1));
        chunk.loss[index] = facts.loss.unwrap_or(UNKNOWN);
        chunk.jitter[index] = facts.jitter.unwrap_or(UNKNOWN);
        chunk.duration[index] = facts.duration;
        chunk.from[index] = from;
        chunk.to[index] = to;
        chunk.user_agent[index] = user_agent;
        // Names of codecs are ours and few.
        chunk.codec[index] = u16::try_from(codec).unwrap_or(0);
        chunk.source[index] = source;
        chunk.widen_bounds(index);
    }

    /// Marks a call as named by an alert.
    pub(super) fn set_alert(&mut self, id: u64) {
        let (chunk, index) = place(id);
        if let Some(chunk) = self.chunks.get_mut(&chunk)
            && chunk.flags[index] & TAKEN != 0
        {
            chunk.flags[index] |= ALERT;
        }
    }

    /// Removes a call.
    pub(super) fn remove(&mut self, id: u64) {
        let (number, index) = place(id);
        let Some(chunk) = self.chunks.get_mut(&number) else { return };
        if chunk.flags[index] & TAKEN == 0 {
            return;
        }
        chunk.flags[index] = 0;
        chunk.len -= 1;
        self.len -= 1;
        self.gone += 1;
        if chunk.len == 0 {
            self.chunks.remove(&number);
        }
        if self.gone > self.len.max(GONE_MIN) {
            self.forget();
        }
    }

    /// The calls of a page and how many there are in all.
    pub(super) fn page(&self, page: &Page) -> Found {
        let wanted = page.offset.saturating_add(page.limit);
        let after = page.after_rank();
        if page.key == Key::Time {
            return self.page_by_time(page, after.map(|after| after.1));
        }
        let sieve = self.sieve(&page.filter);
        let mut mask = [0; CHUNK];
        let mut total = 0;
        // The worst of those kept stands on top; one more than wanted tells whether more follow.
        let mut best: BinaryHeap<Rank> = BinaryHeap::new();
        let room = wanted.saturating_add(1);
        let mut worst = (u32::MAX, u64::MAX);
        let lets_all_through = sieve.lets_all_through();
        // The newest first: among equals they come first, and older ones are out of the question.
        for (&number, chunk) in self.chunks.iter().rev() {
            let newest = number * CHUNK as u64 + (CHUNK as u64 - 1);
            let is_out = (chunk.best(page.key, page.is_ascending), u64::MAX - newest) >= worst;
            if is_out && lets_all_through {
                total += u64::from(chunk.len);
                continue;
            }
            total += chunk.sift(&sieve, &mut mask);
            if is_out {
                continue;
            }
            chunk.each_value(page.key, &mask, |index, value| {
                let value = directed(value, page.is_ascending);
                if value > worst.0 {
                    return;
                }
                // Newest first among equals.
                let rank = (value, u64::MAX - (number * CHUNK as u64 + index as u64));
                if rank >= worst || after.is_some_and(|after| rank <= after) {
                    return;
                }
                best.push(rank);
                if best.len() > room {
                    best.pop();
                }
                if best.len() == room
                    && let Some(&top) = best.peek()
                {
                    worst = top;
                }
            });
        }
        let best = best.into_sorted_vec();
        let has_more = best.len() > wanted;
        let on_page = best.get(page.offset..wanted.min(best.len())).unwrap_or_default();
        Found {
            total,
            ids: on_page.iter().map(|rank| u64::MAX - rank.1).collect(),
            next: on_page.last().copied().filter(|_| has_more),
        }
    }

    /// The next calls after `after`, last ended first: some hundreds at least, if there are.
    pub(super) fn some(&self, filter: &Filter, after: Option<u64>) -> Vec<u64> {
        let sieve = self.sieve(filter);
        let mut mask = [0; CHUNK];
        let mut ids = Vec::new();
        for (number, chunk) in self.in_order(after, false) {
            if chunk.sift(&sieve, &mut mask) > 0 {
                ids.extend(taken(number, &mask, false).filter(|&id| is_past(id, after, false)));
            }
            if ids.len() >= SOME {
                break;
            }
        }
        ids
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let dictionaries = [&self.parties, &self.user_agents, &self.codecs, &self.sources.texts];
        let texts: usize = dictionaries.into_iter().map(Dictionary::size).sum();
        texts + self.chunks.len() * CHUNK * ROW_BYTES
    }

    fn page_by_time(&self, page: &Page, after: Option<u64>) -> Found {
        let sieve = self.sieve(&page.filter);
        let lets_all_through = sieve.lets_all_through();
        let mut mask = [0; CHUNK];
        let mut found = Found { total: 0, ..Found::default() };
        let mut skip = page.offset;
        let mut has_more = false;
        for (number, chunk) in self.in_order(None, page.is_ascending) {
            let is_done = has_more || page.limit == 0;
            let before = after.is_some_and(|after| {
                let last = if page.is_ascending { CHUNK as u64 - 1 } else { 0 };
                !is_past(number * CHUNK as u64 + last, Some(after), page.is_ascending)
                    && number != after / CHUNK as u64
            });
            let whole = chunk.len as usize;
            if lets_all_through && (is_done || before || after.is_none() && skip >= whole) {
                found.total += u64::from(chunk.len);
                skip = skip.saturating_sub(if is_done || before { 0 } else { whole });
                continue;
            }
            found.total += chunk.sift(&sieve, &mut mask);
            if is_done || before {
                continue;
            }
            for id in taken(number, &mask, page.is_ascending) {
                if !is_past(id, after, page.is_ascending) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                } else if found.ids.len() < page.limit {
                    found.ids.push(id);
                } else {
                    has_more = true;
                    break;
                }
            }
        }
        found.next = found.ids.last().filter(|_| has_more).map(|&id| (0, id));
        found
    }

    fn in_order(
        &self,
        after: Option<u64>,
        is_ascending: bool,
    ) -> impl Iterator<Item = (u64, &Chunk)> {
        let after = after.map(|after| after / CHUNK as u64);
        let chunks = if is_ascending {
            self.chunks.range(after.unwrap_or(0)..)
        } else {
            self.chunks.range(..=after.unwrap_or(u64::MAX))
        };
        let mut chunks = chunks.map(|(&number, chunk)| (number, &**chunk));
        core::iter::from_fn(move || if is_ascending { chunks.next() } else { chunks.next_back() })
    }

    fn sieve(&self, filter: &Filter) -> Sieve {
        // What all have is no filter.
        let part = |part: &Option<String>, of: &Dictionary| {
            let part = part.as_ref().filter(|part| !part.is_empty())?;
            Some(of.containing(part)).filter(|set| !set.is_all())
        };
        let flag = |wanted: Option<bool>, flag: u8| match wanted {
            Some(true) => (flag, flag),
            Some(false) => (flag, 0),
            None => (0, 0),
        };
        let answered = flag(filter.is_answered, ANSWERED);
        let alert = flag(filter.has_alert, ALERT);
        let flags = (answered.0 | alert.0, answered.1 | alert.1);
        let narrow = |value: u32| u16::try_from(value).unwrap_or(u16::MAX).min(u16::MAX - 1);
        let mos = thousandths_within(filter.min_mos, filter.max_mos);
        let source = filter.source.as_ref().map(|network| self.sources.within(network));
        let source = source.filter(|set| !set.is_all());
        let nanos = |time: Timestamp| time.as_nanos();
        Sieve {
            flags: (flags.0 != 0).then_some(flags),
            mos: mos.map(|mos| (narrow(*mos.start()), narrow(*mos.end()))),
            start: (filter.since.is_some() || filter.until.is_some())
                .then(|| (filter.since.map_or(0, nanos), filter.until.map_or(u64::MAX, nanos))),
            from: part(&filter.from, &self.parties),
            to: part(&filter.to, &self.parties),
            user_agent: part(&filter.user_agent, &self.user_agents),
            codec: part(&filter.codec, &self.codecs),
            source,
        }
    }

    /// Forgets the texts that no call has any more.
    fn forget(&mut self) {
        self.gone = 0;
        let chunks = &mut self.chunks;
        self.parties = renumbered(&self.parties, |each| {
            for chunk in chunks.values_mut() {
                let flags = &chunk.flags;
                for column in [&mut chunk.from, &mut chunk.to] {
                    let taken = column.iter_mut().zip(flags).filter(|(_, flags)| **flags != 0);
                    taken.for_each(|(number, _)| each(number));
                }
            }
        });
        self.user_agents = renumbered(&self.user_agents, |each| {
            for chunk in chunks.values_mut() {
                let taken = chunk.user_agent.iter_mut().zip(&chunk.flags);
                taken.filter(|(_, flags)| **flags != 0).for_each(|(number, _)| each(number));
            }
        });
        let old = core::mem::take(&mut self.sources);
        for chunk in chunks.values_mut() {
            let taken = chunk.source.iter_mut().zip(&chunk.flags);
            for (number, _) in taken.filter(|(_, flags)| **flags != 0) {
                *number = self.sources.number(old.address(*number));
            }
        }
    }
}

impl Chunk {
    /// Marks in `mask` the calls that get through and counts them.
    fn sift(&self, sieve: &Sieve, mask: &mut [u8; CHUNK]) -> u64 {
        let (bits, wanted) = sieve.flags.unwrap_or((0, 0));
        let (bits, wanted) = (bits | TAKEN, wanted | TAKEN);
        for (mask, flags) in mask.iter_mut().zip(&self.flags) {
            *mask = u8::from(flags & bits == wanted);
        }
        if let Some((low, high)) = sieve.mos {
            for (mask, mos) in mask.iter_mut().zip(&self.mos) {
                *mask &= u8::from(low <= *mos) & u8::from(*mos <= high);
            }
        }
        if let Some((since, until)) = sieve.start {
            for (mask, start) in mask.iter_mut().zip(&self.start) {
                *mask &= u8::from(since <= *start) & u8::from(*start < until);
            }
        }
        let sets = [
            (&sieve.from, &self.from),
            (&sieve.to, &self.to),
            (&sieve.user_agent, &self.user_agent),
            (&sieve.source, &self.source),
        ];
        for (set, column) in sets {
            let Some(set) = set else { continue };
            for (mask, number) in mask.iter_mut().zip(column).filter(|(mask, _)| **mask != 0) {
                *mask = u8::from(set.contains(*number));
            }
        }
        if let Some(set) = &sieve.codec {
            for (mask, number) in mask.iter_mut().zip(&self.codec) {
                *mask &= u8::from(set.contains(u32::from(*number)));
            }
        }
        mask.iter().map(|&mask| u64::from(mask)).sum()
    }

    /// Has the bounds take in a call.
    fn widen_bounds(&mut self, index: usize) {
        for (place, key) in SORTED.into_iter().enumerate() {
            let value = self.value(key, index);
            if value != UNKNOWN {
                let bounds = &mut self.bounds[place];
                bounds.low = bounds.low.min(value);
                bounds.high = bounds.high.max(value);
            }
        }
    }

    /// What comes first in a list by this key comes no sooner than this.
    fn best(&self, key: Key, is_ascending: bool) -> u32 {
        let place = SORTED.iter().position(|&sorted| sorted == key);
        let Some(Bounds { low, high }) = place.map(|place| self.bounds[place]) else { return 0 };
        if low > high {
            return UNKNOWN;
        }
        directed(if is_ascending { low } else { high }, is_ascending)
    }

    fn value(&self, key: Key, index: usize) -> u32 {
        match key {
            Key::Loss => self.loss[index],
            Key::Jitter => self.jitter[index],
            Key::Duration => self.duration[index],
            Key::Mos | Key::Time => match self.mos[index] {
                u16::MAX => UNKNOWN,
                mos => mos.into(),
            },
        }
    }

    /// Gives each call that is marked with the value that lists are sorted by.
    fn each_value(&self, key: Key, mask: &[u8; CHUNK], mut each: impl FnMut(usize, u32)) {
        let column = match key {
            Key::Loss => &self.loss,
            Key::Jitter => &self.jitter,
            Key::Duration => &self.duration,
            Key::Mos | Key::Time => {
                for (index, mos) in marked(mask).map(|index| (index, self.mos[index])) {
                    each(index, if mos == u16::MAX { UNKNOWN } else { u32::from(mos) });
                }
                return;
            }
        };
        for index in marked(mask) {
            each(index, column[index]);
        }
    }
}

impl Default for Chunk {
    fn default() -> Self {
        let numbers = || vec![0_u32; CHUNK];
        Self {
            len: 0,
            flags: vec![0; CHUNK],
            start: vec![0; CHUNK],
            mos: vec![0; CHUNK],
            loss: numbers(),
            jitter: numbers(),
            duration: numbers(),
            from: numbers(),
            to: numbers(),
            user_agent: numbers(),
            codec: vec![0; CHUNK],
            source: numbers(),
            bounds: [Bounds { low: UNKNOWN, high: 0 }; SORTED.len()],
        }
    }
}

impl Sources {
    fn number(&mut self, address: Option<IpAddr>) -> u32 {
        let text = address.map(|address| address.to_string()).unwrap_or_default();
        let number = self.texts.number(&text);
        if number as usize == self.addresses.len() {
            self.addresses.push(address);
        }
        number
    }

    fn address(&self, number: u32) -> Option<IpAddr> {
        self.addresses.get(number as usize).copied().flatten()
    }

    fn within(&self, network: &Network) -> Set {
        if let Network::Prefix(text) = network {
            return self.texts.starting_with(text);
        }
        let mut set = Set::new(self.addresses.len());
        for (number, address) in self.addresses.iter().enumerate() {
            if address.is_some_and(|address| network.contains(address)) {
                set.insert(number);
            }
        }
        set
    }
}

impl Sieve {
    const fn lets_all_through(&self) -> bool {
        self.flags.is_none()
            && self.mos.is_none()
            && self.start.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.user_agent.is_none()
            && self.codec.is_none()
            && self.source.is_none()
    }
}

/// Where a value comes in a list; what is not known comes last either way.
const fn directed(value: u32, is_ascending: bool) -> u32 {
    match value {
        UNKNOWN => UNKNOWN,
        value if is_ascending => value,
        value => UNKNOWN - 1 - value,
    }
}

/// Which chunk a call is in, and where in it.
fn place(id: u64) -> (u64, usize) {
    let index = usize::try_from(id % CHUNK as u64).unwrap_or(0);
    (id / CHUNK as u64, index)
}

/// A dictionary of the texts in use; `each_number` is called with what renumbers them.
fn renumbered(old: &Dictionary, each_number: impl FnOnce(&mut dyn FnMut(&mut u32))) -> Dictionary {
    let mut new = Dictionary::default();
    let mut numbers = vec![u32::MAX; old.len()];
    each_number(&mut |number| {
        let Some(known) = numbers.get_mut(*number as usize) else { return };
        if *known == u32::MAX {
            *known = new.number(&String::from_utf8_lossy(old.text(*number)));
        }
        *number = *known;
    });
    new
}

fn marked(mask: &[u8; CHUNK]) -> impl Iterator<Item = usize> {
    mask.iter().enumerate().filter(|&(_, &mask)| mask != 0).map(|(index, _)| index)
}

/// The numbers of marked calls in order.
fn taken(number: u64, mask: &[u8; CHUNK], is_ascending: bool) -> impl Iterator<Item = u64> {
    let order = move |index: usize| if is_ascending { index } else { CHUNK - 1 - index };
    (0..CHUNK)
        .map(order)
        .filter(|&index| mask[index] != 0)
        .map(move |index| number * CHUNK as u64 + index as u64)
}

/// Whether a call comes after that place in a list by time.
const fn is_past(id: u64, after: Option<u64>, is_ascending: bool) -> bool {
    match after {
        None => true,
        Some(after) if is_ascending => id > after,
        Some(after) => id < after,
    }
}

/// Calls of one chunk.
const CHUNK: usize = 8192;

/// So many calls are worth having looked for them.
const SOME: usize = 512;

/// What lists are sorted by, beside the time.
const SORTED: [Key; 4] = [Key::Mos, Key::Loss, Key::Jitter, Key::Duration];

/// Bytes of all columns.
const ROW_BYTES: usize = 8 + 7 * 4 + 2 * 2 + 1;

/// A place in a chunk has a call in it.
const TAKEN: u8 = 1;
/// It was answered.
const ANSWERED: u8 = 2;
/// An alert names it.
const ALERT: u8 = 4;

/// What is not known; no value is as high.
const UNKNOWN: u32 = u32::MAX;

/// So many calls must have gone, and as many as there are, before texts are looked through.
const GONE_MIN: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(n: u64) -> Facts {
        Facts {
            start: Timestamp::from_secs(n),
            end: Timestamp::from_secs(n),
            is_answered: true,
            has_alert: false,
            mos: None,
            loss: None,
            jitter: None,
            duration: 0,
            codec: Some("PCMU".to_owned()),
            user_agent: Some(format!("agent {}", n / 1000)),
            from: Some(format!("sip:{n}@a")),
            to: Some("sip:echo@b".to_owned()),
            source: Some(IpAddr::from([10, 0, 0, u8::try_from(n % 7).unwrap()])),
        }
    }

    #[test]
    fn texts_of_calls_that_have_gone_are_forgotten() {
        let mut catalog = Catalog::default();
        let last = 2 * GONE_MIN + 1000;
        (1..=last).for_each(|id| catalog.insert(id, &facts(id)));
        (1..=last - 1000).for_each(|id| catalog.remove(id));
        assert_eq!(catalog.len(), 1000);
        let texts = catalog.parties.len();
        assert!(texts < usize::try_from(GONE_MIN).unwrap() + 2000, "{texts} are left");
        for id in [last, last - 999] {
            for filter in [
                Filter { from: Some(format!(":{id}@")), ..Filter::default() },
                Filter { user_agent: facts(id).user_agent, ..Filter::default() },
                Filter {
                    source: format!("10.0.0.{}/32", id % 7).parse().ok(),
                    ..Filter::default()
                },
            ] {
                let page = Page { filter, limit: 1000, ..Page::default() };
                assert!(catalog.page(&page).ids.contains(&id), "{page:?}");
            }
        }
        let gone = Filter { from: Some(":1000@".to_owned()), ..Filter::default() };
        assert_eq!(catalog.page(&Page { filter: gone, ..Page::default() }).total, 0);
    }

    #[test]
    fn what_cannot_be_on_a_page_is_left_out_and_nothing_else() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut catalog = Catalog::default();
        let mut calls = BTreeMap::new();
        for id in 1..=40_000 {
            // Whole chunks of calls without a score, and few values, so that many are equal.
            let mos = (id > 20_000 && random.u8(0..3) > 0).then(|| 1000 + random.u32(0..50) * 70);
            let facts = Facts { mos, duration: random.u32(0..1 << 20), ..facts(id) };
            catalog.insert(id, &facts);
            calls.insert(id, facts);
        }
        for id in (1..=40_000).filter(|id| id % 9 == 0 || id / 500 == 7) {
            catalog.remove(id);
            calls.remove(&id);
        }
        for (key, is_ascending) in
            [(Key::Mos, true), (Key::Mos, false), (Key::Duration, true), (Key::Duration, false)]
        {
            let value = |facts: &Facts| match key {
                Key::Mos => facts.mos.map(i64::from),
                _ => Some(i64::from(facts.duration)),
            };
            let direction = if is_ascending { 1 } else { -1 };
            let mut expected: Vec<_> = calls
                .iter()
                .map(|(&id, facts)| {
                    let value = value(facts);
                    (value.is_none(), value.map(|value| value * direction), u64::MAX - id)
                })
                .collect();
            expected.sort_unstable();
            for offset in [0, 77, 20_000, 36_000] {
                let page = Page { key, is_ascending, offset, limit: 50, ..Page::default() };
                let found = catalog.page(&page);
                let expected = expected.iter().skip(offset).take(50);
                let expected: Vec<u64> = expected.map(|(_, _, id)| u64::MAX - id).collect();
                assert_eq!(found.ids, expected, "{key:?} {is_ascending} {offset}");
                assert_eq!(found.total, calls.len() as u64);
            }
        }
    }
}
