//! JPEG files as cameras write them (sequential, Huffman, grey or YCbCr), row by row, with the samples that libjpeg-turbo and so PIL
//! give, bit for bit. No row is kept longer than its neighbours need it, and what lies outside the wanted part is not transformed.
//!
//! Everything else (progressive files, CMYK, unusual sampling, damage) is left to the decoder of the `image` crate.

mod bits;
mod colour;
mod header;
mod idct;

use core::ops::Range;

use image::metadata::Orientation;

use bits::Bits;
use header::{Component, Header};

/// A file whose kind is known.
#[derive(Debug)]
pub(crate) struct Jpeg<'a> {
    header: Header<'a>,
}

/// Samples of one component, as many rows as two rows of MCUs have.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
    /// Rows in memory; row y lies at y modulo this.
    kept: usize,
    /// Rows and columns of the component that show something.
    rows: usize,
    columns: usize,
}

/// Place in the block of each coefficient in the file's order.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

impl<'a> Jpeg<'a> {
    /// The file's header; `None` for what is left to the other decoder.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = header::read(bytes)?;
        // libjpeg repeats chroma samples where there are fewer than three in a row, in place of mixing them.
        let narrow = header.components.first()?.blocks.0 == 2 && header.width <= 4;
        (!narrow).then_some(Self { header })
    }

    /// Its width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.header.width, self.header.height)
    }

    /// How the camera was held, if it noted that.
    pub(crate) fn turn(&self) -> Option<Orientation> {
        Orientation::from_exif_chunk(self.header.exif?)
    }

    /// Decodes, and hands out the wanted rows in their order: red, then green, then
    /// blue of the wanted columns. `None` where the data are damaged.
    pub(crate) fn rows(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        mut each: impl FnMut(usize, &[u8]),
    ) -> Option<()> {
        let header = &self.header;
        let luma = header.components.first()?;
        let (mcu_width, mcu_height) = (8 * luma.blocks.0, 8 * luma.blocks.1);
        let (across, down) = (
            header.width.div_ceil(mcu_width),
            header.height.div_ceil(mcu_height),
        );
        // A chroma sample of a neighbour counts as well.
        let needed =
            columns.start.saturating_sub(2) / mcu_width..(columns.end + 2).div_ceil(mcu_width);
        let mut planes: Vec<Plane> = header
            .components
            .iter()
            .map(|c| Plane::new(c, header, luma))
            .collect();
        let mut scan = Scan::new(header);
        let mut painter = Painter::new(columns, luma.blocks);
        let mut next = rows.start;
        for mcu_row in 0..down {
            let top = mcu_row * mcu_height;
            if top > rows.end {
                break;
            }
            let transformed = top + mcu_height + 2 > rows.start;
            for mcu in 0..across {
                let wanted = transformed && needed.contains(&mcu);
                scan.mcu(&mut planes, (mcu_row, mcu), wanted)?;
            }
            // The last row waits for the chroma samples below it.
            let ready = if mcu_row + 1 == down {
                header.height
            } else {
                top + mcu_height - (luma.blocks.1 - 1)
            };
            for y in next..ready.min(rows.end) {
                each(y, painter.row(&planes, y)?);
            }
            next = next.max(ready);
        }
        scan.bits.is_sound().then_some(())
    }
}

/// Whether a JPEG file reaches the end marker of its image. The decoder would fill a missing rest with grey, which must not pass for a
/// photo: PIL refuses such files as well. Walks marker by marker (ITU T.81, annex B), so thumbnails inside segments do not count.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    const START: u8 = 0xD8;
    const END: u8 = 0xD9;
    let mut at = 0;
    loop {
        let Some(rest) = bytes.get(at..) else {
            return false;
        };
        let Some(step) = marker(rest) else {
            return false;
        };
        at += step + 2;
        match rest.get(step + 1) {
            Some(&END) => return true,
            // Markers without a segment: start, restarts, TEM. Entropy-coded data after a scan's header is skipped by the search above.
            Some(&START | &(0xD0..=0xD7) | &0x01) => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

/// Where the next marker begins: 0xFF, any fill bytes 0xFF, then a byte that is neither 0 (a stuffed data byte) nor 0xFF.
fn marker(bytes: &[u8]) -> Option<usize> {
    /// Bytes that are looked at together: most have no 0xFF among them.
    const CHUNK: usize = 32;
    let mut at = 0;
    loop {
        let (chunks, _) = bytes.get(at..)?.as_chunks::<CHUNK>();
        let has_marker = |chunk: &[u8; CHUNK]| {
            chunk
                .iter()
                .fold(false, |found, &byte| found | (byte == 0xFF))
        };
        at += CHUNK * chunks.iter().position(has_marker).unwrap_or(chunks.len());
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        if !matches!(bytes.get(at + 1)?, 0 | 0xFF) {
            return Some(at);
        }
        at += 1;
    }
}

impl Plane {
    fn new(component: &Component, header: &Header<'_>, luma: &Component) -> Self {
        let (across, down) = component.blocks;
        let stride = header.width.div_ceil(8 * luma.blocks.0) * 8 * across;
        let kept = 2 * 8 * down;
        Self {
            samples: vec![0; stride * kept],
            stride,
            kept,
            rows: (header.height * down).div_ceil(luma.blocks.1),
            columns: (header.width * across).div_ceil(luma.blocks.0),
        }
    }

    /// The samples of row `y` that show something; the last row stands for those below it.
    fn row(&self, y: usize) -> Option<&[u8]> {
        let start = y.min(self.rows - 1) % self.kept * self.stride;
        self.samples.get(start..start + self.columns)
    }

    /// Writes a block whose first sample is in that row and column.
    fn put(&mut self, row: usize, column: usize, block: &[[u8; 8]; 8]) -> Option<()> {
        let start = row % self.kept * self.stride;
        let rows = self
            .samples
            .get_mut(start..start + 8 * self.stride)?
            .chunks_exact_mut(self.stride);
        for (to, from) in rows.zip(block) {
            to.get_mut(column..column + 8)?.copy_from_slice(from);
        }
        Some(())
    }
}

/// The entropy-coded data on their way to samples.
struct Scan<'a> {
    header: &'a Header<'a>,
    bits: Bits<'a>,
    /// The last block's first coefficient, by component.
    before: [i32; 3],
    mcus: usize,
    coefficients: [[i16; 8]; 8],
}

impl<'a> Scan<'a> {
    fn new(header: &'a Header<'a>) -> Self {
        Self {
            header,
            bits: Bits::new(header.data),
            before: [0; 3],
            mcus: 0,
            coefficients: [[0; 8]; 8],
        }
    }

    /// The next MCU: its blocks go to the planes if they are wanted.
    fn mcu(
        &mut self,
        planes: &mut [Plane],
        (row, column): (usize, usize),
        wanted: bool,
    ) -> Option<()> {
        let every = self.header.restart;
        if every > 0 && self.mcus > 0 && self.mcus.is_multiple_of(every) {
            self.bits.restart((self.mcus / every - 1) as u8)?;
            self.before = [0; 3];
        }
        self.mcus += 1;
        if !self.bits.is_sound() {
            return None;
        }
        for (i, (component, plane)) in self.header.components.iter().zip(planes).enumerate() {
            let (across, down) = component.blocks;
            for y in 0..down {
                for x in 0..across {
                    let last = self.block(i, component, wanted)?;
                    if !wanted {
                        continue;
                    }
                    let samples = if last == 0 {
                        [[idct::flat(self.coefficients[0][0]); 8]; 8]
                    } else {
                        idct::block(&self.coefficients)
                    };
                    plane.put(8 * (row * down + y), 8 * (column * across + x), &samples)?;
                    if last > 0 {
                        self.coefficients = [[0; 8]; 8];
                    }
                }
            }
        }
        Some(())
    }

    /// Reads one block's coefficients, multiplied by their steps where they are wanted; gives the last place that is not zero.
    #[inline]
    fn block(&mut self, index: usize, component: &Component, wanted: bool) -> Option<usize> {
        let size = u32::from(self.bits.symbol(&component.dc)?);
        if size > 15 {
            return None;
        }
        let first = self.before.get_mut(index)?;
        *first = first.wrapping_add(self.bits.value(size));
        self.coefficients[0][0] = (*first as i16).wrapping_mul(component.steps[0] as i16);
        let (mut place, mut last) = (1, 0);
        while place < 64 {
            let symbol = self.bits.symbol(&component.ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run != 15 {
                    break;
                }
                place += 16;
                continue;
            }
            place += run;
            let value = self.bits.value(size);
            if wanted {
                let step = *component.steps.get(place)?;
                let to = self
                    .coefficients
                    .as_flattened_mut()
                    .get_mut(usize::from(ZIGZAG[place]))?;
                *to = (value as i16).wrapping_mul(step as i16);
            }
            last = place;
            place += 1;
        }
        (place <= 64).then_some(last)
    }
}

/// Makes pixels of the planes' samples.
struct Painter {
    columns: Range<usize>,
    /// How much finer luma is than chroma, across and down.
    ratio: (usize, usize),
    sums: Vec<i16>,
    chroma: [Vec<u8>; 2],
    pixels: Vec<u8>,
}

impl Painter {
    fn new(columns: Range<usize>, ratio: (usize, usize)) -> Self {
        Self {
            pixels: vec![0; 3 * columns.len()],
            columns,
            ratio,
            sums: Vec::new(),
            chroma: [Vec::new(), Vec::new()],
        }
    }

    /// The colours of row `y`, one after the other.
    fn row(&mut self, planes: &[Plane], y: usize) -> Option<&[u8]> {
        let columns = self.columns.clone();
        let luma = planes.first()?.row(y)?.get(columns.clone())?;
        let [_, cb, cr] = planes else {
            for colour in self.pixels.chunks_exact_mut(luma.len().max(1)) {
                colour.copy_from_slice(luma);
            }
            return Some(&self.pixels);
        };
        let (across, down) = self.ratio;
        if across == 1 {
            let (cb, cr) = (cb.row(y)?.get(columns.clone())?, cr.row(y)?.get(columns)?);
            colour::to_rgb(luma, cb, cr, &mut self.pixels);
            return Some(&self.pixels);
        }
        // Chroma columns that the wanted ones lie in.
        let wanted = columns.start / 2..columns.end.div_ceil(2);
        for (plane, out) in [cb, cr].into_iter().zip(&mut self.chroma) {
            let near = plane.row(y / down)?;
            // The upper of two rows lies nearer to the row above.
            let far = match (down, y % 2) {
                (1, _) => None,
                (_, 0) => Some(plane.row((y / 2).saturating_sub(1))?),
                _ => Some(plane.row(y / 2 + 1)?),
            };
            mix(near, far, &wanted, &mut self.sums)?;
            colour::widen(&self.sums, down == 2, out);
        }
        let first = columns.start - 2 * wanted.start;
        let [cb, cr] = &self.chroma;
        colour::to_rgb(luma, cb.get(first..)?, cr.get(first..)?, &mut self.pixels);
        Some(&self.pixels)
    }
}

/// Sums of the wanted columns with a neighbour on both sides, which at a border is the sample itself.
fn mix(near: &[u8], far: Option<&[u8]>, wanted: &Range<usize>, sums: &mut Vec<i16>) -> Option<()> {
    let part = wanted.start.saturating_sub(1)..(wanted.end + 1).min(near.len());
    let far = match far {
        Some(far) => Some(far.get(part.clone())?),
        None => None,
    };
    colour::mix_rows(near.get(part)?, far, sums);
    if wanted.start == 0 {
        sums.insert(0, *sums.first()?);
    }
    if wanted.end == near.len() {
        sums.push(*sums.last()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::{Orientation, Photo};

    const FILES: [&str; 6] = [
        "luma420",
        "luma422",
        "luma444",
        "restarts",
        "five_wide",
        "grey",
    ];

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/jpeg")
            .join(name)
    }

    #[test]
    fn every_sample_is_that_of_pil() {
        for name in FILES {
            let bytes = std::fs::read(fixture(&format!("{name}.jpg"))).unwrap();
            assert!(
                Jpeg::new(&bytes).is_some(),
                "{name} is left to the other decoder"
            );
            let ours = Photo::decode(name, &bytes, Orientation::Ignore).unwrap();
            let theirs = Photo::open(fixture(&format!("{name}.png")), Orientation::Ignore).unwrap();
            assert!(ours == theirs, "{name}");
        }
    }

    #[test]
    fn a_part_is_the_same_as_in_the_whole() {
        for name in FILES {
            let bytes = std::fs::read(fixture(&format!("{name}.jpg"))).unwrap();
            let whole = Photo::decode(name, &bytes, Orientation::Ignore).unwrap();
            let jpeg = Jpeg::new(&bytes).unwrap();
            let (width, height) = jpeg.size();
            for (rows, columns) in [
                (0..1, 0..1),
                (height - 1..height, width - 1..width),
                (7..height.min(17), width / 3..width / 3 + 2),
                (15..height.min(34), 1..width - 1),
            ] {
                let mut next = rows.start;
                let each = |y: usize, row: &[u8]| {
                    assert_eq!(y, next);
                    next += 1;
                    for (i, x) in columns.clone().enumerate() {
                        let found = [0, 1, 2].map(|c| row[c * columns.len() + i]);
                        assert_eq!(found, whole.pixel(x, y), "{name} {x} {y}");
                    }
                };
                jpeg.rows(rows.clone(), columns.clone(), each).unwrap();
                assert_eq!(next, rows.end);
            }
        }
    }

    #[test]
    fn damage_neither_panics_nor_goes_on_for_ever() {
        let bytes = std::fs::read(fixture("restarts.jpg")).unwrap();
        let mut state = 7u32;
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % damaged.len();
                damaged[at] = (state >> 3) as u8;
            }
            if let Some(jpeg) = Jpeg::new(&damaged)
                && jpeg.size().0 * jpeg.size().1 < 1 << 20
            {
                let (width, height) = jpeg.size();
                let _ = jpeg.rows(0..height, 0..width, |_, row| {
                    assert_eq!(row.len(), 3 * width)
                });
            }
        }
    }
}
