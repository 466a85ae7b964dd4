//! Which elements and centres of a map belong together: folds cut a map into regions (SPEC 1), each with its own centres, and
//! every centre begins as the mean of a window of elements (SPEC 4.1).

use fec_runtime::MapSize;

/// The regions of a map and the windows of their centres. Centres are numbered region by region, row by row inside each.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    /// Regions, folds squared.
    pub(crate) regions: usize,
    /// Centres M of one region.
    pub(crate) centres: usize,
    /// The region of each element [N].
    pub(crate) region: Vec<usize>,
    /// The elements in the window of each centre [regions * M].
    pub(crate) windows: Vec<Vec<usize>>,
    /// The elements region by region, row by row inside each [N]: `order[i]` is the i-th element so numbered.
    pub(crate) order: Vec<usize>,
}

impl Grid {
    /// `folds` x `folds` regions of a map, each with `centres` rows and columns of centres.
    pub(crate) fn new(map: MapSize, folds: usize, centres: MapSize) -> Self {
        let rows = map.rows / folds;
        let cols = map.cols / folds;
        let element = |fold: usize, row: usize, col: usize| {
            (fold / folds * rows + row) * map.cols + fold % folds * cols + col
        };
        let mut grid = Self {
            regions: folds * folds,
            centres: centres.rows * centres.cols,
            region: vec![0; map.rows * map.cols],
            windows: Vec::new(),
            order: Vec::new(),
        };
        for fold in 0..grid.regions {
            for row in 0..rows {
                for col in 0..cols {
                    grid.region[element(fold, row, col)] = fold;
                    grid.order.push(element(fold, row, col));
                }
            }
            for i in 0..centres.rows {
                for j in 0..centres.cols {
                    let columns = window(j, centres.cols, cols);
                    let pairs = window(i, centres.rows, rows)
                        .flat_map(|row| columns.clone().map(move |col| (row, col)));
                    grid.windows
                        .push(pairs.map(|(row, col)| element(fold, row, col)).collect());
                }
            }
        }
        grid
    }

    /// From one centre per element and head, [N, heads] with centres numbered over the whole map, to SPEC's and golden's order:
    /// [heads, regions, elements of a region] with centres numbered inside their region.
    pub(crate) fn by_region(&self, assign: &[u16], heads: usize) -> Vec<u16> {
        let of_head = |head: usize| {
            self.order.iter().map(move |&n| {
                let centre = usize::from(assign[n * heads + head]);
                (centre - self.region[n] * self.centres) as u16
            })
        };
        (0..heads).flat_map(of_head).collect()
    }

    /// The other way round.
    pub(crate) fn by_element(&self, assign: &[u16], heads: usize) -> Vec<u16> {
        let count = self.order.len();
        let mut found = vec![0; count * heads];
        for head in 0..heads {
            for (&n, centre) in self.order.iter().zip(&assign[head * count..]) {
                found[n * heads + head] = centre + (self.region[n] * self.centres) as u16;
            }
        }
        found
    }
}

/// How far an element's row (or column) is from that of a pool's centre, in units of a centre's cell (SPEC 3.6).
#[inline(always)]
pub(crate) fn away(element: usize, centre: usize) -> f32 {
    (element as f32 + 0.5) / 2.0 - (centre as f32 + 0.5)
}

/// Window i of p over n: floor(i n / p) .. ceil((i + 1) n / p).
fn window(i: usize, p: usize, n: usize) -> core::ops::Range<usize> {
    i * n / p..((i + 1) * n).div_ceil(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_where_centres_do_not_divide_a_side() {
        assert_eq!(
            [0, 1].map(|i| window(i, 2, 7)),
            [0..4, 3..7],
            "SPEC 4.1's example"
        );
    }

    #[test]
    fn folds_cut_a_map_into_quarters() {
        let map = MapSize { rows: 4, cols: 4 };
        let grid = Grid::new(map, 2, MapSize { rows: 1, cols: 1 });
        assert_eq!(grid.windows[1], [2, 3, 6, 7]);
        assert_eq!(grid.region[9], 2);
        assert_eq!(grid.order[4..8], [2, 3, 6, 7]);
        let assign: Vec<u16> = grid.region.iter().map(|&region| region as u16).collect();
        assert_eq!(grid.by_region(&assign, 1), [0; 16]);
        assert_eq!(grid.by_element(&[0; 16], 1), assign);
    }
}
