//! The loop of one shard: a turn, then a nap or a sleep.
//!
//! A nap is a plain sleep of the thread and as cheap as in a loop of one's own, where a timer of
//! the executor would cost half as much again. Between naps the executor's other tasks have
//! their turn. A shard without traffic sleeps in the executor and costs nothing.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    closing::Closing,
    park::{Doorbell, Watch},
    systemd::Beat,
    turn::{Done, HEALTH_INTERVAL, Load, Parts, Turn},
};
use crate::{
    limits::{NAP_MAX, SIP_NAP_MAX},
    source::clock,
    time::Timestamp,
};

/// How a shard is woken and ended, and shows that it lives.
pub(super) struct Life {
    pub(super) bell: Doorbell,
    pub(super) closing: Arc<Closing>,
    pub(super) beat: Arc<Beat>,
    /// Is told once the shard listens.
    pub(super) ready: mpsc::Sender<()>,
}

/// Runs a shard until all are told to close and have said their last word.
pub(super) async fn run(parts: Parts, life: Life) -> io::Result<()> {
    let Life { bell, closing, beat, ready } = life;
    let mut turn = Turn::new(parts)?;
    // Who started it may have given up; that is its affair.
    let _ = ready.send(());
    drop(ready);
    let watch = Watch::new(bell, turn.sockets())?;
    let mut pace = Pace::new(clock::now());
    let mut close_by = None;
    let mut is_silent = false;
    loop {
        beat.beat();
        // Before it takes anything in: who has seen another shard close is not answered here.
        if close_by.is_none() && closing.is_told() {
            turn.close();
            close_by = Some(clock::now() + CLOSE_MAX);
        }
        let done = turn.take(Load { busy: pace.busy, nap: pace.nap });
        let now = clock::now();
        if pace.has_stalled(now) {
            turn.shard.health_mut().stalls += 1;
        }
        if close_by.is_some() && !is_silent && turn.shard.is_quiet() {
            is_silent = true;
            closing.fall_silent();
            turn.wake_others();
        }
        if close_by.is_some_and(|by| now >= by || closing.is_over()) {
            turn.finish().await;
            watch.stop().await;
            return Ok(());
        }
        match pace.after(&done, now) {
            Rest::None => pace.rested(now, now, now),
            Rest::Nap(nap) => {
                thread::sleep(nap);
                pace.rested(now, clock::now(), now + nap);
            }
            Rest::Sleep(limit) => {
                watch.sleep(limit).await;
                turn.warm_up();
                pace.rested(now, clock::now(), now + limit);
            }
        }
        glommio::executor().yield_task_queue_now().await;
    }
}

/// How a shard rests between turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    None,
    Nap(Duration),
    Sleep(Duration),
}

/// Chooses the rest after each turn from what the last ones did.
#[derive(Debug)]
struct Pace {
    nap: Duration,
    idle_turns: u32,
    /// Share of the last interval that was not rest.
    busy: f64,
    interval_from: Timestamp,
    rest: Duration,
    /// When the last rest should have ended at the latest.
    due: Timestamp,
}

impl Pace {
    const fn new(now: Timestamp) -> Self {
        Self {
            nap: NAP_MAX,
            idle_turns: 0,
            busy: 0.0,
            interval_from: now,
            rest: Duration::ZERO,
            due: now,
        }
    }

    fn after(&mut self, done: &Done, now: Timestamp) -> Rest {
        if done.has_more {
            // More than a turn's work has come in one nap: the next one is shorter.
            self.nap = (self.nap / 2).max(NAP_MIN);
            self.idle_turns = 0;
            return Rest::None;
        }
        let until = |due: Option<Timestamp>| due.map_or(SLEEP_MAX, |due| due.since(now));
        self.idle_turns = if done.datagrams > 0 { 0 } else { self.idle_turns + 1 };
        let has_media = done.has_media || done.next_media.is_some();
        let nap_max = if has_media { NAP_MAX } else { SIP_NAP_MAX };
        self.nap = (self.nap + self.nap / 8).min(nap_max);
        let until_next = until(done.next).min(SLEEP_MAX);
        if self.idle_turns >= IDLE_TURNS && until_next > self.nap {
            return Rest::Sleep(until_next);
        }
        // A far end hears when its media leaves; all else that is due may be a nap late. At 1,000
        // calls a second something is due every 100 µs.
        match self.nap.min(until(done.next_media)) {
            Duration::ZERO => Rest::None,
            nap => Rest::Nap(nap),
        }
    }

    /// Whether the turn that ends now, or the rest before it, has taken so long that calls may
    /// have been harmed: what was due then was done late.
    fn has_stalled(&self, now: Timestamp) -> bool {
        now.since(self.due) > STALL_MIN
    }

    /// Takes in a rest that should have ended by `due`. Waking early is no reason to hurry less.
    fn rested(&mut self, from: Timestamp, to: Timestamp, due: Timestamp) {
        self.due = due.min(to);
        self.rest += to.since(from);
        let interval = to.since(self.interval_from);
        if interval >= HEALTH_INTERVAL {
            self.busy = (1.0 - self.rest.as_secs_f64() / interval.as_secs_f64()).max(0.0);
            (self.interval_from, self.rest) = (to, Duration::ZERO);
        }
    }
}

/// Below this a nap costs more than the turn that it puts off.
const NAP_MIN: Duration = Duration::from_micros(50);

/// Turns without a datagram, 10 ms of naps, after which a shard sleeps. Going to sleep and waking
/// costs some ten system calls; at one packet each 20 ms that is still cheaper than napping.
const IDLE_TURNS: u32 = 20;

/// A sleeping shard still reports that it is alive.
const SLEEP_MAX: Duration = HEALTH_INTERVAL;

/// From here on a shard that does not come to its work marks its calls: two and a half packets of
/// speech, and most of what a jitter buffer of 60 ms makes up for.
const STALL_MIN: Duration = Duration::from_millis(50);

/// How long a closing shard waits for its BYEs to be answered. With the rest of the shutdown
/// this stays within the 5 s that a service manager is promised.
const CLOSE_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn done(datagrams: usize, has_more: bool) -> Done {
        Done { datagrams, has_more, has_media: true, ..Done::default() }
    }

    #[test]
    fn a_loaded_shard_naps_and_an_idle_one_sleeps() {
        let mut pace = Pace::new(Timestamp::MIN);
        for _ in 0..100 {
            assert_eq!(pace.after(&done(10, false), Timestamp::MIN), Rest::Nap(NAP_MAX));
        }
        for _ in 1..IDLE_TURNS {
            assert_eq!(pace.after(&done(0, false), Timestamp::MIN), Rest::Nap(NAP_MAX));
        }
        assert_eq!(pace.after(&done(0, false), Timestamp::MIN), Rest::Sleep(SLEEP_MAX));
        assert_eq!(pace.after(&done(1, false), Timestamp::MIN), Rest::Nap(NAP_MAX));
    }

    #[test]
    fn a_shard_without_media_naps_longer() {
        let mut pace = Pace::new(Timestamp::MIN);
        let sip = Done { datagrams: 1, ..Done::default() };
        let naps: Vec<Rest> = (0..100).map(|_| pace.after(&sip, Timestamp::MIN)).collect();
        assert_eq!(naps.last(), Some(&Rest::Nap(SIP_NAP_MAX)));
        assert_eq!(pace.after(&done(1, false), Timestamp::MIN), Rest::Nap(NAP_MAX));
    }

    #[test]
    fn work_left_over_shortens_the_naps_that_follow() {
        let mut pace = Pace::new(Timestamp::MIN);
        for _ in 0..100 {
            assert_eq!(pace.after(&done(512, true), Timestamp::MIN), Rest::None);
        }
        let Rest::Nap(nap) = pace.after(&done(10, false), Timestamp::MIN) else { panic!() };
        assert!(nap < NAP_MIN * 2);
    }

    #[test]
    fn a_long_turn_and_a_long_nap_are_stalls_and_a_long_sleep_is_not() {
        let ms = |ms| Timestamp::from_secs(1) + Duration::from_millis(ms);
        let mut pace = Pace::new(ms(0));
        assert!(!pace.has_stalled(ms(50)));
        assert!(pace.has_stalled(ms(51)), "a turn of 51 ms");
        // It asked for 1 ms of nap and got 60.
        pace.rested(ms(0), ms(60), ms(1));
        assert!(pace.has_stalled(ms(61)));
        // It was woken before its time, and the turn took 20 ms.
        pace.rested(ms(100), ms(400), ms(1100));
        assert!(!pace.has_stalled(ms(420)));
        // It was to sleep for a second at most and slept for longer.
        pace.rested(ms(500), ms(1600), ms(1500));
        assert!(pace.has_stalled(ms(1600)));
    }

    #[test]
    fn media_to_send_cuts_the_nap_short_and_other_deadlines_do_not() {
        let mut pace = Pace::new(Timestamp::MIN);
        let next = Some(Timestamp::MIN + Duration::from_micros(70));
        let soon = Done { datagrams: 1, has_media: true, next, ..Done::default() };
        assert_eq!(pace.after(&soon, Timestamp::MIN), Rest::Nap(NAP_MAX));
        let media = Done { next_media: next, ..soon };
        assert_eq!(pace.after(&media, Timestamp::MIN), Rest::Nap(Duration::from_micros(70)));
        let is_due = Timestamp::MIN + Duration::from_micros(90);
        assert_eq!(pace.after(&media, is_due), Rest::None);
        assert_eq!(pace.after(&soon, is_due), Rest::Nap(NAP_MAX));
    }

    #[test]
    fn a_shard_without_traffic_sleeps_until_its_next_deadline_unless_that_is_near() {
        let mut pace = Pace::new(Timestamp::MIN);
        let idle = |next_us| Done {
            next: Some(Timestamp::MIN + Duration::from_micros(next_us)),
            has_media: true,
            ..Done::default()
        };
        for _ in 0..IDLE_TURNS {
            assert_eq!(pace.after(&idle(100), Timestamp::MIN), Rest::Nap(NAP_MAX));
        }
        let far = Duration::from_millis(40);
        assert_eq!(pace.after(&idle(40_000), Timestamp::MIN), Rest::Sleep(far));
    }

    #[test]
    fn busy_is_the_share_of_time_not_rested() {
        let mut pace = Pace::new(Timestamp::MIN);
        let at = |ms| Timestamp::MIN + Duration::from_millis(ms);
        pace.rested(at(0), at(250), at(250));
        pace.rested(at(500), at(1000), at(1000));
        assert!((pace.busy - 0.25).abs() < 1e-9);
    }
}
