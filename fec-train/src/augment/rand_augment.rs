//! RandAugment under timm's option string, as in `rand-m9-mstd0.5-inc1`: a few operations per image, drawn from a set, each of a strength
//! that is drawn too.

use core::fmt;

use fec::Photo;

use super::affine::{self, Resample};
use super::{blur, colour};
use crate::random::Keyed;

/// Magnitudes are of this many.
const LEVELS: f64 = 10.0;
/// Share of a side that the strongest translation moves.
const TRANSLATE: f64 = 0.45;

/// An operation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// Each channel stretched to the whole range.
    AutoContrast,
    /// All values about equally frequent.
    Equalize,
    /// The negative.
    Invert,
    /// Degrees counter-clockwise.
    Rotate(f64),
    /// Upper bits that are kept.
    Posterize(u8),
    /// Values from here on are negated, 0 to 256.
    Solarize(u16),
    /// Added to values below 128.
    SolarizeAdd(u8),
    /// Factor of colourfulness.
    Color(f64),
    /// Factor of contrast.
    Contrast(f64),
    /// Factor of brightness.
    Brightness(f64),
    /// Factor of sharpness.
    Sharpness(f64),
    /// Pixels a row.
    ShearX(f64),
    /// Pixels a column.
    ShearY(f64),
    /// Share of the width.
    TranslateX(f64),
    /// Share of the height.
    TranslateY(f64),
    /// Deviation in pixels.
    GaussianBlur(f64),
}

impl Operation {
    /// Changes the photo. `resample` and `fill` are for the operations that move pixels; `scratch` is any photo.
    pub fn apply(&self, photo: &mut Photo, resample: Resample, fill: [u8; 3], scratch: &mut Photo) {
        let (width, height) = (photo.width, photo.height);
        let matrix = match *self {
            Operation::AutoContrast => return colour::auto_contrast(photo),
            Operation::Equalize => return colour::equalize(photo),
            Operation::Invert => return colour::invert(photo),
            Operation::Posterize(bits) => return colour::posterize(photo, bits),
            Operation::Solarize(threshold) => return colour::solarize(photo, threshold),
            Operation::SolarizeAdd(add) => return colour::solarize_add(photo, add),
            Operation::Color(factor) => return colour::color(photo, factor),
            Operation::Contrast(factor) => return colour::contrast(photo, factor),
            Operation::Brightness(factor) => return colour::brightness(photo, factor),
            Operation::Sharpness(factor) => return colour::sharpness(photo, factor, scratch),
            Operation::GaussianBlur(radius) => return blur::gaussian_blur(photo, radius),
            Operation::Rotate(degrees) => affine::rotate(degrees, width, height),
            Operation::ShearX(factor) => affine::shear_x(factor),
            Operation::ShearY(factor) => affine::shear_y(factor),
            Operation::TranslateX(share) => affine::translate(share * width as f64, 0.0),
            Operation::TranslateY(share) => affine::translate(0.0, share * height as f64),
        };
        affine::transform(photo, matrix, resample, fill, scratch);
        core::mem::swap(photo, scratch);
    }
}

/// An operation before its strength is drawn, under timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "timm's names; Operation says what they do")]
pub enum Kind {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    PosterizeIncreasing,
    Solarize,
    SolarizeIncreasing,
    SolarizeAdd,
    Color,
    ColorIncreasing,
    Contrast,
    ContrastIncreasing,
    Brightness,
    BrightnessIncreasing,
    Sharpness,
    SharpnessIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
    Desaturate,
    GaussianBlur,
}

impl Kind {
    /// The operation at a level from 0 to 10 (timm lets `mmax` raise the limit); `negate` is for those that go both ways.
    pub fn at_level(self, level: f64, negate: bool) -> Operation {
        let share = level / LEVELS;
        let signed = |v: f64| if negate { -v } else { v };
        let factor = share * 1.8 + 0.1;
        let increasing = (1.0 + signed(share * 0.9)).max(0.1);
        let bits = (share * 4.0) as u8;
        let threshold = ((share * 256.0) as u16).min(256);
        match self {
            Kind::AutoContrast => Operation::AutoContrast,
            Kind::Equalize => Operation::Equalize,
            Kind::Invert => Operation::Invert,
            Kind::Rotate => Operation::Rotate(signed(share * 30.0)),
            Kind::Posterize => Operation::Posterize(bits),
            Kind::PosterizeIncreasing => Operation::Posterize(4u8.saturating_sub(bits)),
            Kind::Solarize => Operation::Solarize(threshold),
            Kind::SolarizeIncreasing => Operation::Solarize(256 - threshold),
            Kind::SolarizeAdd => Operation::SolarizeAdd(((share * 110.0) as u8).min(128)),
            Kind::Color => Operation::Color(factor),
            Kind::ColorIncreasing => Operation::Color(increasing),
            Kind::Contrast => Operation::Contrast(factor),
            Kind::ContrastIncreasing => Operation::Contrast(increasing),
            Kind::Brightness => Operation::Brightness(factor),
            Kind::BrightnessIncreasing => Operation::Brightness(increasing),
            Kind::Sharpness => Operation::Sharpness(factor),
            Kind::SharpnessIncreasing => Operation::Sharpness(increasing),
            Kind::ShearX => Operation::ShearX(signed(share * 0.3)),
            Kind::ShearY => Operation::ShearY(signed(share * 0.3)),
            Kind::TranslateXRel => Operation::TranslateX(signed(share * TRANSLATE)),
            Kind::TranslateYRel => Operation::TranslateY(signed(share * TRANSLATE)),
            Kind::Desaturate => Operation::Color(1.0 - (0.5 + 0.5 * share).clamp(0.5, 1.0)),
            Kind::GaussianBlur => Operation::GaussianBlur((0.1 + 1.9 * share).clamp(0.1, 2.0)),
        }
    }
}

/// timm's set of operations whose strength does not always grow with the magnitude.
pub const PLAIN: [Kind; 15] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Invert,
    Kind::Rotate,
    Kind::Posterize,
    Kind::Solarize,
    Kind::SolarizeAdd,
    Kind::Color,
    Kind::Contrast,
    Kind::Brightness,
    Kind::Sharpness,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];

/// timm's set of operations whose strength grows with the magnitude (`inc1`).
pub const INCREASING: [Kind; 15] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Invert,
    Kind::Rotate,
    Kind::PosterizeIncreasing,
    Kind::SolarizeIncreasing,
    Kind::SolarizeAdd,
    Kind::ColorIncreasing,
    Kind::ContrastIncreasing,
    Kind::BrightnessIncreasing,
    Kind::SharpnessIncreasing,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];

/// 3-Augment's set (`t3a`).
pub const THREE: [Kind; 3] = [
    Kind::SolarizeIncreasing,
    Kind::Desaturate,
    Kind::GaussianBlur,
];

/// timm's weighted set (`tweights`).
pub const WEIGHTED: [(Kind, f64); 15] = [
    (Kind::Rotate, 3.0),
    (Kind::ShearX, 2.0),
    (Kind::ShearY, 2.0),
    (Kind::TranslateXRel, 1.0),
    (Kind::TranslateYRel, 1.0),
    (Kind::ColorIncreasing, 0.25),
    (Kind::SharpnessIncreasing, 0.25),
    (Kind::AutoContrast, 0.25),
    (Kind::SolarizeIncreasing, 0.05),
    (Kind::SolarizeAdd, 0.05),
    (Kind::ContrastIncreasing, 0.05),
    (Kind::BrightnessIncreasing, 0.05),
    (Kind::Equalize, 0.05),
    (Kind::PosterizeIncreasing, 0.05),
    (Kind::Invert, 0.05),
];

/// A parsed option string.
#[derive(Clone, Debug, PartialEq)]
pub struct RandAugment {
    /// The set that is drawn from.
    pub kinds: Vec<Kind>,
    /// Their weights; then no operation comes twice. Empty: all alike, with repetition.
    pub weights: Vec<f64>,
    /// Operations per image (`n`).
    pub layers: usize,
    /// Mean strength (`m`).
    pub magnitude: f64,
    /// Deviation of the strength (`mstd`); infinite: uniform from 0 to the magnitude.
    pub magnitude_std: f64,
    /// Largest strength (`mmax`).
    pub magnitude_max: f64,
    /// Probability with which an operation that was drawn is applied (`p`).
    pub probability: f64,
}

/// What is wrong with an option string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOption {
    part: String,
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "has the unknown part '{}'; expected rand followed by any of -mN (strength 0 to 10), -nN (operations), -pX (probability), \
             -mstdX, -mmaxN, -inc0 or -inc1, -tweights, -t3a, as in rand-m9-mstd0.5-inc1",
            self.part
        )
    }
}

impl RandAugment {
    /// Reads timm's option string.
    ///
    /// # Errors
    /// [`BadOption`] names the part that is not understood.
    pub fn parse(text: &str) -> Result<RandAugment, BadOption> {
        let mut parts = text.split('-');
        let bad = |part: &str| BadOption { part: part.into() };
        match parts.next() {
            Some("rand") => {}
            other => return Err(bad(other.unwrap_or_default())),
        }
        let mut parsed = RandAugment {
            kinds: Vec::new(),
            weights: Vec::new(),
            layers: 2,
            magnitude: LEVELS,
            magnitude_std: 0.0,
            magnitude_max: LEVELS,
            probability: 0.5,
        };
        let (mut set, mut increasing) = (None, false);
        for part in parts {
            let digits = part.find(|c: char| c.is_ascii_digit());
            let (key, value) = part.split_at(digits.unwrap_or(part.len()));
            let number = || -> Result<f64, BadOption> {
                let number = value.parse::<f64>().map_err(|_| bad(part))?;
                if number.is_finite() {
                    Ok(number)
                } else {
                    Err(bad(part))
                }
            };
            match key {
                "m" => parsed.magnitude = number()?,
                // Above 100 timm draws the strength uniformly.
                "mstd" => {
                    parsed.magnitude_std = Some(number()?)
                        .filter(|&s| s <= 100.0)
                        .unwrap_or(f64::INFINITY)
                }
                "mmax" => {
                    parsed.magnitude_max = Some(number()?)
                        .filter(|&m| m > 0.0)
                        .ok_or_else(|| bad(part))?
                }
                "p" => {
                    parsed.probability = Some(number()?)
                        .filter(|&p| p <= 1.0)
                        .ok_or_else(|| bad(part))?
                }
                "n" => {
                    parsed.layers = value
                        .parse()
                        .ok()
                        .filter(|n| (1..=15).contains(n))
                        .ok_or_else(|| bad(part))?
                }
                "inc" if value == "0" || value == "1" => increasing = value == "1",
                "t" | "tweights" if part == "t3a" || part == "tweights" => set = Some(part),
                _ => return Err(bad(part)),
            }
        }
        match set {
            Some("t3a") => parsed.kinds.extend(THREE),
            Some(_) => {
                parsed.kinds.extend(WEIGHTED.map(|(kind, _)| kind));
                parsed.weights.extend(WEIGHTED.map(|(_, weight)| weight));
            }
            None => parsed
                .kinds
                .extend(if increasing { INCREASING } else { PLAIN }),
        }
        Ok(parsed)
    }

    /// Draws the operations for one image, each with a resampling of the given ones.
    pub fn draw(&self, random: &mut Keyed, resample: &[Resample]) -> Vec<(Operation, Resample)> {
        let mut drawn = Vec::with_capacity(self.layers);
        let mut weights = self.weights.clone();
        for _ in 0..self.layers {
            let kind = if weights.is_empty() {
                random.choice(&self.kinds).copied()
            } else {
                let kind = random.weighted(&weights);
                if let Some(weight) = weights.get_mut(kind) {
                    *weight = 0.0;
                }
                self.kinds.get(kind).copied()
            };
            let Some(kind) = kind.filter(|_| random.chance(self.probability)) else {
                continue;
            };
            let level = self.draw_level(random);
            let negate = random.chance(0.5);
            let resample = random
                .choice(resample)
                .copied()
                .unwrap_or(Resample::Bicubic);
            drawn.push((kind.at_level(level, negate), resample));
        }
        drawn
    }

    fn draw_level(&self, random: &mut Keyed) -> f64 {
        let level = if self.magnitude_std.is_infinite() {
            random.uniform(0.0, self.magnitude)
        } else if self.magnitude_std > 0.0 {
            self.magnitude + self.magnitude_std * random.normal()
        } else {
            self.magnitude
        };
        level.clamp(0.0, self.magnitude_max)
    }
}
