//! timm's evaluation recipe, bit for bit as PIL and torchvision compute it (SPEC 10).
//!
//! The photo's short side is scaled to `floor(size / crop_ratio)`, the long side in proportion and rounded down; the centre is cut out. PIL
//! resizes 8-bit images in two passes with weights rounded to 22 fractional bits and every pass rounded to 8 bits: the same is
//! done here, so the bytes are equal. Only what the crop needs is computed, which also keeps a 1 x 100,000 photo cheap.
//!
//! A model that is not square takes timm's other branch (`ResizeKeepRatio`): the photo is scaled so that both sides cover
//! `floor(side / crop_ratio)`, each rounded to the nearest integer, half to even.

pub use fec_runtime::format::{Interpolation, Preprocessing};

use crate::error::Error;
use crate::image::Photo;

/// Names of the filters, as timm writes them.
pub const INTERPOLATIONS: &[&str] = &[
    "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming",
];

/// The filter of that name.
///
/// # Errors
/// [`Error::UnknownName`] lists the known ones.
pub fn interpolation(name: &str) -> Result<Interpolation, Error> {
    let found = Interpolation::ALL.into_iter().find(|i| i.name() == name);
    found.ok_or_else(|| Error::UnknownName {
        what: "interpolation",
        found: name.into(),
        known: INTERPOLATIONS,
    })
}

/// Radius of the filter in source pixels when nothing is scaled down.
fn support(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Nearest | Interpolation::Box => 0.5,
        Interpolation::Bilinear | Interpolation::Hamming => 1.0,
        Interpolation::Bicubic => 2.0,
        Interpolation::Lanczos => 3.0,
    }
}

/// The filter's weight at distance `x` from its centre.
fn weight(filter: Interpolation, x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            1.0
        } else {
            let x = x * core::f64::consts::PI;
            x.sin() / x
        }
    };
    let d = x.abs();
    match filter {
        Interpolation::Nearest | Interpolation::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
        Interpolation::Bilinear => (1.0 - d).max(0.0),
        Interpolation::Hamming if d < 1.0 => {
            sinc(d) * (0.54 + 0.46 * (d * core::f64::consts::PI).cos())
        }
        Interpolation::Bicubic if d < 1.0 => (1.5 * d - 2.5) * d * d + 1.0,
        Interpolation::Bicubic if d < 2.0 => (((d - 5.0) * d + 8.0) * d - 4.0) * -0.5,
        Interpolation::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Refuses settings that no photo could be brought to.
///
/// # Errors
/// [`Error::Setting`] names the first.
pub fn check(p: &Preprocessing) -> Result<(), Error> {
    let setting = |what, found: String, expected| {
        Err(Error::Setting {
            what,
            found,
            expected,
        })
    };
    if !(p.crop_ratio > 0.0 && p.crop_ratio <= 1.0) {
        let expected = "a number above 0 and at most 1";
        return setting("crop ratio", p.crop_ratio.to_string(), expected);
    }
    if !p.mean.iter().all(|m| m.abs() <= 1e3) {
        return setting(
            "mean",
            format!("{:?}", p.mean),
            "three numbers, of values 0 to 1",
        );
    }
    if !p.std.iter().all(|s| (1e-3..=1e3).contains(s)) {
        return setting(
            "std",
            format!("{:?}", p.std),
            "three numbers of at least 0.001",
        );
    }
    Ok(())
}

/// The photo at the model's size, as RGB8.
pub fn apply(p: &Preprocessing, photo: &Photo) -> Photo {
    let mut out = Photo::default();
    apply_into(p, photo, &mut Resizer::default(), &mut out);
    out
}

/// Like [`apply`], with buffers that are used again from photo to photo.
pub fn apply_into(p: &Preprocessing, photo: &Photo, resizer: &mut Resizer, out: &mut Photo) {
    let (height, width) = scaled_size(p, photo);
    let rows = crop(height, p.size.height);
    let columns = crop(width, p.size.width);
    resizer.resize_part(
        photo,
        Axis {
            len: height,
            part: rows,
            pad: p.size.height,
        },
        Axis {
            len: width,
            part: columns,
            pad: p.size.width,
        },
        p.interpolation,
        out,
    );
}

/// Height and width of the scaled photo before the crop.
fn scaled_size(p: &Preprocessing, photo: &Photo) -> (usize, usize) {
    // The file keeps the ratio as f32, timm has it as f64: 0.8 must stay 0.8, or 224 / 0.8 would become 279. The shortest decimal
    // that means this f32 is the number that somebody wrote down.
    let ratio: f64 = p.crop_ratio.to_string().parse().unwrap_or(1.0);
    let target = |side: usize| ((side as f64 / ratio).floor() as usize).max(1);
    let (target_h, target_w) = (target(p.size.height), target(p.size.width));
    let (h, w) = (photo.height.max(1), photo.width.max(1));
    if p.size.height == p.size.width {
        let long = |long: usize, short: usize| target_h.saturating_mul(long) / short;
        return if w <= h {
            (long(h, w), target_w)
        } else {
            (target_h, long(w, h))
        };
    }
    let ratio = (h as f64 / target_h as f64).min(w as f64 / target_w as f64);
    let scaled = |side: usize| ((side as f64 / ratio).round_ties_even() as usize).max(1);
    (scaled(h), scaled(w))
}

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

/// Buffers of the two passes.
#[derive(Debug, Default)]
pub struct Resizer {
    rows: Weights,
    columns: Weights,
    /// After the first pass, the needed part alone.
    between: Vec<u8>,
    /// After both.
    scaled: Vec<u8>,
    sums: Vec<i32>,
}

/// One side of a resize: its scaled length, the part that is wanted and the length of the output, black beyond the part.
#[derive(Debug, Clone, Copy)]
struct Axis {
    len: usize,
    part: Part,
    pad: usize,
}

/// Scaled pixels `from..to`, which come to lie at `offset` in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: usize,
    to: usize,
    offset: usize,
}

/// torchvision's centre crop of one side: the offset is half the surplus, half to even; a side that is too short is padded on both ends,
/// one pixel more at the far end.
fn crop(len: usize, wanted: usize) -> Part {
    if wanted > len {
        return Part {
            from: 0,
            to: len,
            offset: (wanted - len) / 2,
        };
    }
    let surplus = len - wanted;
    let from = surplus / 2 + usize::from(surplus % 4 == 3);
    Part {
        from,
        to: from + wanted,
        offset: 0,
    }
}

impl Resizer {
    fn resize_part(
        &mut self,
        photo: &Photo,
        rows: Axis,
        columns: Axis,
        interpolation: Interpolation,
        out: &mut Photo,
    ) {
        out.height = rows.pad;
        out.width = columns.pad;
        out.pixels.clear();
        out.pixels.resize(rows.pad * columns.pad * 3, 0);
        if photo.pixels.len() != photo.height * photo.width * 3 || photo.pixels.is_empty() {
            return;
        }
        self.rows.prepare(photo.height, rows, interpolation);
        self.columns.prepare(photo.width, columns, interpolation);
        if self.rows.taps.is_empty() || self.columns.taps.is_empty() {
            return;
        }
        if columns_come_first(photo, rows.len, columns.len) {
            let (first, last) = self.columns.span();
            let source = Strip {
                pixels: &photo.pixels,
                width: photo.width,
                first,
                last,
            };
            scale_columns(source, 0, &self.rows, &mut self.sums, &mut self.between);
            let source = Strip {
                pixels: &self.between,
                width: last - first,
                first: 0,
                last: self.rows.taps.len(),
            };
            scale_rows(source, first, &self.columns, &mut self.scaled);
        } else {
            let (first, last) = self.rows.span();
            let source = Strip {
                pixels: &photo.pixels,
                width: photo.width,
                first,
                last,
            };
            scale_rows(source, 0, &self.columns, &mut self.between);
            let width = self.columns.taps.len();
            let source = Strip {
                pixels: &self.between,
                width,
                first: 0,
                last: width,
            };
            scale_columns(source, first, &self.rows, &mut self.sums, &mut self.scaled);
        }
        let row_len = self.columns.taps.len() * 3;
        let left = columns.part.offset * 3;
        let target = out.pixels.chunks_exact_mut(columns.pad * 3);
        for (to, from) in target
            .skip(rows.part.offset)
            .zip(self.scaled.chunks_exact(row_len))
        {
            to[left..left + row_len].copy_from_slice(from);
        }
    }
}

/// Whether the vertical pass comes first: Pillow 13 does that where the height shrinks by more than twice what the width shrinks (read off
/// its results on 3,000 shapes without an exception); older versions never do. It matters for the last bit, since each pass rounds.
fn columns_come_first(photo: &Photo, height: usize, width: usize) -> bool {
    let shrinks = |from: usize, to: usize| from as i128 - to as i128;
    height < photo.height && shrinks(photo.height, height) > 2 * shrinks(photo.width, width)
}

/// Rows of `width` pixels, and the range of rows or columns of them that a pass reads.
struct Strip<'a> {
    pixels: &'a [u8],
    width: usize,
    first: usize,
    last: usize,
}

/// The horizontal pass over the rows `first..last`; taps count columns from `left`.
fn scale_rows(source: Strip, left: usize, weights: &Weights, out: &mut Vec<u8>) {
    let row_len = weights.taps.len() * 3;
    out.clear();
    out.resize((source.last - source.first) * row_len, 0);
    for (y, target) in (source.first..source.last).zip(out.chunks_exact_mut(row_len)) {
        let row = &source.pixels[y * source.width * 3..(y + 1) * source.width * 3];
        for (taps, to) in weights.taps.iter().zip(target.chunks_exact_mut(3)) {
            let from = taps.from - left;
            let pixels = row[from * 3..(from + taps.len) * 3].chunks_exact(3);
            let mut sums = [HALF; 3];
            for (pixel, &weight) in pixels.zip(weights.of(taps)) {
                for c in 0..3 {
                    sums[c] += i32::from(pixel[c]) * weight;
                }
            }
            to.copy_from_slice(&sums.map(clip8));
        }
    }
}

/// The vertical pass over the columns `first..last`; taps count rows from `top`.
fn scale_columns(
    source: Strip,
    top: usize,
    weights: &Weights,
    sums: &mut Vec<i32>,
    out: &mut Vec<u8>,
) {
    let row_len = (source.last - source.first) * 3;
    out.clear();
    out.resize(weights.taps.len() * row_len, 0);
    for (taps, target) in weights.taps.iter().zip(out.chunks_exact_mut(row_len)) {
        sums.clear();
        sums.resize(row_len, HALF);
        for (y, &weight) in (taps.from - top..).zip(weights.of(taps)) {
            let from = (y * source.width + source.first) * 3;
            for (sum, &value) in sums.iter_mut().zip(&source.pixels[from..from + row_len]) {
                *sum += i32::from(value) * weight;
            }
        }
        for (to, &sum) in target.iter_mut().zip(sums.iter()) {
            *to = clip8(sum);
        }
    }
}

/// PIL's precision: a pixel's 8 bits, 2 bits against overflow, the rest for the fraction.
const FRACTION_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

fn clip8(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// The source pixels of a nearest-neighbour part. PIL adds the scale up step by step, and its rounding errors decide ties; a side too
/// long for that (of an absurd shape) is multiplied out instead.
fn nearest(scale: f64, part: Part) -> impl Iterator<Item = usize> {
    const STEPS_MAX: usize = 1 << 20;
    let mut at = if part.from <= STEPS_MAX {
        (0..part.from).fold(scale * 0.5, |at, _| at + scale)
    } else {
        (part.from as f64 + 0.5) * scale
    };
    (part.from..part.to).map(move |_| {
        let from = at as usize;
        at += scale;
        from
    })
}

/// Which source pixels make one output pixel.
#[derive(Debug, Clone, Copy)]
struct Taps {
    from: usize,
    len: usize,
    first_weight: usize,
}

/// The weights of one side, for the wanted part.
#[derive(Debug, Default)]
struct Weights {
    taps: Vec<Taps>,
    fixed: Vec<i32>,
    exact: Vec<f64>,
}

impl Weights {
    /// Weights that take a side of `source` pixels to `axis`.
    fn prepare(&mut self, source: usize, axis: Axis, interpolation: Interpolation) {
        self.taps.clear();
        self.fixed.clear();
        let scale = source as f64 / axis.len.max(1) as f64;
        // PIL skips the pass of a side that keeps its length: every pixel is itself.
        if axis.len == source || interpolation == Interpolation::Nearest {
            self.fixed.push(1 << FRACTION_BITS);
            let single = |from: usize| Taps {
                from: from.min(source - 1),
                len: 1,
                first_weight: 0,
            };
            if axis.len == source {
                self.taps.extend((axis.part.from..axis.part.to).map(single));
            } else {
                self.taps.extend(nearest(scale, axis.part).map(single));
            }
            return;
        }
        let stretch = scale.max(1.0);
        let support = support(interpolation) * stretch;
        for x in axis.part.from..axis.part.to {
            let centre = (x as f64 + 0.5) * scale;
            let from = ((centre - support + 0.5) as usize).min(source - 1);
            let to = ((centre + support + 0.5) as usize).clamp(from + 1, source);
            self.exact.clear();
            self.exact.extend(
                (from..to)
                    .map(|s| weight(interpolation, (s as f64 - centre + 0.5) * (1.0 / stretch))),
            );
            let total: f64 = self.exact.iter().sum();
            self.taps.push(Taps {
                from,
                len: to - from,
                first_weight: self.fixed.len(),
            });
            self.fixed.extend(self.exact.iter().map(|w| {
                let w = if total == 0.0 { *w } else { w / total };
                let w = w * f64::from(1u32 << FRACTION_BITS);
                (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
            }));
        }
    }

    /// The weights of one output pixel.
    fn of(&self, taps: &Taps) -> &[i32] {
        &self.fixed[taps.first_weight..taps.first_weight + taps.len]
    }

    /// The source pixels that are needed at all.
    fn span(&self) -> (usize, usize) {
        let first = self.taps.iter().map(|t| t.from).min().unwrap_or(0);
        let last = self.taps.iter().map(|t| t.from + t.len).max().unwrap_or(0);
        (first, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Orientation;
    use fec_runtime::ImageSize;
    use std::path::Path;

    /// Most values that may differ from PIL's, by one level; none do today.
    const DIFFERENT_ALLOWED: f64 = 0.001;

    #[test]
    fn golden_images_equal_those_of_pil() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess");
        let index = std::fs::read_to_string(dir.join("index.json")).unwrap();
        let index: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&index).unwrap();
        assert_eq!(index.len(), 12);
        for (expected, case) in &index {
            let size = case["size"].as_u64().unwrap() as usize;
            let preprocess = Preprocessing {
                size: ImageSize {
                    height: size,
                    width: size,
                },
                crop_ratio: case["crop_ratio"].as_f64().unwrap() as f32,
                interpolation: super::interpolation(case["interpolation"].as_str().unwrap())
                    .unwrap(),
                mean: [0.0; 3],
                std: [1.0; 3],
            };
            let open = |name: &str| Photo::open(dir.join(name), Orientation::Ignore).unwrap();
            let source = open(case["source"].as_str().unwrap());
            let (h, w) = scaled_size(&preprocess, &source);
            assert_eq!(
                h.min(w) as u64,
                case["resized_short_side"].as_u64().unwrap()
            );
            let (ours, theirs) = (apply(&preprocess, &source), open(expected));
            assert_eq!((ours.width, ours.height), (theirs.width, theirs.height));
            let pairs = || ours.pixels.iter().zip(&theirs.pixels);
            let different = pairs().filter(|(a, b)| a != b).count();
            println_count(expected, different);
            assert!(pairs().all(|(a, b)| a.abs_diff(*b) <= 1), "{expected}");
            assert!(
                different as f64 <= DIFFERENT_ALLOWED * ours.pixels.len() as f64,
                "{expected}: {different} values differ"
            );
        }
    }

    #[allow(clippy::print_stdout, reason = "what a test measured")]
    fn println_count(name: &str, different: usize) {
        println!("{name}: {different} values differ");
    }

    fn noise(width: usize, height: usize) -> Photo {
        let mut state = 1u32;
        let pixels = (0..width * height * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        Photo::new(width, height, pixels).unwrap()
    }

    #[test]
    fn a_crop_of_the_resized_photo_is_what_apply_computes() {
        let photo = noise(61, 97);
        for (height, width) in [(32, 32), (40, 24), (24, 40)] {
            let preprocess = Preprocessing {
                size: ImageSize { height, width },
                crop_ratio: 0.8,
                interpolation: Interpolation::Bicubic,
                mean: [0.0; 3],
                std: [1.0; 3],
            };
            let (h, w) = scaled_size(&preprocess, &photo);
            assert!(h >= height && w >= width);
            let whole = resize(&photo, h, w, Interpolation::Bicubic);
            let ours = apply(&preprocess, &photo);
            let (top, left) = (crop(h, height).from, crop(w, width).from);
            for y in 0..height {
                for x in 0..width {
                    assert_eq!(ours.pixel(x, y), whole.pixel(x + left, y + top));
                }
            }
        }
    }

    #[test]
    fn crop_offsets_round_half_to_even_and_short_sides_are_padded() {
        // int(round(x / 2.0)) in Python for surpluses 0 to 7.
        let offsets: Vec<_> = (0..8).map(|s| crop(10 + s, 10).from).collect();
        assert_eq!(offsets, [0, 0, 1, 2, 2, 2, 3, 4]);
        assert_eq!(
            crop(7, 10),
            Part {
                from: 0,
                to: 7,
                offset: 1
            }
        );
    }

    #[test]
    fn a_crop_ratio_of_one_decimal_means_that_decimal() {
        let preprocess = Preprocessing {
            size: ImageSize {
                height: 224,
                width: 224,
            },
            crop_ratio: 0.8,
            interpolation: Interpolation::Bicubic,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        assert_eq!(scaled_size(&preprocess, &noise(10, 20)), (560, 280));
    }

    #[test]
    fn extreme_shapes_and_settings_neither_panic_nor_fill_the_memory() {
        for (w, h) in [(1, 1), (1, 20_000), (20_000, 1), (0, 0)] {
            for ratio in [0.01, 1e-30, 0.9, 1.0, 3.0, f32::NAN, f32::INFINITY] {
                for interpolation in INTERPOLATIONS {
                    let preprocess = Preprocessing {
                        size: ImageSize {
                            height: 32,
                            width: 32,
                        },
                        crop_ratio: ratio,
                        interpolation: super::interpolation(interpolation).unwrap(),
                        mean: [0.0; 3],
                        std: [1.0; 3],
                    };
                    let out = apply(&preprocess, &noise(w, h));
                    assert_eq!(out.pixels.len(), 32 * 32 * 3);
                }
            }
        }
    }

    #[test]
    fn an_unknown_interpolation_lists_the_known_ones() {
        let error = super::interpolation("cubic").unwrap_err();
        assert!(error.to_string().contains("bicubic, lanczos"), "{error}");
    }
}
