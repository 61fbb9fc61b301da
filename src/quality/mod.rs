//! How good a call is: from what was counted of a stream to R and MOS, and to what each cause took.
//!
//! Pure functions: no clock, no call, no packet. [`score::Scoring::score`] is the one way in, and
//! `control` calls it in one place, so that the API, `analyze`, the metrics and the history show
//! the same number. This page is for who wants to check it.
//!
//! # Sources
//!
//! ITU-T texts are free to read at itu.int, but none was at hand: equations and constants are
//! from open implementations and papers that quote them, cross-checked against each other. Marks:
//!
//! - **S**: at least two such sources agree. The narrowband set agrees over five of them to 1e-6.
//! - **S1**: one source only.
//! - **U**: common use or memory; not verified. Where it decides, the score says `estimate`.
//! - **O**: our own choice, said here with its reason.
//!
//! # The models
//!
//! | scale | Recommendation | R, and where MOS reads the cubic of G.107 (eq. B-4) |
//! |---|---|---|
//! | `nb` | G.107 (06/2015), S | Ro - Is - Id - Ie,eff + A (eq. 7-1), 93.2 by default; at R |
//! | `wb` | G.107.1 (06/2019), S | 129 - Id,WB - Ie,eff,WB + A; at R / 1.29 |
//! | `fb` | G.107.2 (06/2019), S | 148 - 1.48 Idd - Ie,eff,FB; at R / 1.48 |
//!
//! Ie,eff = Ie + (c - Ie) Ppl / (Ppl / BurstR + Bpl), with c = 95 on `nb` (eq. 7-29) and `wb`
//! (eq. 7-15, which has no BurstR), 132 on `fb`. `fb` has no echo terms.
//!
//! [`emodel::narrowband`] has every parameter of G.107 Table 3 with its range, and all of eq. 7-1
//! to 7-29: noise (No, Ro), loudness, sidetone and quantisation (Iolr, Ist, Iq), talker and
//! listener echo (Idte, Idle) with the cases of clause 7.4, pure delay (Idd) with its three classes
//! of sensitivity. [`emodel::wideband`] and [`emodel::fullband`] say what of it they keep. The
//! codec decides the scale. Scores of different scales are neither compared nor averaged; where a
//! call's two directions are on different ones, the lower MOS counts as the worse.
//!
//! GoB and PoW are not computed, and the advantage factor A stays 0: it is an expectation of
//! users, not a measurement.
//!
//! # What goes in
//!
//! - Ppl: lost and discarded of expected packets, percent (RFC 3611 section 4.7.1; S).
//! - BurstR: mean run of losses × (1 - share lost) (eq. 7-30), 1 to 8; only where Bpl is at least
//!   16 (G.113 Appendix I, S1).
//! - T = Ta: network + jitter buffer + packet interval + look-ahead ([`delay`]), at most 60 s;
//!   Tr = 2 Ta, a symmetric packet call (O).
//! - The network's delay: half the mean RTCP round trip, wrong by the asymmetry of the path; else
//!   the configured one; else it is unknown.
//! - The jitter buffer: one of the two that are emulated ([`shard::buffer`], O), by default the
//!   fixed one of 60 ms over the fastest packet. Its discards are in Ppl, its delay, nominal or the
//!   mean of the adaptive one, is in Ta; each score says which it is.
//! - All else: the default column of G.107 Table 3, with TELR 65 dB and WEPL 110 dB (S).
//!
//! MOS-LQ is the same with Id = 0 (RFC 3611 section 4.7.5); MOS-CQ has the delay in it. Below
//! [`score::MIN_PACKETS`] expected packets there is no score.
//!
//! Look-ahead and filters, ms: G.711 with concealment 3.75, G.729 5, G.723.1 7.5, iLBC 5 (10 with
//! frames of 30 ms), AMR 5, AMR-WB 6.9, EVS 12, Opus 6.5, G.722 1.5, Speex 10, others 0.
//!
//! # Constants of codecs
//!
//! | codec | scale | Ie | Bpl | what of it is published |
//! |---|---|---|---|---|
//! | G.711, concealment of Appendix I | nb | 0 | 25.1 | both: G.113 (2024) Table I.4, S |
//! | G.711, `g711_plc = false` | nb | 0 | 4.3 | both: the same table |
//! | G.729 as G.729A with VAD | nb | 11 | 19.0 | both: the same table |
//! | G.723.1 as 6.3 kbit/s with VAD | nb | 15 | 16.1 | both: the same table |
//! | GSM-EFR | nb | 5 | 10.0 | both: the same table |
//! | GSM-FR | nb | 20 | 10 | Ie: Table I.1, S; Bpl: O |
//! | G.726 at 32 kbit/s, G.728 | nb | 7 | 10 | Ie: Table I.1, S; Bpl: O |
//! | AMR | nb | 5 | 10 | none: its 12.2 kbit/s mode is GSM-EFR |
//! | iLBC | nb | 11 | 32 | none: O, see [`codec`] |
//! | Speex at 8 kHz | nb | 11 | 10 | none: O |
//! | L16 at 8, 16, 44.1 or 48 kHz | nb, wb, fb | 0 | 4.3 | none: O, no coding, no concealment |
//! | G.722 at 64 kbit/s | wb | 13 | 4.3 | none: Ie U, Bpl O |
//! | Opus | fb | 10.2 | 4.3 | none: U, in use by three implementations |
//! | AMR-WB, EVS | wb, fb | | | by bit rate ([`codec::modes`], S1), once `kbps` tells it |
//!
//! Where no Bpl is published it is the lowest published one on the scale of a codec that conceals
//! loss: an estimate shall not flatter. `[scoring.codec.…]` overrides any of it.
//!
//! # What a score says of itself
//!
//! `mos_basis` is `cq` or `lq`, the scale, and one of `measured` (both constants published),
//! `estimate`, `override` (one at least is configured) and `simplified` ([`simplified`], the
//! older monitors' formula); then `assumed-delay` where the network's delay is configured. What
//! has no score has a `mos_reason`. The [`Impairments`] and `r_factor` add up to
//! [`MosBasis::r_ideal`] as long as anything is left.
//!
//! # Deviations and open edges
//!
//! - MOS is never below 1, though eq. B-4 dips to 0.989 under R = 6.5. R is shown from 0 up.
//! - Ie,eff may pass 95 (eq. 7-29 with bursts and a small Bpl). It is not clamped; R is.
//! - G.107 validates BurstR to 2, above only with Ppl below 2 %. Up to 8 it is used anyway, and Ppl
//!   above 20 %: a wrong order of bad calls would be worse than an unvalidated figure.
//! - Roe of the wideband talker echo is that of the 06/2019 text, 106.2; Corrigendum 1 was not at
//!   hand. With 129, as in another implementation, a clean call loses 0.005 MOS more at 150 ms.
//! - The 03/2023 edition of G.107.2, which adds noise and bursty loss, was not at hand; the 2019
//!   form with BurstR is used, as most ports have it.
//! - G.711's concealment waits 3.75 ms: a quarter of its longest pitch period, 30 samples at 8 kHz.
//!   Lists that give 0.25 ms do not fit its algorithm. The two differ by 0.5 in R at most.
//! - The end system delay that a far end states by RTCP XR (RFC 3611 section 4.7.3) is shown and
//!   does not enter T: a score shall compare networks, with one stated jitter buffer for all, and
//!   not depend on which phones say how much they wait. What is stated to far ends is
//!   [`delay::terminal_ms`], so that (round trip + 2 × that) / 2 is T.
//! - AMR-WB takes the diotic constants, since only those have a Bpl, and only for three modes.
//!
//! [`shard::buffer`]: crate::shard::buffer

mod basis;
pub mod codec;
pub mod delay;
pub mod emodel;
mod rating;
pub mod score;
pub mod settings;
pub mod simplified;

pub use basis::{MosBasis, MosKind, Scale, Source};
pub use rating::{Rating, THRESHOLDS, Thresholds};
pub use score::Impairments;
