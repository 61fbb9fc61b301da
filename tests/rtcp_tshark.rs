//! Wireshark's dissectors read our RTCP as we mean it: block by block, field by field.
//!
//! Where tshark is not installed, this test says so and passes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;
#[path = "common/line.rs"]
mod line;
mod live;
#[path = "common/pcap.rs"]
mod pcap;

use std::process::Command;

use common::{START, Sent, ms};
use line::{Line, Parts, dlrr, extended};
use live::is_installed;
use pcap::{Pcap, TempFile, ethernet, udp};
use voxplane::{
    shard::ShardConfig,
    wire::rtcp::{ReceiverReferenceTime, VoipMetrics, XrBlock},
};

/// What the appliance says in a call of 40 s with losses, whose far end sends reference times and
/// answers ours after 70 ms of way.
fn said() -> Vec<Sent> {
    let mut line = Line::new("echo", ShardConfig::default());
    let mut said = Vec::new();
    for _ in 0..8 {
        line.talk(250, |sequence| sequence % 50 < 6 && sequence % 50 != 4);
        let reports = line.heard();
        for report in &reports {
            let now = line.world.now;
            let time = ReceiverReferenceTime::new(now.to_ntp());
            if let Some(held) = now.since(report.at).checked_sub(ms(70)) {
                let answer = [dlrr(report, held)];
                let blocks = [XrBlock::ReceiverReferenceTime(&time), XrBlock::Dlrr(&answer)];
                line.say(extended(7, &blocks));
            }
        }
        said.extend(reports);
    }
    line.hang_up();
    said.extend(line.heard());
    said
}

#[test]
fn our_reports_are_read_as_they_are_meant() {
    if !is_installed("tshark", "tshark") {
        return;
    }
    let said = said();
    let mut file = Pcap::new(1);
    for sent in &said {
        let packet = udp(&sent.src.to_string(), &sent.dst.to_string(), &sent.bytes);
        let at = u64::try_from(sent.at.since(START).as_nanos()).unwrap();
        file.packet(START.as_nanos() + at, &ethernet(&packet));
    }
    let file = TempFile::new(&file.bytes);
    let rows = dissected(&file);
    assert_eq!(rows.len(), said.len());
    let mut seen = [0; 4];
    for (row, sent) in rows.iter().zip(&said) {
        let parts = Parts::of(sent);
        assert_eq!(row, &meant(&parts), "{sent:?}");
        for (count, block_type) in seen.iter_mut().zip(4..) {
            *count += usize::from(parts.extended.contains(&block_type));
        }
    }
    // Each has all blocks, but for the answer: the first reference time has to come before it.
    let all = said.len();
    assert!(
        all >= 7 && seen[0] == all && seen[1] >= all - 2 && seen[2..] == [all, all],
        "{seen:?}"
    );
}

/// The fields below as tshark finds them, a row for each packet.
fn dissected(file: &TempFile) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file.path()).args(["-d", "udp.port==20001,rtcp", "-T", "fields"]);
    for field in FIELDS.split_whitespace() {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What tshark is to find in a report.
fn meant(parts: &Parts) -> Vec<String> {
    let [block] = parts.blocks[..] else { panic!("{parts:#?}") };
    let ([metrics], [summary]) = (&parts.metrics[..], &parts.summaries[..]) else { panic!() };
    let list = |values: &[u8]| values.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let optional = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let answer = parts.dlrr.first();
    let mut meant = vec![
        // Neither malformed nor worth an expert's warning.
        String::new(),
        list(&parts.types),
        list(&parts.extended),
        optional(answer.map(|answer| answer.lrr())),
        optional(answer.map(|answer| answer.dlrr())),
        format!("{},{}", block.fraction_lost(), octet(metrics.loss_rate())),
        block.extended_highest_sequence().to_string(),
        summary.begin_sequence().to_string(),
        summary.end_sequence().to_string(),
        optional(summary.lost()),
        optional(summary.duplicates()),
    ];
    meant.extend(meant_metrics(metrics));
    meant
}

fn meant_metrics(metrics: &VoipMetrics) -> Vec<String> {
    let mos = |mos: Option<f64>| mos.map_or_else(|| "127".to_owned(), |mos| mos.to_string());
    let shares = [metrics.discard_rate(), metrics.burst_density(), metrics.gap_density()];
    let mut meant: Vec<String> = shares.iter().map(|&share| octet(share).to_string()).collect();
    meant.extend([
        metrics.burst_duration_ms().to_string(),
        metrics.gap_duration_ms().to_string(),
        metrics.round_trip_ms().unwrap_or(0).to_string(),
        metrics.end_system_delay_ms().unwrap_or(0).to_string(),
        // Unavailable.
        "127".to_owned(),
        "127".to_owned(),
        "127".to_owned(),
        "16".to_owned(),
        metrics.r_factor().unwrap_or(127).to_string(),
        "127".to_owned(),
        mos(metrics.mos_lq()),
        mos(metrics.mos_cq()),
        // Standard concealment, and a fixed buffer.
        "3".to_owned(),
        "2".to_owned(),
        metrics.jitter_buffer_nominal_ms().to_string(),
        metrics.jitter_buffer_maximum_ms().to_string(),
        metrics.jitter_buffer_absolute_maximum_ms().to_string(),
    ]);
    meant
}

/// A share in 1/256, as it stands in its octet.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
fn octet(share: f64) -> u8 {
    (share * 256.0) as u8
}

const FIELDS: &str = "_ws.expert.message rtcp.pt rtcp.xr.bt rtcp.xr.lrr rtcp.xr.dlrr \
    rtcp.ssrc.fraction rtcp.ssrc.ext_high rtcp.xr.beginseq rtcp.xr.endseq rtcp.xr.stats.lost \
    rtcp.xr.stats.dups rtcp.ssrc.discarded rtcp.xr.voipmetrics.burstdensity \
    rtcp.xr.voipmetrics.gapdensity rtcp.xr.voipmetrics.burstduration \
    rtcp.xr.voipmetrics.gapduration rtcp.xr.voipmetrics.rtdelay rtcp.xr.voipmetrics.esdelay \
    rtcp.xr.voipmetrics.signallevel rtcp.xr.voipmetrics.noiselevel rtcp.xr.voipmetrics.rerl \
    rtcp.xr.voipmetrics.gmin rtcp.xr.voipmetrics.rfactor rtcp.xr.voipmetrics.extrfactor \
    rtcp.xr.voipmetrics.moslq rtcp.xr.voipmetrics.moscq rtcp.xr.voipmetrics.plc \
    rtcp.xr.voipmetrics.jba rtcp.xr.voipmetrics.jbnominal rtcp.xr.voipmetrics.jbmax \
    rtcp.xr.voipmetrics.jbabsmax";
