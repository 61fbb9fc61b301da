//! What the appliance says by RTCP: in each report what it has measured until then, and the same
//! as the API says.

mod common;
#[path = "common/line.rs"]
mod line;

use common::{Caller, ms, secs};
use line::{Line, Parts, dlrr, extended, streams};
use voxplane::{
    control::record::Direction,
    quality::score::Scoring,
    shard::ShardConfig,
    wire::rtcp::{Concealment, JitterBufferKind, VoipMetrics, XrBlock},
};

fn line(user: &'static str) -> Line {
    Line::new(user, ShardConfig::default())
}

fn reports(line: &mut Line) -> Vec<Parts> {
    line.heard().iter().map(Parts::of).collect()
}

#[test]
fn each_report_has_all_that_is_measured_of_a_clean_call() {
    let mut line = line("sink");
    line.talk(1500, |_| false);
    let reports = reports(&mut line);
    assert!(reports.len() >= 5, "{reports:#?}");
    let mut next = 1000;
    for report in &reports {
        assert_eq!(
            (&report.types[..], &report.extended[..]),
            (&[201, 202, 207][..], &[4, 6, 7][..])
        );
        assert_eq!(report.ntp, Some(report.at.to_ntp()));
        let ([block], [summary], [metrics]) =
            (&report.blocks[..], &report.summaries[..], &report.metrics[..])
        else {
            panic!("{report:#?}")
        };
        assert_eq!(
            (block.ssrc().0, block.fraction_lost(), block.cumulative_lost()),
            (0x5EED, 0, 0)
        );
        // Each goes on where the one before has ended.
        assert_eq!((summary.ssrc().0, summary.begin_sequence()), (0x5EED, next));
        next = summary.end_sequence();
        assert_eq!(u32::from(next), block.extended_highest_sequence() + 1);
        assert_eq!((summary.lost(), summary.duplicates()), (Some(0), Some(0)));
        assert_eq!((summary.jitter(), summary.hops()), (None, None));
        assert_clean(metrics);
    }
    assert!(reports.iter().skip(1).all(|report| report.metrics[0].mos_lq() == Some(4.4)));
}

/// Nothing is lost, and nothing is known of the way back.
fn assert_clean(metrics: &VoipMetrics) {
    assert_eq!((metrics.ssrc().0, metrics.gmin()), (0x5EED, Some(16)));
    assert_eq!([metrics.loss_rate(), metrics.discard_rate()], [0.0; 2]);
    assert_eq!([metrics.burst_density(), metrics.gap_density()], [0.0; 2]);
    assert_eq!((metrics.round_trip_ms(), metrics.mos_cq(), metrics.r_factor()), (None, None, None));
    assert_eq!((metrics.signal_level_dbm0(), metrics.noise_level_dbm0()), (None, None));
    assert_eq!((metrics.rerl_db(), metrics.external_r_factor()), (None, None));
    // 60 ms of buffer, 20 ms of packet, 3.75 ms of concealment.
    assert_eq!(metrics.end_system_delay_ms(), Some(84));
    assert_eq!(metrics.concealment(), Some(Concealment::Standard));
    assert_eq!(metrics.jitter_buffer_kind(), Some(JitterBufferKind::Fixed));
    assert_eq!(metrics.jitter_buffer_nominal_ms(), 60);
    assert_eq!(metrics.jitter_buffer_maximum_ms(), 60);
    assert_eq!(metrics.jitter_buffer_absolute_maximum_ms(), 60);
}

/// Steps of an 8-bit share: rounded down, so that what is said is never more than what is.
fn assert_share(said: f64, percentage: Option<f64>) {
    let percentage = percentage.expect("known");
    let behind = percentage - said * 100.0;
    assert!((0.0..0.4).contains(&behind), "{said} of {percentage}");
}

/// Seven packets in a row of forty are lost, and the round trip is known from the far end's DLRR.
fn assert_last_report_is_the_record(scoring: Scoring) {
    let config = ShardConfig { scoring: scoring.into(), ..ShardConfig::default() };
    let mut line = Line::new("sink", config);
    for _ in 0..10 {
        line.talk(250, |sequence| sequence % 40 < 7);
        for report in line.heard() {
            // All of the time since but 90 ms.
            let held = line.world.now.since(report.at);
            if let Some(held) = held.checked_sub(ms(90)) {
                line.say(extended(7, &[XrBlock::Dlrr(&[dlrr(&report, held)])]));
            }
        }
    }
    let call = line.hang_up();
    let last = reports(&mut line).pop().expect("a goodbye");
    assert_eq!(last.types, [201, 202, 207, 203]);
    let record = streams(&call, Direction::Rx).remove(0);
    let said = &last.metrics[0];
    assert_share(said.loss_rate(), record.loss_percentage);
    assert_share(said.discard_rate(), record.discard_percentage);
    assert_share(said.burst_density(), record.burst_density);
    assert_share(said.gap_density(), record.gap_density);
    assert!(said.loss_rate() > 0.1 && said.burst_density() > 0.1);
    let tenths = |mos: Option<f64>| mos.map(|mos| (mos * 10.0).round() / 10.0);
    assert_eq!(said.mos_lq(), tenths(record.mos_lq));
    assert_eq!(said.mos_cq(), tenths(record.mos_cq));
    assert_eq!(said.r_factor().map(f64::from), record.r_factor.map(f64::round));
    assert!(said.mos_cq().is_some() && said.mos_cq() <= said.mos_lq());
    assert_eq!(said.round_trip_ms(), Some(90));
}

#[test]
fn the_last_report_says_what_the_record_says() {
    assert_last_report_is_the_record(Scoring::default());
}

#[test]
fn a_configured_scoring_counts_in_reports_as_well() {
    assert_last_report_is_the_record(Scoring { g711_plc: false, ..Scoring::default() });
}

#[test]
fn duplicates_and_losses_stand_in_the_summary_of_their_interval() {
    let mut line = line("sink");
    line.talk(1000, |sequence| sequence % 100 == 5);
    let before = reports(&mut line);
    let (mut lost, mut expected) = (0, 0);
    for report in &before {
        let [summary] = &report.summaries[..] else { panic!("{report:#?}") };
        let range = summary.begin_sequence()..summary.end_sequence();
        expected += range.len();
        let in_range = u32::try_from(range.filter(|sequence| sequence % 100 == 5).count());
        assert_eq!(summary.lost(), Some(in_range.expect("few")), "{summary:?}");
        lost += summary.lost().unwrap_or_default();
    }
    assert!(lost >= 5 && expected > 500);
    // Five packets come again, then there is nothing new but their report.
    for _ in 0..5 {
        let sequence = line.sequence.wrapping_sub(3);
        let packet = common::rtp(0, false, sequence, line.timestamp - 480, line.ssrc);
        let media = line.caller.media;
        line.world.send(media, line.us, packet);
    }
    line.talk(400, |_| false);
    let after = reports(&mut line);
    let duplicates: u32 = after.iter().filter_map(|it| it.summaries[0].duplicates()).sum();
    assert_eq!(duplicates, 5);
    // The first of them may begin before.
    assert!(after.iter().skip(1).all(|report| report.summaries[0].lost() == Some(0)));
}

#[test]
fn who_sends_media_sends_sender_reports() {
    let mut line = line("echo");
    line.talk(500, |_| false);
    let reports = reports(&mut line);
    assert!(reports.len() >= 2);
    assert!(reports.iter().all(|report| report.types == [200, 202, 207]), "{reports:#?}");
}

#[test]
fn a_report_on_four_sources_fits_any_path() {
    let mut line = line("sink");
    for round in 0..50 {
        for ssrc in [1, 2, 3, 4] {
            line.ssrc = ssrc;
            (line.sequence, line.timestamp) = (round * 25, u32::from(round) * 25 * 160);
            line.talk_in(ms(5), 25, |_| false);
        }
    }
    let heard = line.heard();
    let longest = heard.iter().max_by_key(|sent| sent.bytes.len()).expect("reports");
    let parts = Parts::of(longest);
    assert_eq!((parts.blocks.len(), parts.metrics.len(), parts.summaries.len()), (4, 4, 4));
    assert!((300..=1232).contains(&longest.bytes.len()), "{}", longest.bytes.len());
}

#[test]
fn extended_reports_can_be_turned_off() {
    let config = ShardConfig { rtcp_xr: false, ..ShardConfig::default() };
    let mut line = Line::new("sink", config);
    line.talk(500, |_| false);
    let reports = reports(&mut line);
    assert!(reports.len() >= 2 && reports.iter().all(|report| report.types == [201, 202]));
}

#[test]
fn a_far_end_gets_the_extended_reports_that_it_asks_for() {
    for (attribute, expected) in [
        ("", &[4, 6, 7][..]),
        ("a=rtcp-xr:voip-metrics\r\n", &[7]),
        ("a=rtcp-xr:rcvr-rtt=all stat-summary=loss,dup,jitt\r\n", &[4, 6]),
        ("a=rtcp-xr:\r\n", &[]),
    ] {
        let caller = Caller::new("198.51.100.1:5070", "line");
        let change = |offer| format!("{offer}{attribute}");
        let mut line = Line::with(caller, ShardConfig::default(), change);
        line.talk(500, |_| false);
        let reports = reports(&mut line);
        assert!(reports.len() >= 2, "{attribute}");
        assert!(reports.iter().all(|report| report.extended == expected), "{attribute}");
    }
}

#[test]
fn the_end_of_a_call_is_said_with_a_goodbye_whoever_ends_it() {
    for is_ours in [false, true] {
        let mut line = line("sink");
        line.talk(400, |_| false);
        assert!(reports(&mut line).iter().all(|report| !report.types.contains(&203)));
        if is_ours {
            line.world.close();
        } else {
            line.caller.hang_up(&mut line.world);
        }
        let last = reports(&mut line);
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].types, [201, 202, 207, 203]);
        assert_eq!(last[0].blocks.len(), 1);
        line.world.run_for(secs(60));
        assert!(reports(&mut line).is_empty());
    }
}

#[test]
fn who_has_said_nothing_says_no_goodbye() {
    // No media at all, and half a second of it.
    for count in [0, 25] {
        let mut line = line("sink");
        line.talk(count, |_| false);
        line.hang_up();
        assert!(line.heard().is_empty());
    }
}

#[test]
fn nothing_is_said_to_one_that_is_silent_until_it_takes_part_itself() {
    let mut line = line("sink");
    line.talk(400, |_| false);
    line.world.run_for(secs(12));
    line.heard();
    line.world.run_for(secs(30));
    assert!(line.heard().is_empty());
    line.say(extended(7, &[]));
    line.world.run_for(secs(20));
    let reports = reports(&mut line);
    assert!(reports.len() >= 2 && reports.iter().all(|report| report.blocks.is_empty()));
    line.world.run_for(secs(60));
    line.heard();
    line.world.run_for(secs(30));
    assert!(line.heard().is_empty());
}
