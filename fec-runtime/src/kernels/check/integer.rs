//! Integer products with every epilogue, and quantised rows: expected are the bits that the definitions give, nothing near them.

use super::{Buffers, Failure, Kind, LARGE, MATRIX, Numbers, ROW_COUNTS, ROWS, SMALL, canary};
use crate::format::{GROUP, LANES};
use crate::kernels::{
    EpilogueI8, Kernels, MatmulI8, Norm, Out, PanelsI8, Quantise, RowScales, Values, ValuesMut,
    activation,
};

const NAMES: [&str; 5] = [
    "norm",
    "norm and gelu",
    "norm and table",
    "residual",
    "accumulate",
];
const NORM: Norm = Norm {
    mean: -0.37,
    rstd: 1.9,
};
const PRE: f32 = 0.031;
/// A byte around outputs.
const UNTOUCHED: u8 = 0xA5;

pub(super) fn check(
    kernels: &Kernels,
    buffers: &mut Buffers,
    numbers: &mut Numbers,
) -> Result<usize, Failure> {
    let mut cases = 0;
    let mut run = |inputs: usize, outputs: usize, rows: usize, n: &mut Numbers| {
        let case = Case {
            rows,
            inputs,
            outputs,
            x_stride: inputs.next_multiple_of(GROUP) + n.within(0, 5),
            out_stride: outputs + n.within(0, 5),
            lead: n.within(0, LANES),
            epilogue: cases % NAMES.len(),
            zero: n.pick(&[0, 1, 127, 128, 255, 77]),
            one_scale: n.within(0, 1) == 0,
        };
        case.run(kernels, buffers, n)?;
        cases += 1;
        Ok(())
    };
    for side in 1..=SMALL {
        for _ in 0..5 {
            let other = numbers.within(1, SMALL);
            let rows = numbers.pick(&ROW_COUNTS);
            run(side, other, rows, numbers)?;
            run(other, side, rows, numbers)?;
        }
    }
    for large in LARGE {
        for small in [1, 3, 16, 17, 32] {
            for _ in 0..NAMES.len() {
                let rows = numbers.within(1, 5);
                run(large, small, rows, numbers)?;
                run(small, large, rows, numbers)?;
            }
        }
    }
    run(7, 9, 0, numbers)?;
    Ok(cases + check_rows(kernels, buffers, numbers)?)
}

#[derive(Clone, Copy)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x_stride: usize,
    out_stride: usize,
    /// Values before the output: its alignment.
    lead: usize,
    epilogue: usize,
    zero: u8,
    one_scale: bool,
}

impl Case {
    fn run(&self, kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<(), Failure> {
        let (padded, groups) = (
            self.outputs.next_multiple_of(LANES),
            self.inputs.div_ceil(GROUP),
        );
        let stored = padded * groups * GROUP;
        let span = |stride: usize, width: usize| {
            self.rows.checked_sub(1).map_or(0, |r| r * stride + width)
        };
        let x_len = span(self.x_stride, groups * GROUP);
        let out = self.lead..self.lead + span(self.out_stride, self.outputs);
        if stored > MATRIX || x_len > ROWS || out.end + LANES > ROWS {
            return Err(self.failure("the case fits its buffers", stored as f64, MATRIX as f64));
        }
        self.fill(b, n);
        let [bias, sums, scales] = &b.vectors;
        let norm = NORM;
        let product = MatmulI8 {
            x: &b.rows[..x_len],
            rows: self.rows,
            x_stride: self.x_stride,
            scales: match self.one_scale {
                true => RowScales::All(b.more[0]),
                false => RowScales::PerRow(&b.more[..self.rows]),
            },
            zero: self.zero,
            weights: PanelsI8 {
                values: &b.weights[..stored],
                scales: &scales[..padded],
                sums: &b.sums[..padded],
            },
            inputs: self.inputs,
            outputs: self.outputs,
            out_stride: self.out_stride,
            epilogue: match self.epilogue {
                0 => EpilogueI8::Norm { bias, sums, norm },
                1 => EpilogueI8::Gelu { bias, sums, norm },
                2 => EpilogueI8::Table {
                    bias,
                    sums,
                    norm,
                    pre: PRE,
                    table: table(&b.bytes),
                },
                3 => EpilogueI8::Residual(bias),
                _ => EpilogueI8::Accumulate,
            },
        };
        let out = match self.epilogue {
            2 => Out::Bytes(&mut b.results[out]),
            3 | 4 => Out::Values(ValuesMut::F16(&mut b.halves[out])),
            _ => Out::Values(ValuesMut::F32(&mut b.out[out])),
        };
        kernels.matmul_i8(&product, out);
        self.compare(b)
    }

    /// Rows of all bytes, those behind the inputs included; weights of -127 to 127 with their sums, and all that an epilogue needs.
    fn fill(&self, b: &mut Buffers, n: &mut Numbers) {
        // Extremes, so that sums are as large as they can be; or anything.
        let extreme = n.within(0, 3) == 0;
        b.rows.fill_with(|| match extreme {
            true => n.pick(&[0, 255]),
            false => n.next() as u8,
        });
        b.sums.fill(0);
        b.weights.fill(0);
        for o in 0..self.outputs {
            for k in 0..self.inputs {
                let weight = match extreme {
                    true => n.pick(&[-127, 127, 127]),
                    false => n.within(0, 254) as i32 - 127,
                };
                b.weights[place(self.inputs, k, o)] = weight as i8;
                b.sums[o] += weight;
            }
        }
        b.bytes.fill_with(|| n.next() as u8);
        for vector in &mut b.vectors {
            n.fill(vector, Kind::Real, 0);
        }
        // Results of the order of 1, so that neither the table nor f16 is always at its end.
        let size = 1e-4 / libm::sqrtf(self.inputs as f32);
        b.more.fill_with(|| n.value(Kind::Real, 0) * size);
        b.out.fill(canary());
        b.results.fill(UNTOUCHED);
        b.halves.fill(0x7CA5);
        if self.epilogue >= 3 {
            for row in 0..self.rows {
                for o in 0..self.outputs {
                    let at = self.lead + row * self.out_stride + o;
                    b.halves[at] = half::f16::from_f32(before(row, o)).to_bits();
                }
            }
        }
    }

    fn compare(&self, b: &Buffers) -> Result<(), Failure> {
        for at in 0..ROWS {
            let place = at
                .checked_sub(self.lead)
                .map(|at| (at / self.out_stride, at % self.out_stride))
                .filter(|&(row, o)| row < self.rows && o < self.outputs);
            let value = place.map(|(row, o)| (self.value(b, row, o), before(row, o)));
            let (found, expected) = match (self.epilogue, value) {
                (2, None) => (b.results[at].into(), UNTOUCHED.into()),
                (2, Some((v, _))) => (b.results[at].into(), u32::from(self.look_up(b, v))),
                (3 | 4, None) => (b.halves[at].into(), 0x7CA5),
                (3 | 4, Some((v, old))) => {
                    let sum = half::f16::from_f32(old).to_f32() + v;
                    let bounded = sum.clamp(-65504.0, 65504.0);
                    let bits = half::f16::from_f32(bounded).to_bits();
                    (b.halves[at].into(), bits.into())
                }
                (_, None) => (b.out[at].to_bits(), canary().to_bits()),
                (1, Some((v, _))) => (b.out[at].to_bits(), activation::gelu([v])[0].to_bits()),
                (_, Some((v, _))) => (b.out[at].to_bits(), v.to_bits()),
            };
            if found != expected {
                let promise = match place {
                    None => "what lies around the outputs is untouched (bits)",
                    Some(_) => NAMES[self.epilogue],
                };
                return Err(self.failure(promise, found.into(), expected.into()));
            }
        }
        Ok(())
    }

    /// v by its definition.
    fn value(&self, b: &Buffers, row: usize, o: usize) -> f32 {
        let mut acc = 0_i64;
        for k in 0..self.inputs {
            let u = i64::from(b.rows[row * self.x_stride + k]) - i64::from(self.zero);
            acc += u * i64::from(b.weights[place(self.inputs, k, o)]);
        }
        let [bias, sums, scales] = &b.vectors;
        let inverse = if self.epilogue == 2 { 1.0 / PRE } else { 1.0 };
        let (a, c) = match self.epilogue {
            0..=2 => (
                scales[o] * (NORM.rstd * inverse),
                (bias[o] - (NORM.mean * sums[o]) * NORM.rstd) * inverse,
            ),
            _ => (scales[o], bias[o]),
        };
        let product = (acc as i32 as f32 * a) * b.more[if self.one_scale { 0 } else { row }];
        if self.epilogue < 4 {
            product + c
        } else {
            product
        }
    }

    fn look_up(&self, b: &Buffers, v: f32) -> u8 {
        let v = v.clamp(-128.0, 127.0);
        table(&b.bytes)[usize::from(libm::rintf(v) as i8 as u8)]
    }

    fn failure(&self, promise: &'static str, found: f64, expected: f64) -> Failure {
        Failure {
            kernel: "matmul_i8",
            promise,
            names: &[
                "rows",
                "inputs",
                "outputs",
                "x_stride",
                "out_stride",
                "zero",
            ],
            sizes: [
                self.rows,
                self.inputs,
                self.outputs,
                self.x_stride,
                self.out_stride,
                self.zero.into(),
            ]
            .map(|size| size as u32),
            found,
            expected,
        }
    }
}

/// Where a weight lies: [outputs / 16][inputs / 4][16][4].
pub(super) fn place(inputs: usize, k: usize, o: usize) -> usize {
    ((o / LANES * inputs.div_ceil(GROUP) + k / GROUP) * LANES + o % LANES) * GROUP + k % GROUP
}

/// What an output held before the product.
fn before(row: usize, o: usize) -> f32 {
    ((row * 31 + o * 17) % 251) as f32 / 125.0 - 1.0
}

/// The first 256 bytes.
fn table(bytes: &[u8; 512]) -> &[u8; 256] {
    let ([first, ..], _) = bytes.as_chunks() else {
        return &[0; 256];
    };
    first
}

/// How large the values of a row are.
const SIZES: [f32; 6] = [1.0, 3e4, 1e-3, 0.0, 1e-39, 1e-45];

/// Quantised rows of every width.
fn check_rows(kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<usize, Failure> {
    let mut cases = 0;
    for inputs in (1..=SMALL).chain(LARGE) {
        for centred in [false, true] {
            for narrow in [false, true] {
                let rows = n.within(1, 5);
                for row in 0..rows {
                    let size = n.pick(&SIZES);
                    for k in row * inputs..(row + 1) * inputs {
                        // Some whole quarters, so that ties occur.
                        let x = match n.within(0, 1) {
                            0 => n.value(Kind::Real, 0),
                            _ => n.value(Kind::Whole, 4) / 4.0,
                        };
                        b.halves[k] = half::f16::from_f32(x * size).to_bits();
                        b.x[k] = match narrow {
                            true => half::f16::from_bits(b.halves[k]).to_f32(),
                            false => x * size,
                        };
                    }
                }
                n.fill(&mut b.vectors[0], Kind::Real, 0);
                b.results.fill(UNTOUCHED);
                b.out.fill(canary());
                let centre = &b.vectors[0][..inputs];
                let quantise = Quantise {
                    x: match narrow {
                        true => Values::F16(&b.halves[..rows * inputs]),
                        false => Values::F32(&b.x[..rows * inputs]),
                    },
                    rows,
                    inputs,
                    centre: centred.then_some(centre),
                };
                let len = rows * quantise.out_stride();
                kernels.quantise(
                    &quantise,
                    &mut b.results[3..][..len],
                    &mut b.out[1..][..rows],
                );
                compare_rows(b, rows, inputs, centred).map_err(|(promise, found, expected)| {
                    Failure {
                        kernel: "quantise",
                        promise,
                        names: &["rows", "inputs", "centred", "f16"],
                        sizes: [rows, inputs, centred.into(), narrow.into(), 0, 0]
                            .map(|size| size as u32),
                        found,
                        expected,
                    }
                })?;
                cases += 1;
            }
        }
    }
    Ok(cases)
}

/// The promise that was broken, what was found and what was expected.
fn compare_rows(
    b: &Buffers,
    rows: usize,
    inputs: usize,
    centred: bool,
) -> Result<(), (&'static str, f64, f64)> {
    let stride = inputs.next_multiple_of(GROUP);
    for row in 0..rows {
        let value = |k: usize| {
            let centre = if centred { b.vectors[0][k] } else { 0.0 };
            b.x[row * inputs + k] - centre
        };
        let max = (0..inputs).map(|k| value(k).abs()).fold(0.0, f32::max);
        let (factor, scale) = match 127.0 / max {
            f32::INFINITY => (0.0, 0.0),
            factor => (factor, max / 127.0),
        };
        let found = b.out[1 + row];
        if found.to_bits() != scale.to_bits() {
            return Err(("the scale of a row", found.into(), scale.into()));
        }
        for k in 0..stride {
            let found = b.results[3 + row * stride + k];
            let rounded = if k < inputs {
                libm::rintf(value(k) * factor)
            } else {
                0.0
            };
            if f32::from(found) != rounded + 128.0 {
                return Err(("a byte of a row", found.into(), f64::from(rounded) + 128.0));
            }
        }
    }
    let around = [&b.results[..3], &b.results[3 + rows * stride..]];
    let intact = around
        .iter()
        .all(|bytes| bytes.iter().all(|&byte| byte == UNTOUCHED));
    let scales = [&b.out[..1], &b.out[1 + rows..]];
    if intact && scales.iter().all(|values| super::untouched(values)) {
        Ok(())
    } else {
        Err(("what lies around the results is untouched", 0.0, 0.0))
    }
}
