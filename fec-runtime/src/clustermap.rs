//! Cluster maps (Eq. 8, SPEC 7): the pools' assignments linked over the levels.
//!
//! Level L (1 to 3) has as many clusters as the map after L pools has elements, many of them empty; a cluster's number is that
//! element's, row by row.

use crate::image::MapSize;

/// Element of the next map (sides halved) that an element of `map` was assigned to. `assignments` are a pool's, [regions, N], with
/// `folds` regions per side.
pub fn next_element(
    assignments: &[u16],
    map: MapSize,
    folds: usize,
    element: usize,
) -> Option<usize> {
    let folds = folds.max(1);
    let (rows, cols) = (map.rows / folds, map.cols / folds);
    let (row, col) = (
        element.checked_div(map.cols)?,
        element.checked_rem(map.cols)?,
    );
    let (region_row, region_col) = (row.checked_div(rows)?, col.checked_div(cols)?);
    let local = (row % rows) * cols + col % cols;
    let assigned =
        usize::from(*assignments.get((region_row * folds + region_col) * rows * cols + local)?);
    let half = cols / 2;
    let (cell_row, cell_col) = (assigned.checked_div(half)?, assigned.checked_rem(half)?);
    Some((region_row * (rows / 2) + cell_row) * (map.cols / 2) + region_col * half + cell_col)
}

/// Replaces each element's number in `links` (elements of `map`) by the element of the next map it was assigned to: applied once per
/// level to 0, 1, 2, ..., this is Eq. 8.
pub fn link(links: &mut [u16], assignments: &[u16], map: MapSize, folds: usize) {
    for link in links {
        let next = next_element(assignments, map, folds, usize::from(*link)).unwrap_or(0);
        *link = u16::try_from(next).unwrap_or(u16::MAX);
    }
}
