//! An encoder for G.722 at 64 kbit/s (ITU-T G.722 section 3, mode 1): sub-band ADPCM of 16 kHz
//! audio, six bits a pair of samples for the lower band and two for the higher.
//!
//! Blocks have the names of the Recommendation; so have tables. Arithmetic is its 16 bits, in 32.

/// The encoder's state, as its reset leaves it.
#[derive(Clone, Debug)]
pub(super) struct G722Encoder {
    /// The last samples, oldest first: the transmit QMF's memory.
    samples: [i32; QMF_TAPS],
    lower: Band,
    higher: Band,
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self { samples: [0; QMF_TAPS], lower: Band::new(32), higher: Band::new(8) }
    }
}

impl G722Encoder {
    /// Encodes two samples into one octet, the higher band's bits first.
    pub(super) fn encode(&mut self, pair: [i16; 2]) -> u8 {
        let [low, high] = self.split(pair);
        let lower = self.lower.encode_lower(low);
        let higher = self.higher.encode_higher(high);
        (higher << 6) | lower
    }

    /// The transmit QMF (section 3.1).
    fn split(&mut self, pair: [i16; 2]) -> [i32; 2] {
        self.samples.copy_within(2.., 0);
        self.samples[QMF_TAPS - 2..].copy_from_slice(&pair.map(i32::from));
        let (mut even, mut odd) = (0, 0);
        for (index, pair) in self.samples.chunks_exact(2).enumerate() {
            even += pair[0] * QMF[index];
            odd += pair[1] * QMF[QMF.len() - 1 - index];
        }
        [(odd + even) >> 14, (odd - even) >> 14]
    }
}

/// One sub-band: quantizer adaptation and adaptive predictor.
#[derive(Clone, Debug)]
struct Band {
    /// Logarithmic scale factor, NB.
    log_scale: i32,
    /// Scale factor, DET.
    scale: i32,
    /// Pole coefficients, A1 and A2.
    poles: [i32; 2],
    /// Zero coefficients, B1 to B6.
    zeros: [i32; 6],
    /// Quantized differences, D0 to D5 of the next sample.
    differences: [i32; 6],
    /// Partially reconstructed signals, P1 and P2.
    partial: [i32; 2],
    /// Reconstructed signals, R1 and R2.
    reconstructed: [i32; 2],
    /// What the zeros predict, SZ.
    zero_prediction: i32,
    /// What is predicted, S.
    prediction: i32,
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            log_scale: 0,
            scale,
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            partial: [0; 2],
            reconstructed: [0; 2],
            zero_prediction: 0,
            prediction: 0,
        }
    }

    /// Six bits for a sample of the lower band (section 3.2 to 3.6).
    fn encode_lower(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTL
        let error = saturate(sample - self.prediction);
        let magnitude = if error < 0 { !error } else { error };
        let above = Q6.iter().take_while(|&&level| magnitude >= (level * self.scale) >> 12);
        let interval = above.count();
        let code = (if error < 0 { IL_NEGATIVE } else { IL_POSITIVE })[interval];
        // INVQAL: the predictor knows the four bits alone that every mode transmits.
        let four = usize::from(code >> 2);
        let difference = (self.scale * QQ4[four]) >> 15;
        // LOGSCL, SCALEL
        self.adapt(WL[usize::from(RL4[four])], 18_432, 8);
        self.predict(difference);
        code
    }

    /// Two bits for a sample of the higher band.
    fn encode_higher(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTH
        let error = saturate(sample - self.prediction);
        let magnitude = if error < 0 { !error } else { error };
        let is_large = magnitude >= (Q2 * self.scale) >> 12;
        let code = match (error < 0, is_large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        // INVQAH
        let difference = (self.scale * QQ2[usize::from(code)]) >> 15;
        // LOGSCH, SCALEH
        self.adapt(WH[usize::from(is_large)], 22_528, 10);
        self.predict(difference);
        code
    }

    /// The scale factor for the next sample: it forgets, grows by `weight`, and is taken from its
    /// logarithm.
    fn adapt(&mut self, weight: i32, log_max: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + weight).clamp(0, log_max);
        #[expect(clippy::cast_sign_loss, reason = "the logarithm is never below 0")]
        let mantissa = ILB[(self.log_scale as usize >> 6) % ILB.len()];
        let shift = shift - (self.log_scale >> 11);
        let scale = if shift < 0 { mantissa << -shift } else { mantissa >> shift };
        self.scale = scale << 2;
    }

    /// BLOCK4: the predictor learns from a quantized difference, and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        // RECONS, PARREC
        let reconstructed = saturate(self.prediction + difference);
        let partial = saturate(self.zero_prediction + difference);
        let [is_as_1, is_as_2] = self.partial.map(|before| is_same_sign(before, partial));
        // UPPOL2
        let four_poles = saturate(self.poles[0] << 2);
        let mut second = if is_as_1 { saturate(-four_poles) } else { four_poles } >> 7;
        second += if is_as_2 { 128 } else { -128 };
        second = (second + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        // UPPOL1
        let first = if is_as_1 { 192 } else { -192 } + ((self.poles[0] * 32_640) >> 15);
        let limit = 15_360 - second;
        let first = first.clamp(-limit, limit);
        // UPZERO
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, &before) in self.zeros.iter_mut().zip(&self.differences) {
            let towards = if is_same_sign(before, difference) { step } else { -step };
            *zero = saturate(towards + ((*zero * 32_640) >> 15));
        }
        // DELAYA
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        self.poles = [first, second];
        // FILTEP, FILTEZ, PREDIC
        let product =
            |(&coefficient, &signal): (&i32, &i32)| (coefficient * saturate(signal + signal)) >> 15;
        let by_poles = self.poles.iter().zip(&self.reconstructed).map(product).sum();
        let by_zeros = self.zeros.iter().zip(&self.differences).map(product).sum();
        self.zero_prediction = saturate(by_zeros);
        self.prediction = saturate(saturate(by_poles) + self.zero_prediction);
    }
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// Nothing has the sign of what is above it.
const fn is_same_sign(a: i32, b: i32) -> bool {
    (a < 0) == (b < 0)
}

const QMF_TAPS: usize = 24;

/// Table 11: H0, H2 and so on; the odd ones are these backwards.
const QMF: [i32; QMF_TAPS / 2] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the six-bit quantizer: Q6 of table 14, after its first, which is 0.
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Codes of positive differences by the interval of their magnitude.
const IL_POSITIVE: [u8; 30] = [
    61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38,
    37, 36, 35, 34, 33, 32,
];

/// Codes of negative differences.
const IL_NEGATIVE: [u8; 30] = [
    63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10,
    9, 8, 7, 6, 5, 4,
];

/// Decision level of the two-bit quantizer.
const Q2: i32 = 564;

/// Output levels of the four-bit inverse quantizer by code.
const QQ4: [i32; 16] = [
    0, -20_456, -12_896, -8968, -6288, -4240, -2584, -1200, 20_456, 12_896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// Output levels of the two-bit inverse quantizer by code.
const QQ2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// Which multiplier of the lower band goes with a four-bit code.
const RL4: [u8; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];

/// Logarithmic multipliers of the lower band.
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];

/// Those of the higher band, for small and for large differences.
const WH: [i32; 2] = [-214, 798];

/// The inverse logarithm: 2048 times 2 to the power of n / 32.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise, steps and silence, loud enough to reach every limit; of whole numbers, so that they
    /// are the same everywhere.
    fn samples() -> Vec<i16> {
        let mut state = 722_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(LCG_INCREMENT);
            i32::try_from(state >> 33).unwrap()
        };
        let mut samples = Vec::new();
        for part in 0..200 {
            let loudness = random() % 32_768;
            let period = 2 + random() % 60;
            for n in 0..320 {
                let sample = match part % 3 {
                    0 => random() % (2 * loudness + 1) - loudness,
                    1 if n / period % 2 == 0 => loudness,
                    1 => -loudness,
                    _ => 0,
                };
                samples.push(i16::try_from(sample).unwrap());
            }
        }
        samples
    }

    /// The sum of what libg722 (of sippy, through its package `g722` 1.2.8 for Python) makes of the
    /// same samples.
    #[test]
    fn the_octets_are_those_of_another_encoder() {
        let mut encoder = G722Encoder::default();
        let samples = samples();
        let octets = samples.chunks_exact(2).map(|pair| encoder.encode([pair[0], pair[1]]));
        // FNV-1a.
        let sum = octets.fold(0xCBF2_9CE4_8422_2325_u64, |sum, octet| {
            (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3)
        });
        assert_eq!(sum, 0x808A_4405_62E8_E7D0);
    }

    const LCG_INCREMENT: u64 = 1_442_695_040_888_963_407;
}
