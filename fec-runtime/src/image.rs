//! Input images: pixel formats, checked once, read row by row by the patch embedding.

use core::fmt;

use crate::config::PATCH;
use crate::error::Error;
use crate::formula;

/// Height and width of an image in pixels. Displays as `HEIGHTxWIDTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageSize {
    /// Size of the map of a stage (0 to 3): sides divided by 4, 8, 16, 32.
    pub const fn map(self, stage: usize) -> MapSize {
        MapSize {
            rows: (self.height / PATCH) >> stage,
            cols: (self.width / PATCH) >> stage,
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// Rows and columns of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl MapSize {
    /// Elements N of the map.
    pub const fn elements(self) -> usize {
        self.rows * self.cols
    }
}

/// An input image.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    size: ImageSize,
    pixels: Pixels<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Pixels<'a> {
    /// [H, W, 3], 0 to 255: normalised with the model's mean and deviation.
    Rgb8(&'a [u8]),
    /// [3, H, W], normalised by the caller.
    Planar(&'a [f32]),
    /// The formula image of SPEC 11, normalised by definition.
    Formula(usize),
}

impl<'a> Image<'a> {
    /// An RGB photo, `pixels` [H, W, 3]; the model's mean and deviation are applied on the way in.
    ///
    /// # Errors
    /// [`Error::PixelCount`] when the buffer has another length.
    pub fn rgb8(pixels: &'a [u8], size: ImageSize) -> Result<Self, Error> {
        check_count(pixels.len(), size)?;
        Ok(Self {
            size,
            pixels: Pixels::Rgb8(pixels),
        })
    }

    /// A normalised image, `values` [3, H, W] as PyTorch has it.
    ///
    /// # Errors
    /// [`Error::PixelCount`] for another length, [`Error::PixelNotFinite`] for NaN or infinity.
    pub fn f32_chw(values: &'a [f32], size: ImageSize) -> Result<Self, Error> {
        check_count(values.len(), size)?;
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::PixelNotFinite { index });
        }
        Ok(Self {
            size,
            pixels: Pixels::Planar(values),
        })
    }

    /// The formula image of SPEC 11 (kind "waves") with an index: needs no memory.
    pub fn formula(size: ImageSize, index: usize) -> Image<'static> {
        Image {
            size,
            pixels: Pixels::Formula(index),
        }
    }

    /// Its size.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// A patch of the normalised image as [channel][row][column]. `scale` and `offset` normalise 8-bit values:
    /// v * scale + offset = (v / 255 - mean) / std.
    pub(crate) fn patch(
        &self,
        top: usize,
        left: usize,
        scale: &[f32; 3],
        offset: &[f32; 3],
        out: &mut [[[f32; PATCH]; PATCH]; 3],
    ) {
        let ImageSize { height, width } = self.size;
        for row in 0..PATCH {
            match self.pixels {
                Pixels::Rgb8(pixels) => {
                    let line = &pixels[((top + row) * width + left) * 3..][..3 * PATCH];
                    for (column, pixel) in line.as_chunks::<3>().0.iter().enumerate() {
                        for c in 0..3 {
                            out[c][row][column] = f32::from(pixel[c]) * scale[c] + offset[c];
                        }
                    }
                }
                Pixels::Planar(values) => {
                    for (c, out) in out.iter_mut().enumerate() {
                        let start = (c * height + top + row) * width + left;
                        out[row].copy_from_slice(&values[start..][..PATCH]);
                    }
                }
                Pixels::Formula(index) => {
                    for (c, out) in out.iter_mut().enumerate() {
                        for (column, value) in out[row].iter_mut().enumerate() {
                            let (y, x) = (top + row, left + column);
                            *value = formula::image_value(self.size, c, y, x, index);
                        }
                    }
                }
            }
        }
    }
}

fn check_count(given: usize, size: ImageSize) -> Result<(), Error> {
    let needed = size
        .height
        .checked_mul(size.width)
        .and_then(|n| n.checked_mul(3));
    match needed {
        Some(needed) if needed == given => Ok(()),
        _ => Err(Error::PixelCount {
            needed: needed.unwrap_or(usize::MAX),
            given,
        }),
    }
}
