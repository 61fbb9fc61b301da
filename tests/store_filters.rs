//! Every filter, order and way of paging gives what a look at every single call would give,
//! before and after a restart.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{cmp::Ordering, sync::Arc, time::Duration};

use fastrand::Rng;
use serde_json::Value;
use voxplane::{
    control::record::{CallRecord, CallState},
    store::{Filter, Key, Page, Reader},
};

mod http;
mod store;
use http::at;
use store::{calls, filled, loaded, open};

const CALLS: usize = 20_000;

#[test]
fn random_pages_are_those_of_brute_force() {
    let directory = tempfile::tempdir().unwrap();
    let calls = calls(CALLS, 1);
    let store = filled(directory.path(), &calls);
    let mut random = Rng::with_seed(2);
    for _ in 0..150 {
        compare(&store.reader(), &calls, &any_page(&mut random));
    }
    store.stop();
    let store = open(directory.path());
    loaded(&store.reader(), CALLS);
    for _ in 0..150 {
        compare(&store.reader(), &calls, &any_page(&mut random));
    }
}

#[test]
fn page_after_page_is_the_whole_list() {
    let directory = tempfile::tempdir().unwrap();
    let calls = calls(CALLS, 3);
    let store = filled(directory.path(), &calls);
    let filter = Filter { codec: Some("pcm".to_owned()), ..Filter::default() };
    for key in [Key::Time, Key::Mos, Key::Loss, Key::Jitter, Key::Duration] {
        for (is_ascending, filter) in [(false, filter.clone()), (true, Filter::default())] {
            let mut page = Page { filter, key, is_ascending, limit: 997, ..Page::default() };
            let expected = expected(&calls, &page);
            let mut found = Vec::new();
            loop {
                let listed = store.reader().page(&page).unwrap();
                assert_eq!(listed.total, expected.len() as u64);
                found.extend(listed.calls.iter().map(|call| id(call)));
                let Some(next) = listed.next else { break };
                page.after = Some(next.to_string().parse().unwrap());
            }
            assert!(found == expected, "{page:?}");
        }
    }
}

fn compare(reader: &Reader, calls: &[Arc<CallRecord>], page: &Page) {
    let expected = expected(calls, page);
    let listed = reader.page(page).unwrap();
    assert_eq!(listed.total, expected.len() as u64, "{page:?}");
    let found: Vec<_> = listed.calls.iter().map(|call| id(call)).collect();
    let on_page: Vec<_> = expected.iter().skip(page.offset).take(page.limit).cloned().collect();
    assert_eq!(found, on_page, "{page:?}");
    let has_more = expected.len() > page.offset + page.limit && page.limit > 0;
    assert_eq!(listed.next.is_some(), has_more, "{page:?}");
}

fn id(call: &str) -> String {
    let call: Value = serde_json::from_str(call).unwrap();
    call["call_id"].as_str().unwrap().to_owned()
}

/// The Call-IDs of all calls that a page's filter lets through, in its order.
fn expected(calls: &[Arc<CallRecord>], page: &Page) -> Vec<String> {
    let mut passing: Vec<_> =
        calls.iter().rev().filter(|call| passes(call, &page.filter)).collect();
    let value = |call: &CallRecord| match page.key {
        Key::Time => None,
        Key::Mos => call.score.mos_score.map(shown),
        Key::Loss => call.figures.packet_loss_percentage.map(shown),
        Key::Jitter => call.jitter_avg_ms.map(shown),
        Key::Duration => Some(shown(call.duration_seconds)),
    };
    match page.key {
        Key::Time if page.is_ascending => passing.reverse(),
        Key::Time => {}
        _ => passing.sort_by(|a, b| match (value(a), value(b)) {
            (Some(a), Some(b)) if page.is_ascending => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }),
    }
    passing.into_iter().map(|call| call.call_id.clone()).collect()
}

/// A number as the API shows it: that is what is filtered and sorted by.
fn shown(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn passes(call: &CallRecord, filter: &Filter) -> bool {
    let has = |text: &Option<String>, part: &Option<String>| {
        let text = text.as_deref().unwrap_or_default().to_ascii_lowercase();
        part.as_ref().is_none_or(|part| text.contains(&part.to_ascii_lowercase()))
    };
    let mos = call.score.mos_score.map(shown);
    let codec = call.codec.map(str::to_owned);
    filter.min_mos.is_none_or(|min| mos.is_some_and(|mos| mos >= min))
        && filter.max_mos.is_none_or(|max| mos.is_some_and(|mos| mos <= max))
        && filter.since.is_none_or(|since| call.start_time >= since)
        && filter.until.is_none_or(|until| call.start_time < until)
        && filter.is_answered.is_none_or(|is| is == (call.state == CallState::Ended))
        && filter.has_alert != Some(true)
        && has(&call.from, &filter.from)
        && has(&call.to, &filter.to)
        && has(&call.user_agent, &filter.user_agent)
        && has(&codec, &filter.codec)
        && filter
            .source
            .as_ref()
            .is_none_or(|network| call.source.is_some_and(|source| network.contains(source)))
}

fn any_page(random: &mut Rng) -> Page {
    let texts = ["1", "sip:2", "@EXAMPLE", "phone", "aster", "%", "_", "'", "--", "\\", "xyz", ""];
    let networks = ["10.1.0.0/16", "10.0.3.", "2001:db8:1::/48", "::/0", "10.", "' OR 1=1", "1"];
    let text =
        |random: &mut Rng| (random.u8(0..4) == 0).then(|| random.choice(texts).unwrap().to_owned());
    let mos = |random: &mut Rng| (random.u8(0..4) == 0).then(|| shown(random.f64() * 5.0));
    let time = |random: &mut Rng| {
        let span = Duration::from_millis(random.u64(0..CALLS as u64 * 1000));
        (random.u8(0..4) == 0).then_some(at(0) + span)
    };
    let flag = |random: &mut Rng| (random.u8(0..4) == 0).then_some(random.u8(0..3) > 0);
    let keys = [Key::Time, Key::Mos, Key::Loss, Key::Jitter, Key::Duration];
    Page {
        filter: Filter {
            min_mos: mos(random),
            max_mos: mos(random),
            since: time(random),
            until: time(random),
            is_answered: flag(random),
            has_alert: flag(random).filter(|is| !is),
            from: text(random),
            to: text(random),
            user_agent: text(random),
            codec: text(random),
            source: (random.u8(0..4) == 0)
                .then(|| random.choice(networks).unwrap().parse().unwrap()),
        },
        key: random.choice(keys).unwrap(),
        is_ascending: random.bool(),
        limit: random.choice([0, 1, 10, 100, 1000]).unwrap(),
        offset: random.choice([0, 0, 1, 50, 7000]).unwrap(),
        after: None,
    }
}
