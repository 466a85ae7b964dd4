//! From the sums of a tile to its results: the last step of each epilogue.
#![expect(
    unsafe_code,
    reason = "where a tile's results lie is checked once for all rows"
)]

use crate::format::LANES;
use crate::kernels::activation::gelu_lanes;
use crate::kernels::dot::Dot;
use crate::kernels::lanes::Lanes;

/// The sums of R rows with P panels.
pub(super) struct Tile<'a, D: Dot, const R: usize, const P: usize> {
    pub(super) sums: [[<D::Lanes as Lanes>::Ints; P]; R],
    /// Scales of the rows.
    pub(super) scales: &'a [f32; R],
    /// a and c of the panels.
    pub(super) both: &'a [(D::Lanes, D::Lanes); P],
}

impl<D: Dot, const R: usize, const P: usize> Tile<'_, D, R, P> {
    /// v of row r with panel p.
    #[inline(always)]
    fn value(&self, r: usize, p: usize) -> D::Lanes {
        let (a, c) = self.both[p];
        let sums = D::Lanes::from_ints(self.sums[r][p]);
        sums.mul(a).mul(D::Lanes::splat(self.scales[r])).add(c)
    }
}

/// Where a tile's results lie.
pub(super) struct Place<'a, T> {
    /// From the first result to the last one.
    pub(super) out: &'a mut [T],
    /// Distance of two rows.
    pub(super) stride: usize,
    /// Outputs of the last panel; those before it have all sixteen.
    pub(super) count: usize,
}

impl<T> Place<'_, T> {
    /// The results of a whole panel in row r. `write` has checked that the last row's lie within `out`.
    #[inline(always)]
    fn whole(&mut self, r: usize, p: usize) -> &mut [T; LANES] {
        // SAFETY: `write` has asserted that (R - 1) * stride + P * 16 results exist, and r < R, p < P.
        unsafe {
            &mut *self
                .out
                .as_mut_ptr()
                .add(r * self.stride + p * LANES)
                .cast()
        }
    }
}

/// Writes a tile. The rows are written out, since sums stay in registers only where their index is a constant.
#[inline(always)]
pub(super) fn write<D: Dot, F: Finish<D>, const R: usize, const P: usize>(
    tile: &Tile<'_, D, R, P>,
    finish: F,
    mut place: Place<'_, F::Item>,
) {
    if place.count < LANES {
        for r in 0..R {
            finish.part(tile, &mut place, r);
        }
        return;
    }
    assert!(
        (R - 1) * place.stride + P * LANES <= place.out.len(),
        "results do not fit"
    );
    finish.rows(tile, &mut place, 0);
    finish.rows(tile, &mut place, 1);
    finish.rows(tile, &mut place, 2);
    finish.rows(tile, &mut place, 3);
    finish.rows(tile, &mut place, 4);
    finish.rows(tile, &mut place, 5);
    finish.rows(tile, &mut place, 6);
    finish.rows(tile, &mut place, 7);
    finish.rows(tile, &mut place, 8);
    finish.rows(tile, &mut place, 9);
    finish.rows(tile, &mut place, 10);
    finish.rows(tile, &mut place, 11);
    finish.rows(tile, &mut place, 12);
    finish.rows(tile, &mut place, 13);
}

/// The last step of an epilogue.
pub(super) trait Finish<D: Dot>: Copy {
    /// What the result consists of.
    type Item;

    /// Sixteen values.
    fn lanes(self, values: D::Lanes, out: &mut [Self::Item; LANES]);

    /// Fewer than sixteen.
    fn part_lanes(self, values: D::Lanes, out: &mut [Self::Item]);

    /// Row r, if there is one, whose panels are whole; or those rows, if r is the first, that are written together.
    #[inline(always)]
    fn rows<const R: usize, const P: usize>(
        self,
        tile: &Tile<'_, D, R, P>,
        place: &mut Place<'_, Self::Item>,
        r: usize,
    ) {
        if r < R {
            self.lanes(tile.value(r, 0), place.whole(r, 0));
            if P == 2 {
                self.lanes(tile.value(r, P - 1), place.whole(r, P - 1));
            }
        }
    }

    /// Row r of a tile whose one panel has fewer outputs.
    #[inline(always)]
    fn part<const R: usize, const P: usize>(
        self,
        tile: &Tile<'_, D, R, P>,
        place: &mut Place<'_, Self::Item>,
        r: usize,
    ) {
        let out = &mut place.out[r * place.stride..][..place.count];
        self.part_lanes(tile.value(r, 0), out);
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

    #[inline(always)]
    fn part_lanes(self, values: D::Lanes, out: &mut [f32]) {
        values.store_part(out);
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

    #[inline(always)]
    fn part_lanes(self, values: D::Lanes, out: &mut [f32]) {
        gelu_lanes(values).store_part(out);
    }
}

/// out = out + v, on f16.
#[derive(Clone, Copy)]
pub(super) struct Add;

impl<D: Dot> Finish<D> for Add {
    type Item = u16;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [u16; LANES]) {
        D::Lanes::load_half(out).add(values).store_half(out);
    }

    #[inline(always)]
    fn part_lanes(self, values: D::Lanes, out: &mut [u16]) {
        D::Lanes::load_half_part(out)
            .add(values)
            .store_half_part(out);
    }
}

/// out = table[v]
#[derive(Clone, Copy)]
pub(super) struct Table<'a, T>(pub(super) &'a T);

impl<D: Dot> Finish<D> for Table<'_, D::Table> {
    type Item = u8;

    #[inline(always)]
    fn lanes(self, values: D::Lanes, out: &mut [u8; LANES]) {
        [*out, ..] = D::look_up([values; 4], self.0);
    }

    #[inline(always)]
    fn part_lanes(self, values: D::Lanes, out: &mut [u8]) {
        let [bytes, ..] = D::look_up([values; 4], self.0);
        out.copy_from_slice(&bytes[..out.len()]);
    }

    /// Four times sixteen values at a time, what one register of bytes holds: four rows of one panel or two of two.
    #[inline(always)]
    fn rows<const R: usize, const P: usize>(
        self,
        tile: &Tile<'_, D, R, P>,
        place: &mut Place<'_, u8>,
        r: usize,
    ) {
        if r >= R || !r.is_multiple_of(4 / P) {
            return;
        }
        let row = |i: usize| (r + i / P).min(R - 1);
        let values = [
            tile.value(row(0), 0),
            tile.value(row(1), 1 % P),
            tile.value(row(2), 0),
            tile.value(row(3), 1 % P),
        ];
        let bytes = D::look_up(values, self.0);
        *place.whole(row(0), 0) = bytes[0];
        *place.whole(row(1), 1 % P) = bytes[1];
        // Rows that do not exist are not written: the last one's bytes came first.
        if r + 2 / P < R {
            *place.whole(row(2), 0) = bytes[2];
        }
        if r + 3 / P < R {
            *place.whole(row(3), 1 % P) = bytes[3];
        }
    }
}
