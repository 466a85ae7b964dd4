//! Similarity and argmax in one: the matrix of similarities never exists (Eq. 5; SPEC 3.3, 3.6, 4.2).

pub(super) mod locality;
pub(super) mod portable;
pub(super) mod tiled;

use crate::format::LANES;

/// Assigns each row to the centre with the largest score; the lowest centre wins ties.
///
/// `score(m, n) = shift[m] + sum over k of x[n][k] * centres[m][k]`, with a locality minus `lambda * |k_n| * d²(m, n)`.
#[derive(Clone, Copy, Debug)]
pub struct Assign<'a> {
    /// Rows, `x_stride` apart, `inputs` values each.
    pub x: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows, in values.
    pub x_stride: usize,
    /// Inputs K.
    pub inputs: usize,
    /// Centres in panels, `[centres / 16][K][16]`.
    pub centres: &'a [f32],
    /// Start of each centre's sum; minus infinity in the padding.
    pub shift: &'a [f32],
    /// The pools' locality (SPEC 3.6), if any.
    pub locality: Option<Locality<'a>>,
}

/// What a locality needs besides.
#[derive(Clone, Copy, Debug)]
pub struct Locality<'a> {
    /// lambda, above 0.
    pub lambda: f32,
    /// Columns of the grid of centres; the elements' grid has twice as many.
    pub cols: usize,
    /// Number of the first row among the elements of the region.
    pub first: usize,
    /// |k_n| of each row: the scores are cosines times this.
    pub key_norms: &'a [f32],
    /// Row of each centre's cell plus 1/2, padded like `shift`.
    pub centre_rows: &'a [f32],
    /// Column of each centre's cell plus 1/2, padded like `shift`.
    pub centre_cols: &'a [f32],
}

impl Locality<'_> {
    pub(super) fn check(&self, rows: usize, padded_centres: usize) {
        assert!(
            self.cols > 0 && self.key_norms.len() >= rows,
            "too few key norms"
        );
        assert!(
            self.centre_rows.len() == padded_centres && self.centre_cols.len() == padded_centres,
            "too few centre positions"
        );
    }
}

impl Assign<'_> {
    pub(super) fn check(&self, out: usize) {
        let padded = self.shift.len();
        assert!(
            padded > 0 && padded.is_multiple_of(LANES) && padded <= 65_536,
            "centres are not in panels"
        );
        assert!(
            self.centres.len() == padded * self.inputs,
            "centres do not fill their panels"
        );
        assert!(out == self.rows, "one assignment per row");
        assert!(
            self.rows == 0 || (self.rows - 1) * self.x_stride + self.inputs <= self.x.len(),
            "too few inputs"
        );
        if let Some(l) = &self.locality {
            l.check(self.rows, padded);
        }
    }
}

/// How far away in cells, in each direction, a centre may lie and still win: cosines differ by at most 2 and the own cell is always
/// 1/8 away, so that d² > 1/8 + 2 / lambda loses. The last factor covers rounding.
pub(crate) fn reach(lambda: f32) -> f32 {
    libm::sqrtf((0.125 + 2.0 / lambda) * 1.001)
}

/// First and one past the last cell within `reach` of a position, among `cells`.
pub(crate) fn window(position: f32, reach: f32, cells: usize) -> (usize, usize) {
    // The casts saturate: negative numbers become 0.
    let first = (position - reach - 0.5) as usize;
    let last = (position + reach - 0.5) as usize;
    (first.min(cells), last.saturating_add(1).min(cells))
}
