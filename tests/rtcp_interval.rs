//! When the appliance reports: by chance around 5 s, the first time around half of it, no two calls
//! in step (RFC 3550 section 6.3).

mod common;
#[path = "common/line.rs"]
mod line;

use common::{Caller, START, World, ms, rtp, secs};
use line::Line;
use voxplane::shard::ShardConfig;

/// The RFC's e - 3/2, and its spread of half either way.
const COMPENSATION: f64 = 1.218_281_828;

#[test]
fn intervals_are_five_seconds_on_average_and_half_to_one_and_a_half_apart() {
    let mut line = Line::new("sink", ShardConfig { seed: 5, ..ShardConfig::default() });
    line.talk_in(secs(1), 20_000, |_| false);
    let heard = line.heard();
    let gaps: Vec<_> =
        heard.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs_f64()).collect();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let count = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    assert!((mean - 5.0).abs() < 0.06, "{mean} s over {count}");
    let (least, most) = (2.5 / COMPENSATION, 7.5 / COMPENSATION);
    assert!(gaps.iter().all(|gap| (least..=most).contains(gap)), "{gaps:?}");
    // All of the range is used.
    for part in [least + 0.8, 4.0, 5.0, most - 0.1] {
        let below = gaps.iter().filter(|&&gap| gap < part).count();
        assert!(below > 20 && below < gaps.len() - 20, "{part} s: {below}");
    }
    // No gap tells the next.
    let products = gaps.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
    assert!((products / variance).abs() < 0.06, "{}", products / variance);
}

/// 400 calls that are answered at one moment and all talk: their first reports are spread over two
/// seconds, and never are many of them sent at once.
#[test]
fn first_reports_are_after_half_the_time_and_not_in_step() {
    const CALLS: u16 = 400;
    let mut world = World::new(ShardConfig { seed: 6, ..ShardConfig::default() });
    let mut media = Vec::new();
    for index in 0..CALLS {
        let mut caller = Caller::new("198.51.100.1:5070", &format!("call-{index}"));
        caller.addr.set_port(6000 + index);
        caller.media.set_port(10_000 + 2 * index);
        media.push((caller.media, caller.set_up(&mut world)));
    }
    for second in 0..20_u16 {
        for (index, &(src, dst)) in (0_u32..).zip(&media) {
            let packet = rtp(0, false, second, u32::from(second) * 8000, index);
            world.send(src, dst, packet);
        }
        world.run_for(secs(1));
    }
    let sent = world.take();
    let mut firsts = Vec::new();
    for (src, _) in media {
        let first = sent.iter().find(|sent| sent.dst == line::above(src)).expect("a report");
        firsts.push(first.at.since(START).as_secs_f64());
    }
    let (least, most) = (1.25 / COMPENSATION, 3.75 / COMPENSATION);
    assert!(firsts.iter().all(|first| (least..=most).contains(first)), "{firsts:?}");
    let mean = firsts.iter().sum::<f64>() / f64::from(CALLS);
    assert!((mean - 2.5).abs() < 0.08, "{mean}");
    let mut moments: Vec<_> = sent.iter().map(|sent| sent.at).collect();
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() + 3 > sent.len(), "{} moments for {}", moments.len(), sent.len());
    for tenth in 0..100 {
        let from = START + ms(100) * tenth;
        let count = sent.iter().filter(|sent| sent.at >= from && sent.at < from + ms(100)).count();
        assert!(count < usize::from(CALLS) / 5, "{count} reports in 100 ms from {from:?}");
    }
}

/// More sources share the bandwidth of one call: with G.711's 5 % of 80 kbit/s, reports of some 400
/// octets and five members there is still time enough; with G.729's there is not.
#[test]
fn more_sources_on_a_narrow_line_make_it_longer() {
    let interval = |format: &'static str| {
        let caller = Caller::new("198.51.100.1:5070", "line");
        let change = |offer: String| offer.replace("RTP/AVP 0 101", format);
        let mut line = Line::with(caller, ShardConfig::default(), change);
        for second in 0..2000_u16 {
            for ssrc in [1, 2, 3, 4] {
                let packet = rtp(18, false, second, u32::from(second) * 8000, ssrc);
                line.world.send(line.caller.media, line.us, packet);
            }
            line.world.run_for(secs(1));
        }
        let heard = line.heard();
        let length = heard.iter().map(|sent| sent.bytes.len() + 28).max().expect("reports");
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let interval = 2000.0 / heard.len() as f64;
        (interval, f64::from(u32::try_from(length).expect("short")))
    };
    let (wide, _) = interval("RTP/AVP 0 18 101");
    assert!((wide - 5.0).abs() < 0.3, "{wide}");
    let (narrow, length) = interval("RTP/AVP 18 101");
    // Five members share 5 % of 24 kbit/s.
    let expected = 5.0 * length * 8.0 / (0.05 * 24_000.0);
    assert!(expected > 10.0 && (narrow - expected).abs() < 0.08 * expected, "{narrow} {expected}");
}
