//! Which centres a locality leaves in the race, and where rows lie on the centres' grid.

use core::ops::Range;

use super::{Locality, reach, window};
use crate::format::LANES;

/// Calls `visit` with those of `panels` panels that hold a centre which may win for one of the rows, in ascending order, each at
/// most once.
pub(in crate::kernels) fn for_each_panels(
    panels: usize,
    locality: Option<&Locality<'_>>,
    first: usize,
    rows: usize,
    mut visit: impl FnMut(Range<usize>),
) {
    let Some(l) = locality else {
        return visit(0..panels);
    };
    let reach = reach(l.lambda);
    let (top, left, bottom, right) = extent(l, first, rows);
    let grid_rows = (panels * LANES).div_ceil(l.cols);
    let (row_start, row_end) = (
        window(top, reach, grid_rows).0,
        window(bottom, reach, grid_rows).1,
    );
    let (col_start, col_end) = (
        window(left, reach, l.cols).0,
        window(right, reach, l.cols).1,
    );
    let mut next = 0;
    for row in row_start..row_end {
        let start = ((row * l.cols + col_start) / LANES).max(next).min(panels);
        let end = (row * l.cols + col_end).div_ceil(LANES).min(panels);
        visit(start..end);
        next = next.max(end);
    }
}

/// Position of element `n` of the region in units of a centre's cell.
pub(in crate::kernels) fn position(l: &Locality<'_>, n: usize) -> (f32, f32) {
    let cols = 2 * l.cols;
    (
        ((n / cols) as f32 + 0.5) * 0.5,
        ((n % cols) as f32 + 0.5) * 0.5,
    )
}

/// Top, left, bottom and right of the rows' positions.
fn extent(l: &Locality<'_>, first: usize, rows: usize) -> (f32, f32, f32, f32) {
    let (top, left) = position(l, l.first + first);
    let (mut bottom, mut start, mut end) = (top, left, left);
    for n in first..first + rows {
        let (y, x) = position(l, l.first + n);
        bottom = y;
        start = if x < start { x } else { start };
        end = if x > end { x } else { end };
    }
    (top, start, bottom, end)
}
