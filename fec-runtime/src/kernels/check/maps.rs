//! Kernels that go through a map value by value: statistics, sums, conversions. All of them give the portable table's bits.

use super::elements::{BITS, widths};
use super::{
    Buffers, Failure, HALF_CANARY, HALF_ULP, Kind, Numbers, ROW_COUNTS, SMALL, ULP, canary, near,
    to_halves, untouched,
};
use crate::kernels::{Kernels, Moments, Values};

pub(super) fn check(kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<usize, Failure> {
    let mut cases = 0;
    for width in widths() {
        for kind in [Kind::Whole, Kind::Real] {
            let most = if width <= SMALL { 60 } else { 4 };
            let size = n.pick(&ROW_COUNTS).min(most) * width;
            for half in [false, true] {
                moments(kernels, b, n, (kind, half), size)?;
                accumulate(kernels, b, n, (kind, half), size)?;
            }
            convert(kernels, b, n, size)?;
            cases += 5;
        }
    }
    Ok(cases)
}

fn failure(
    kernel: &'static str,
    promise: &'static str,
    size: usize,
    found: f32,
    expected: f64,
) -> Failure {
    Failure {
        kernel,
        promise,
        names: &["values"],
        sizes: [size as u32, 0, 0, 0, 0, 0],
        found: found.into(),
        expected,
    }
}

fn moments(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    (kind, half): (Kind, bool),
    size: usize,
) -> Result<(), Failure> {
    let x = &mut b.x[..size];
    n.fill(x, kind, 125);
    // A mean far from zero: differences of large sums would show.
    let far = n.pick(&[0.0, 1000.0]);
    x.iter_mut().for_each(|v| *v += far);
    to_halves(half, x, &mut b.narrow);
    // In two tiles, the first of any alignment.
    let cut = n.within(0, size);
    let take = |kernels: &Kernels| {
        let mut moments = Moments::new();
        for range in [0..cut, cut..size] {
            let tile = if half {
                Values::F16(&b.narrow[range])
            } else {
                Values::F32(&b.x[range])
            };
            kernels.moments(tile, &mut moments);
        }
        moments
    };
    let found = take(kernels);
    let x = &b.x[..size];
    let count = size as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let deviation = |v: f32| f64::from(v) - mean;
    let squares: f64 = x.iter().map(|&v| deviation(v) * deviation(v)).sum();
    let rstd = 1.0 / libm::sqrt(squares / count + 1e-5);
    let range = f64::from(far) + if kind == Kind::Whole { 125.0 } else { 1.0 };
    let tolerance = (size / 64 + 24) as f64 * ULP * range;
    let name = if half { "moments, f16" } else { "moments, f32" };
    for (promise, found, expected, tolerance) in [
        ("mean", found.norm().mean, mean, tolerance),
        // The tiles' means differ by some deviations, each with its error.
        (
            "1 / deviation",
            found.norm().rstd,
            rstd,
            rstd * (1e-6 + tolerance * rstd),
        ),
    ] {
        if !near(found, expected, tolerance) {
            return Err(failure(name, promise, size, found, expected));
        }
    }
    if found != take(Kernels::portable()) {
        return Err(failure(name, BITS, size, 0.0, 0.0));
    }
    Ok(())
}

fn accumulate(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    (kind, half): (Kind, bool),
    size: usize,
) -> Result<(), Failure> {
    let lead = n.within(0, 16);
    n.fill(&mut b.x[..size], kind, 125);
    to_halves(half, &mut b.x[..size], &mut b.narrow);
    b.out.fill(canary());
    let sums = &mut b.out[lead..][..size];
    sums.fill(3.0);
    let x = if half {
        Values::F16(&b.narrow[..size])
    } else {
        Values::F32(&b.x[..size])
    };
    kernels.accumulate(x, sums);
    let name = if half {
        "accumulate, f16"
    } else {
        "accumulate, f32"
    };
    for (&x, &found) in b.x.iter().zip(&b.out[lead..][..size]) {
        // One addition is the same everywhere.
        if found != 3.0 + x {
            return Err(failure(name, "sums", size, found, (3.0 + x).into()));
        }
    }
    if untouched(&b.out[..lead]) && untouched(&b.out[lead + size..]) {
        Ok(())
    } else {
        Err(failure(
            name,
            "values around the output are untouched",
            size,
            0.0,
            0.0,
        ))
    }
}

/// Rounding to f16 and back, numbers of all exponents.
fn convert(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    size: usize,
) -> Result<(), Failure> {
    let lead = n.within(0, 16);
    for x in &mut b.x[..size] {
        // From subnormal numbers of f16 to beyond its largest.
        *x = n.value(Kind::Real, 0) * (1 << n.within(0, 30)) as f32 / 4096.0;
    }
    b.halves.fill(HALF_CANARY);
    b.out.fill(canary());
    kernels.narrow(&b.x[..size], &mut b.halves[lead..][..size]);
    kernels.widen(
        Values::F16(&b.halves[lead..][..size]),
        &mut b.out[lead..][..size],
    );
    for (&x, &found) in b.x.iter().zip(&b.out[lead..][..size]) {
        let expected = f64::from(x.clamp(-65504.0, 65504.0));
        // Half of the distance to the next number; among subnormal ones that is 2^-25.
        let size_of_error = if expected < 0.0 { -expected } else { expected } * HALF_ULP + 3e-8;
        if !near(found, expected, size_of_error) {
            return Err(failure(
                "narrow and widen",
                "the nearest f16",
                size,
                found,
                expected,
            ));
        }
        if found.to_bits() != half::f16::from_f32(expected as f32).to_f32().to_bits() {
            return Err(failure(
                "narrow and widen",
                "to nearest even",
                size,
                found,
                expected,
            ));
        }
    }
    let halves = b.halves[..lead].iter().chain(&b.halves[lead + size..]);
    let untouched_halves = halves.copied().all(|v| v == HALF_CANARY);
    if untouched_halves && untouched(&b.out[..lead]) && untouched(&b.out[lead + size..]) {
        Ok(())
    } else {
        Err(failure(
            "narrow and widen",
            "values around the output are untouched",
            size,
            0.0,
            0.0,
        ))
    }
}
