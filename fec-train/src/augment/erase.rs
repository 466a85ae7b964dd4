//! Random erasing (Zhong and others 2017), as timm does it: a rectangle of the normalised image becomes noise, one random colour, or the mean.

use super::crop::Region;
use crate::random::Keyed;

/// Smallest and largest share of the image that is erased.
const AREA: [f64; 2] = [0.02, 1.0 / 3.0];
/// Smallest ratio of height to width; the largest is its inverse.
const ASPECT: f64 = 0.3;

/// What an erased rectangle is filled with (`remode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// The mean colour: zeros.
    Const,
    /// One normal number per channel.
    Rand,
    /// A normal number per value.
    #[default]
    Pixel,
}

/// Settings of random erasing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erasing {
    /// Share of the images (`reprob`).
    pub probability: f64,
    /// What is filled in (`remode`).
    pub fill: Fill,
    /// Most rectangles per image, which share the area (`recount`).
    pub count: usize,
}

impl Erasing {
    /// Draws the rectangles of one image.
    pub fn draw(&self, random: &mut Keyed, height: usize, width: usize) -> Vec<Region> {
        const TRIES: usize = 10;
        if !random.chance(self.probability) {
            return Vec::new();
        }
        let count = 1 + random.below(self.count.max(1));
        let area = (height * width) as f64;
        let mut region = || {
            let target = random.uniform(AREA[0], AREA[1]) * area / count as f64;
            let limit = libm::log(ASPECT);
            let aspect = libm::exp(random.uniform(limit, -limit));
            let erased_height = (target * aspect).sqrt().round_ties_even() as usize;
            let erased_width = (target / aspect).sqrt().round_ties_even() as usize;
            (erased_width < width && erased_height < height).then(|| Region {
                top: random.below(height - erased_height + 1),
                left: random.below(width - erased_width + 1),
                height: erased_height,
                width: erased_width,
            })
        };
        (0..count)
            .filter_map(|_| (0..TRIES).find_map(|_| region()))
            .collect()
    }

    /// Fills a rectangle of an image [height, width, 3] with so many columns; what lies outside is left out.
    pub fn erase(&self, image: &mut [f32], width: usize, region: Region, random: &mut Keyed) {
        let mut noise = match self.fill {
            Fill::Const => vec![0.0; 3],
            Fill::Rand => vec![0.0; 3],
            Fill::Pixel => vec![0.0; region.width * 3],
        };
        if self.fill == Fill::Rand {
            random.fill_normal(&mut noise);
        }
        let rows = image.chunks_exact_mut((width * 3).max(1));
        for row in rows.skip(region.top).take(region.height) {
            if self.fill == Fill::Pixel {
                random.fill_normal(&mut noise);
            }
            let erased = row.iter_mut().skip(region.left * 3).take(region.width * 3);
            for (value, &new) in erased.zip(noise.iter().cycle()) {
                *value = new;
            }
        }
    }
}
