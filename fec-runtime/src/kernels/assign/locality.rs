//! Which centres a locality leaves in the race, and where rows lie on the centres' grid.

use core::ops::Range;

use super::{Locality, reach, window};
use crate::format::LANES;

/// Runs of panels that hold a centre which may win for one of some rows, in ascending order, each panel at most once.
#[derive(Clone, Debug)]
pub(in crate::kernels) struct Window {
    panels: usize,
    /// Centres of a row of the grid.
    cols: usize,
    /// The rows of the grid that are left, and the columns of each.
    rows: Range<usize>,
    columns: Range<usize>,
    /// The first panel that was not given.
    next: usize,
}

impl Window {
    /// The window of `rows` rows from `first` on among `panels` panels; all of them without a locality.
    pub(in crate::kernels) fn new(
        panels: usize,
        locality: Option<&Locality<'_>>,
        first: usize,
        rows: usize,
    ) -> Self {
        let centres = panels * LANES;
        let Some(l) = locality else {
            return Self {
                panels,
                cols: centres,
                rows: 0..1,
                columns: 0..centres,
                next: 0,
            };
        };
        let reach = reach(l.lambda);
        let (top, left, bottom, right) = extent(l, first, rows);
        let grid_rows = centres.div_ceil(l.cols);
        Self {
            panels,
            cols: l.cols,
            rows: window(top, reach, grid_rows).0..window(bottom, reach, grid_rows).1,
            columns: window(left, reach, l.cols).0..window(right, reach, l.cols).1,
            next: 0,
        }
    }
}

impl Iterator for Window {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.rows.next()? * self.cols;
        let first = (start + self.columns.start) / LANES;
        let end = (start + self.columns.end).div_ceil(LANES).min(self.panels);
        let run = first.max(self.next).min(self.panels)..end;
        self.next = self.next.max(end);
        Some(run)
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
