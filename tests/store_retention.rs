//! What is too old or too much goes, oldest first, and the file shrinks while calls go on coming.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use voxplane::{
    store::{Alert, AlertFilter, Asked, By, Page, Settings},
    time::Timestamp,
};

mod http;
mod store;
use http::at;
use store::{calls, feed, loaded, open_with, until};

/// Seconds after the day began, as the store's clock has it.
static NOW: AtomicU64 = AtomicU64::new(0);

fn clock() -> Timestamp {
    // Each look takes a second, so that what is due comes due.
    at(NOW.fetch_add(1, Relaxed))
}

const DAY: u64 = 86_400;

#[test]
fn the_oldest_go_by_count_and_by_age() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        retention: Duration::from_secs(2 * DAY),
        calls_max: 5000,
        rollups: Duration::from_secs(3 * DAY),
    };
    let store = open_with(directory.path(), settings, clock);
    let (feeder, reader) = (store.feeder(), store.reader());
    let alert = |id, state: &str, resolved_at| Alert {
        id,
        state: state.to_owned(),
        resolved_at,
        raised_at: at(0),
        ..Alert::default()
    };
    feeder.alert(alert(1, "resolved", Some(at(5))));
    feeder.alert(alert(2, "firing", None));
    let calls = calls(8000, 5);
    feed(&store, &calls[..4000]);
    calls[4000..].iter().for_each(|call| feeder.call(call.clone()));
    until(|| reader.status().calls == 5000 && reader.status().pending == 0);
    let page = Page { limit: 1, is_ascending: true, ..Page::default() };
    let oldest = reader.page(&page).unwrap().calls.remove(0);
    assert!(oldest.contains(&calls[3000].call_id), "{oldest}");
    assert!(reader.call(&calls[2999].call_id).unwrap().is_none());
    assert!(reader.call(&calls[3000].call_id).unwrap().is_some());

    let full = fs::metadata(directory.path().join("history.db")).unwrap().len();
    let newest = calls[7999].end_time.unwrap();
    // Two days after call 5000 has ended, give or take the seconds that pass meanwhile.
    NOW.store(5000 + 1000 + 2 * DAY, Relaxed);
    until(|| reader.status().calls < 3000);
    assert!(reader.call(&calls[4900].call_id).unwrap().is_none());
    let all = AlertFilter { limit: 10, ..AlertFilter::default() };
    until(|| reader.alerts(&all).unwrap().len() == 1);
    assert_eq!(reader.alerts(&all).unwrap()[0].id, 2, "an alert stays until it is resolved");

    let minute = |time: Timestamp| time.as_nanos() / 60_000_000_000;
    let asked = Asked {
        by: By::All,
        bucket_minutes: 60,
        since_minute: minute(at(0)),
        until_minute: minute(newest) + 1,
    };
    let counted = || -> u64 {
        let series = reader.trends(&asked).unwrap();
        series.iter().flat_map(|series| series.points.values()).map(|sums| sums.calls).sum()
    };
    assert_eq!(counted(), 8000, "trends outlive calls");
    NOW.store(20_000 + 3 * DAY, Relaxed);
    until(|| reader.status().calls == 0 && counted() == 0);
    until(|| fs::metadata(directory.path().join("history.db")).unwrap().len() < full / 2);
    store.stop();
    let store = open_with(directory.path(), settings, clock);
    loaded(&store.reader(), 0);
}
