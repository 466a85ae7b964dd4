//! Augmentation: timm's operations on 8-bit photos and on normalised batches.
//!
//! Every operation is a pure function of explicit parameters; the parameters are drawn apart from it, by [`Keyed`] generators.

pub mod affine;
pub mod blur;
pub mod colour;
pub mod crop;
pub mod erase;
pub mod mix;
pub mod rand_augment;
pub mod resize;

use fec::Photo;

use crate::random::Keyed;
use affine::Resample;
use crop::Region;
use rand_augment::{Operation, RandAugment};

/// How an image is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crop {
    /// timm's random resized crop (`scale`, `ratio`).
    Resized {
        /// Smallest and largest share of the area.
        scale: [f64; 2],
        /// Smallest and largest ratio of width to height.
        ratio: [f64; 2],
    },
    /// A crop of the full size from a photo of the network's size whose edges are mirrored outwards by so many pixels (`pad-crop`).
    Padded(usize),
}

/// What happens to the colours.
#[derive(Clone, Debug, PartialEq)]
pub enum Colours {
    /// Nothing.
    None,
    /// Brightness, contrast and colourfulness in random order, each by a factor of 1 ± this (`color-jitter`).
    Jitter(f64),
    /// RandAugment, which also moves pixels (`aa`).
    Rand(RandAugment),
}

/// The augmentation of single images.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Side of the result, in pixels.
    pub side: usize,
    /// How an image is cut.
    pub crop: Crop,
    /// Resampling filters that one is drawn from.
    pub resample: Vec<Resample>,
    /// Probability of a mirror image.
    pub hflip: f64,
    /// Probability of standing on its head.
    pub vflip: f64,
    /// What happens to the colours.
    pub colours: Colours,
    /// Colour of what lies outside the image.
    pub fill: [u8; 3],
}

/// What was drawn for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The cut.
    pub cut: Cut,
    /// Left becomes right.
    pub hflip: bool,
    /// Top becomes bottom.
    pub vflip: bool,
    /// Then these, in this order.
    pub operations: Vec<(Operation, Resample)>,
}

/// A cut with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A region, resized.
    Resized(Region, Resample),
    /// The corner of a crop of the full size, which may lie outside.
    Padded(isize, isize),
}

impl Augmentation {
    /// Draws for an image of this height and width.
    pub fn draw(&self, random: &mut Keyed, size: (usize, usize)) -> Drawn {
        let cut = match self.crop {
            Crop::Resized { scale, ratio } => {
                let region = crop::draw_resized_crop(random, size, scale, ratio);
                Cut::Resized(region, self.draw_resample(random))
            }
            Crop::Padded(pad) => {
                let mut corner = |len: usize| {
                    let room = (len + 2 * pad).saturating_sub(self.side);
                    random.below(room + 1) as isize - pad as isize
                };
                let top = corner(size.0);
                Cut::Padded(top, corner(size.1))
            }
        };
        Drawn {
            cut,
            hflip: random.chance(self.hflip),
            vflip: random.chance(self.vflip),
            operations: match &self.colours {
                Colours::None => Vec::new(),
                Colours::Jitter(strength) => draw_jitter(random, *strength),
                Colours::Rand(rand) => rand.draw(random, &self.resample),
            },
        }
    }

    fn draw_resample(&self, random: &mut Keyed) -> Resample {
        random
            .choice(&self.resample)
            .copied()
            .unwrap_or(Resample::Bicubic)
    }

    /// The augmented image, of the full size.
    pub fn apply(&self, photo: &Photo, drawn: &Drawn) -> Photo {
        let side = self.side;
        let mut out = match drawn.cut {
            Cut::Resized(region, resample) => {
                resize::resize_region(photo, region, side, side, resample)
            }
            Cut::Padded(top, left) => crop::reflected_crop(photo, (top, left), side, side),
        };
        if drawn.hflip {
            crop::flip_horizontally(&mut out);
        }
        if drawn.vflip {
            crop::flip_vertically(&mut out);
        }
        let mut scratch = Photo::default();
        for (operation, resample) in &drawn.operations {
            operation.apply(&mut out, *resample, self.fill, &mut scratch);
        }
        out
    }
}

/// torchvision's `ColorJitter` without hue: three factors around 1, in random order.
fn draw_jitter(random: &mut Keyed, strength: f64) -> Vec<(Operation, Resample)> {
    let mut factor = || random.uniform((1.0 - strength).max(0.0), 1.0 + strength);
    let mut operations = [
        Operation::Brightness(factor()),
        Operation::Contrast(factor()),
        Operation::Color(factor()),
    ];
    random.shuffle(&mut operations);
    operations.map(|op| (op, Resample::Bicubic)).to_vec()
}
