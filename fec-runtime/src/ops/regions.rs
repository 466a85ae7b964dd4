//! Folds: a map cut into regions that cluster on their own.

use core::ops::Range;

use super::TILE;
use crate::image::MapSize;

/// The regions of a map, numbered row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regions {
    map: MapSize,
    folds: usize,
    /// Most elements of a tile.
    tile: usize,
}

impl Regions {
    /// `folds` regions per side; both sides of the map are multiples of it ([`crate::Config::check_size`]).
    pub(crate) fn new(map: MapSize, folds: usize) -> Self {
        Self {
            map,
            folds: folds.max(1),
            tile: TILE,
        }
    }

    /// The same with tiles of up to so many elements.
    pub(crate) fn with_tile(self, tile: usize) -> Self {
        Self { tile, ..self }
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
        let Regions { map, folds, .. } = self.regions;
        let size = self.size();
        let (top, left) = (
            self.index / folds * size.rows,
            self.index % folds * size.cols,
        );
        (top + row) * map.cols + left + col
    }

    /// Whether it is the whole map.
    pub(crate) fn is_whole(&self) -> bool {
        self.regions.folds == 1
    }

    /// Elements of its tiles, the last one perhaps being shorter: each tile is one run of neighbouring elements of the map.
    pub(crate) fn tile(&self) -> usize {
        let size = self.size();
        if self.is_whole() {
            return self.regions.tile.min(size.elements());
        }
        // Parts of its rows; all tiles have the same length.
        let fits = |n: &usize| size.cols.is_multiple_of(*n);
        (1..=self.regions.tile.min(size.cols))
            .rev()
            .find(fits)
            .unwrap_or(1)
    }

    /// Number of its tiles.
    pub(crate) fn tiles(&self) -> usize {
        self.elements().div_ceil(self.tile())
    }

    /// Elements of the map in its tile `i`, which begins at element `i * tile()` of the region.
    pub(crate) fn run(&self, i: usize) -> Range<usize> {
        let (local, cols) = (i * self.tile(), self.size().cols);
        let start = self.element(local / cols, local % cols);
        start..start + self.tile().min(self.elements() - local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_visit_every_element_once_and_in_order_within_the_region() {
        for (rows, cols, folds) in [(8, 12, 1), (8, 12, 2), (6, 6, 3), (10, 74, 2)] {
            let map = MapSize { rows, cols };
            let mut seen = [0u8; 740];
            for region in Regions::new(map, folds).iter() {
                let mut next = 0;
                for run in (0..region.tiles()).map(|i| region.run(i)) {
                    let (row, col) = (next / region.size().cols, next % region.size().cols);
                    assert_eq!(run.start, region.element(row, col));
                    next += run.len();
                    run.for_each(|n| seen[n] += 1);
                }
                assert_eq!(next, region.elements());
            }
            assert!(seen[..rows * cols].iter().all(|&n| n == 1));
        }
    }
}
