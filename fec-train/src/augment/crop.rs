//! Crops and flips: timm's `RandomResizedCropAndInterpolation`, torchvision's padded `RandomCrop`, mirror images.

use fec::Photo;

use crate::random::Keyed;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Region {
    /// All of an image.
    pub fn whole(height: usize, width: usize) -> Region {
        Region {
            top: 0,
            left: 0,
            height,
            width,
        }
    }

    /// Pixels in it.
    pub fn area(&self) -> usize {
        self.height * self.width
    }
}

/// Draws the region of a random resized crop: a share of the area within `scale`, a ratio of width to height within `ratio` (its logarithm
/// uniform). When ten draws do not fit in the image, it is the largest region in the middle whose ratio is allowed.
pub fn draw_resized_crop(
    random: &mut Keyed,
    (height, width): (usize, usize),
    scale: [f64; 2],
    ratio: [f64; 2],
) -> Region {
    const TRIES: usize = 10;
    let area = (height * width) as f64;
    let [lowest, highest] = ratio;
    for _ in 0..TRIES {
        let target = random.uniform(scale[0], scale[1]) * area;
        let aspect = libm::exp(random.uniform(libm::log(lowest), libm::log(highest)));
        let region_width = (target * aspect).sqrt().round_ties_even() as usize;
        let region_height = (target / aspect).sqrt().round_ties_even() as usize;
        let fits = (1..=width).contains(&region_width) && (1..=height).contains(&region_height);
        if fits {
            return Region {
                top: random.below(height - region_height + 1),
                left: random.below(width - region_width + 1),
                height: region_height,
                width: region_width,
            };
        }
    }
    middle(height, width, lowest, highest)
}

/// The largest region in the middle whose ratio is allowed.
fn middle(height: usize, width: usize, lowest: f64, highest: f64) -> Region {
    let ratio = width as f64 / height.max(1) as f64;
    let rounded = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most.max(1));
    let (region_height, region_width) = if ratio < lowest {
        (rounded(width as f64 / lowest, height), width)
    } else if ratio > highest {
        (height, rounded(height as f64 * highest, width))
    } else {
        (height, width)
    };
    Region {
        top: height.saturating_sub(region_height) / 2,
        left: width.saturating_sub(region_width) / 2,
        height: region_height,
        width: region_width,
    }
}

/// A crop of `height` x `width` from the photo whose edges are mirrored outwards (without the edge pixel itself, as numpy's `reflect`):
/// `top` and `left` count from the photo's corner and may be negative.
pub fn reflected_crop(
    photo: &Photo,
    (top, left): (isize, isize),
    height: usize,
    width: usize,
) -> Photo {
    let (pixels, _) = photo.pixels.as_chunks::<3>();
    let columns: Vec<usize> = (0..width)
        .map(|x| mirrored(left + x as isize, photo.width))
        .collect();
    let mut out = vec![[0; 3]; width * height];
    for (y, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let start = mirrored(top + y as isize, photo.height) * photo.width;
        let row = pixels.get(start..start + photo.width).unwrap_or_default();
        for (to, &x) in out.iter_mut().zip(&columns) {
            *to = row.get(x).copied().unwrap_or_default();
        }
    }
    Photo {
        width,
        height,
        pixels: out.into_flattened(),
    }
}

/// The index inside of one that may lie outside, mirrored at the edge pixels as often as needed.
fn mirrored(index: isize, len: usize) -> usize {
    let last = len.saturating_sub(1) as isize;
    if last == 0 {
        return 0;
    }
    let folded = index.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}

/// Left becomes right.
pub fn flip_horizontally(photo: &mut Photo) {
    let stride = (photo.width * 3).max(1);
    for row in photo.pixels.chunks_exact_mut(stride) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

/// Top becomes bottom.
pub fn flip_vertically(photo: &mut Photo) {
    let stride = photo.width * 3;
    let half = photo.height / 2 * stride;
    let bottom = photo.pixels.len().saturating_sub(half);
    let (top, rest) = photo.pixels.split_at_mut(half.min(bottom));
    let rest_len = rest.len();
    let bottom = rest
        .get_mut(rest_len.saturating_sub(half)..)
        .unwrap_or_default();
    let rows = top.chunks_exact_mut(stride.max(1));
    for (above, below) in rows.zip(bottom.chunks_exact_mut(stride.max(1)).rev()) {
        above.swap_with_slice(below);
    }
}
