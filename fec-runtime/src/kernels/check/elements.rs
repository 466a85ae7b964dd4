//! Kernels that work row by row: aggregation, dispatch. All of them give the portable table's bits.

use super::{
    Buffers, Failure, HALF_CANARY, HALF_ULP, Kind, LARGE, Numbers, ROW_COUNTS, ROWS, SMALL, ULP,
    canary, fingerprint, near, to_halves, untouched,
};
use crate::kernels::{Dispatch, Kernels, Scatter, Values, ValuesMut};

/// What every kernel here promises on every table.
pub(super) const BITS: &str = "the bits of the portable table";

/// Widths of rows: every small one and those of the published networks.
pub(super) fn widths() -> impl Iterator<Item = usize> {
    (1..=SMALL).chain(LARGE)
}

pub(super) fn check(kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<usize, Failure> {
    let mut cases = 0;
    for width in widths() {
        for kind in [Kind::Whole, Kind::Real] {
            let most = if width <= SMALL { 60 } else { 4 };
            let rows = n.pick(&ROW_COUNTS).min(most);
            let centres = n.within(1, most);
            let heads = n.within(1, 4);
            let centres = centres.min((ROWS - 64) / width / heads).max(1);
            for half in [false, true] {
                scatter(kernels, b, n, (kind, half), [rows, width, centres, heads])?;
                dispatch(kernels, b, n, (kind, half), [rows, width, centres, heads])?;
            }
            cases += 4;
        }
    }
    Ok(cases)
}

fn failure(
    kernel: &'static str,
    promise: &'static str,
    [rows, width, centres, heads]: [usize; 4],
    found: f32,
    expected: f64,
) -> Failure {
    Failure {
        kernel,
        promise,
        names: &["rows", "width", "centres", "heads"],
        sizes: [rows, width, centres, heads, 0, 0].map(|size| size as u32),
        found: found.into(),
        expected,
    }
}

fn scatter(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    (kind, half): (Kind, bool),
    [rows, channels, centres, heads]: [usize; 4],
) -> Result<(), Failure> {
    let stride = heads + n.within(0, 2);
    let (sums_len, counts_len) = (heads * centres * channels, heads * centres);
    n.fill(&mut b.x[..rows * channels], kind, 125);
    to_halves(half, &mut b.x[..rows * channels], &mut b.narrow);
    b.assign.fill_with(|| n.within(0, centres - 1) as u16);
    let (x, assign) = (&b.x[..rows * channels], &b.assign[..rows * stride]);
    let problem = Scatter {
        x: if half {
            Values::F16(&b.narrow[..rows * channels])
        } else {
            Values::F32(x)
        },
        channels,
        heads,
        centres,
        assign,
        assign_stride: stride,
    };
    let mut prints = [0; 2];
    for (kernels, print) in [Kernels::portable(), kernels].into_iter().zip(&mut prints) {
        b.out.fill(canary());
        b.more.fill(canary());
        let (sums, counts) = (&mut b.out[5..][..sums_len], &mut b.more[1..][..counts_len]);
        sums.fill(2.0);
        counts.fill(1.0);
        kernels.scatter(&problem, sums, counts);
        *print = fingerprint(sums);
    }
    let failed = |promise, found, expected| {
        let shape = [rows, channels, centres, heads];
        failure(
            if half { "scatter, f16" } else { "scatter, f32" },
            promise,
            shape,
            found,
            expected,
        )
    };
    if prints[0] != prints[1] {
        return Err(failed(BITS, 0.0, 0.0));
    }
    sums_of_members(b, (kind, stride), [rows, channels, centres, heads], failed)?;
    let around = [
        &b.out[..5],
        &b.out[5 + sums_len..],
        &b.more[..1],
        &b.more[1 + counts_len..],
    ];
    if around.into_iter().all(untouched) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

/// Every sum and every count.
fn sums_of_members(
    b: &Buffers,
    (kind, stride): (Kind, usize),
    [rows, channels, centres, heads]: [usize; 4],
    failed: impl Fn(&'static str, f32, f64) -> Failure,
) -> Result<(), Failure> {
    let (x, assign) = (&b.x[..rows * channels], &b.assign[..rows * stride]);
    for m in 0..heads * centres {
        let (e, centre) = (m / centres, m % centres);
        let members = || (0..rows).filter(|&row| usize::from(assign[row * stride + e]) == centre);
        let count = 1.0 + members().count() as f64;
        if !near(b.more[1 + m], count, 0.0) {
            return Err(failed("number of members", b.more[1 + m], count));
        }
        for c in 0..channels {
            let values = members().map(|row| f64::from(x[row * channels + c]));
            let expected = 2.0 + values.sum::<f64>();
            let tolerance = if kind == Kind::Whole {
                0.0
            } else {
                count * count * ULP * 2.0
            };
            let found = b.out[5 + m * channels + c];
            if !near(found, expected, tolerance) {
                return Err(failed("sum of members", found, expected));
            }
        }
    }
    Ok(())
}

fn dispatch(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    (kind, half): (Kind, bool),
    [rows, channels, centres, heads]: [usize; 4],
) -> Result<(), Failure> {
    let (table, size) = (heads * centres * channels, rows * channels);
    n.fill(&mut b.matrix[..table], kind, 20);
    n.fill(&mut b.vectors[0], kind, 20);
    n.fill(&mut b.more[..rows * heads], kind, 4);
    b.assign.fill_with(|| n.within(0, centres - 1) as u16);
    n.fill(&mut b.x[..size], kind, 20);
    to_halves(half, &mut b.x[..size], &mut b.narrow);
    let problem = Dispatch {
        table: &b.matrix[..table],
        bias: &b.vectors[0][..channels],
        heads,
        centres,
        channels,
        assign: &b.assign[..rows * heads],
        weights: &b.more[..rows * heads],
    };
    let mut prints = [0; 2];
    for (kernels, print) in [Kernels::portable(), kernels].into_iter().zip(&mut prints) {
        b.out.fill(canary());
        b.out[LEAD..][..size].copy_from_slice(&b.x[..size]);
        if half {
            b.halves.fill(HALF_CANARY);
            let x = &mut b.halves[LEAD..][..size];
            x.copy_from_slice(&b.narrow[..size]);
            kernels.dispatch(&problem, ValuesMut::F16(x));
            Kernels::portable().widen(Values::F16(x), &mut b.out[LEAD..][..size]);
        } else {
            kernels.dispatch(&problem, ValuesMut::F32(&mut b.out[LEAD..][..size]));
        }
        *print = fingerprint(&b.out[LEAD..][..size]);
    }
    let failed = |promise, found, expected| {
        let shape = [rows, channels, centres, heads];
        failure(
            if half {
                "dispatch, f16"
            } else {
                "dispatch, f32"
            },
            promise,
            shape,
            found,
            expected,
        )
    };
    if prints[0] != prints[1] {
        return Err(failed(BITS, 0.0, 0.0));
    }
    representatives_added(b, (kind, half), [rows, channels, centres, heads], failed)?;
    let halves_fit = !half
        || b.halves[..LEAD]
            .iter()
            .chain(&b.halves[LEAD + size..])
            .all(|&v| v == HALF_CANARY);
    if halves_fit && untouched(&b.out[..LEAD]) && untouched(&b.out[LEAD + size..]) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

/// Values before the output of dispatch.
const LEAD: usize = 7;

/// Every value.
fn representatives_added(
    b: &Buffers,
    (kind, half): (Kind, bool),
    [rows, channels, centres, heads]: [usize; 4],
    failed: impl Fn(&'static str, f32, f64) -> Failure,
) -> Result<(), Failure> {
    let size = rows * channels;
    for (i, &found) in b.out[LEAD..][..size].iter().enumerate() {
        let (row, c) = (i / channels, i % channels);
        let mut expected = f64::from(b.x[i]) + f64::from(b.vectors[0][c]);
        for e in 0..heads {
            let centre = usize::from(b.assign[row * heads + e]);
            expected += f64::from(b.more[row * heads + e])
                * f64::from(b.matrix[(e * centres + centre) * channels + c]);
        }
        let tolerance = match (kind, half) {
            // Up to 8 terms of up to 1.
            (Kind::Real, false) => 8.0 * 8.0 * ULP,
            (Kind::Real, true) => 8.0 * 8.0 * ULP + 8.0 * HALF_ULP,
            (Kind::Whole, _) => 0.0,
        };
        if !near(found, expected, tolerance) {
            let promise = "residual, bias and weighted representatives";
            return Err(failed(promise, found, expected));
        }
    }
    Ok(())
}
