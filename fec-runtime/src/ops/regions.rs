//! Folds: a map cut into regions that cluster on their own.

use core::ops::Range;

use crate::image::MapSize;

/// The regions of a map, numbered row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regions {
    map: MapSize,
    folds: usize,
}

impl Regions {
    /// `folds` regions per side; both sides of the map are multiples of it ([`crate::Config::check_size`]).
    pub(crate) fn new(map: MapSize, folds: usize) -> Self {
        Self {
            map,
            folds: folds.max(1),
        }
    }

    /// Number of regions.
    pub(crate) fn count(&self) -> usize {
        self.folds * self.folds
    }

    /// Rows and columns of one region.
    pub(crate) fn size(&self) -> MapSize {
        MapSize {
            rows: self.map.rows / self.folds,
            cols: self.map.cols / self.folds,
        }
    }

    /// All of them, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Region> {
        (0..self.count()).map(move |index| Region {
            regions: self,
            index,
        })
    }
}

/// One region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    regions: Regions,
    /// Its number.
    pub(crate) index: usize,
}

impl Region {
    /// Number of all regions.
    pub(crate) fn count(&self) -> usize {
        self.regions.count()
    }

    /// Its rows and columns.
    pub(crate) fn size(&self) -> MapSize {
        self.regions.size()
    }

    /// Its elements N.
    pub(crate) fn elements(&self) -> usize {
        self.size().elements()
    }

    /// The element of the map at a row and column of the region.
    pub(crate) fn element(&self, row: usize, col: usize) -> usize {
        let Regions { map, folds } = self.regions;
        let size = self.size();
        let (top, left) = (
            self.index / folds * size.rows,
            self.index % folds * size.cols,
        );
        (top + row) * map.cols + left + col
    }

    /// Its runs of neighbouring elements, at most `longest` long: where each begins within the region, and which elements of the
    /// map it is.
    pub(crate) fn runs(self, longest: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let size = self.size();
        // A region as wide as the map is one run; otherwise each of its rows is one.
        let (rows, cols) = if self.regions.folds == 1 {
            (1, size.elements())
        } else {
            (size.rows, size.cols)
        };
        (0..rows).flat_map(move |row| {
            (0..cols).step_by(longest.max(1)).map(move |col| {
                let start = self.element(row, col);
                (row * cols + col, start..start + longest.min(cols - col))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_visit_every_element_once_and_in_order_within_the_region() {
        for (rows, cols, folds) in [(8, 12, 1), (8, 12, 2), (6, 6, 3)] {
            let regions = Regions::new(MapSize { rows, cols }, folds);
            let mut seen = [0u8; 96];
            for region in regions.iter() {
                let mut next = 0;
                for (local, run) in region.runs(5) {
                    assert_eq!(local, next);
                    next += run.len();
                    run.for_each(|n| seen[n] += 1);
                }
                assert_eq!(next, regions.size().elements());
            }
            assert!(seen[..rows * cols].iter().all(|&n| n == 1));
        }
    }
}
