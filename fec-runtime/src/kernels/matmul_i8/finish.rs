//! The last step of each epilogue.

use crate::format::LANES;
use crate::kernels::activation::gelu_lanes;
use crate::kernels::dot::Dot;
use crate::kernels::lanes::Lanes;

/// Takes the values of a tile to the result.
pub(super) trait Finish<D: Dot>: Copy {
    /// What the result consists of.
    type Item: Copy + Default;
    /// Whether c is added to the values.
    const OFFSET: bool = true;

    /// Sixteen values.
    fn lanes(self, values: D::Lanes, out: &mut [Self::Item; LANES]);

    /// R rows of P panels, of which `count` outputs exist; `out` begins at the first.
    #[inline(always)]
    fn tile<const P: usize, const R: usize>(
        self,
        values: [[D::Lanes; P]; R],
        out: &mut [Self::Item],
        stride: usize,
        count: usize,
    ) {
        for (r, values) in values.into_iter().enumerate() {
            for (p, values) in values.into_iter().enumerate() {
                let out = &mut out[r * stride + p * LANES..][..count];
                match out.as_mut_array() {
                    Some(out) => self.lanes(values, out),
                    None => {
                        let mut whole = [Self::Item::default(); LANES];
                        whole[..count].copy_from_slice(out);
                        self.lanes(values, &mut whole);
                        out.copy_from_slice(&whole[..count]);
                    }
                }
            }
        }
    }
}

/// out = v
#[derive(Clone, Copy)]
pub(super) struct Store;

impl<D: Dot> Finish<D> for Store {
    type Item = f32;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [f32; LANES]) {
        values.store(out);
    }
}

/// out = gelu(v)
#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl<D: Dot> Finish<D> for Gelu {
    type Item = f32;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [f32; LANES]) {
        gelu_lanes(values).store(out);
    }
}

/// out = out + v; without an offset where the epilogue has none.
#[derive(Clone, Copy)]
pub(super) struct Add<const OFFSET: bool>;

impl<D: Dot, const OFFSET: bool> Finish<D> for Add<OFFSET> {
    type Item = f32;
    const OFFSET: bool = OFFSET;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [f32; LANES]) {
        D::Lanes::load(out).add(values).store(out);
    }
}

/// The same on f16.
#[derive(Clone, Copy)]
pub(super) struct AddHalf<const OFFSET: bool>;

impl<D: Dot, const OFFSET: bool> Finish<D> for AddHalf<OFFSET> {
    type Item = u16;
    const OFFSET: bool = OFFSET;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [u16; LANES]) {
        D::Lanes::load_half(out).add(values).store_half(out);
    }
}

/// out = table[v]
#[derive(Clone, Copy)]
pub(super) struct Table<T>(pub(super) T);

impl<D: Dot> Finish<D> for Table<D::Table> {
    type Item = u8;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [u8; LANES]) {
        [*out, ..] = D::look_up([values; 4], &self.0);
    }

    #[inline(always)]
    fn tile<const P: usize, const R: usize>(
        self,
        values: [[D::Lanes; P]; R],
        out: &mut [u8],
        stride: usize,
        count: usize,
    ) {
        // Four times sixteen values at a time: what one register of bytes holds.
        for first in (0..R * P).step_by(4) {
            let mut four = [values[first / P][first % P]; 4];
            let count_of_four = (R * P - first).min(4);
            for i in 1..count_of_four {
                four[i] = values[(first + i) / P][(first + i) % P];
            }
            let bytes = D::look_up(four, &self.0);
            for (i, bytes) in bytes.iter().enumerate().take(count_of_four) {
                let (r, p) = ((first + i) / P, (first + i) % P);
                out[r * stride + p * LANES..][..count].copy_from_slice(&bytes[..count]);
            }
        }
    }
}
