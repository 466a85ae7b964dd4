//! Assignment to the best centre, over all of them and with a locality's window.

use super::{Buffers, Failure, Kind, LARGE, Numbers, ROW_COUNTS, SMALL, ULP, is_exact};
use crate::format::LANES;
use crate::kernels::{Assign, Kernels, Locality};

/// A value that no centre has.
const UNTOUCHED: u16 = 0xFFFF;
/// Rows and columns of the centres' grids; the larger ones are wider than the windows of most localities.
const GRIDS: [(usize, usize); 8] = [
    (1, 1),
    (1, 40),
    (40, 1),
    (2, 3),
    (5, 7),
    (13, 20),
    (23, 31),
    (28, 28),
];
const LAMBDAS: [f32; 7] = [0.001, 0.01, 0.02, 0.03, 0.1, 1.0, 100.0];
/// With these and whole numbers every score is exact.
const EXACT_LAMBDAS: [f32; 6] = [0.000_976_562_5, 0.007_812_5, 0.031_25, 0.125, 1.0, 128.0];
/// The part of all keys that no input reaches (a bias), in `shift`.
const CONSTANT: f64 = 0.5;

struct Case {
    rows: usize,
    inputs: usize,
    centres: usize,
    x_stride: usize,
    kind: Kind,
    /// The first row is all NaN.
    poison: bool,
    /// Locality: lambda, columns of the grid, the first row's number.
    locality: Option<(f32, usize, usize)>,
    /// The one centre that is like the keys where all others are their opposite: it wins from as far away as any can.
    lone: Option<usize>,
}

/// Assignments over all centres.
pub(super) fn check(
    kernels: &Kernels,
    buffers: &mut Buffers,
    numbers: &mut Numbers,
) -> Result<usize, Failure> {
    let mut cases = 0;
    let mut run = |inputs, centres, numbers: &mut Numbers| {
        for kind in [Kind::Whole, Kind::Real] {
            let rows = if inputs <= SMALL {
                numbers.pick(&ROW_COUNTS)
            } else {
                numbers.within(1, 5)
            };
            let case = Case {
                rows,
                inputs,
                centres,
                x_stride: inputs + numbers.within(0, 5),
                kind,
                poison: rows > 1 && numbers.within(0, 3) == 0,
                locality: None,
                lone: None,
            };
            case.run(kernels, buffers, numbers)?;
            cases += 1;
        }
        Ok(())
    };
    for side in 1..=SMALL {
        let other = numbers.within(1, SMALL);
        run(side, other, numbers)?;
        run(other, side, numbers)?;
    }
    for large in LARGE {
        for small in [1, 4, 17, 32] {
            run(large, small, numbers)?;
            run(small, large, numbers)?;
        }
    }
    Ok(cases)
}

/// Assignments with a locality: the window must not hide the best centre.
pub(super) fn check_locality(
    kernels: &Kernels,
    buffers: &mut Buffers,
    numbers: &mut Numbers,
) -> Result<usize, Failure> {
    let mut cases = 0;
    for (grid_rows, cols) in GRIDS {
        let elements = 4 * grid_rows * cols;
        for (kind, lambdas) in [
            (Kind::Real, &LAMBDAS[..]),
            (Kind::Whole, &EXACT_LAMBDAS[..]),
        ] {
            for &lambda in lambdas {
                for run in 0..9 {
                    let rows = numbers.pick(&ROW_COUNTS).min(28).min(elements);
                    let first = match run {
                        0 => 0,
                        1 => elements - rows,
                        _ => numbers.within(0, elements - rows),
                    };
                    let case = Case {
                        rows,
                        inputs: 4,
                        centres: grid_rows * cols,
                        x_stride: 4,
                        kind,
                        poison: false,
                        locality: Some((lambda, cols, first)),
                        lone: (kind == Kind::Whole && run % 3 == 2).then(|| {
                            far_centre(
                                numbers.within(first, first + rows - 1),
                                grid_rows,
                                cols,
                                lambda,
                            )
                        }),
                    };
                    case.run(kernels, buffers, numbers)?;
                    cases += 1;
                }
            }
        }
    }
    Ok(cases)
}

/// A centre above or below an element, about as far away as one can win from.
fn far_centre(element: usize, grid_rows: usize, cols: usize, lambda: f32) -> usize {
    let (row, col) = (element / (2 * cols) / 2, element % (2 * cols) / 2);
    let radius = libm::sqrtf(2.0 / lambda) as usize;
    let row = if row + radius < grid_rows {
        row + radius
    } else {
        row.saturating_sub(radius)
    };
    row * cols + col
}

impl Case {
    fn run(&self, kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<(), Failure> {
        let padded = self.centres.next_multiple_of(LANES);
        let [shift, centre_rows, centre_cols] = &mut b.vectors;
        let x_len = (self.rows - 1) * self.x_stride + self.inputs;
        let (x, matrix) = (&mut b.x[..x_len], &mut b.matrix[..padded * self.inputs]);
        matrix.fill(0.0);
        shift.fill(f32::NEG_INFINITY);
        for (m, shift) in shift.iter_mut().enumerate().take(self.centres) {
            let constant = self.centre(matrix, m, n);
            *shift = match self.locality {
                Some(_) => (f64::from(constant) * CONSTANT) as f32,
                None => n.value(self.kind, 3),
            };
        }
        if let Some((_, cols, _)) = self.locality {
            for m in 0..padded {
                centre_rows[m] = (m / cols) as f32 + 0.5;
                centre_cols[m] = (m % cols) as f32 + 0.5;
            }
        }
        let norms = &mut b.more[..self.rows];
        self.rows(x, norms, n);
        let out = &mut b.assign;
        out.fill(UNTOUCHED);
        let problem = Assign {
            x,
            rows: self.rows,
            x_stride: self.x_stride,
            inputs: self.inputs,
            centres: matrix,
            shift: &shift[..padded],
            locality: self.locality.map(|(lambda, cols, first)| Locality {
                lambda,
                cols,
                first,
                key_norms: norms,
                centre_rows: &centre_rows[..padded],
                centre_cols: &centre_cols[..padded],
            }),
        };
        kernels.assign(&problem, &mut out[2..][..self.rows]);
        if is_exact(kernels) {
            let mut portable = [UNTOUCHED; 64];
            Kernels::portable().assign(&problem, &mut portable[..self.rows]);
            if out[2..][..self.rows] != portable[..self.rows] {
                return Err(self.failure("the portable table's choice", 0.0, 0.0));
            }
        }
        self.compare(b)
    }

    /// Writes a centre and gives its constant part; with a locality it has length 1 with that part.
    fn centre(&self, matrix: &mut [f32], m: usize, n: &mut Numbers) -> f32 {
        let at = |k: usize| (m / LANES * self.inputs + k) * LANES + m % LANES;
        let mut constant = n.value(Kind::Real, 0);
        match (self.locality, self.kind) {
            (Some(_), Kind::Whole) => {
                // One of the axes, so that many centres are equal.
                match self.lone {
                    Some(lone) => matrix[at(0)] = if m == lone { 1.0 } else { -1.0 },
                    None => matrix[at(n.within(0, self.inputs - 1))] = n.pick(&[1.0, -1.0]),
                }
                return 0.0;
            }
            (Some(_), Kind::Real) => {
                let mut squares = f64::from(constant * constant);
                for k in 0..self.inputs {
                    matrix[at(k)] = n.value(Kind::Real, 0);
                    squares += f64::from(matrix[at(k)] * matrix[at(k)]);
                }
                let factor = (1.0 / libm::sqrt(squares)) as f32;
                (0..self.inputs).for_each(|k| matrix[at(k)] *= factor);
                constant *= factor;
            }
            (None, kind) => {
                // Half of the centres repeat an earlier one.
                let twin = n.within(0, 2 * m + 1);
                for k in 0..self.inputs {
                    matrix[at(k)] = if twin < m {
                        matrix[(twin / LANES * self.inputs + k) * LANES + twin % LANES]
                    } else {
                        n.value(kind, 2)
                    };
                }
            }
        }
        constant
    }

    /// Writes the rows and the lengths of their keys.
    fn rows(&self, x: &mut [f32], norms: &mut [f32], n: &mut Numbers) {
        n.fill(x, self.kind, 3);
        for (row, norm) in norms.iter_mut().enumerate() {
            let values = &mut x[row * self.x_stride..][..self.inputs];
            if self.locality.is_some() && self.kind == Kind::Whole {
                values.fill(0.0);
                // A power of two along an axis: the constant part is 0 in these centres, and may be any in the key.
                *norm = n.pick(&[1.0, 2.0, 4.0]);
                match self.lone {
                    Some(_) => values[0] = *norm,
                    None => values[n.within(0, self.inputs - 1)] = n.pick(&[*norm, -*norm]),
                }
            } else {
                let squares: f64 = values.iter().map(|v| f64::from(v * v)).sum();
                *norm = libm::sqrt(squares + CONSTANT * CONSTANT) as f32;
            }
        }
        if self.poison {
            x[..self.inputs].fill(f32::NAN);
        }
    }

    fn compare(&self, b: &Buffers) -> Result<(), Failure> {
        let found = &b.assign[2..][..self.rows];
        let outside = b.assign[..2].iter().chain(&b.assign[2 + self.rows..]);
        if outside.clone().any(|&a| a != UNTOUCHED) {
            return Err(self.failure("values around the output are untouched", 0.0, 0.0));
        }
        for (row, &found) in found.iter().enumerate() {
            let found = usize::from(found);
            if found >= self.centres {
                let last = (self.centres - 1) as f64;
                return Err(self.failure("padding never wins", found as f64, last));
            }
            if self.poison && row == 0 {
                continue;
            }
            let (mut best, mut best_score) = (0, f64::NEG_INFINITY);
            let mut size = 0.0;
            for m in 0..self.centres {
                let (score, terms) = self.score(b, row, m);
                size = if terms > size { terms } else { size };
                if score > best_score {
                    (best, best_score) = (m, score);
                }
            }
            let tolerance = (self.inputs + 8) as f64 * 2.0 * ULP * size;
            let (score, _) = self.score(b, row, found);
            let fits = match self.kind {
                Kind::Whole => found == best,
                Kind::Real => score >= best_score - tolerance,
            };
            if !fits {
                let promise = "the best centre wins, of equal ones the lowest";
                return Err(self.failure(promise, found as f64, best as f64));
            }
        }
        Ok(())
    }

    /// The score by its definition, over all centres; and the size of its terms.
    fn score(&self, b: &Buffers, row: usize, m: usize) -> (f64, f64) {
        let [shift, centre_rows, centre_cols] = &b.vectors;
        let (mut score, mut size) = (f64::from(shift[m]), f64::from(shift[m]).abs());
        for k in 0..self.inputs {
            let weight = b.matrix[(m / LANES * self.inputs + k) * LANES + m % LANES];
            let product = f64::from(b.x[row * self.x_stride + k]) * f64::from(weight);
            score += product;
            size += product.abs();
        }
        if let Some((lambda, cols, first)) = self.locality {
            let element = first + row;
            let y = ((element / (2 * cols)) as f64 + 0.5) / 2.0 - f64::from(centre_rows[m]);
            let x = ((element % (2 * cols)) as f64 + 0.5) / 2.0 - f64::from(centre_cols[m]);
            let distance = f64::from(lambda) * f64::from(b.more[row]) * (y * y + x * x);
            score -= distance;
            // Far centres lose clearly: only the terms of near ones are rounded where it counts.
            size += if distance < 4.0 * f64::from(b.more[row]) {
                distance
            } else {
                0.0
            };
        }
        (score, size)
    }

    fn failure(&self, promise: &'static str, found: f64, expected: f64) -> Failure {
        let (lambda, cols, first) = self.locality.unwrap_or_default();
        Failure {
            kernel: "assign",
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
