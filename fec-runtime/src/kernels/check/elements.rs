//! Kernels that work element by element: the mixer's weights, aggregation, dispatch, statistics.

use super::{
    Buffers, Failure, Kind, LARGE, Numbers, ROW_COUNTS, ROWS, SMALL, ULP, canary, near, untouched,
};
use crate::kernels::{CosineWeights, Dispatch, Kernels, Moments, Scatter};

/// Widths of rows: every small one and those of the published networks.
fn widths() -> impl Iterator<Item = usize> {
    (1..=SMALL).chain(LARGE)
}

pub(super) fn check(kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<usize, Failure> {
    let mut cases = 0;
    for width in widths() {
        for kind in [Kind::Whole, Kind::Real] {
            let most = if width <= SMALL { 60 } else { 4 };
            let rows = n.pick(&ROW_COUNTS).min(most);
            let centres = n.within(1, most);
            cosine_weights(kernels, b, n, [rows, width, centres])?;
            scatter(kernels, b, n, kind, [rows, width, centres])?;
            let heads = n.within(1, 4);
            let centres = centres.min(ROWS / width / heads);
            dispatch(kernels, b, n, kind, [rows, width, centres, heads])?;
            moments(kernels, b, n, kind, [rows, width])?;
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

fn cosine_weights(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    [rows, dim, centres]: [usize; 3],
) -> Result<(), Failure> {
    let (stride, centre_stride) = (dim + n.within(0, 5), dim + n.within(0, 5));
    // The last two saturate.
    let alpha = n.pick(&[4.0, 1.0, -3.0, 0.0, 500.0, -500.0]);
    let beta = n.value(Kind::Real, 0);
    n.fill(&mut b.x, Kind::Real, 0);
    n.fill(&mut b.matrix[..centres * centre_stride], Kind::Real, 0);
    for centre in b.matrix[..centres * centre_stride].chunks_mut(centre_stride) {
        let squares: f64 = centre[..dim].iter().map(|v| f64::from(v * v)).sum();
        let factor = (1.0 / libm::sqrt(squares)) as f32;
        centre.iter_mut().for_each(|v| *v *= factor);
    }
    // A key of zeros has cosine 0 with everything (SPEC 3.3), a key of NaN any.
    b.x[..dim].fill(0.0);
    let poisoned = if rows > 2 { 1 } else { usize::MAX };
    if poisoned < rows {
        b.x[stride..][..dim].fill(f32::NAN);
    }
    b.assign.fill_with(|| n.within(0, centres - 1) as u16);
    b.out.fill(canary());
    let weights = CosineWeights {
        keys: &b.x[..(rows - 1) * stride + dim],
        stride,
        dim,
        centres: &b.matrix[..(centres - 1) * centre_stride + dim],
        centre_stride,
        assign: &b.assign[..rows],
        similarity: crate::config::Similarity::Cosine,
        alpha,
        beta,
    };
    kernels.cosine_weights(&weights, &mut b.out[3..][..rows]);
    let failed = |promise, found, expected| {
        let shape = [rows, dim, centres, 1];
        failure("cosine_weights", promise, shape, found, expected)
    };
    for row in (0..rows).filter(|&row| row != poisoned) {
        let key = &b.x[row * stride..][..dim];
        let unit = &b.matrix[usize::from(b.assign[row]) * centre_stride..][..dim];
        let pairs = key
            .iter()
            .zip(unit)
            .map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let (dot, squares) = pairs.fold((0.0, 0.0), |(dot, squares), (a, b)| {
            (dot + a * b, squares + a * a)
        });
        let norm = libm::sqrt(squares);
        let cosine = dot / if norm > 1e-12 { norm } else { 1e-12 };
        let t = f64::from(beta) + f64::from(alpha) * cosine;
        let expected = 1.0 / (1.0 + libm::exp(-t));
        let tolerance = 4e-7 + (dim + 8) as f64 * ULP * f64::from(alpha).abs();
        let found = b.out[3 + row];
        if !near(found, expected, tolerance) {
            return Err(failed("sigmoid of beta + alpha * cosine", found, expected));
        }
    }
    if untouched(&b.out[..3]) && untouched(&b.out[3 + rows..]) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

fn scatter(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    kind: Kind,
    [rows, channels, centres]: [usize; 3],
) -> Result<(), Failure> {
    n.fill(&mut b.x[..rows * channels], kind, 125);
    b.assign.fill_with(|| n.within(0, centres - 1) as u16);
    b.out.fill(canary());
    b.more.fill(canary());
    let (sums, counts) = (
        &mut b.out[5..][..centres * channels],
        &mut b.more[1..][..centres],
    );
    sums.fill(2.0);
    counts.fill(1.0);
    let (x, assign) = (&b.x[..rows * channels], &b.assign[..rows]);
    kernels.scatter(
        &Scatter {
            x,
            channels,
            assign,
        },
        sums,
        counts,
    );
    let failed = |promise, found, expected| {
        failure(
            "scatter",
            promise,
            [rows, channels, centres, 1],
            found,
            expected,
        )
    };
    for m in 0..centres {
        let members = || (0..rows).filter(|&row| usize::from(assign[row]) == m);
        let count = 1.0 + members().count() as f64;
        if !near(b.more[1 + m], count, 0.0) {
            return Err(failed("number of members", b.more[1 + m], count));
        }
        for c in 0..channels {
            let expected = 2.0
                + members()
                    .map(|row| f64::from(x[row * channels + c]))
                    .sum::<f64>();
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
    let around = [
        &b.out[..5],
        &b.out[5 + centres * channels..],
        &b.more[..1],
        &b.more[1 + centres..],
    ];
    if around.into_iter().all(untouched) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

fn dispatch(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    kind: Kind,
    [rows, channels, centres, heads]: [usize; 4],
) -> Result<(), Failure> {
    let table = heads * centres * channels;
    let (assign_stride, weights_stride) = (rows + n.within(0, 5), rows + n.within(0, 5));
    n.fill(&mut b.matrix[..table], kind, 20);
    n.fill(&mut b.vectors[0], kind, 20);
    n.fill(&mut b.more[..heads * weights_stride], kind, 4);
    b.bytes.fill_with(|| n.within(0, centres - 1) as u8);
    b.out.fill(canary());
    let x = &mut b.out[7..][..rows * channels];
    n.fill(x, kind, 20);
    b.x[..rows * channels].copy_from_slice(x);
    let problem = Dispatch {
        table: &b.matrix[..table],
        bias: &b.vectors[0][..channels],
        heads,
        centres,
        channels,
        assign: &b.bytes[..(heads - 1) * assign_stride + rows],
        assign_stride,
        weights: &b.more[..(heads - 1) * weights_stride + rows],
        weights_stride,
    };
    kernels.dispatch(&problem, x);
    let failed = |promise, found, expected| {
        failure(
            "dispatch",
            promise,
            [rows, channels, centres, heads],
            found,
            expected,
        )
    };
    for row in 0..rows {
        for c in 0..channels {
            let mut expected = f64::from(b.x[row * channels + c]) + f64::from(b.vectors[0][c]);
            for e in 0..heads {
                let centre = usize::from(b.bytes[e * assign_stride + row]);
                expected += f64::from(b.more[e * weights_stride + row])
                    * f64::from(b.matrix[(e * centres + centre) * channels + c]);
            }
            let tolerance = if kind == Kind::Whole {
                0.0
            } else {
                8.0 * 8.0 * ULP
            };
            let found = b.out[7 + row * channels + c];
            if !near(found, expected, tolerance) {
                return Err(failed(
                    "residual, bias and weighted representatives",
                    found,
                    expected,
                ));
            }
        }
    }
    if untouched(&b.out[..7]) && untouched(&b.out[7 + rows * channels..]) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

fn moments(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    kind: Kind,
    [rows, channels]: [usize; 2],
) -> Result<(), Failure> {
    let x = &mut b.x[..rows * channels];
    n.fill(x, kind, 125);
    // A mean far from zero: differences of large sums would show.
    let far = n.pick(&[0.0, 1000.0]);
    x.iter_mut().for_each(|v| *v += far);
    let mut moments = Moments::new();
    // In two parts, as steps take their tiles in.
    let (first, second) = x.split_at(rows / 2 * channels);
    kernels.moments(first, channels, &mut moments);
    kernels.moments(second, channels, &mut moments);
    let count = x.len() as f64;
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares: f64 = x
        .iter()
        .map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean))
        .sum();
    let rstd = 1.0 / libm::sqrt(squares / count + 1e-5);
    let found = moments.norm();
    let size = f64::from(far) + if kind == Kind::Whole { 125.0 } else { 1.0 };
    let tolerance = (channels / 16 + 16) as f64 * ULP * size;
    for (promise, found, expected, tolerance) in [
        ("mean", found.mean, mean, tolerance),
        // Rows' means differ by some deviations, each with its error.
        (
            "1 / deviation",
            found.rstd,
            rstd,
            rstd * (1e-6 + tolerance * rstd),
        ),
    ] {
        if !near(found, expected, tolerance) {
            return Err(failure(
                "moments",
                promise,
                [rows, channels, 0, 0],
                found,
                expected,
            ));
        }
    }
    x[0] = f32::NAN;
    kernels.moments(x, channels, &mut moments);
    Ok(())
}
