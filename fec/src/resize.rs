//! Resizing as PIL does it, byte for byte: two passes with weights rounded to 22 fractional bits, every pass rounded to 8 bits.
//!
//! The photo's rows come one by one, as a decoder has them, and no more of them are kept than one output row needs. A photo that the
//! camera held on its side is resized as it lies, with the passes changed over, and the small result is turned.

use core::ops::Range;

use fec_runtime::format::Interpolation;

use crate::filter::{Taps, Weights, clip8};
use crate::image::Photo;

/// The photo at another size, every pixel of it, as PIL's `Image.resize` makes it.
pub fn resize(photo: &Photo, height: usize, width: usize, interpolation: Interpolation) -> Photo {
    let mut out = Photo::default();
    let whole = |len| Axis {
        len,
        part: Part {
            from: 0,
            to: len,
            offset: 0,
        },
        pad: len,
    };
    Resizer::default().resize_part(photo, whole(height), whole(width), interpolation, &mut out);
    out
}

/// One side of a resize: its scaled length, the part that is wanted and the length of the output, black beyond the part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) len: usize,
    pub(crate) part: Part,
    pub(crate) pad: usize,
}

/// Scaled pixels `from..to`, which come to lie at `offset` in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) offset: usize,
}

/// How the photo that is meant lies in the rows that come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its rows are the columns that come.
    pub(crate) transposed: bool,
    /// What comes is read from right to left.
    pub(crate) mirrored_columns: bool,
    /// What comes is read from the bottom.
    pub(crate) mirrored_rows: bool,
}

/// Rows and columns that a resize needs of what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// Buffers of the two passes.
#[derive(Debug, Default)]
pub struct Resizer {
    /// Weights over the rows that come, and over their columns.
    rows: Weights,
    columns: Weights,
    /// Output rows in the order in which their last source row comes, and how many are done.
    order: Vec<usize>,
    done: usize,
    rows_first: bool,
    /// The last rows of the first pass, or of the photo: row y at y modulo `kept`.
    window: Vec<u8>,
    kept: usize,
    row_len: usize,
    /// A row of the one pass on its way to the other.
    mixed: Vec<u8>,
    /// After both passes, as the photo lies; the colours of a row one after the other, as in all rows here.
    scaled: Vec<u8>,
}

impl Resizer {
    /// The photo's part at another size.
    pub(crate) fn resize_part(
        &mut self,
        photo: &Photo,
        rows: Axis,
        columns: Axis,
        interpolation: Interpolation,
        out: &mut Photo,
    ) {
        let sound = photo.pixels.len() == photo.height * photo.width * 3;
        let size = if sound {
            (photo.width, photo.height)
        } else {
            (0, 0)
        };
        let wanted = self.begin(size, Turn::default(), rows, columns, interpolation);
        let mut apart = Vec::new();
        for y in wanted.rows {
            let start = y * photo.width;
            let row =
                &photo.pixels[(start + wanted.columns.start) * 3..(start + wanted.columns.end) * 3];
            apart.clear();
            for c in 0..3 {
                apart.extend(row.iter().skip(c).step_by(3));
            }
            self.push(y, &apart);
        }
        self.finish(Turn::default(), rows, columns, out);
    }

    /// Prepares for the rows of a photo of that width and height as it comes. `rows` and `columns` are those of the photo that is meant.
    pub(crate) fn begin(
        &mut self,
        (width, height): (usize, usize),
        turn: Turn,
        rows: Axis,
        columns: Axis,
        interpolation: Interpolation,
    ) -> Wanted {
        self.order.clear();
        self.scaled.clear();
        self.done = 0;
        if width == 0 || height == 0 {
            return Wanted {
                rows: 0..0,
                columns: 0..0,
            };
        }
        let meant = if turn.transposed {
            (height, width)
        } else {
            (width, height)
        };
        let (over_rows, over_columns) = if turn.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        self.rows
            .prepare(height, over_rows, interpolation, turn.mirrored_rows);
        self.columns
            .prepare(width, over_columns, interpolation, turn.mirrored_columns);
        self.rows_first = columns_come_first(meant, rows.len, columns.len) != turn.transposed;
        let taps = &self.rows.taps;
        self.order.extend(0..taps.len());
        self.order.sort_by_key(|&i| taps[i].end());
        self.kept = taps.iter().map(|t| t.len).max().unwrap_or(0);
        let wanted = Wanted {
            rows: self.rows.span(),
            columns: self.columns.span(),
        };
        self.row_len = 3 * if self.rows_first {
            wanted.columns.len()
        } else {
            self.columns.taps.len()
        };
        self.window.resize(self.kept * self.row_len, 0);
        self.scaled
            .resize(taps.len() * self.columns.taps.len() * 3, 0);
        wanted
    }

    /// The next row that is wanted, row `y`: red, then green, then blue of its wanted columns.
    pub(crate) fn push(&mut self, y: usize, row: &[u8]) {
        let slot = y % self.kept * self.row_len;
        let slot = &mut self.window[slot..slot + self.row_len];
        let left = self.columns.span().start;
        if self.rows_first {
            slot.copy_from_slice(row);
        } else {
            scale_row(row, left, &self.columns, slot);
        }
        while let Some(&i) = self
            .order
            .get(self.done)
            .filter(|&&i| self.rows.taps[i].end() == y + 1)
        {
            self.done += 1;
            let taps = self.rows.taps[i];
            let len = self.columns.taps.len() * 3;
            let target = &mut self.scaled[i * len..(i + 1) * len];
            if self.rows_first {
                self.mixed.resize(self.row_len, 0);
                mix_rows(
                    &self.window,
                    self.kept,
                    taps,
                    self.rows.of(&taps),
                    &mut self.mixed,
                );
                scale_row(&self.mixed, left, &self.columns, target);
            } else {
                mix_rows(&self.window, self.kept, taps, self.rows.of(&taps), target);
            }
        }
    }

    /// Writes the result, black where the photo does not reach.
    pub(crate) fn finish(&mut self, turn: Turn, rows: Axis, columns: Axis, out: &mut Photo) {
        (out.height, out.width) = (rows.pad, columns.pad);
        out.pixels.clear();
        out.pixels.resize(rows.pad * columns.pad * 3, 0);
        if self.scaled.is_empty() {
            return;
        }
        let (height, width) = (
            rows.part.to - rows.part.from,
            columns.part.to - columns.part.from,
        );
        let (pixels, _) = out.pixels.as_chunks_mut::<3>();
        let row_len = self.columns.taps.len();
        for y in 0..height {
            let start = (rows.part.offset + y) * columns.pad + columns.part.offset;
            for (x, pixel) in pixels[start..start + width].iter_mut().enumerate() {
                let (x, y) = if turn.transposed { (y, x) } else { (x, y) };
                *pixel = core::array::from_fn(|c| self.scaled[(3 * y + c) * row_len + x]);
            }
        }
    }
}

/// Whether the vertical pass comes first: Pillow 13 does that where the height shrinks by more than twice what the width shrinks (read off
/// its results on 3,000 shapes without an exception); older versions never do. It matters for the last bit, since each pass rounds.
fn columns_come_first(from: (usize, usize), height: usize, width: usize) -> bool {
    let shrinks = |from: usize, to: usize| from as i128 - to as i128;
    height < from.1 && shrinks(from.1, height) > 2 * shrinks(from.0, width)
}

/// A row at the new width; taps count columns from `left`.
fn scale_row(row: &[u8], left: usize, weights: &Weights, out: &mut [u8]) {
    let colours = row.chunks_exact((row.len() / 3).max(1));
    let targets = out.chunks_exact_mut(weights.taps.len().max(1));
    for (colour, target) in colours.zip(targets) {
        for (taps, to) in weights.taps.iter().zip(target) {
            let values = &colour[taps.from - left..taps.end() - left];
            *to = weighted(values, weights.of(taps));
        }
    }
}

/// The weighted sum of values, as a pixel.
#[inline(always)]
fn weighted(values: &[u8], weights: &[i32]) -> u8 {
    let products = values
        .iter()
        .zip(weights)
        .map(|(&value, &weight)| i32::from(value) * weight);
    clip8(products.sum())
}

/// One output row from those of the window.
fn mix_rows(window: &[u8], kept: usize, taps: Taps, weights: &[i32], out: &mut [u8]) {
    /// Values that are summed up at a time, in registers.
    const LANES: usize = 16;
    let row_len = out.len();
    let row = |y: usize| &window[y % kept * row_len..][..row_len];
    for (chunk, to) in out.chunks_mut(LANES).enumerate() {
        let mut sums = [0i32; LANES];
        for (y, &weight) in (taps.from..taps.end()).zip(weights) {
            let mut add = |values: &[u8]| {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += i32::from(value) * weight;
                }
            };
            let values = &row(y)[chunk * LANES..];
            match values.first_chunk::<LANES>() {
                Some(values) => add(values),
                None => add(values),
            }
        }
        for (to, &sum) in to.iter_mut().zip(&sums) {
            *to = clip8(sum);
        }
    }
}
