//! GELU, exp and sigmoid from additions and multiplications alone, so that they give the same bits on every machine.

mod pieces;

pub(super) use pieces::gelu_pieces;

use super::lanes::Lanes;

/// exp(x) for f32, relative error below 2e-7 (tested against f64) where it is a normal number; 0 below -104, infinity above 88.8.
#[inline]
pub fn exp(x: f32) -> f32 {
    // Comparisons that let NaN through.
    let x = if LARGEST < x { LARGEST } else { x };
    let x = if SMALLEST > x { SMALLEST } else { x };
    let n = (x * core::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let (first, rest) = (EXP[0], &EXP[1..]);
    let p = rest.iter().fold(first, |p, c| p * r + c);
    let e = p * r * r + r + 1.0;
    // Two factors, since 2^n alone may leave the normal range where the product does not.
    let n = n as i32;
    let half = n >> 1;
    e * power_of_two(half) * power_of_two(n - half)
}

/// The same in lanes that do not fuse: the same bits.
#[inline(always)]
pub(super) fn exp_lanes<L: Lanes>(x: L) -> L {
    let x = L::splat(SMALLEST).max(L::splat(LARGEST).min(x));
    let round = L::splat(ROUND);
    let n = x
        .mul(L::splat(core::f32::consts::LOG2_E))
        .add(round)
        .sub(round);
    let r = x
        .sub(n.mul(L::splat(LN_2[0])))
        .sub(n.mul(L::splat(LN_2[1])));
    let mut p = L::splat(EXP[0]);
    for &c in &EXP[1..] {
        p = p.mul(r).add(L::splat(c));
    }
    let e = p.mul(r).mul(r).add(r).add(L::splat(1.0));
    e.scale(n.round())
}

/// Beyond these the result is 0 or infinity, whatever x is.
const SMALLEST: f32 = -104.0;
const LARGEST: f32 = 90.0;
/// Adding 1.5 * 2^23 rounds to an integer.
const ROUND: f32 = 12_582_912.0;
/// x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, so that r is exact enough.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Of the polynomial of exp(r) after 1 + r, the highest power first.
const EXP: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    1.666_666_5e-1,
    0.5,
];

/// 2^n for -126 <= n <= 127.
#[inline]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// 1 / (1 + exp(-x)).
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The same in lanes that do not fuse: the same bits.
#[inline(always)]
pub(super) fn sigmoid_lanes<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.div(one.add(exp_lanes(x.mul(L::splat(-1.0)))))
}

/// x * Phi(x), the exact GELU (SPEC 5), absolute error below 1e-6.
///
/// gelu(x) = max(x, 0) - h(|x|) with h(u) = u * Phi(-u), which is smooth and small, so that a polynomial has no cancellation. It is
/// of degree 14 in t = 2 u / 5.5 - 1 on u <= 5.5 (a least-squares fit at Chebyshev's nodes) and keeps
/// its last value, 6e-7, beyond; NaN gives that value as well.
#[inline]
pub fn gelu<const L: usize>(x: [f32; L]) -> [f32; L] {
    // Lanes innermost: every line below is one vector operation.
    let magnitude = x.map(f32::abs);
    let t = magnitude.map(|u| (if u < END { u } else { END }) * (2.0 / END) - 1.0);
    let (last, rest) = (H[H.len() - 1], &H[..H.len() - 1]);
    let mut h = [last; L];
    for &c in rest.iter().rev() {
        for (h, t) in h.iter_mut().zip(&t) {
            *h = *h * t + c;
        }
    }
    core::array::from_fn(|i| (if x[i] > 0.0 { x[i] } else { 0.0 }) - h[i])
}

/// The same in lanes: the same bits where they do not fuse.
#[inline(always)]
pub(super) fn gelu_lanes<L: Lanes>(x: L) -> L {
    let [gelu] = gelu_side_by_side([x]);
    gelu
}

/// The same of `N` vectors: each step of the polynomial waits for the one before, so that one vector alone leaves a machine idle.
#[inline(always)]
pub(super) fn gelu_side_by_side<L: Lanes, const N: usize>(x: [L; N]) -> [L; N] {
    let (last, rest) = (H[H.len() - 1], &H[..H.len() - 1]);
    let (mut t, mut h) = (x, [L::splat(last); N]);
    for t in &mut t {
        let u = t.abs().min(L::splat(END));
        *t = u.mul_add(L::splat(2.0 / END), L::splat(-1.0));
    }
    for &c in rest.iter().rev() {
        for (h, t) in h.iter_mut().zip(&t) {
            *h = h.mul_add(*t, L::splat(c));
        }
    }
    for (h, x) in h.iter_mut().zip(x) {
        *h = x.max(L::splat(0.0)).sub(*h);
    }
    h
}

/// Where `h` begins to keep its last value.
const END: f32 = 5.5;

#[expect(clippy::excessive_precision, reason = "as the fit printed them")]
const H: [f32; 15] = [
    0.008194848895072937,
    -0.06057845801115036,
    0.1912020593881607,
    -0.3086630403995514,
    0.18023522198200226,
    0.2602255642414093,
    -0.6386240124702454,
    0.46061500906944275,
    0.19185249507427216,
    -0.5475195646286011,
    0.18587946891784668,
    0.23533859848976135,
    -0.1548762321472168,
    -0.03941808640956879,
    0.0361366868019104,
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// x * Phi(x) in f64.
    pub(super) fn exact_gelu(x: f32) -> f64 {
        let x = f64::from(x);
        0.5 * x * libm::erfc(-x / core::f64::consts::SQRT_2)
    }

    /// Every 97th float: quick, and no period of the exponent or of a table.
    pub(super) fn floats() -> impl Iterator<Item = f32> {
        (0..=u32::MAX)
            .step_by(97)
            .map(f32::from_bits)
            .filter(|x| x.is_finite())
    }

    #[test]
    fn exp_is_within_its_bound() {
        for x in floats().filter(|x| (-87.2..=88.6).contains(x)) {
            let want = libm::exp(f64::from(x));
            let error = (f64::from(exp(x)) / want - 1.0).abs();
            assert!(error < 2e-7, "exp({x}) = {}, want {want}", exp(x));
        }
        assert_eq!((exp(-1e30), exp(1e30), exp(0.0)), (0.0, f32::INFINITY, 1.0));
    }

    #[test]
    fn gelu_is_within_its_bound() {
        for x in floats().filter(|x| x.abs() < 12.0) {
            let want = exact_gelu(x);
            let [got] = gelu([x]);
            let error = (f64::from(got) - want).abs();
            assert!(error < 1e-6, "gelu({x}) = {got}, want {want}");
        }
    }

    #[test]
    fn sigmoid_stays_in_its_range_and_saturates() {
        for x in floats() {
            assert!((0.0..=1.0).contains(&sigmoid(x)), "sigmoid({x})");
        }
        assert_eq!(
            (sigmoid(20.0), sigmoid(-200.0), sigmoid(0.0)),
            (1.0, 0.0, 0.5)
        );
    }
}
