//! Products with every epilogue and both storage types, whole or one head's inputs, whole or some panels' outputs.

use core::ops::Range;

use super::{
    Buffers, Failure, Kind, LARGE, MATRIX, Numbers, ROW_COUNTS, ROWS, SMALL, ULP, canary,
    fingerprint, is_exact, near, untouched,
};
use crate::format::LANES;
use crate::kernels::{Epilogue, Kernels, Matmul, Norm, Panels, Weights};

/// Epilogues, then storage types.
const VARIANTS: usize = 12;
const NAMES: [&str; 6] = [
    "plain",
    "bias",
    "norm",
    "norm and gelu",
    "residual",
    "accumulate",
];
const NORM: Norm = Norm {
    mean: 2.0,
    rstd: 0.5,
};

#[derive(Clone)]
struct Case {
    rows: usize,
    weights: (usize, usize),
    inputs: Range<usize>,
    outputs: Range<usize>,
    x_stride: usize,
    out_stride: usize,
    /// Values before the output: its alignment.
    lead: usize,
    epilogue: usize,
    narrow: bool,
    kind: Kind,
    /// A row that holds a value which no sum survives: the others must not notice.
    poison: Option<(usize, f32)>,
}

pub(super) fn check(
    kernels: &Kernels,
    buffers: &mut Buffers,
    numbers: &mut Numbers,
) -> Result<usize, Failure> {
    let mut cases = 0;
    for side in 1..=SMALL {
        let other = numbers.within(1, SMALL);
        for (inputs, outputs) in [(side, other), (other, side)] {
            for _ in 0..6 {
                let rows = numbers.pick(&ROW_COUNTS);
                Case::random(rows, inputs, outputs, cases, numbers)
                    .run(kernels, buffers, numbers)?;
                cases += 1;
            }
        }
    }
    for large in LARGE {
        for small in [1, 3, 16, 17, 32] {
            for (inputs, outputs) in [(large, small), (small, large)] {
                for _ in 0..VARIANTS {
                    Case::random(numbers.within(1, 5), inputs, outputs, cases, numbers)
                        .run(kernels, buffers, numbers)?;
                    cases += 1;
                }
            }
        }
    }
    // No rows, and a range that holds nothing.
    let mut nothing = Case::random(0, 7, 9, cases, numbers);
    nothing.run(kernels, buffers, numbers)?;
    nothing = Case {
        rows: 3,
        inputs: 4..4,
        ..nothing
    };
    nothing.run(kernels, buffers, numbers)?;
    Ok(cases + 2)
}

impl Case {
    fn random(
        rows: usize,
        inputs: usize,
        outputs: usize,
        index: usize,
        numbers: &mut Numbers,
    ) -> Self {
        let whole = numbers.within(0, 1) == 0;
        let (used, made) = if whole {
            (0..inputs, 0..outputs)
        } else {
            let start = numbers.within(0, inputs - 1);
            let first = numbers.within(0, (outputs - 1) / LANES) * LANES;
            (
                start..numbers.within(start + 1, inputs),
                first..numbers.within(first + 1, outputs),
            )
        };
        let poisons = [f32::NAN, f32::INFINITY, f32::MAX];
        let poison = (rows > 1 && numbers.within(0, 3) == 0)
            .then(|| (numbers.within(0, rows - 1), numbers.pick(&poisons)));
        Self {
            rows,
            weights: (inputs, outputs),
            x_stride: used.len() + numbers.within(0, 5),
            out_stride: made.len() + numbers.within(0, 5),
            inputs: used,
            outputs: made,
            lead: numbers.within(0, LANES),
            epilogue: index % 6,
            narrow: index / 6 % 2 == 1,
            kind: if (index / VARIANTS).is_multiple_of(2) {
                Kind::Whole
            } else {
                Kind::Real
            },
            poison,
        }
    }

    fn run(&self, kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<(), Failure> {
        let (inputs, outputs) = self.weights;
        let stored = outputs.next_multiple_of(LANES) * inputs;
        let span = |stride: usize, width: usize| {
            self.rows.checked_sub(1).map_or(0, |r| r * stride + width)
        };
        let (x_len, out_len) = (
            span(self.x_stride, self.inputs.len()),
            span(self.out_stride, self.outputs.len()),
        );
        if stored > MATRIX || x_len > ROWS || self.lead + out_len + LANES > ROWS {
            return Err(self.failure("the case fits its buffers", stored as f64, MATRIX as f64));
        }
        self.fill(b, n);
        let x = &mut b.x[..x_len];
        n.fill(x, self.kind, 125);
        if let Some((row, value)) = self.poison {
            x[row * self.x_stride..][..self.inputs.len()].fill(value);
        }
        b.out.fill(canary());
        for row in 0..self.rows {
            for o in 0..self.outputs.len() {
                b.out[self.lead + row * self.out_stride + o] = before(row, o);
            }
        }
        let [bias, sums, _] = &b.vectors;
        let product = Matmul {
            x,
            rows: self.rows,
            x_stride: self.x_stride,
            weights: Weights {
                panels: if self.narrow {
                    Panels::F16(&b.narrow[..stored])
                } else {
                    Panels::F32(&b.matrix[..stored])
                },
                inputs,
                outputs,
            },
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            out_stride: self.out_stride,
            epilogue: self.epilogue(bias, sums),
        };
        let mut portable = None;
        if is_exact(kernels) {
            let before = &mut b.more[..out_len];
            before.copy_from_slice(&b.out[self.lead..][..out_len]);
            Kernels::portable().matmul(&product, before);
            portable = Some(fingerprint(before));
        }
        let out = &mut b.out[self.lead..][..out_len];
        kernels.matmul(&product, out);
        if portable.is_some_and(|portable| portable != fingerprint(out)) {
            return Err(self.failure("the bits of the portable table", 0.0, 0.0));
        }
        self.compare(b)
    }

    /// Weights, bias and sums.
    fn fill(&self, b: &mut Buffers, n: &mut Numbers) {
        let (inputs, outputs) = self.weights;
        for o in 0..outputs.next_multiple_of(LANES) {
            for k in 0..inputs {
                let at = place(inputs, k, o);
                b.matrix[at] = if o < outputs {
                    n.value(self.kind, 6)
                } else {
                    0.0
                };
                b.narrow[at] = match self.kind {
                    _ if o >= outputs => 0,
                    Kind::Whole => half::f16::from_f32(b.matrix[at]).to_bits(),
                    // Any exponent up to that of 1, subnormal numbers included.
                    Kind::Real => (n.next() as u16 & 0x83FF) | (n.within(0, 15) as u16) << 10,
                };
            }
        }
        n.fill(&mut b.vectors[0], self.kind, 50);
        n.fill(&mut b.vectors[1], self.kind, 50);
    }

    fn epilogue<'a>(&self, bias: &'a [f32], sums: &'a [f32]) -> Epilogue<'a> {
        let norm = NORM;
        match self.epilogue {
            0 => Epilogue::Plain,
            1 => Epilogue::Bias(bias),
            2 => Epilogue::Norm { bias, sums, norm },
            3 => Epilogue::NormGelu { bias, sums, norm },
            4 => Epilogue::Residual(bias),
            _ => Epilogue::Accumulate,
        }
    }

    fn compare(&self, b: &Buffers) -> Result<(), Failure> {
        let width = self.outputs.len();
        let mut next = self.lead;
        for row in 0..self.rows {
            let start = self.lead + row * self.out_stride;
            if !untouched(&b.out[core::mem::replace(&mut next, start + width)..start]) {
                return Err(self.failure("values before a row are untouched", row as f64, 0.0));
            }
            if self.poison.is_some_and(|(poisoned, _)| poisoned == row) {
                continue;
            }
            for o in 0..width {
                let (expected, tolerance) = self.expected(b, row, o);
                let found = b.out[start + o];
                if !near(found, expected, tolerance) {
                    return Err(self.failure(NAMES[self.epilogue], found.into(), expected));
                }
            }
        }
        if untouched(&b.out[..self.lead]) && untouched(&b.out[next..]) {
            Ok(())
        } else {
            Err(self.failure("values around the rows are untouched", 0.0, 0.0))
        }
    }

    /// The exact value of an output and how far f32 may be from it.
    fn expected(&self, b: &Buffers, row: usize, o: usize) -> (f64, f64) {
        let output = self.outputs.start + o;
        let (mut sum, mut size) = (0.0, 0.0);
        for (i, k) in self.inputs.clone().enumerate() {
            let at = place(self.weights.0, k, output);
            let weight = if self.narrow {
                widened(b.narrow[at])
            } else {
                f64::from(b.matrix[at])
            };
            let product = f64::from(b.x[row * self.x_stride + i]) * weight;
            sum += product;
            size += product.abs();
        }
        let (bias, mean) = (
            f64::from(b.vectors[0][output]),
            f64::from(NORM.mean) * f64::from(b.vectors[1][output]),
        );
        let (rstd, old) = (f64::from(NORM.rstd), f64::from(before(row, o)));
        let normed = (sum - mean) * rstd + bias;
        let value = match self.epilogue {
            0 => sum,
            1 => sum + bias,
            2 => normed,
            3 => 0.5 * normed * libm::erfc(-normed * core::f64::consts::FRAC_1_SQRT_2),
            4 => old + (sum + bias),
            _ => old + sum,
        };
        let rounding =
            (self.inputs.len() + 8) as f64 * ULP * (size + mean.abs() + bias.abs() + old.abs());
        let tolerance = match (self.kind, self.epilogue) {
            // The slope of GELU is below 1.13; its own error below 1e-6.
            (_, 3) => 1.13 * rounding + 1.1e-6,
            (Kind::Whole, _) => 0.0,
            (Kind::Real, _) => rounding,
        };
        (value, tolerance)
    }

    fn failure(&self, promise: &'static str, found: f64, expected: f64) -> Failure {
        Failure {
            kernel: if self.narrow {
                "matmul, f16"
            } else {
                "matmul, f32"
            },
            promise,
            names: &["rows", "inputs from", "to", "of", "outputs from", "to"],
            sizes: [
                self.rows,
                self.inputs.start,
                self.inputs.end,
                self.weights.0,
                self.outputs.start,
                self.outputs.end,
            ]
            .map(|size| size as u32),
            found,
            expected,
        }
    }
}

/// Where a weight lies: [outputs / 16][inputs][16].
fn place(inputs: usize, k: usize, o: usize) -> usize {
    (o / LANES * inputs + k) * LANES + o % LANES
}

/// What an output held before the product.
fn before(row: usize, o: usize) -> f32 {
    ((row * 31 + o * 17) % 251) as f32 - 125.0
}

/// The value of a finite f16, by its definition.
fn widened(bits: u16) -> f64 {
    let mantissa = f64::from(bits & 0x3FF);
    let size = match bits >> 10 & 0x1F {
        0 => mantissa / f64::from(1 << 24),
        exponent => (1024.0 + mantissa) * f64::from(1 << exponent) / 33_554_432.0,
    };
    if bits >> 15 == 1 { -size } else { size }
}
