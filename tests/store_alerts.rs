//! Alerts are kept through their life, before and after they are written, and mark their calls.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use voxplane::store::{Alert, AlertFilter, Filter, Page, Reader};

mod http;
mod store;
use http::at;
use store::{calls, feed, open, until};

#[test]
fn the_last_word_wins_and_survives() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (feeder, reader) = (store.feeder(), store.reader());
    for id in 1..=5 {
        feeder.alert(alert(id, "firing", None));
    }
    feeder.alert(Alert { resolved_at: Some(at(9)), ..alert(2, "resolved", None) });
    until(|| ids(&reader, &AlertFilter { limit: 9, ..AlertFilter::default() }).len() == 5);
    until(|| reader.status().pending == 0);
    feeder.alert(alert(3, "acknowledged", None));
    // Whether it is written yet makes no difference.
    let firing =
        AlertFilter { state: Some("firing".to_owned()), limit: 9, ..AlertFilter::default() };
    until(|| ids(&reader, &firing) == [5, 4, 1]);
    until(|| reader.status().pending == 0);
    assert_eq!(ids(&reader, &firing), [5, 4, 1]);
    let page = AlertFilter { before: Some(4), limit: 2, ..AlertFilter::default() };
    assert_eq!(ids(&reader, &page), [3, 2]);
    store.stop();

    let reader = open(directory.path()).reader();
    assert_eq!(reader.last_alert_id().unwrap(), 5);
    let resolved = &reader.alerts(&page).unwrap()[1];
    let expected = Alert { resolved_at: Some(at(9)), ..alert(2, "resolved", None) };
    assert_eq!(*resolved, expected);
    let text =
        AlertFilter { state: Some("' OR 1=1 --".to_owned()), limit: 9, ..AlertFilter::default() };
    assert_eq!(ids(&reader, &text), [0; 0]);
}

#[test]
fn calls_are_marked_whether_they_end_before_or_after() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (feeder, reader) = (store.feeder(), store.reader());
    let calls = calls(4, 1);
    feed(&store, &calls[..1]);
    // One is on disk, one is on its way, one is up, one has none.
    feeder.call(calls[1].clone());
    for (id, call) in (1..).zip(&calls[..3]) {
        feeder.alert(alert(id, "firing", Some(&call.call_id)));
    }
    calls[2..].iter().for_each(|call| feeder.call(call.clone()));
    let marked = |reader: &Reader, has_alert| {
        let filter = Filter { has_alert: Some(has_alert), ..Filter::default() };
        let page = Page { filter, limit: 9, is_ascending: true, ..Page::default() };
        reader.page(&page).unwrap().calls
    };
    until(|| reader.status().calls == 4 && reader.status().pending == 0);
    let check = |reader: &Reader| {
        assert_eq!(marked(reader, true).len(), 3);
        let without = marked(reader, false);
        assert_eq!(without.len(), 1);
        assert!(without[0].contains(&calls[3].call_id));
    };
    check(&reader);
    store.stop();
    let store = open(directory.path());
    until(|| store.reader().status().calls == 4);
    check(&store.reader());
    let about =
        AlertFilter { call_id: Some(calls[1].call_id.clone()), limit: 9, ..AlertFilter::default() };
    assert_eq!(ids(&store.reader(), &about), [2]);
}

fn ids(reader: &Reader, filter: &AlertFilter) -> Vec<u64> {
    reader.alerts(filter).unwrap().iter().map(|alert| alert.id).collect()
}

fn alert(id: u64, state: &str, call_id: Option<&str>) -> Alert {
    Alert {
        id,
        kind: "high_packet_loss".to_owned(),
        severity: "warning".to_owned(),
        state: state.to_owned(),
        raised_at: at(id),
        updated_at: at(id + 1),
        resolved_at: None,
        call_id: call_id.map(str::to_owned),
        message: "loss is 'too' high".to_owned(),
        evidence: "{\"value\":7}".to_owned(),
    }
}
