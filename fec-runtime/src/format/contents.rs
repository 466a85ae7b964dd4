//! The small sections of a .fec file: labels, preprocessing, self-test.

use core::ops::RangeInclusive;

use super::layout::{self, array_at, f32_at, u32_at};
use crate::error::{Error, Field};
use crate::image::ImageSize;

/// How a photo becomes the network's input (SPEC 10).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// Size of the network's input.
    pub size: ImageSize,
    /// Share of the resized photo's short side that the crop keeps, 0.01 to 1.
    pub crop_ratio: f32,
    /// How the photo is resized.
    pub interpolation: Interpolation,
    /// Mean per channel, of values 0 to 1.
    pub mean: [f32; 3],
    /// Deviation per channel, of values 0 to 1.
    pub std: [f32; 3],
}

impl Preprocessing {
    /// ImageNet's mean.
    pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// ImageNet's deviation.
    pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// Crop ratios that are possible.
    pub const CROP_RATIOS: RangeInclusive<f32> = 0.01..=1.0;
    /// Means that are possible.
    pub const MEANS: RangeInclusive<f32> = -1.0e3..=1.0e3;
    /// Deviations that are possible.
    pub const STDS: RangeInclusive<f32> = 1.0e-3..=1.0e3;

    /// Factor and term per channel that take an 8-bit value to the network's input: v / 255 normalised.
    pub fn scale_and_offset(&self) -> ([f32; 3], [f32; 3]) {
        (
            self.std.map(|std| 1.0 / (255.0 * std)),
            core::array::from_fn(|c| {
                let mean = self.mean.get(c).copied().unwrap_or(0.0);
                let std = self.std.get(c).copied().unwrap_or(1.0);
                -mean / std
            }),
        )
    }

    /// # Errors
    /// [`Error::Field`] when a number is not possible.
    pub fn check(&self) -> Result<(), Error> {
        let ratio = Self::CROP_RATIOS.contains(&self.crop_ratio);
        let mean = self.mean.iter().all(|m| Self::MEANS.contains(m));
        let std = self.std.iter().all(|s| Self::STDS.contains(s));
        if ratio && mean && std {
            Ok(())
        } else {
            Err(Error::Field {
                field: Field::Preprocessing,
                found: 0,
            })
        }
    }
}

/// Filters of the resize, numbered as PIL numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Nearest neighbour.
    Nearest,
    /// Lanczos, three lobes.
    Lanczos,
    /// Triangle.
    Bilinear,
    /// Cubic, a = -0.5.
    Bicubic,
    /// Mean of the pixels covered.
    Box,
    /// Hamming's window of radius 1.
    Hamming,
}

impl Interpolation {
    /// All of them.
    pub const ALL: [Interpolation; 6] = [
        Self::Nearest,
        Self::Lanczos,
        Self::Bilinear,
        Self::Bicubic,
        Self::Box,
        Self::Hamming,
    ];

    /// Its name in timm's options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    /// Its number in the file.
    pub const fn number(self) -> u32 {
        match self {
            Self::Nearest => 0,
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
            Self::Box => 4,
            Self::Hamming => 5,
        }
    }
}

/// What a sound file must compute (`fec verify`): portable kernels on the formula image of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// Size of the formula image, index 0.
    pub size: ImageSize,
    /// CRC-32 of the logits (dense: of the four feature maps), little-endian f32.
    pub output_crc: u32,
    /// CRC-32 of all assignments in order of execution, pools as little-endian u16, mixers as u8.
    pub assignments_crc: u32,
}

pub(super) fn read_preprocessing(bytes: &[u8]) -> Result<Preprocessing, Error> {
    let exact: [u8; layout::PREPROCESSING_LEN] = array_at(bytes, 0)
        .filter(|_| bytes.len() == layout::PREPROCESSING_LEN)
        .ok_or(refused(Field::Preprocessing, bytes.len() as u64))?;
    let short = refused(Field::Preprocessing, 0u32);
    let number = |at| u32_at(&exact, at).ok_or(short);
    let real = |at| f32_at(&exact, at).ok_or(short);
    let filter = number(12)?;
    let preprocessing = Preprocessing {
        size: ImageSize {
            height: number(0)? as usize,
            width: number(4)? as usize,
        },
        crop_ratio: real(8)?,
        interpolation: Interpolation::ALL
            .into_iter()
            .find(|i| i.number() == filter)
            .ok_or(refused(Field::Interpolation, filter))?,
        mean: [real(16)?, real(20)?, real(24)?],
        std: [real(28)?, real(32)?, real(36)?],
    };
    preprocessing.check()?;
    Ok(preprocessing)
}

pub(super) fn read_self_test(bytes: &[u8]) -> Result<SelfTest, Error> {
    let short = refused(Field::SelfTest, bytes.len() as u64);
    if bytes.len() != layout::SELF_TEST_LEN {
        return Err(short);
    }
    let number = |at| u32_at(bytes, at).ok_or(short);
    Ok(SelfTest {
        size: ImageSize {
            height: number(0)? as usize,
            width: number(4)? as usize,
        },
        output_crc: number(8)?,
        assignments_crc: number(12)?,
    })
}

/// Class names, in order of the classes.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (&length, rest) = self.rest.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        core::str::from_utf8(label).ok()
    }
}

/// Labels are a length byte and UTF-8 each, one per class, or none at all.
pub(super) fn check_labels(bytes: &[u8], classes: usize) -> Result<(), Error> {
    let labels = Labels { rest: bytes };
    let (count, length) = labels.fold((0u64, 0usize), |(n, bytes), label| {
        (
            n.saturating_add(1),
            bytes.saturating_add(label.len()).saturating_add(1),
        )
    });
    let complete = length == bytes.len();
    if complete && (count == 0 || count == classes as u64) {
        Ok(())
    } else {
        Err(refused(Field::Labels, count))
    }
}

fn refused(field: Field, found: impl Into<u64>) -> Error {
    Error::Field {
        field,
        found: found.into(),
    }
}
