//! The loops of the fused operations: plain Rust over slices, compiled for what the CPU has (crate pulp) and vectorised by the
//! compiler. Every sum has a fixed order, whatever the instructions.

use core::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// Runs `work` compiled for the best instructions that this CPU has. `work` must be `#[inline(always)]`, and so must what it calls.
#[inline(always)]
pub(super) fn simd<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Numbers that are worked on at a time; partial sums that a sum of products keeps.
const LANES: usize = 8;

/// Sum of products, in eight partial sums.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    (((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))) + rest
}

/// Ties go to the lowest index (SPEC 4.2). A NaN never wins over a number.
#[inline(always)]
pub(super) fn first_of_the_largest(values: &[f32]) -> usize {
    let (eights, rest) = values.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut eight = [0u32; LANES];
    for (i, values) in eights.iter().enumerate() {
        for ((largest, eight), &v) in largest.iter_mut().zip(&mut eight).zip(values) {
            *eight = if v > *largest { i as u32 } else { *eight };
            *largest = if v > *largest { v } else { *largest };
        }
    }
    let (mut best, mut most) = (0, f32::NEG_INFINITY);
    for (lane, (&v, eight)) in largest.iter().zip(eight).enumerate() {
        let index = eight as usize * LANES + lane;
        if v > most || (v == most && index < best) {
            (best, most) = (index, v);
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        if v > most {
            (best, most) = (eights.len() * LANES + i, v);
        }
    }
    best
}

/// Vectors are divided by their length, or by this where it is shorter (SPEC 3.3).
const SHORTEST: f32 = 1e-12;

/// What makes a vector of this square length one of unit length.
#[inline(always)]
pub(super) fn unit_scale(square: f32) -> f32 {
    1.0 / square.sqrt().max(SHORTEST)
}

/// f(y, [x of each]) element by element. The compiler makes vector instructions of eights; of loops of unknown length it makes
/// them only for the long ones, and rows are often of 16 or 32 channels. All are read before any is written, or it could not tell
/// that `y` and the others do not overlap.
#[inline(always)]
pub(super) fn each<const N: usize>(y: &mut [f32], xs: [&[f32]; N], f: impl Fn(&mut f32, [f32; N])) {
    let (y, y_rest) = y.as_chunks_mut::<LANES>();
    let xs = xs.map(|x| x.as_chunks::<LANES>());
    let eights = xs.map(|(eights, _)| &eights[..y.len()]);
    for (i, y) in y.iter_mut().enumerate() {
        let (mut lanes, xs) = (*y, eights.map(|x| x[i]));
        for (lane, y) in lanes.iter_mut().enumerate() {
            f(y, xs.map(|x| x[lane]));
        }
        *y = lanes;
    }
    for (i, y) in y_rest.iter_mut().enumerate() {
        f(y, xs.map(|(_, rest)| rest[i]));
    }
}

/// f(y, z, a, b) element by element.
#[inline(always)]
pub(super) fn each_pair(
    y: &mut [f32],
    z: &mut [f32],
    a: &[f32],
    b: &[f32],
    f: impl Fn(&mut f32, &mut f32, f32, f32),
) {
    let (y, y_rest) = y.as_chunks_mut::<LANES>();
    let (z, z_rest) = z.as_chunks_mut::<LANES>();
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (((y, z), &a), &b) in y.iter_mut().zip(z).zip(a).zip(b) {
        let (mut y_lanes, mut z_lanes) = (*y, *z);
        for (((y, z), a), b) in y_lanes.iter_mut().zip(&mut z_lanes).zip(a).zip(b) {
            f(y, z, a, b);
        }
        (*y, *z) = (y_lanes, z_lanes);
    }
    let rest = y_rest.iter_mut().zip(z_rest).zip(a_rest).zip(b_rest);
    for (((y, z), a), b) in rest {
        f(y, z, *a, *b);
    }
}

/// y += a x
#[inline(always)]
pub(super) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    each(y, [x], |y, [x]| *y += a * x);
}

/// y += x
#[inline(always)]
pub(super) fn add(y: &mut [f32], x: &[f32]) {
    each(y, [x], |y, [x]| *y += x);
}

/// y *= a
#[inline(always)]
pub(super) fn scale(y: &mut [f32], a: f32) {
    let (y, rest) = y.as_chunks_mut::<LANES>();
    for y in y {
        y.iter_mut().for_each(|y| *y *= a);
    }
    rest.iter_mut().for_each(|y| *y *= a);
}

/// exp(-x) for x >= 0: 2^n times a polynomial, within 2 units in the last place; below 1e-37 it stays at that.
#[inline(always)]
pub(super) fn exp_of_minus(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = -x.min(86.0);
    let sum = x * LOG2_E + ROUND;
    let n = sum - ROUND;
    // ln 2 in two parts, so that the difference is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = (core::f64::consts::LN_2 - 0.693_359_375) as f32;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    debug_assert!(r.is_nan() || r.abs() <= 0.51 * LN_2);
    let mut p = 1.0 / 5040.0;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    p * f32::from_bits((sum.to_bits() << 23).wrapping_add(127 << 23))
}

/// 1 / (1 + exp(-x))
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = exp_of_minus(x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// The normal distribution's cumulative value and density.
///
/// erfc(z) exp(z^2) is a polynomial in 1 / (1 + 0.39 z), fitted by reweighted least squares on 0 to 6.5: within 8.3e-9 in erf.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    /// 1 / sqrt(2 pi)
    const SCALE: f32 = 0.398_942_3;
    let e = exp_of_minus(0.5 * x * x);
    let t = 1.0 / (1.0 + 0.39 * FRAC_1_SQRT_2 * x.abs());
    let mut q = -0.227_537_21f32;
    for c in [
        0.886_664_75,
        -0.635_400_86,
        0.649_559_87,
        0.091_388_23,
        0.235_325_25,
    ] {
        q = q * t + c;
    }
    let tail = 0.5 * q * t * e;
    (if x >= 0.0 { 1.0 - tail } else { tail }, SCALE * e)
}

/// Adds `bias` [C] to the rows of `h`; `g` becomes GELU (SPEC 5) of them and `h` GELU's slope there.
pub(super) fn gelu_and_slope(h: &mut [f32], bias: &[f32], g: &mut [f32]) {
    let width = bias.len();
    simd(
        #[inline(always)]
        || {
            for (h, g) in h.chunks_exact_mut(width).zip(g.chunks_exact_mut(width)) {
                each_pair(h, g, bias, bias, |h, g, b, _| {
                    let x = *h + b;
                    let (cumulative, density) = normal(x);
                    *g = x * cumulative;
                    *h = cumulative + x * density;
                });
            }
        },
    );
}

/// Adds `bias` [C] to the rows of `h` and takes GELU of them.
pub(super) fn gelu(h: &mut [f32], bias: &[f32]) {
    simd(
        #[inline(always)]
        || {
            for h in h.chunks_exact_mut(bias.len()) {
                each(h, [bias], |h, [b]| {
                    let x = *h + b;
                    *h = x * normal(x).0;
                });
            }
        },
    );
}

/// Adds `bias` [C] to the rows of `y`.
pub(super) fn add_bias(y: &mut [f32], bias: &[f32]) {
    simd(
        #[inline(always)]
        || {
            y.chunks_exact_mut(bias.len()).for_each(|y| add(y, bias));
        },
    );
}

/// Sums of the columns of `x` [R, C].
pub(super) fn column_sums(x: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    simd(
        #[inline(always)]
        || {
            for x in x.chunks_exact(columns) {
                add(&mut sums, x);
            }
        },
    );
    sums
}

/// y = y * x element by element, and the sums of the columns of the product.
pub(super) fn multiply_and_sum_columns(y: &mut [f32], x: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    simd(
        #[inline(always)]
        || {
            for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
                each_pair(y, &mut sums, x, x, |y, sum, x, _| {
                    *y *= x;
                    *sum += *y;
                });
            }
        },
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_wins_at_any_length() {
        for length in 1..40 {
            for first in 0..length {
                for second in first..length {
                    let mut values = vec![-1.0; length];
                    (values[first], values[second]) = (2.0, 2.0);
                    assert_eq!(first_of_the_largest(&values), first);
                    values[first] = f32::NAN;
                    let found = first_of_the_largest(&values);
                    assert_eq!(
                        found,
                        if second > first {
                            second
                        } else {
                            usize::from(first == 0 && length > 1)
                        }
                    );
                }
            }
        }
        assert_eq!(first_of_the_largest(&[f32::NAN; 12]), 0);
    }

    /// From -12 to 12, and what lies beyond.
    fn arguments() -> impl Iterator<Item = f32> {
        (-12_000..=12_000)
            .map(|i| i as f32 / 1000.0)
            .chain([-1e30, -200.0, -0.0, 200.0, 1e30])
    }

    #[test]
    fn gelu_and_its_slope_are_exact_to_rounding() {
        for x in arguments() {
            let (mut slope, mut value) = ([x], [0.0]);
            gelu_and_slope(&mut slope, &[0.0], &mut value);
            let z = f64::from(x);
            let cumulative = 0.5 * libm::erfc(-z / core::f64::consts::SQRT_2);
            let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * core::f64::consts::PI);
            let scale = z.abs().max(1.0);
            assert!(
                (f64::from(value[0]) - z * cumulative).abs() < 2e-7 * scale,
                "{x}"
            );
            assert!(
                (f64::from(slope[0]) - (cumulative + z * density)).abs() < 4e-7,
                "{x}"
            );
            let mut alone = [x];
            gelu(&mut alone, &[0.0]);
            assert_eq!(alone, value);
        }
    }

    #[test]
    fn sigmoid_is_exact_to_rounding() {
        for x in arguments() {
            let expected = 1.0 / (1.0 + libm::exp(-f64::from(x)));
            assert!((f64::from(sigmoid(x)) - expected).abs() < 1.2e-7, "{x}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        let mut h = [f32::NAN];
        gelu(&mut h, &[0.0]);
        assert!(h[0].is_nan());
        assert!(sigmoid(f32::NAN).is_nan() || sigmoid(f32::NAN).is_finite());
    }

    #[test]
    fn sums_of_products_take_every_length() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|a| a * a).sum();
            assert_eq!(dot(&a, &a), expected, "{n}");
        }
    }
}
