//! Centres packed as bytes, and the assignment of rows of bytes to them: expected is what the definitions give, exactly.

use super::integer::place;
use super::{Buffers, Failure, Kind, LARGE, Numbers, ROW_COUNTS, SMALL};
use crate::format::{GROUP, LANES};
use crate::kernels::{AssignI8, Kernels, Locality, PanelsI8, PanelsI8Mut};

/// A value that no centre has.
const UNTOUCHED: u16 = 0xFFFF;
/// Rows and columns of the centres' grids.
const GRIDS: [(usize, usize); 6] = [(1, 1), (1, 40), (5, 7), (13, 20), (23, 31), (28, 28)];
const LAMBDAS: [f32; 4] = [0.001, 0.03, 0.1, 1.0];

struct Case {
    rows: usize,
    inputs: usize,
    centres: usize,
    x_stride: usize,
    /// Locality: lambda, columns of the grid, the first row's number.
    locality: Option<(f32, usize, usize)>,
}

pub(super) fn check(
    kernels: &Kernels,
    buffers: &mut Buffers,
    numbers: &mut Numbers,
) -> Result<usize, Failure> {
    let mut cases = 0;
    let mut run = |inputs: usize, centres, locality, rows, n: &mut Numbers| {
        let case = Case {
            rows,
            inputs,
            centres,
            x_stride: inputs.next_multiple_of(GROUP) + n.within(0, 5),
            locality,
        };
        case.pack(kernels, buffers, n)?;
        case.assign(kernels, buffers, n)?;
        cases += 1;
        Ok(())
    };
    for side in 1..=SMALL {
        let other = numbers.within(1, SMALL);
        let rows = numbers.pick(&ROW_COUNTS);
        run(side, other, None, rows, numbers)?;
        run(other, side, None, rows, numbers)?;
    }
    for large in LARGE {
        for small in [1, 4, 17, 32] {
            let rows = numbers.within(1, 5);
            run(large, small, None, rows, numbers)?;
            run(small, large, None, rows, numbers)?;
        }
    }
    for (grid_rows, cols) in GRIDS {
        let elements = 4 * grid_rows * cols;
        for lambda in LAMBDAS {
            let rows = numbers.pick(&ROW_COUNTS).min(elements);
            let first = numbers.within(0, elements - rows);
            let locality = Some((lambda, cols, first));
            run(4, grid_rows * cols, locality, rows, numbers)?;
        }
    }
    Ok(cases)
}

impl Case {
    fn padded(&self) -> usize {
        self.centres.next_multiple_of(LANES)
    }

    fn stored(&self) -> usize {
        self.padded() * self.inputs.next_multiple_of(GROUP)
    }

    /// Packs random centres, among them zeros and twins, and compares.
    fn pack(&self, kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<(), Failure> {
        let (padded, stored) = (self.padded(), self.stored());
        for m in 0..self.centres {
            let twin = n.within(0, 2 * m + 1);
            let size = n.pick(&[1.0, 1.0, 1e-3, 0.0]);
            for k in 0..self.inputs {
                b.matrix[m * self.inputs + k] = match twin < m {
                    true => b.matrix[twin * self.inputs + k],
                    false => n.value(Kind::Real, 0) * size,
                };
            }
            // As is usual for centres, where there is a locality: of length 1.
            if self.locality.is_some() {
                let centre = &mut b.matrix[m * self.inputs..][..self.inputs];
                let squares: f32 = centre.iter().map(|c| c * c).sum();
                let length = libm::sqrtf(squares);
                centre
                    .iter_mut()
                    .for_each(|c| *c /= if length > 0.0 { length } else { 1.0 });
            }
            // Of the first centre's twins, some have its shift.
            b.vectors[0][m] = if twin < m {
                b.vectors[0][twin]
            } else {
                n.value(Kind::Real, 0)
            };
        }
        b.vectors[0][self.centres..].fill(f32::NEG_INFINITY);
        b.weights.fill(0x55);
        b.sums.fill(-1);
        let panels = PanelsI8Mut {
            values: &mut b.weights[1..][..stored],
            scales: &mut b.vectors[1][..padded],
            sums: &mut b.sums[..padded],
        };
        kernels.pack_centres(&b.matrix[..self.centres * self.inputs], self.inputs, panels);
        if b.weights[0] != 0x55 || b.weights[1 + stored..].iter().any(|&w| w != 0x55) {
            return Err(self.failure("what lies around the panels is untouched", 0.0, 0.0));
        }
        for m in 0..padded {
            let centre = |k: usize| match m < self.centres && k < self.inputs {
                true => b.matrix[m * self.inputs + k],
                false => 0.0,
            };
            let max = (0..self.inputs)
                .map(|k| centre(k).abs())
                .fold(0.0, f32::max);
            let factor = if max > 0.0 { 127.0 / max } else { 0.0 };
            let mut sum = 0;
            for k in 0..self.inputs.next_multiple_of(GROUP) {
                let expected = libm::rintf(centre(k) * factor) as i32;
                let found = i32::from(b.weights[1 + place(self.inputs, k, m)]);
                if found != expected {
                    return Err(self.failure("a centre's byte", found.into(), expected.into()));
                }
                sum += expected;
            }
            if b.sums[m] != sum {
                return Err(self.failure("a centre's sum", b.sums[m].into(), sum.into()));
            }
            let (found, expected) = (b.vectors[1][m], max / 127.0);
            if found.to_bits() != expected.to_bits() {
                return Err(self.failure("a centre's scale", found.into(), expected.into()));
            }
        }
        Ok(())
    }

    /// Rows of all bytes, their scales, and the lengths of their keys: with those as factors, scores are cosines.
    fn fill_rows(&self, b: &mut Buffers, n: &mut Numbers) {
        b.rows.fill_with(|| n.next() as u8);
        for row in 0..self.rows {
            b.x[row] = n.within(1, 99) as f32 * 1e-4;
            let squares: i32 = (0..self.inputs)
                .map(|k| i32::from(b.rows[row * self.x_stride + k]) - 128)
                .map(|byte| byte * byte)
                .sum();
            b.more[row] = libm::sqrtf(squares as f32) * b.x[row];
        }
    }

    fn assign(&self, kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<(), Failure> {
        let (padded, stored) = (self.padded(), self.stored());
        self.fill_rows(b, n);
        let [shift, scales, positions] = &mut b.vectors;
        let (centre_rows, centre_cols) = (positions, &mut b.out[..padded]);
        if let Some((_, cols, _)) = self.locality {
            shift[..self.centres].fill(0.0);
            for m in 0..padded {
                centre_rows[m] = (m / cols) as f32 + 0.5;
                centre_cols[m] = (m % cols) as f32 + 0.5;
            }
        }
        b.assign.fill(UNTOUCHED);
        let problem = AssignI8 {
            x: &b.rows,
            rows: self.rows,
            x_stride: self.x_stride,
            scales: &b.x[..self.rows],
            inputs: self.inputs,
            centres: PanelsI8 {
                values: &b.weights[1..][..stored],
                scales: &scales[..padded],
                sums: &b.sums[..padded],
            },
            shift: &shift[..padded],
            locality: self.locality.map(|(lambda, cols, first)| Locality {
                lambda,
                cols,
                first,
                key_norms: &b.more[..self.rows],
                centre_rows: &centre_rows[..padded],
                centre_cols,
            }),
        };
        kernels.assign_i8(&problem, &mut b.assign[2..][..self.rows]);
        self.compare(b)
    }

    fn compare(&self, b: &Buffers) -> Result<(), Failure> {
        let outside = b.assign[..2].iter().chain(&b.assign[2 + self.rows..]);
        if outside.clone().any(|&a| a != UNTOUCHED) {
            return Err(self.failure("values around the output are untouched", 0.0, 0.0));
        }
        for row in 0..self.rows {
            let found = b.assign[2 + row];
            let (mut best, mut best_score) = (0, f32::NEG_INFINITY);
            for m in 0..self.centres {
                let score = self.score(b, row, m);
                if score > best_score {
                    (best, best_score) = (m, score);
                }
            }
            if usize::from(found) != best {
                let promise = "the best centre wins, of equal ones the lowest";
                return Err(self.failure(promise, found.into(), best as f64));
            }
        }
        Ok(())
    }

    /// The score by its definition.
    fn score(&self, b: &Buffers, row: usize, m: usize) -> f32 {
        let mut acc = 0_i64;
        for k in 0..self.inputs {
            let u = i64::from(b.rows[row * self.x_stride + k]) - 128;
            acc += u * i64::from(b.weights[1 + place(self.inputs, k, m)]);
        }
        let score = (acc as i32 as f32 * b.vectors[1][m]) * b.x[row] + b.vectors[0][m];
        let Some((lambda, cols, first)) = self.locality else {
            return score;
        };
        let element = first + row;
        let y = ((element / (2 * cols)) as f32 + 0.5) / 2.0;
        let x = ((element % (2 * cols)) as f32 + 0.5) / 2.0;
        let (dy, dx) = (b.vectors[2][m] - y, b.out[m] - x);
        score - (lambda * b.more[row]) * (dy * dy + dx * dx)
    }

    fn failure(&self, promise: &'static str, found: f64, expected: f64) -> Failure {
        let (lambda, cols, first) = self.locality.unwrap_or_default();
        Failure {
            kernel: "assign_i8",
            promise,
            names: &[
                "rows",
                "inputs",
                "centres",
                "first",
                "columns",
                "locality in millionths",
            ],
            sizes: [
                self.rows,
                self.inputs,
                self.centres,
                first,
                cols,
                (lambda * 1e6) as usize,
            ]
            .map(|size| size as u32),
            found,
            expected,
        }
    }
}
