//! The report of a run as text for a terminal: names left, values right, at most 100 columns.
//!
//! It lays out; every number comes from `report`.

use std::fmt;

use crate::{histogram::Quantiles, options::AudioCodec, report::Report, verify::Verification};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.scenario;
        let codec = match s.codec {
            AudioCodec::Pcmu => "PCMU",
            AudioCodec::Pcma => "PCMA",
        };
        writeln!(
            f,
            "{} calls to {}@{}, {}/s, {} s of {codec} each, seed {}\n",
            s.calls, s.user, s.target, s.rate, s.duration_seconds, s.seed
        )?;
        self.fmt_calls(f)?;
        self.fmt_media(f)?;
        self.fmt_generator(f)?;
        if let Some(api) = &self.api {
            let failures = api.failures;
            quantiles(f, "API answers", api.latency)?;
            row(f, "", format_args!("{failures} failed, {} active at most", api.active_calls_max))?;
            if let Some(error) = &api.first_failure {
                row(f, "", format_args!("first failure: {error}"))?;
            }
        }
        if let Some(verification) = &self.verification {
            fmt_verification(f, verification)?;
        }
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl Report {
    fn fmt_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.calls;
        row(
            f,
            "calls",
            format_args!(
                "{} attempted, {} answered, {} completed, {} failed",
                c.attempted, c.answered, c.completed, c.failed
            ),
        )?;
        for (reason, count) in &c.failures {
            row(f, "", format_args!("{count:>6} × {reason}"))?;
        }
        quantiles(f, "set-up, INVITE to 200", c.setup)?;
        row(
            f,
            "retransmissions",
            format_args!(
                "{} INVITE, {} BYE, {} CANCEL; {} repeated 200",
                c.invite_retransmissions,
                c.bye_retransmissions,
                c.cancel_retransmissions,
                c.repeated_answers
            ),
        )
    }

    fn fmt_media(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.sent;
        row(f, "RTP sent", format_args!("{} packets", s.packets))?;
        row(
            f,
            "  impaired",
            format_args!(
                "{} lost ({:.2} %), {} duplicate, {} out of order",
                s.lost, s.loss_percentage, s.duplicate, s.out_of_order
            ),
        )?;
        jitter(f, s.jitter_mean_ms, s.jitter_max_ms)?;
        let r = &self.received;
        row(f, "RTP received", format_args!("{} packets", r.packets))?;
        if r.packets > 0 {
            let others = r.strangers;
            row(
                f,
                "  impaired",
                format_args!(
                    "{} lost, {} duplicate, {} out of order, {others} of other sources",
                    r.lost, r.duplicate, r.out_of_order
                ),
            )?;
            jitter(f, r.jitter_mean_ms, r.jitter_max_ms)?;
        }
        quantiles(f, "round trip by RTCP", self.round_trip)
    }

    fn fmt_generator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let g = &self.generator;
        quantiles(f, "own pacing lag", g.pacing_lag)?;
        row(
            f,
            "own CPU",
            format_args!(
                "{:.1} s in {:.1} s, {:.1} % of a core, {:.2} us per packet sent",
                g.cpu_seconds,
                g.wall_seconds,
                g.cpu_percent,
                g.cpu_us_per_packet.unwrap_or(0.0)
            ),
        )?;
        row(
            f,
            "own trouble",
            format_args!(
                "{} waits, {} refusals, {} drops on receipt",
                g.send_waits, g.send_errors, g.own_drops
            ),
        )
    }
}

fn fmt_verification(f: &mut fmt::Formatter<'_>, v: &Verification) -> fmt::Result {
    let (i, m) = (&v.injected, &v.measured);
    writeln!(f, "\n{:<22}{:>14}{:>14}", "verified", "injected", "measured")?;
    for (name, injected, measured) in [
        ("  received", i.received, m.received),
        ("  lost", i.lost, m.lost),
        ("  duplicate", i.duplicate, m.duplicate),
        ("  out of order", i.out_of_order, m.out_of_order),
    ] {
        writeln!(f, "{name:<22}{injected:>14}{measured:>14}")?;
    }
    let (injected, measured) = (i.jitter_mean_ms, m.jitter_mean_ms);
    writeln!(f, "{:<22}{injected:>14.3}{measured:>14.3}", "  jitter mean, ms")?;
    writeln!(f, "{:<22}{} of {} calls agree", "", v.agreeing, v.calls)?;
    if v.disagreements.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{:<44}{:<22}{:>14}  {:>18}", "disagreements", "figure", "injected", "measured")?;
    let rows = v.disagreements.iter().flat_map(|call| call.faults.iter().map(move |f| (call, f)));
    let count = rows.clone().count();
    for (call, fault) in rows.take(DISAGREEMENTS_SHOWN) {
        let id: String = call.call_id.chars().take(CALL_ID_SHOWN).collect();
        let measured: String = fault.measured.chars().take(MEASURED_SHOWN).collect();
        writeln!(f, "{id:<44}{:<22}{:>14}  {measured:>18}", fault.figure, fault.injected)?;
    }
    if count > DISAGREEMENTS_SHOWN {
        writeln!(f, "… and {} more", count - DISAGREEMENTS_SHOWN)?;
    }
    Ok(())
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{name:<22}{value}")
}

fn quantiles(f: &mut fmt::Formatter<'_>, name: &str, of: Option<Quantiles>) -> fmt::Result {
    match of {
        None => row(f, name, format_args!("none")),
        Some(q) => row(
            f,
            name,
            format_args!(
                "p50 {:.2}   p95 {:.2}   p99 {:.2}   max {:.2} ms",
                q.p50_ms, q.p95_ms, q.p99_ms, q.max_ms
            ),
        ),
    }
}

fn jitter(f: &mut fmt::Formatter<'_>, mean: Option<f64>, max: Option<f64>) -> fmt::Result {
    let (mean, max) = (mean.unwrap_or(0.0), max.unwrap_or(0.0));
    row(f, "  jitter", format_args!("mean {mean:.2}   max {max:.2} ms"))
}

const DISAGREEMENTS_SHOWN: usize = 20;
const CALL_ID_SHOWN: usize = 42;
const MEASURED_SHOWN: usize = 18;
