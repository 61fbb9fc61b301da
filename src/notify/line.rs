//! What one recipient is still to be told, in order, and when: its queue, its retries, what it is
//! told again. It reads no clock and reaches nobody.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{Failure, Notification, Severity, State, settings::Settings, status::Counts};
use crate::time::Timestamp;

/// One recipient's line.
#[derive(Debug)]
pub(super) struct Line {
    filter: Filter,
    queue_max: usize,
    give_up_after: Duration,
    waiting: VecDeque<Waiting>,
    /// Whether the first one is being delivered.
    is_under_way: bool,
    again: Option<Again>,
    backoff: Backoff,
    counts: Counts,
    is_closed: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Deliver this, then say how it went.
    Deliver(Job),
    /// Nothing before so long, or before something new comes.
    Wait(Duration),
    /// Nothing ever again.
    End,
}

/// What is delivered at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    /// Something new.
    One(Arc<Notification>),
    /// What still fires, said again.
    Again(Vec<Arc<Notification>>),
}

impl Job {
    /// What it tells of.
    pub(super) fn notifications(&self) -> &[Arc<Notification>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Again(all) => all,
        }
    }
}

impl Line {
    /// A line for a recipient; `resend` is how often what fires is said again.
    pub(super) fn new(settings: &Settings, resend: Option<Duration>, seed: u64) -> Self {
        Self {
            filter: Filter {
                min_severity: settings.min_severity,
                rules: settings.rules.clone(),
                send_resolved: settings.send_resolved,
            },
            queue_max: settings.queue_max,
            give_up_after: settings.give_up_after,
            waiting: VecDeque::new(),
            is_under_way: false,
            again: resend.map(|every| Again {
                every,
                due: Timestamp::MIN,
                firing: BTreeMap::new(),
            }),
            backoff: Backoff::new(seed),
            counts: Counts::default(),
            is_closed: false,
        }
    }

    /// Takes a notification on, if it is for this recipient. What does not fit pushes out the
    /// oldest that is not being delivered.
    pub(super) fn push(&mut self, notification: &Arc<Notification>, now: Timestamp) {
        if !self.filter.lets_through(notification) {
            self.forget(notification);
            return;
        }
        if self.waiting.len() >= self.queue_max {
            let oldest = usize::from(self.is_under_way);
            if let Some(pushed_out) = self.waiting.remove(oldest) {
                self.counts.dropped += 1;
                self.forget(&pushed_out.notification);
            }
        }
        self.waiting.push_back(Waiting { notification: Arc::clone(notification), since: now });
    }

    /// Nothing more will come, and nothing is tried twice.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    /// What to do at the time `now`.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        let pause = self.backoff.pause(now);
        if self.is_closed {
            let next = self.waiting.front().filter(|_| pause.is_zero());
            let Some(first) = next else { return Next::End };
            self.is_under_way = true;
            return Next::Deliver(Job::One(Arc::clone(&first.notification)));
        }
        if !pause.is_zero() {
            return Next::Wait(pause);
        }
        if let Some(firing) = self.again.as_ref().and_then(|again| again.due(now)) {
            return Next::Deliver(Job::Again(firing));
        }
        if let Some(first) = self.waiting.front() {
            self.is_under_way = true;
            return Next::Deliver(Job::One(Arc::clone(&first.notification)));
        }
        Next::Wait(self.again.as_ref().map_or(IDLE, |again| again.wait(now)))
    }

    /// Says how a delivery went.
    pub(super) fn done(&mut self, job: &Job, result: Result<(), Failure>, now: Timestamp) {
        match job {
            Job::One(notification) => self.done_with_one(notification, result, now),
            Job::Again(_) => self.done_again(result, now),
        }
    }

    /// The figures, for who shows them.
    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many wait, the one that is being delivered included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn done_with_one(
        &mut self,
        notification: &Arc<Notification>,
        result: Result<(), Failure>,
        now: Timestamp,
    ) {
        self.is_under_way = false;
        let since = self.waiting.front().map_or(now, |first| first.since);
        match result {
            Ok(()) => {
                self.counts.sent += 1;
                self.counts.delivered(now);
                self.backoff.reset();
                self.waiting.pop_front();
                self.remember(notification, now);
            }
            Err(failure) => {
                let is_over = match failure.retry {
                    Retry::Never => true,
                    Retry::Later | Retry::After(_) => {
                        self.backoff.fail(&failure, now);
                        self.is_closed || now.since(since) >= self.give_up_after
                    }
                };
                self.counts.failed(failure.reason);
                if is_over {
                    self.counts.gave_up += 1;
                    self.waiting.pop_front();
                    self.forget(notification);
                } else {
                    self.counts.retried += 1;
                }
            }
        }
    }

    fn done_again(&mut self, result: Result<(), Failure>, now: Timestamp) {
        let Some(again) = &mut self.again else { return };
        match result {
            Ok(()) => {
                again.due = now + again.every;
                self.counts.resent += 1;
                self.counts.delivered(now);
                self.backoff.reset();
            }
            Err(failure) => {
                if failure.retry == Retry::Never {
                    again.due = now + again.every;
                } else {
                    self.backoff.fail(&failure, now);
                    self.counts.retried += 1;
                }
                self.counts.failed(failure.reason);
            }
        }
    }

    /// From now on it is said again, or no more.
    fn remember(&mut self, notification: &Arc<Notification>, now: Timestamp) {
        let Some(again) = &mut self.again else { return };
        if notification.state == State::Resolved {
            again.firing.remove(&notification.id);
            return;
        }
        if again.firing.is_empty() {
            again.due = now + again.every;
        }
        again.firing.insert(notification.id, Arc::clone(notification));
        if again.firing.len() > FIRING_MAX {
            again.firing.pop_first();
            self.counts.dropped += 1;
        }
    }

    /// Its end is not told; then it must not be said again either.
    fn forget(&mut self, notification: &Notification) {
        if let Some(again) = &mut self.again
            && notification.state == State::Resolved
        {
            again.firing.remove(&notification.id);
        }
    }
}

/// What a recipient wants to know.
#[derive(Debug)]
struct Filter {
    min_severity: Severity,
    rules: Vec<String>,
    send_resolved: bool,
}

impl Filter {
    fn lets_through(&self, notification: &Notification) -> bool {
        notification.severity >= self.min_severity
            && (self.rules.is_empty() || self.rules.contains(&notification.rule))
            && (self.send_resolved || notification.state != State::Resolved)
    }
}

#[derive(Debug)]
struct Waiting {
    notification: Arc<Notification>,
    since: Timestamp,
}

/// What fires, to be said again.
#[derive(Debug)]
struct Again {
    every: Duration,
    due: Timestamp,
    /// By number, which grows: the oldest first.
    firing: BTreeMap<u64, Arc<Notification>>,
}

impl Again {
    fn due(&self, now: Timestamp) -> Option<Vec<Arc<Notification>>> {
        let is_due = !self.firing.is_empty() && self.wait(now).is_zero();
        is_due.then(|| self.firing.values().cloned().collect())
    }

    fn wait(&self, now: Timestamp) -> Duration {
        if self.firing.is_empty() {
            return IDLE;
        }
        // A clock that was set back does not make it wait longer.
        let wait = self.due.since(now);
        if wait > self.every { Duration::ZERO } else { wait }
    }
}

/// When a recipient that failed is tried again: after 1 s, 2 s, 4 s to a minute, each shortened by
/// up to a half at random, so that many of us do not come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    random: fastrand::Rng,
    failures: u32,
    from: Timestamp,
    pause: Duration,
}

/// Whether and when something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// When the back-off says so.
    Later,
    /// Not before so long, as the other side asks.
    After(Duration),
    /// It would fail again.
    Never,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            failures: 0,
            from: Timestamp::MIN,
            pause: Duration::ZERO,
        }
    }

    fn fail(&mut self, failure: &Failure, now: Timestamp) {
        let whole = PAUSE_MIN * 2_u32.pow(self.failures.min(PAUSE_DOUBLINGS));
        let own = whole.min(PAUSE_MAX).mul_f64(0.5 + self.random.f64() / 2.0);
        self.failures += 1;
        self.from = now;
        self.pause = match failure.retry {
            Retry::After(asked) => own.max(asked.min(ASKED_MAX)),
            Retry::Later | Retry::Never => own,
        };
    }

    const fn reset(&mut self) {
        self.failures = 0;
        self.pause = Duration::ZERO;
    }

    /// How long still; a clock that was set back ends it.
    fn pause(&self, now: Timestamp) -> Duration {
        if now < self.from {
            return Duration::ZERO;
        }
        self.pause.saturating_sub(now.since(self.from))
    }
}

/// With nothing to do: something new wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// Alerts that fire and are said again; at 2 KB each a POST of 2 MB.
const FIRING_MAX: usize = 1000;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Past these the pause is at its longest.
const PAUSE_DOUBLINGS: u32 = 6;
/// The longest `Retry-After` that is taken at its word.
const ASKED_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const RESEND: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1000 + secs)
    }

    fn line(text: &str, resend: Option<Duration>) -> Line {
        let table = format!("name = 'n'\nkind = 'command'\ncommand = ['/bin/true']\n{text}");
        let raw: super::super::RawSettings = toml::from_str(&table).unwrap();
        let settings = super::super::complete(&[raw], &|_| None).unwrap();
        Line::new(&settings[0], resend, 7)
    }

    fn alert(id: u64, state: State) -> Arc<Notification> {
        Arc::new(Notification { id, ..Notification::test(state, at(0)) })
    }

    fn failure(retry: Retry) -> Result<(), Failure> {
        Err(Failure { reason: "no".to_owned(), retry })
    }

    fn job(line: &mut Line, now: Timestamp) -> Job {
        match line.next(now) {
            Next::Deliver(job) => job,
            other => panic!("{other:?}"),
        }
    }

    fn pause(line: &mut Line, now: Timestamp) -> Duration {
        match line.next(now) {
            Next::Wait(pause) => pause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_fails_is_tried_again_later_and_later_and_given_up() {
        let mut line = line("give_up_after_s = 600", None);
        let mut now = at(0);
        line.push(&alert(1, State::Firing), now);
        let mut pauses = Vec::new();
        while line.len() > 0 {
            let job = job(&mut line, now);
            line.done(&job, failure(Retry::Later), now);
            let pause = line.backoff.pause(now);
            pauses.push(pause);
            now = now + pause;
        }
        for (pause, whole) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
            let whole = Duration::from_secs(whole);
            assert!(whole / 2 <= *pause && *pause <= whole, "{pauses:?}");
        }
        // Ten minutes in pauses of 30 to 60 s.
        assert!((16..=30).contains(&pauses.len()), "{pauses:?}");
        let counts = line.counts();
        let retried = u64::try_from(pauses.len()).unwrap() - 1;
        assert_eq!((counts.sent, counts.retried, counts.gave_up), (0, retried, 1));
        // The next one does not begin before the pause is over; then all is well again.
        line.push(&alert(2, State::Firing), now);
        let job = job(&mut line, now);
        line.done(&job, Ok(()), now);
        assert_eq!((line.counts().sent, line.backoff.pause(now)), (1, Duration::ZERO));
    }

    #[test]
    fn the_other_side_says_when() {
        let mut line = line("", None);
        line.push(&alert(1, State::Firing), at(0));
        let first = job(&mut line, at(0));
        line.done(&first, failure(Retry::After(Duration::from_secs(120))), at(0));
        assert_eq!(pause(&mut line, at(20)), Duration::from_secs(100));
        let _ = job(&mut line, at(120));
        // A clock that is set back by a day does not make it wait for a day.
        line.done(&first, failure(Retry::After(Duration::from_secs(120))), at(120));
        let _ = job(&mut line, Timestamp::from_secs(1));
    }

    #[test]
    fn order_is_kept_and_the_oldest_are_pushed_out() {
        let mut line = line("queue_max = 10", None);
        line.push(&alert(1, State::Firing), at(0));
        let first = job(&mut line, at(0));
        (2..=13).for_each(|id| line.push(&alert(id, State::Firing), at(0)));
        assert_eq!((line.len(), line.counts().dropped), (10, 3));
        line.done(&first, Ok(()), at(1));
        let mut order = Vec::new();
        while line.len() > 0 {
            let job = job(&mut line, at(1));
            order.push(job.notifications()[0].id);
            line.done(&job, Ok(()), at(1));
        }
        assert_eq!(order, (5..=13).collect::<Vec<_>>());
    }

    #[test]
    fn what_would_fail_again_is_given_up_at_once() {
        let mut line = line("", None);
        (1..=2).for_each(|id| line.push(&alert(id, State::Firing), at(0)));
        let first = job(&mut line, at(0));
        line.done(&first, failure(Retry::Never), at(0));
        let second = job(&mut line, at(0));
        assert_eq!(second.notifications()[0].id, 2);
        assert_eq!((line.counts().gave_up, line.counts().retried), (1, 0));
    }

    #[test]
    fn filters_let_through_what_is_asked_for() {
        let text = "min_severity = 'error'\nrules = ['low_mos']\nsend_resolved = false";
        let mut line = line(text, None);
        let told = |rule: &str, severity, state| {
            let test = Notification::test(state, at(0));
            Arc::new(Notification { rule: rule.to_owned(), severity, ..test })
        };
        for (rule, severity, state, count) in [
            ("low_mos", Severity::Warning, State::Firing, 0),
            ("no_media", Severity::Critical, State::Firing, 0),
            ("low_mos", Severity::Critical, State::Resolved, 0),
            ("low_mos", Severity::Error, State::Firing, 1),
            ("low_mos", Severity::Critical, State::Acknowledged, 2),
        ] {
            line.push(&told(rule, severity, state), at(0));
            assert_eq!(line.len(), count, "{rule} {severity} {state}");
        }
    }

    #[test]
    fn what_fires_is_said_again_until_it_is_over() {
        let mut line = line("", Some(RESEND));
        for id in [1, 2] {
            line.push(&alert(id, State::Firing), at(0));
            let job = job(&mut line, at(0));
            line.done(&job, Ok(()), at(0));
        }
        assert_eq!(pause(&mut line, at(10)), Duration::from_secs(50));
        let again = job(&mut line, at(60));
        let ids: Vec<_> = again.notifications().iter().map(|n| n.id).collect();
        assert!(matches!(again, Job::Again(_)) && ids == [1, 2], "{again:?}");
        line.done(&again, failure(Retry::Later), at(60));
        assert!(pause(&mut line, at(60)) <= Duration::from_secs(1));
        let again = job(&mut line, at(61));
        line.done(&again, Ok(()), at(61));
        line.push(&alert(1, State::Resolved), at(62));
        let resolved = job(&mut line, at(62));
        line.done(&resolved, Ok(()), at(62));
        let again = job(&mut line, at(121));
        assert_eq!(again.notifications(), [alert(2, State::Firing)]);
        line.done(&again, failure(Retry::Never), at(121));
        assert_eq!(pause(&mut line, at(121)), RESEND);
        let counts = line.counts();
        assert_eq!((counts.sent, counts.resent, counts.retried, counts.gave_up), (3, 1, 1, 0));
    }

    #[test]
    fn an_end_that_is_not_told_still_ends_the_saying_again() {
        let mut line = line("send_resolved = false", Some(RESEND));
        line.push(&alert(1, State::Firing), at(0));
        let first = job(&mut line, at(0));
        line.done(&first, Ok(()), at(0));
        line.push(&alert(1, State::Resolved), at(1));
        assert_eq!(pause(&mut line, at(600)), IDLE);
    }

    #[test]
    fn a_closed_line_tries_everything_once() {
        let mut line = line("", None);
        (1..=3).for_each(|id| line.push(&alert(id, State::Firing), at(0)));
        line.close();
        let first = job(&mut line, at(0));
        line.done(&first, Ok(()), at(0));
        let second = job(&mut line, at(0));
        line.done(&second, failure(Retry::Later), at(0));
        // Whoever failed is not asked again.
        assert_eq!(line.next(at(0)), Next::End);
        assert_eq!((line.len(), line.counts().gave_up), (1, 1));
    }
}
