//! Colour operations on 8-bit images, as PIL's `ImageOps` and `ImageEnhance` compute them, byte for byte.

use fec::Photo;

/// New values per channel for the 256 old ones.
type Table = [[u8; 256]; 3];

/// Negates.
pub fn invert(photo: &mut Photo) {
    look_up(photo, &same(|v| 255 - v));
}

/// Negates all values from `threshold` (0 to 256) on.
pub fn solarize(photo: &mut Photo, threshold: u16) {
    look_up(
        photo,
        &same(|v| if u16::from(v) < threshold { v } else { 255 - v }),
    );
}

/// Adds to all values below 128.
pub fn solarize_add(photo: &mut Photo, add: u8) {
    look_up(
        photo,
        &same(|v| if v < 128 { v.saturating_add(add) } else { v }),
    );
}

/// Keeps the upper `bits` bits, 0 to 8.
pub fn posterize(photo: &mut Photo, bits: u8) {
    let mask = (0xFF00u32 >> bits.min(8)) as u8;
    look_up(photo, &same(|v| v & mask));
}

/// Stretches each channel to the whole range.
pub fn auto_contrast(photo: &mut Photo) {
    let table = histograms(photo).map(|histogram| {
        let low = histogram.iter().position(|&n| n > 0).unwrap_or(0);
        let high = histogram.iter().rposition(|&n| n > 0).unwrap_or(0);
        if high <= low {
            return identity();
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        core::array::from_fn(|v| (v as f64 * scale + offset) as u8)
    });
    look_up(photo, &table);
}

/// Makes all values of each channel about equally frequent.
pub fn equalize(photo: &mut Photo) {
    let table = histograms(photo).map(|histogram| {
        let last = histogram
            .iter()
            .rev()
            .find(|&&n| n > 0)
            .copied()
            .unwrap_or(0);
        let step = (histogram.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return identity();
        }
        let mut below = step / 2;
        histogram.map(|n| {
            let value = (below / step).min(255) as u8;
            below += n;
            value
        })
    });
    look_up(photo, &table);
}

/// Blends with black: 0 is black, 1 the photo, 2 twice as bright.
pub fn brightness(photo: &mut Photo, factor: f64) {
    look_up(photo, &same(|v| blend(0, v, factor)));
}

/// Blends with the photo's mean grey.
pub fn contrast(photo: &mut Photo, factor: f64) {
    let (pixels, _) = photo.pixels.as_chunks::<3>();
    // In pieces whose sums fit into 32 bits, which are faster.
    let piece =
        |piece: &[[u8; 3]]| u64::from(piece.iter().map(|&p| u32::from(grey(p))).sum::<u32>());
    let sum: u64 = pulp::Arch::new().dispatch(
        #[inline(always)]
        || pixels.chunks(4096).map(piece).sum(),
    );
    let mean = (sum as f64 / pixels.len().max(1) as f64 + 0.5) as u8;
    look_up(photo, &same(|v| blend(mean, v, factor)));
}

/// Blends with the grey photo: 0 is grey, 1 the photo, 2 twice as colourful.
pub fn color(photo: &mut Photo, factor: f64) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for pixel in photo.pixels.as_chunks_mut::<3>().0 {
                let grey = grey(*pixel);
                *pixel = pixel.map(|v| blend(grey, v, factor));
            }
        },
    );
}

/// Blends with the smoothed photo: 0 is smoothed, 1 the photo, 2 sharpened. The smoothed photo's edge pixels are the photo's own.
pub fn sharpness(photo: &mut Photo, factor: f64, scratch: &mut Photo) {
    scratch.clone_from(photo);
    let stride = photo.width * 3;
    let source = &scratch.pixels;
    if photo.height < 3 || photo.width < 3 || source.len() != photo.height * stride {
        return;
    }
    for y in 1..photo.height - 1 {
        let row = |y: usize| source.get(y * stride..(y + 1) * stride).unwrap_or_default();
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        let columns = |row| -> core::slice::Windows<'_, u8> { <[u8]>::windows(row, 7) };
        let out = photo.pixels.iter_mut().skip(y * stride + 3);
        let taps = columns(above).zip(columns(here)).zip(columns(below));
        for (out, ((above, here), below)) in out.zip(taps) {
            let three = |row: &[u8]| match row {
                &[a, _, _, b, _, _, c] => u32::from(a) + u32::from(b) + u32::from(c),
                _ => 0,
            };
            // Weights 1 1 1, 1 5 1, 1 1 1 of 13, rounded to the nearest; a tie cannot be, 13 being odd.
            let sum = three(above) + three(here) + three(below) + 4 * u32::from(*out);
            let smooth = ((2 * sum + 13) / 26) as u8;
            *out = blend(smooth, *out, factor);
        }
    }
}

/// PIL's grey of a pixel.
#[inline(always)]
pub fn grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// `from` at factor 0, `to` at 1, beyond it in proportion: in f32, and cut to 0..=255, as PIL's `blend`.
#[inline(always)]
fn blend(from: u8, to: u8, factor: f64) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor as f32 * (to - from)).clamp(0.0, 255.0) as i32 as u8
}

fn identity() -> [u8; 256] {
    core::array::from_fn(|v| v as u8)
}

/// The same new values for all channels.
fn same(new: impl Fn(u8) -> u8) -> Table {
    [core::array::from_fn(|v| new(v as u8)); 3]
}

fn look_up(photo: &mut Photo, [red, green, blue]: &Table) {
    for [r, g, b] in photo.pixels.as_chunks_mut::<3>().0 {
        *r = red[usize::from(*r)];
        *g = green[usize::from(*g)];
        *b = blue[usize::from(*b)];
    }
}

fn histograms(photo: &Photo) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in photo.pixels.as_chunks::<3>().0 {
        for (counts, &v) in counts.iter_mut().zip(pixel) {
            counts[usize::from(v)] += 1;
        }
    }
    counts
}
