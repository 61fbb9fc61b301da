//! A network of its own time: it delays, loses, repeats and reorders by a seed, and keeps the
//! truth about what it did. It never looks into SIP.

use core::time::Duration;
use std::collections::BTreeMap;

use fastrand::Rng;
use voxplane::{shard::ShardConfig, time::Timestamp, wire::rtp::RtpPacket};

use super::{Flight, Sent, World, phone::Phone};

/// What a path does to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    pub delay: Duration,
    /// Added to the delay, evenly from nothing to this.
    pub jitter: Duration,
    /// Probabilities.
    pub loss: f64,
    /// Mean run of lost packets where losses come in bursts (a Gilbert channel that loses all in
    /// its bad state); 0 where each is lost by itself.
    pub burst: f64,
    pub duplicate: f64,
    /// Share of datagrams that are held back by another 45 ms.
    pub reorder: f64,
}

/// Phones, a network and the appliance.
pub struct Sim {
    pub world: World,
    pub phones: Vec<Phone>,
    pub sip: Path,
    pub media: Path,
    /// Everything that the network was given for the appliance's media ports.
    pub passages: Vec<Passage>,
    /// Everything that the appliance sent, in order.
    pub sent: Vec<Sent>,
    /// All SIP that phones have sent or received, when they did.
    pub seen_by_phones: Vec<(Timestamp, Flight)>,
    rng: Rng,
    /// Whether the way to the appliance, and the way back, lose all at the moment.
    is_bad: [bool; 2],
    queue: BTreeMap<(Timestamp, u64), Event>,
    order: u64,
}

/// One media packet's way to the appliance.
#[derive(Clone, Debug)]
pub struct Passage {
    pub flight: Flight,
    /// When its copies arrived; none if it was lost.
    pub arrivals: Vec<(Timestamp, u64)>,
}

enum Event {
    ToAppliance(Flight),
    ToPhone(Sent),
    Act(usize, Act),
}

/// What a phone does at a time.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Invite { wait: Duration },
    Talk { index: usize },
    Rtcp,
    Bye { wait: Duration },
}

/// What a phone wants done.
pub enum Wish {
    Send(Flight),
    Later(Duration, Act),
}

impl Sim {
    pub fn new(seed: u64, config: ShardConfig) -> Self {
        Self {
            world: World::new(config),
            phones: Vec::new(),
            sip: Path::default(),
            media: Path::default(),
            passages: Vec::new(),
            sent: Vec::new(),
            seen_by_phones: Vec::new(),
            rng: Rng::with_seed(seed),
            is_bad: [false; 2],
            queue: BTreeMap::new(),
            order: 0,
        }
    }

    /// Adds a phone that calls `after` so long.
    pub fn add(&mut self, phone: Phone, after: Duration) {
        self.phones.push(phone);
        let act = Event::Act(self.phones.len() - 1, Act::Invite { wait: super::ms(500) });
        self.push(self.world.now + after, act);
    }

    /// Runs until nothing is under way and the appliance has nothing more to do.
    pub fn run(&mut self) {
        for _ in 0..EVENTS_MAX {
            let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let deadline = self.world.deadline;
            let Some(next) = event.into_iter().chain(deadline).min() else { return };
            self.world.now = self.world.now.max(next);
            if event == Some(next) {
                let (_, event) = self.queue.pop_first().expect("it is there");
                self.happen(event);
            } else {
                self.world.poll();
            }
            self.forward();
        }
        panic!("the appliance never rests");
    }

    /// What the network did to one source's stream, from first to last packet delivered.
    pub fn truth(&self, ssrc: u32) -> Truth {
        self.truth_at(ssrc, 8000)
    }

    /// The same of a stream with this RTP clock, Hz.
    pub fn truth_at(&self, ssrc: u32, clock_rate: u32) -> Truth {
        let passages: Vec<_> =
            self.passages.iter().filter(|passage| passage.ssrc() == Some(ssrc)).collect();
        Truth::of(&passages, f64::from(clock_rate) / 1e3)
    }

    fn happen(&mut self, event: Event) {
        let now = self.world.now;
        let (index, wishes) = match event {
            Event::ToAppliance(flight) => return self.world.deliver(&[flight]),
            Event::ToPhone(sent) => {
                let of = |phone: &Phone| phone.receives_at(sent.dst);
                let Some(index) = self.phones.iter().position(of) else { return };
                if sent.src.port() == 5060 {
                    let Sent { src, dst, ref bytes, .. } = sent;
                    self.seen_by_phones.push((now, Flight { src, dst, bytes: bytes.clone() }));
                }
                (index, self.phones[index].receive(now, &sent))
            }
            Event::Act(index, act) => (index, self.phones[index].act(now, act)),
        };
        for wish in wishes {
            match wish {
                Wish::Send(flight) => self.carry(flight),
                Wish::Later(after, act) => self.push(now + after, Event::Act(index, act)),
            }
        }
    }

    /// Takes what the appliance has sent to the phones.
    fn forward(&mut self) {
        for sent in self.world.take() {
            self.sent.push(sent.clone());
            let is_sip = sent.src.port() == 5060;
            for (at, _) in self.pass(is_sip, 1) {
                self.push(at, Event::ToPhone(sent.clone()));
            }
        }
    }

    fn carry(&mut self, flight: Flight) {
        let is_sip = flight.dst.port() == 5060;
        if is_sip {
            self.seen_by_phones.push((self.world.now, flight.clone()));
        }
        let arrivals = self.pass(is_sip, 0);
        for &(at, order) in &arrivals {
            self.queue.insert((at, order), Event::ToAppliance(flight.clone()));
        }
        if !is_sip {
            self.passages.push(Passage { flight, arrivals });
        }
    }

    /// When the copies of a datagram sent now arrive.
    fn pass(&mut self, is_sip: bool, way: usize) -> Vec<(Timestamp, u64)> {
        let path = if is_sip { self.sip } else { self.media };
        if self.loses(&path, way) {
            return Vec::new();
        }
        let copies = 1 + u64::from(self.rng.f64() < path.duplicate);
        let mut arrival = || {
            let mut delay = path.delay + path.jitter.mul_f64(self.rng.f64());
            if self.rng.f64() < path.reorder {
                delay += super::ms(45);
            }
            self.order += 1;
            (self.world.now + delay, self.order)
        };
        (0..copies).map(|_| arrival()).collect()
    }

    fn loses(&mut self, path: &Path, way: usize) -> bool {
        if path.burst == 0.0 {
            return self.rng.f64() < path.loss;
        }
        // Of all time the share `loss` is bad, and each bad time is left with 1 / burst.
        let leave = 1.0 / path.burst;
        let enter = leave * path.loss / (1.0 - path.loss);
        let chance = self.rng.f64();
        let is_bad = &mut self.is_bad[way];
        *is_bad = if *is_bad { chance >= leave } else { chance < enter };
        *is_bad
    }

    fn push(&mut self, at: Timestamp, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }
}

impl Passage {
    pub fn ssrc(&self) -> Option<u32> {
        self.rtp().map(|packet| packet.ssrc().0)
    }

    fn rtp(&self) -> Option<RtpPacket<'_>> {
        // RTCP goes to odd ports.
        let is_rtp = self.flight.dst.port().is_multiple_of(2);
        is_rtp.then(|| RtpPacket::parse(&self.flight.bytes).ok()).flatten()
    }
}

/// What became of a stream, worked out from each packet's way and by no code of the appliance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    pub received: u64,
    pub expected: u64,
    pub duplicate: u64,
    pub out_of_order: u64,
    pub discarded: u64,
    pub jitter_mean_ms: f64,
    pub burst_ratio: f64,
}

impl Truth {
    pub fn lost(&self) -> u64 {
        self.expected - self.received
    }

    /// `passages` in the order of sending, their clock in kHz.
    fn of(passages: &[&Passage], clock_khz: f64) -> Self {
        let mut arrivals = Vec::new();
        for (index, passage) in passages.iter().enumerate() {
            arrivals.extend(passage.arrivals.iter().map(|&(at, order)| (at, order, index)));
        }
        arrivals.sort_unstable();
        let mut truth = Self::default();
        let mut played = vec![None; passages.len()];
        let (mut highest, mut fastest) = (None, f64::INFINITY);
        let (mut jitter, mut jitter_sum, mut samples, mut last) = (0.0, 0.0, 0.0, None);
        for (at, _, index) in arrivals {
            if played[index].is_some() {
                truth.duplicate += 1;
                continue;
            }
            truth.received += 1;
            truth.out_of_order += u64::from(highest.is_some_and(|highest| index < highest));
            highest = highest.max(Some(index));
            let rtp_time = passages[index].rtp().expect("RTP").timestamp();
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of an hour")]
            let arrival_ms = at.nanos_from(super::START) as f64 / 1e6;
            let transit = arrival_ms - f64::from(rtp_time) / clock_khz;
            fastest = transit.min(fastest);
            let is_late = transit - fastest > 60.0;
            played[index] = Some(!is_late);
            truth.discarded += u64::from(is_late);
            if let Some(last) = last {
                let deviation: f64 = transit - last;
                jitter += (deviation.abs() - jitter) / 16.0;
                jitter_sum += jitter;
                samples += 1.0;
            }
            last = Some(transit);
        }
        let heard = |fate: &Option<bool>| fate.is_some();
        let Some(first) = played.iter().position(heard) else { return truth };
        let end = played.iter().rposition(heard).map_or(0, |last| last + 1);
        truth.expected = (end - first) as u64;
        truth.jitter_mean_ms = jitter_sum / samples;
        truth.burst_ratio = burst_ratio(&played[first..end]);
        truth
    }
}

/// Mean run of missing packets over what random loss would give (G.107 section 7.4).
#[expect(clippy::cast_precision_loss, reason = "counts of packets")]
fn burst_ratio(fates: &[Option<bool>]) -> f64 {
    let is_bad = |fate: &Option<bool>| *fate != Some(true);
    let bad = fates.iter().filter(|fate| is_bad(fate)).count() as f64;
    let runs = fates.chunk_by(|a, b| is_bad(a) == is_bad(b)).filter(|run| is_bad(&run[0])).count();
    if runs == 0 {
        return 1.0;
    }
    (bad / runs as f64 * (1.0 - bad / fates.len() as f64)).max(1.0)
}

/// More than any simulation here has.
const EVENTS_MAX: usize = 20_000_000;
