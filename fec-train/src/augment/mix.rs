//! Mixup and cutmix with soft targets, as timm's `Mixup` in its batch mode: the batch is mixed with itself in reverse order, all images by
//! the same share.

use super::crop::Region;
use crate::random::Keyed;

/// Settings of mixup and cutmix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    /// Alpha of mixup's Beta distribution; 0 without mixup.
    pub mixup: f64,
    /// Alpha of cutmix's Beta distribution; 0 without cutmix.
    pub cutmix: f64,
    /// Probability that a batch is mixed at all (`mixup-prob`).
    pub probability: f64,
    /// Probability of cutmix where both are on (`mixup-switch-prob`).
    pub switch: f64,
    /// First epoch without mixing; 0: all epochs mix (`mixup-off-epoch`).
    pub off_epoch: u64,
}

/// How a batch is mixed. `keep` is the share of an image's own target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// As it is.
    None,
    /// Both images, weighted.
    Mixup {
        /// Share of the image itself.
        keep: f32,
    },
    /// A rectangle of the other image.
    Cutmix {
        /// The rectangle.
        region: Region,
        /// Share of the image outside it.
        keep: f32,
    },
}

impl Mixing {
    /// Draws how a batch of images of this size is mixed.
    pub fn draw(&self, random: &mut Keyed, epoch: u64, height: usize, width: usize) -> Mix {
        let off = self.off_epoch > 0 && epoch >= self.off_epoch;
        let none = self.mixup <= 0.0 && self.cutmix <= 0.0;
        if off || none || !random.chance(self.probability) {
            return Mix::None;
        }
        let cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => random.chance(self.switch),
            (mixup, _) => !mixup,
        };
        if !cut {
            let keep = random.beta(self.mixup, self.mixup) as f32;
            return Mix::Mixup { keep };
        }
        let share = random.beta(self.cutmix, self.cutmix);
        let (row, column) = (random.below(height), random.below(width));
        cutmix(share, (row, column), height, width)
    }
}

/// Cutmix with a rectangle about that pixel, which covers 1 - `share` of the image where it does not reach over the edge.
pub fn cutmix(share: f64, (row, column): (usize, usize), height: usize, width: usize) -> Mix {
    let side = (1.0 - share).max(0.0).sqrt();
    let cut = |at: usize, len: usize| {
        let cut = (len as f64 * side) as usize;
        let from = at.saturating_sub(cut / 2).min(len);
        (from, (at + cut.div_ceil(2)).min(len) - from)
    };
    let ((top, cut_height), (left, cut_width)) = (cut(row, height), cut(column, width));
    let region = Region {
        top,
        left,
        height: cut_height,
        width: cut_width,
    };
    let keep = 1.0 - region.area() as f64 / (height * width).max(1) as f64;
    Mix::Cutmix {
        region,
        keep: keep as f32,
    }
}

impl Mix {
    /// Mixes a batch of images [B, height, width, 3], `image_len` values each.
    pub fn apply(&self, images: &mut [f32], image_len: usize, width: usize) {
        let count = images.len().checked_div(image_len).unwrap_or(0);
        let (front, back) = images.split_at_mut(count / 2 * image_len);
        // Of an odd number the image in the middle is its own partner, which changes nothing.
        let back = back.get_mut(count % 2 * image_len..).unwrap_or_default();
        let stride = (width * 3).max(1);
        let pairs = front
            .chunks_exact_mut(image_len.max(1))
            .zip(back.chunks_exact_mut(image_len.max(1)).rev());
        for (a, b) in pairs {
            match *self {
                Mix::None => {}
                Mix::Mixup { keep } => {
                    for (a, b) in a.iter_mut().zip(b) {
                        (*a, *b) = (*a * keep + *b * (1.0 - keep), *b * keep + *a * (1.0 - keep));
                    }
                }
                Mix::Cutmix { region, .. } => {
                    let rows = a.chunks_exact_mut(stride).zip(b.chunks_exact_mut(stride));
                    for (a, b) in rows.skip(region.top).take(region.height) {
                        let pixels = a.iter_mut().zip(b).skip(region.left * 3);
                        for (a, b) in pixels.take(region.width * 3) {
                            core::mem::swap(a, b);
                        }
                    }
                }
            }
        }
    }

    /// Share of an image's own target.
    pub fn keep(&self) -> f32 {
        match *self {
            Mix::None => 1.0,
            Mix::Mixup { keep } | Mix::Cutmix { keep, .. } => keep,
        }
    }
}

/// Soft targets [B, classes] of a batch mixed by `keep`: 1 - `smoothing` for the label, the rest shared by all classes.
pub fn targets(labels: &[u32], classes: usize, smoothing: f32, keep: f32) -> Vec<f32> {
    let off = smoothing / classes.max(1) as f32;
    let on = 1.0 - smoothing + off;
    let mut targets = Vec::with_capacity(labels.len() * classes);
    for (&own, &other) in labels.iter().zip(labels.iter().rev()) {
        targets.extend((0..classes as u32).map(|class| {
            let value = |label: u32| if class == label { on } else { off };
            value(own) * keep + value(other) * (1.0 - keep)
        }));
    }
    targets
}
