//! Tiles of sums that stay in registers over all of K: the body of every instruction set but the portable one.
//!
//! A tile is some rows times one or two panels. Rows are read where they lie, one value for all lanes; a column of tiles passes over
//! all rows before the next panels are touched, so that their weights stay in the cache next to the core.
#![expect(unsafe_code, reason = "sums are written without checks")]

use super::sums::{Stored, sums, vectors};
use super::{Epilogue, Matmul, Norm, Panels};
use crate::format::LANES;
use crate::kernels::activation::{gelu_pieces, gelu_side_by_side};
use crate::kernels::lanes::Lanes;

/// `E` is the exact form of `L`: weights in 8 bits belong to integer networks, which fuse nothing.
#[inline(always)]
pub(in crate::kernels) fn matmul<L: Lanes, E: Lanes>(m: &Matmul<'_>, out: &mut [f32]) {
    match m.weights.panels {
        Panels::F32(values) => columns::<L, f32>(m, values, out),
        Panels::F16(values) => columns::<L, u16>(m, values, out),
        Panels::I8(panels) => columns::<E, i8>(m, panels.values, out),
    }
}

#[inline(always)]
fn columns<L: Lanes, S: Stored>(m: &Matmul<'_>, values: &[S], out: &mut [f32]) {
    let end = m.outputs.end.div_ceil(LANES);
    let mut panel = m.outputs.start / LANES;
    if L::TILE_PANELS > 1 {
        while end - panel > 1 {
            column::<L, S, 2>(m, values, panel, out);
            panel += 2;
        }
    }
    while panel < end {
        column::<L, S, 1>(m, values, panel, out);
        panel += 1;
    }
}

/// `P` panels, all rows.
#[inline(always)]
fn column<L: Lanes, S: Stored, const P: usize>(
    m: &Matmul<'_>,
    values: &[S],
    panel: usize,
    out: &mut [f32],
) {
    // Each size of tile costs the program some kilobytes: few of them, and small ones where products are few.
    let mut n = 0;
    while L::TILE_ROWS >= 14 && m.rows - n >= 14 {
        tile::<L, S, 14, P>(m, values, panel, n, out);
        n += 14;
    }
    while L::TILE_ROWS == 8 && m.rows - n >= 8 {
        tile::<L, S, 8, P>(m, values, panel, n, out);
        n += 8;
    }
    while L::TILE_ROWS >= 14 && m.rows - n >= 7 {
        tile::<L, S, 7, P>(m, values, panel, n, out);
        n += 7;
    }
    while L::TILE_ROWS == 6 && m.rows - n >= 6 {
        tile::<L, S, 6, P>(m, values, panel, n, out);
        n += 6;
    }
    while m.rows - n >= 4 {
        tile::<L, S, 4, P>(m, values, panel, n, out);
        n += 4;
    }
    while m.rows - n >= 1 {
        tile::<L, S, 1, P>(m, values, panel, n, out);
        n += 1;
    }
}

/// `R` rows from `first` on, `P` panels from `panel` on.
#[inline(always)]
fn tile<L: Lanes, S: Stored, const R: usize, const P: usize>(
    m: &Matmul<'_>,
    values: &[S],
    panel: usize,
    first: usize,
    out: &mut [f32],
) {
    let panel_len = S::panel_len(m.weights.inputs);
    let panels: [&[S]; P] = core::array::from_fn(
        #[inline(always)]
        |p| &values[(panel + p) * panel_len..][..panel_len],
    );
    let x = &m.x[first * m.x_stride..];
    let mut sums: [[L; P]; R] = sums(x, m.x_stride, panels, m.inputs.clone(), [L::splat(0.0); P]);
    let outputs = (m.outputs.end - panel * LANES).min(P * LANES);
    let start = first * m.out_stride + panel * LANES - m.outputs.start;
    let tile = Tile {
        out: &mut out[start..][..(R - 1) * m.out_stride + outputs],
        stride: m.out_stride,
        outputs,
    };
    if let Panels::I8(panels) = m.weights.panels {
        let scales = vectors::<L, P>(panels.scales, panel);
        // A loop, since closures that are not inlined are compiled without the instruction set.
        for sums in &mut sums {
            for (sum, scale) in sums.iter_mut().zip(&scales) {
                *sum = sum.mul(*scale);
            }
        }
    }
    tile.finish(&m.epilogue, panel, sums);
}

/// Where the sums of a tile go.
struct Tile<'a> {
    /// Its rows, and what lies between them.
    out: &'a mut [f32],
    /// Distance of two rows.
    stride: usize,
    /// Outputs of a row.
    outputs: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn finish<L: Lanes, const R: usize, const P: usize>(
        mut self,
        epilogue: &Epilogue<'_>,
        panel: usize,
        sums: [[L; P]; R],
    ) {
        match *epilogue {
            Epilogue::Plain => self.write::<L, R, P, false>(
                sums,
                #[inline(always)]
                |sum, _, _| sum,
            ),
            Epilogue::Accumulate => self.write::<L, R, P, true>(
                sums,
                #[inline(always)]
                |sum, _, old| old.add(sum),
            ),
            Epilogue::Bias(bias) => {
                let bias = vectors::<L, P>(bias, panel);
                self.write::<L, R, P, false>(
                    sums,
                    #[inline(always)]
                    |sum, p, _| sum.add(bias[p]),
                );
            }
            Epilogue::Residual(bias) => {
                let bias = vectors::<L, P>(bias, panel);
                self.write::<L, R, P, true>(
                    sums,
                    #[inline(always)]
                    |sum, p, old| old.add(sum.add(bias[p])),
                );
            }
            Epilogue::Norm {
                bias,
                sums: s,
                norm,
            } => {
                self.norm::<L, R, P, false>(sums, norm, vectors(s, panel), vectors(bias, panel));
            }
            Epilogue::NormGelu {
                bias,
                sums: s,
                norm,
            } => {
                self.norm::<L, R, P, true>(sums, norm, vectors(s, panel), vectors(bias, panel));
                if !L::LOOKS_UP {
                    self.gelu::<L, R>();
                }
            }
        }
    }

    /// The norm's epilogue; with GELU where that needs no company.
    #[inline(always)]
    fn norm<L: Lanes, const R: usize, const P: usize, const GELU: bool>(
        &mut self,
        sums: [[L; P]; R],
        norm: Norm,
        weights: [L; P],
        bias: [L; P],
    ) {
        let shift = weights.map(
            #[inline(always)]
            |weights| weights.mul(L::splat(-norm.mean)),
        );
        let rstd = L::splat(norm.rstd);
        self.write::<L, R, P, false>(
            sums,
            #[inline(always)]
            |sum, p, _| {
                let normed = sum.add(shift[p]).mul_add(rstd, bias[p]);
                if GELU && L::LOOKS_UP {
                    gelu_pieces(normed)
                } else {
                    normed
                }
            },
        );
    }

    /// GELU of what was written, rows side by side.
    #[inline(always)]
    fn gelu<L: Lanes, const R: usize>(&mut self) {
        let mut row = 0;
        while L::TILE_PANELS > 1 && R - row >= 4 {
            self.gelu_rows::<L, 4>(row);
            row += 4;
        }
        while R - row >= 2 {
            self.gelu_rows::<L, 2>(row);
            row += 2;
        }
        while row < R {
            self.gelu_rows::<L, 1>(row);
            row += 1;
        }
    }

    #[inline(always)]
    fn gelu_rows<L: Lanes, const N: usize>(&mut self, row: usize) {
        for column in (0..self.outputs).step_by(LANES) {
            let count = LANES.min(self.outputs - column);
            let at = |n: usize| (row + n) * self.stride + column;
            let mut lanes = [L::splat(0.0); N];
            for (n, lanes) in lanes.iter_mut().enumerate() {
                *lanes = load(&self.out[at(n)..][..count]);
            }
            let lanes = gelu_side_by_side(lanes);
            for (n, lanes) in lanes.into_iter().enumerate() {
                store(lanes, &mut self.out[at(n)..][..count]);
            }
        }
    }

    /// Writes f(sum, panel of the tile, what was there): the last is read if `READ`.
    #[inline(always)]
    fn write<L: Lanes, const R: usize, const P: usize, const READ: bool>(
        &mut self,
        sums: [[L; P]; R],
        f: impl Fn(L, usize, L) -> L,
    ) {
        assert!(
            (R - 1) * self.stride + self.outputs <= self.out.len(),
            "a tile is too short"
        );
        for p in 0..P {
            let count = self.outputs - p * LANES;
            if count >= LANES {
                for (r, sums) in sums.iter().enumerate() {
                    // SAFETY: row r has `outputs` values from r * stride on, as asserted above, 16 of them from p * 16 on.
                    let out: &mut [f32; LANES] = unsafe {
                        &mut *self
                            .out
                            .as_mut_ptr()
                            .add(r * self.stride + p * LANES)
                            .cast()
                    };
                    let old = if READ { L::load(out) } else { L::splat(0.0) };
                    f(sums[p], p, old).store(out);
                }
            } else {
                for (r, sums) in sums.iter().enumerate() {
                    let out = &mut self.out[r * self.stride + p * LANES..][..count];
                    let old = if READ {
                        L::load_part(out)
                    } else {
                        L::splat(0.0)
                    };
                    f(sums[p], p, old).store_part(out);
                }
            }
        }
    }
}

/// At most sixteen values; zeros in the other lanes.
#[inline(always)]
fn load<L: Lanes>(values: &[f32]) -> L {
    match values.try_into() {
        Ok(values) => L::load(values),
        Err(_) => L::load_part(values),
    }
}

/// The first lanes, at most sixteen.
#[inline(always)]
fn store<L: Lanes>(lanes: L, out: &mut [f32]) {
    match out.try_into() {
        Ok(out) => lanes.store(out),
        Err(_) => lanes.store_part(out),
    }
}
