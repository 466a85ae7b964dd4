//! Image files on their way into a network: decoded and brought to its size in one go where the decoder has its rows one by one, so that
//! a photo of 12 megapixels does not take 36 MB on the way, and what the crop cuts off is not decoded.

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use image::metadata::Orientation as Camera;

use crate::error::Error;
use crate::image::{Orientation, Photo, row_by_row};
use crate::jpeg::Jpeg;
use crate::preprocess::{self, Preprocessing, Resizer};
use crate::resize::Turn;

/// How long the parts took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) decode: Duration,
    pub(crate) preprocess: Duration,
}

/// The image of a file's bytes at the size of `p`, as decoding all of it and [`preprocess::apply_into`] would give it. `name` is for
/// messages.
///
/// # Errors
/// Those of [`Photo::decode`].
pub(crate) fn load(
    name: &Path,
    bytes: &[u8],
    orientation: Orientation,
    p: &Preprocessing,
    resizer: &mut Resizer,
    out: &mut Photo,
) -> Result<Times, Error> {
    let started = Instant::now();
    if let Some(jpeg) = row_by_row(name, bytes)? {
        let turn = match orientation {
            Orientation::Apply => turn(jpeg.turn()),
            Orientation::Ignore => Turn::default(),
        };
        if let Some(preprocess) = stream(&jpeg, turn, p, resizer, out) {
            let decode = started.elapsed().saturating_sub(preprocess);
            return Ok(Times { decode, preprocess });
        }
    }
    let photo = Photo::decode(name, bytes, orientation)?;
    let decode = started.elapsed();
    preprocess::apply_into(p, &photo, resizer, out);
    let preprocess = started.elapsed() - decode;
    Ok(Times { decode, preprocess })
}

/// Decodes row by row into the resizer; gives the resizer's share of the time. `None` where the file is damaged.
fn stream(
    jpeg: &Jpeg<'_>,
    turn: Turn,
    p: &Preprocessing,
    resizer: &mut Resizer,
    out: &mut Photo,
) -> Option<Duration> {
    let started = Instant::now();
    let (width, height) = jpeg.size();
    let (rows, columns) = if turn.transposed {
        preprocess::axes(p, width, height)
    } else {
        preprocess::axes(p, height, width)
    };
    let wanted = resizer.begin((width, height), turn, rows, columns, p.interpolation);
    let mut spent = started.elapsed();
    jpeg.rows(wanted.rows, wanted.columns, |y, row| {
        let started = Instant::now();
        resizer.push(y, row);
        spent += started.elapsed();
    })?;
    let started = Instant::now();
    resizer.finish(turn, rows, columns, out);
    Some(spent + started.elapsed())
}

/// How the photo that the camera meant lies in the file.
fn turn(camera: Option<Camera>) -> Turn {
    let (transposed, mirrored_columns, mirrored_rows) = match camera {
        None | Some(Camera::NoTransforms) => (false, false, false),
        Some(Camera::FlipHorizontal) => (false, true, false),
        Some(Camera::FlipVertical) => (false, false, true),
        Some(Camera::Rotate180) => (false, true, true),
        // Transposed: the file's rows become columns, from left to right, or from right to left where they are mirrored.
        Some(Camera::Rotate90FlipH) => (true, false, false),
        Some(Camera::Rotate90) => (true, false, true),
        Some(Camera::Rotate270) => (true, true, false),
        Some(Camera::Rotate270FlipH) => (true, true, true),
    };
    Turn {
        transposed,
        mirrored_columns,
        mirrored_rows,
    }
}

#[cfg(test)]
mod tests {
    use fec_runtime::ImageSize;

    use super::*;
    use crate::preprocess::INTERPOLATIONS;

    /// The file with an EXIF segment that holds an orientation and nothing else.
    fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let length = (exif.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
    }

    /// Shrunk and enlarged, turned in every way, with every filter: a photo that is streamed becomes what the whole one becomes.
    #[test]
    fn a_streamed_photo_is_the_one_that_is_decoded_first() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg");
        let (mut resizer, mut streamed) = (Resizer::default(), Photo::default());
        for name in ["luma420", "luma444", "five_wide", "grey"] {
            let jpeg = std::fs::read(folder.join(format!("{name}.jpg"))).unwrap();
            for orientation in 1..=8 {
                let jpeg = turned(&jpeg, orientation);
                let photo = Photo::decode(name, &jpeg, Orientation::Apply).unwrap();
                for (i, filter) in INTERPOLATIONS.into_iter().enumerate() {
                    let (height, width) = [(32, 32), (64, 32), (32, 96)][i % 3];
                    let p = Preprocessing {
                        size: ImageSize { height, width },
                        crop_ratio: 0.9,
                        interpolation: preprocess::interpolation(filter).unwrap(),
                        mean: [0.0; 3],
                        std: [1.0; 3],
                    };
                    let apply = Orientation::Apply;
                    load(
                        Path::new(name),
                        &jpeg,
                        apply,
                        &p,
                        &mut resizer,
                        &mut streamed,
                    )
                    .unwrap();
                    let whole = preprocess::apply(&p, &photo);
                    assert!(streamed == whole, "{name} {orientation} {filter}");
                }
            }
        }
    }
}
