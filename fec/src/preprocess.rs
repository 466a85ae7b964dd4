//! timm's evaluation recipe, bit for bit as PIL and torchvision compute it (SPEC 10).
//!
//! The photo's short side is scaled to `floor(size / crop_ratio)`, the long side in proportion and rounded down; the centre is cut out. PIL
//! resizes 8-bit images in two passes with weights rounded to 22 fractional bits and every pass rounded to 8 bits: the same is
//! done here, so the bytes are equal. Only what the crop needs is computed, which also keeps a 1 x 100,000 photo cheap.
//!
//! A model that is not square takes timm's other branch (`ResizeKeepRatio`): the photo is scaled so that both sides cover
//! `floor(side / crop_ratio)`, each rounded to the nearest integer, half to even.

use fec_runtime::ImageSize;
pub use fec_runtime::format::{Interpolation, Preprocessing};

use crate::error::Error;
use crate::image::Photo;
use crate::resize::{Axis, Part};
pub use crate::resize::{Resizer, resize};

/// Names of the filters, as timm writes them.
pub const INTERPOLATIONS: [&str; Interpolation::ALL.len()] = {
    let mut names = [""; Interpolation::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = Interpolation::ALL[i].name();
        i += 1;
    }
    names
};

/// The filter of that name.
///
/// # Errors
/// [`Error::UnknownName`] lists the known ones.
pub fn interpolation(name: &str) -> Result<Interpolation, Error> {
    let found = Interpolation::ALL.into_iter().find(|i| i.name() == name);
    found.ok_or_else(|| Error::UnknownName {
        what: "interpolation",
        found: name.into(),
        known: &INTERPOLATIONS,
    })
}

/// A size as options give it: one side, or `HEIGHTxWIDTH`.
///
/// # Errors
/// Says what was expected.
pub fn parse_size(text: &str) -> Result<ImageSize, String> {
    let (height, width) = text.split_once(['x', 'X']).unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) => Ok(ImageSize { height, width }),
        _ => Err("expected a side in pixels, or HEIGHTxWIDTH, as in 224 or 192x256".to_string()),
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
    if !Preprocessing::CROP_RATIOS.contains(&p.crop_ratio) {
        let expected = "a number from 0.01 to 1";
        return setting("crop ratio", p.crop_ratio.to_string(), expected);
    }
    if !p.mean.iter().all(|m| Preprocessing::MEANS.contains(m)) {
        return setting(
            "mean",
            format!("{:?}", p.mean),
            "three numbers, of values 0 to 1",
        );
    }
    if !p.std.iter().all(|s| Preprocessing::STDS.contains(s)) {
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
    let (rows, columns) = axes(p, photo.height, photo.width);
    resizer.resize_part(photo, rows, columns, p.interpolation, out);
}

/// What becomes of the rows and of the columns of a photo.
pub(crate) fn axes(p: &Preprocessing, height: usize, width: usize) -> (Axis, Axis) {
    let scaled = scaled_size(p, height, width);
    let axis = |len, pad| Axis {
        len,
        part: crop(len, pad),
        pad,
    };
    (axis(scaled.0, p.size.height), axis(scaled.1, p.size.width))
}

/// Height and width of the scaled photo before the crop.
fn scaled_size(p: &Preprocessing, height: usize, width: usize) -> (usize, usize) {
    // The file keeps the ratio as f32, timm has it as f64: 0.8 must stay 0.8, or 224 / 0.8 would become 279. The shortest decimal
    // that means this f32 is the number that somebody wrote down.
    let ratio: f64 = p.crop_ratio.to_string().parse().unwrap_or(1.0);
    let target = |side: usize| ((side as f64 / ratio).floor() as usize).max(1);
    let (target_h, target_w) = (target(p.size.height), target(p.size.width));
    let (h, w) = (height.max(1), width.max(1));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Orientation;
    use std::path::Path;

    /// Most values that may differ from PIL's, by one level; none do today.
    const DIFFERENT_ALLOWED: f64 = 0.001;

    #[test]
    fn sizes_are_a_side_or_height_and_width() {
        let size = |height, width| Ok(ImageSize { height, width });
        assert_eq!(parse_size("224"), size(224, 224));
        assert_eq!(parse_size("192x256"), size(192, 256));
        for text in [
            "",
            "x",
            "224x",
            "-1",
            "224x224x3",
            "2.5",
            "99999999999999999999",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

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
            let (h, w) = scaled_size(&preprocess, source.height, source.width);
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
            let (h, w) = scaled_size(&preprocess, photo.height, photo.width);
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
        assert_eq!(scaled_size(&preprocess, 20, 10), (560, 280));
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
        assert!(
            error.to_string().contains("lanczos, bilinear, bicubic"),
            "{error}"
        );
    }
}
