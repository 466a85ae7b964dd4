//! Label maps: which cluster each cell or pixel belongs to, and what can be said of the regions.

use std::io::Cursor;
use std::path::Path;

use ::image::{ImageBuffer, ImageFormat, Luma};

use crate::error::Error;
use crate::image::Photo;
use crate::output::write_atomically;

/// A label for every cell or pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width` labels.
    pub labels: Vec<u16>,
}

/// What is known of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The label.
    pub label: u16,
    /// Pixels.
    pub area: usize,
    /// Share of the map, 0 to 1.
    pub share: f32,
    /// The smallest box around it: left, top, right, bottom, the latter two exclusive.
    pub bounds: [usize; 4],
    /// Mean of the photo's 8-bit values under it.
    pub mean_colour: [u8; 3],
}

/// Two labels that touch, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbours {
    /// The lower label.
    pub a: u16,
    /// The higher label.
    pub b: u16,
    /// Pixel edges between them.
    pub edges: usize,
}

impl LabelMap {
    /// A map of labels that are there already; an error if their number does not fit.
    pub fn new(height: usize, width: usize, labels: Vec<u16>) -> Result<LabelMap, Error> {
        let expected = height.saturating_mul(width);
        if labels.len() != expected {
            return Err(Error::Shape {
                what: "labels of a map",
                expected,
                found: labels.len(),
            });
        }
        Ok(LabelMap {
            height,
            width,
            labels,
        })
    }

    /// The pixels' labels from those of square cells of `cell` pixels, `columns` in a row (SPEC 7: patches of 4 x 4).
    pub fn from_cells(cells: &[u16], columns: usize, cell: usize) -> Result<LabelMap, Error> {
        if columns == 0 || !cells.len().is_multiple_of(columns) {
            return Err(Error::Shape {
                what: "cells of a label map",
                expected: cells.len().next_multiple_of(columns.max(1)),
                found: cells.len(),
            });
        }
        let row = |row: &[u16]| -> Vec<u16> {
            row.iter()
                .flat_map(|&label| core::iter::repeat_n(label, cell))
                .collect()
        };
        let labels = cells
            .chunks_exact(columns)
            .flat_map(|r| core::iter::repeat_n(row(r), cell).flatten())
            .collect();
        LabelMap::new(cells.len() / columns * cell, columns * cell, labels)
    }

    /// The label in column `x` and row `y`, 0 outside.
    pub fn at(&self, x: usize, y: usize) -> u16 {
        if x >= self.width {
            return 0;
        }
        self.labels.get(y * self.width + x).copied().unwrap_or(0)
    }

    /// The labels that occur, in ascending order.
    pub fn distinct(&self) -> Vec<u16> {
        let mut seen = vec![false; usize::from(u16::MAX) + 1];
        for &label in &self.labels {
            seen[usize::from(label)] = true;
        }
        (0..=u16::MAX).filter(|&l| seen[usize::from(l)]).collect()
    }

    /// Labels numbered from 0 without gaps, in ascending order of the old ones, and the old ones by new number.
    pub fn compact(&self) -> (LabelMap, Vec<u16>) {
        let old = self.distinct();
        let mut number = vec![0u16; usize::from(u16::MAX) + 1];
        for (new, &label) in (0u16..).zip(&old) {
            number[usize::from(label)] = new;
        }
        let map = self.map(|label| number[usize::from(label)]);
        (map, old)
    }

    /// Every label replaced, e.g. a cluster by its group of k.
    pub fn map(&self, change: impl Fn(u16) -> u16) -> LabelMap {
        LabelMap {
            height: self.height,
            width: self.width,
            labels: self.labels.iter().map(|&l| change(l)).collect(),
        }
    }

    /// The map at another size: each new pixel takes the label under its centre.
    pub fn scaled(&self, height: usize, width: usize) -> LabelMap {
        // The centre (2i + 1) / 2n of the new side lies in cell floor((2i + 1) m / 2n) of the old one.
        let source = |i: usize, new: usize, old: usize| (2 * i + 1) * old / (2 * new);
        let columns: Vec<usize> = (0..width).map(|x| source(x, width, self.width)).collect();
        let labels = (0..height)
            .flat_map(|y| {
                let y = source(y, height, self.height);
                columns.iter().map(move |&x| self.at(x, y))
            })
            .collect();
        LabelMap {
            height,
            width,
            labels,
        }
    }

    /// Each pixel takes the label that is most frequent within `radius` pixels in both directions: the median filter of the paper, for labels
    /// whose order means nothing. Where several are equally frequent the present label stays if it is one of them, else the lowest wins.
    pub fn majority_filtered(&self, radius: usize) -> LabelMap {
        if radius == 0 || self.labels.is_empty() {
            return self.clone();
        }
        let (compact, old) = self.compact();
        let mut counts = vec![0u32; old.len()];
        let mut out = Vec::with_capacity(self.labels.len());
        for y in 0..self.height {
            let rows = y.saturating_sub(radius)..(y + radius + 1).min(self.height);
            let column = |x: usize| {
                rows.clone()
                    .map(move |y| (y * self.width) + x)
                    .filter_map(|at| compact.labels.get(at))
            };
            // The window slides along the row: one column enters, one leaves.
            counts.fill(0);
            for x in 0..radius.min(self.width) {
                column(x).for_each(|&l| counts[usize::from(l)] += 1);
            }
            for x in 0..self.width {
                if x + radius < self.width {
                    column(x + radius).for_each(|&l| counts[usize::from(l)] += 1);
                }
                if x > radius {
                    column(x - radius - 1).for_each(|&l| counts[usize::from(l)] -= 1);
                }
                let most = counts.iter().max().copied().unwrap_or(0);
                let present = usize::from(compact.at(x, y));
                let winner = if counts[present] == most {
                    present
                } else {
                    counts.iter().position(|&c| c == most).unwrap_or(present)
                };
                out.push(old[winner]);
            }
        }
        LabelMap {
            height: self.height,
            width: self.width,
            labels: out,
        }
    }

    /// Connected pieces of fewer than `cells` cells take the label they share the longest boundary with, for pictures that are easy to look
    /// at; the lowest label wins ties. Done once, from the pieces as they are, so two specks side by side may swap.
    pub fn without_specks(&self, cells: usize) -> LabelMap {
        let mut out = self.clone();
        let mut seen = vec![false; self.labels.len()];
        let mut piece: Vec<usize> = Vec::new();
        for start in 0..self.labels.len() {
            if core::mem::replace(&mut seen[start], true) {
                continue;
            }
            let label = self.labels[start];
            piece.clear();
            piece.push(start);
            let mut around: Vec<u16> = Vec::new();
            let mut next = 0;
            while let Some(&at) = piece.get(next) {
                next += 1;
                for other in self.beside(at) {
                    if self.labels[other] != label {
                        around.push(self.labels[other]);
                    } else if !core::mem::replace(&mut seen[other], true) {
                        piece.push(other);
                    }
                }
            }
            if piece.len() < cells {
                around.sort_unstable();
                let longest = around
                    .chunk_by(|a, b| a == b)
                    .max_by_key(|same| (same.len(), core::cmp::Reverse(same[0])));
                if let Some(same) = longest {
                    piece.iter().for_each(|&at| out.labels[at] = same[0]);
                }
            }
        }
        out
    }

    /// The cells left, right, above and below, as far as they are there.
    fn beside(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let x = at % self.width;
        [
            (x > 0).then(|| at - 1),
            (x + 1 < self.width).then_some(at + 1),
            at.checked_sub(self.width),
            (at + self.width < self.labels.len()).then_some(at + self.width),
        ]
        .into_iter()
        .flatten()
    }

    /// The regions, in ascending order of their labels; colours from a photo of any size, sampled at the map's pixel centres.
    pub fn regions(&self, photo: &Photo) -> Vec<Region> {
        let distinct = self.distinct();
        let mut number = vec![0usize; usize::from(u16::MAX) + 1];
        for (i, &label) in distinct.iter().enumerate() {
            number[usize::from(label)] = i;
        }
        let mut area = vec![0usize; distinct.len()];
        let mut bounds = vec![[usize::MAX, usize::MAX, 0, 0]; distinct.len()];
        for (at, &label) in self.labels.iter().enumerate() {
            let (x, y) = (at % self.width, at / self.width);
            let i = number[usize::from(label)];
            area[i] += 1;
            let [left, top, right, bottom] = bounds[i];
            bounds[i] = [left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)];
        }
        let sums = self.colour_sums(photo, &number, distinct.len());
        let regions = distinct.iter().zip(&area).zip(bounds).zip(sums);
        regions
            .map(|(((&label, &area), bounds), [r, g, b, n])| {
                let mean = |sum: u64| ((sum + n / 2) / n.max(1)) as u8;
                Region {
                    label,
                    area,
                    share: area as f32 / self.labels.len() as f32,
                    bounds,
                    mean_colour: [mean(r), mean(g), mean(b)],
                }
            })
            .collect()
    }

    /// Per region the sum of red, green and blue over the photo's pixels, and their number.
    fn colour_sums(&self, photo: &Photo, number: &[usize], regions: usize) -> Vec<[u64; 4]> {
        let mut sums = vec![[0u64; 4]; regions];
        if photo.width == 0 || self.labels.is_empty() {
            return sums;
        }
        let cells = |n: usize, old: usize| -> Vec<usize> {
            (0..n).map(|i| (2 * i + 1) * old / (2 * n)).collect()
        };
        let columns = cells(photo.width, self.width);
        let rows = cells(photo.height, self.height);
        let mut add = |label: u16, pixel: &[u8]| {
            let sum = &mut sums[number[usize::from(label)]];
            for (s, &v) in sum.iter_mut().zip(pixel) {
                *s += u64::from(v);
            }
            sum[3] += 1;
        };
        for (row, &y) in photo.pixels.chunks_exact(photo.width * 3).zip(&rows) {
            for (pixel, &x) in row.chunks_exact(3).zip(&columns) {
                add(self.at(x, y), pixel);
            }
        }
        // A region between all of a small photo's pixel centres takes the colour under its own first cell.
        for (at, &label) in self.labels.iter().enumerate() {
            if sums[number[usize::from(label)]][3] == 0 {
                let x = (at % self.width) * photo.width / self.width;
                let y = (at / self.width) * photo.height / self.height;
                let [r, g, b] = photo.pixel(x, y).map(u64::from);
                sums[number[usize::from(label)]] = [r, g, b, 1];
            }
        }
        sums
    }

    /// Which labels touch (left, right, above, below), in ascending order.
    pub fn neighbours(&self) -> Vec<Neighbours> {
        let mut pairs: Vec<(u16, u16)> = Vec::new();
        let mut touch = |a: u16, b: u16| {
            if a != b {
                pairs.push((a.min(b), a.max(b)));
            }
        };
        for (y, row) in self.labels.chunks(self.width.max(1)).enumerate() {
            row.windows(2).for_each(|w| touch(w[0], w[1]));
            for (x, &label) in row.iter().enumerate() {
                if y + 1 < self.height {
                    touch(label, self.at(x, y + 1));
                }
            }
        }
        pairs.sort_unstable();
        pairs
            .chunk_by(|p, q| p == q)
            .map(|same| Neighbours {
                a: same[0].0,
                b: same[0].1,
                edges: same.len(),
            })
            .collect()
    }

    /// The map as a 16-bit grey PNG.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let shape = || Error::Shape {
            what: "labels of a map",
            expected: self.height.saturating_mul(self.width),
            found: self.labels.len(),
        };
        let width = u32::try_from(self.width).map_err(|_| shape())?;
        let height = u32::try_from(self.height).map_err(|_| shape())?;
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(width, height, self.labels.clone())
            .ok_or_else(shape)?;
        let mut bytes = Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, ImageFormat::Png)
            .map_err(|e| Error::Encode {
                what: "a PNG",
                reason: e.to_string(),
            })?;
        Ok(bytes.into_inner())
    }

    /// Writes the map as a 16-bit grey PNG; nothing half-written is left behind.
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_atomically(path, &self.to_png()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: usize, labels: &[u16]) -> LabelMap {
        LabelMap::new(labels.len() / width, width, labels.to_vec()).unwrap()
    }

    #[test]
    fn cells_are_repeated_over_their_pixels() {
        let got = LabelMap::from_cells(&[1, 2, 3, 4], 2, 2).unwrap();
        assert_eq!(
            got,
            map(4, &[1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])
        );
        assert!(LabelMap::from_cells(&[1, 2, 3], 2, 4).is_err());
        assert!(LabelMap::from_cells(&[1, 2, 3], 0, 4).is_err());
    }

    #[test]
    fn compact_numbers_in_the_order_of_the_old_labels() {
        let (got, old) = map(2, &[900, 7, 65_535, 7]).compact();
        assert_eq!((got, old), (map(2, &[1, 0, 2, 0]), vec![7, 900, 65_535]));
    }

    #[test]
    fn compact_level_3_is_the_golden_map_of_non_empty_clusters() {
        for name in ["d_nano_64", "k_nano_noise_64"] {
            let path = format!(
                "{}/tests/fixtures/clustermap/{name}.clustermap.safetensors",
                env!("CARGO_MANIFEST_DIR")
            );
            let bytes = std::fs::read(path).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let read = |name: &str| {
                let view = tensors.tensor(name).unwrap();
                let pairs = view.data().chunks_exact(2);
                map(
                    view.shape()[1],
                    &pairs
                        .map(|b| u16::from_le_bytes([b[0], b[1]]))
                        .collect::<Vec<_>>(),
                )
            };
            assert_eq!(read("level_3").compact().0, read("k_none"));
        }
    }

    #[test]
    fn scaling_takes_the_label_under_the_pixel_centre() {
        let source = map(2, &[1, 2]);
        assert_eq!(source.scaled(1, 4), map(4, &[1, 1, 2, 2]));
        // The middle pixel's centre lies on the border: the right cell begins there.
        assert_eq!(source.scaled(1, 3), map(3, &[1, 2, 2]));
        assert_eq!(source.scaled(1, 1), map(1, &[2]));
        assert_eq!(map(4, &[1, 1, 2, 2]).scaled(1, 2), source);
    }

    #[test]
    fn the_majority_wins_and_ties_keep_what_is_there() {
        let speck = map(3, &[5, 5, 5, 5, 9, 5, 5, 5, 5]);
        assert_eq!(speck.majority_filtered(1), map(3, &[5; 9]));
        let halves = map(4, &[1, 1, 2, 2]);
        assert_eq!(halves.majority_filtered(1), halves);
        assert_eq!(halves.majority_filtered(9), halves);
        assert_eq!(map(3, &[3, 4, 5]).majority_filtered(1), map(3, &[3, 4, 5]));
        assert_eq!(
            map(3, &[3, 3, 5, 3, 3, 5]).majority_filtered(2),
            map(3, &[3; 6])
        );
    }

    #[test]
    fn specks_join_the_region_around_them_and_larger_pieces_stay() {
        let got = map(4, &[1, 1, 1, 2, 1, 9, 1, 2, 1, 1, 9, 9]).without_specks(2);
        assert_eq!(got, map(4, &[1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 9, 9]));
        assert_eq!(map(1, &[5]).without_specks(9), map(1, &[5]));
    }

    #[test]
    fn regions_tell_area_box_and_mean_colour() {
        let pixels = vec![10, 0, 0, 20, 0, 0, 0, 0, 200, 0, 0, 100];
        let photo = Photo::new(2, 2, pixels).unwrap();
        let regions = map(2, &[4, 4, 6, 6]).regions(&photo);
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[0].mean_colour, [15, 0, 0]);
        assert_eq!(
            (regions[1].label, regions[1].area, regions[1].share),
            (6, 2, 0.5)
        );
        assert_eq!(regions[1].bounds, [0, 1, 2, 2]);
        assert_eq!(regions[1].mean_colour, [0, 0, 150]);
        // A photo smaller than the map still gives every region a colour.
        let dot = Photo::new(1, 1, vec![1, 2, 3]).unwrap();
        let regions = map(2, &[4, 4, 6, 6]).regions(&dot);
        assert!(regions.iter().all(|r| r.mean_colour == [1, 2, 3]));
    }

    #[test]
    fn neighbours_are_counted_by_edges() {
        let got = map(3, &[1, 2, 2, 1, 1, 3]).neighbours();
        let pair = |a, b, edges| Neighbours { a, b, edges };
        assert_eq!(got, [pair(1, 2, 2), pair(1, 3, 1), pair(2, 3, 1)]);
    }

    #[test]
    fn the_png_holds_the_labels_in_16_bits() {
        let labels = map(2, &[0, 300, 65_535, 7]);
        let read = ::image::load_from_memory(&labels.to_png().unwrap()).unwrap();
        assert_eq!(read.as_luma16().unwrap().as_raw(), &labels.labels);
    }
}
