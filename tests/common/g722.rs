//! A decoder for G.722 at 64 kbit/s, from the Recommendation alone: it shares no code with the
//! encoder that it judges.
#![allow(unreachable_pub, reason = "a module shared by test files")]

/// Sample pairs from octets.
pub fn decode(octets: &[u8]) -> Vec<i16> {
    let mut lower = Predictor { det: 32, ..Predictor::default() };
    let mut higher = Predictor { det: 8, ..Predictor::default() };
    let mut memory = [0_i32; 24];
    let mut out = Vec::with_capacity(octets.len() * 2);
    for &octet in octets {
        let (low, high) = (usize::from(octet & 63), usize::from(octet >> 6));
        let rl = (lower.s + ((lower.det * QQ6[low]) >> 15)).clamp(-16_384, 16_383);
        let dlt = (lower.det * QQ4[low >> 2]) >> 15;
        lower.scale(WL[low >> 2], 18_432, 8);
        lower.step(dlt);
        let dh = (higher.det * QQ2[high]) >> 15;
        let rh = (higher.s + dh).clamp(-16_384, 16_383);
        higher.scale(WH[high], 22_528, 10);
        higher.step(dh);
        memory.rotate_left(2);
        (memory[22], memory[23]) = (rl + rh, rl - rh);
        let even: i32 = (0..12).map(|i| memory[2 * i] * H[i]).sum();
        let odd: i32 = (0..12).map(|i| memory[2 * i + 1] * H[11 - i]).sum();
        out.extend([odd, even].map(|sum| i16::try_from(limit(sum >> 11)).expect("limited")));
    }
    out
}

/// Scale factor adaptation and predictor of one band, in the Recommendation's letters.
#[derive(Default)]
struct Predictor {
    nb: i32,
    det: i32,
    a: [i32; 2],
    b: [i32; 6],
    dlt: [i32; 6],
    p: [i32; 2],
    r: [i32; 2],
    sz: i32,
    s: i32,
}

impl Predictor {
    fn scale(&mut self, weight: i32, max: i32, base: i32) {
        self.nb = (((self.nb * 127) >> 7) + weight).clamp(0, max);
        let power = self.nb >> 11;
        let mantissa = ILB[usize::try_from((self.nb >> 6) & 31).expect("five bits")];
        self.det =
            if power > base { mantissa << (power - base) } else { mantissa >> (base - power) };
        self.det <<= 2;
    }

    fn step(&mut self, d: i32) {
        let (p, r) = (limit(self.sz + d), limit(self.s + d));
        let negative = |x: i32| x < 0;
        let [first, second] = self.p.map(|before| negative(before) == negative(p));
        let turn = limit(4 * self.a[0]);
        let turn = if first { limit(-turn) } else { turn };
        let a2 = (turn >> 7) + if second { 128 } else { -128 } + ((self.a[1] * 32_512) >> 15);
        let a2 = a2.clamp(-12_288, 12_288);
        let bound = 15_360 - a2;
        let a1 = if first { 192 } else { -192 } + ((self.a[0] * 32_640) >> 15);
        self.a = [a1.clamp(-bound, bound), a2];
        for i in 0..6 {
            let sign = if negative(self.dlt[i]) == negative(d) { 1 } else { -1 };
            let gain = if d == 0 { 0 } else { 128 };
            self.b[i] = limit(((self.b[i] * 32_640) >> 15) + sign * gain);
        }
        self.dlt.rotate_right(1);
        self.dlt[0] = d;
        (self.p, self.r) = ([p, self.p[0]], [r, self.r[0]]);
        let times = |c: i32, x: i32| (c * limit(2 * x)) >> 15;
        self.sz = limit((0..6).map(|i| times(self.b[i], self.dlt[i])).sum());
        let sp = limit(times(self.a[0], self.r[0]) + times(self.a[1], self.r[1]));
        self.s = limit(sp + self.sz);
    }
}

fn limit(x: i32) -> i32 {
    x.clamp(-32_768, 32_767)
}

const H: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// By four-bit code, multipliers already looked up.
const WL: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
const WH: [i32; 4] = [798, -214, 798, -214];
const QQ2: [i32; 4] = [-7408, -1616, 7408, 1616];
const QQ4: [i32; 16] = [
    0, -20_456, -12_896, -8968, -6288, -4240, -2584, -1200, 20_456, 12_896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const QQ6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192,
    -10_232, -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168,
    -2776, -2400, -2032, -1688, -1360, -1040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512,
    12_280, 11_192, 10_232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168,
    2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
