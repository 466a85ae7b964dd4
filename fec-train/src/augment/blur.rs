//! Gaussian blur as PIL's `GaussianBlur` computes it: three box blurs along the rows, then three along the columns, each rounded to 8 bits.

use fec::Photo;

/// Box blurs that make one Gaussian.
const PASSES: u32 = 3;

/// Blurs with a Gaussian of this deviation in pixels.
pub fn gaussian_blur(photo: &mut Photo, radius: f64) {
    let radius = box_radius(radius as f32);
    let (width, height) = (photo.width, photo.height);
    if radius <= 0.0 || photo.pixels.len() != width * height * 3 {
        return;
    }
    let mut line = Vec::new();
    let mut blurred = Vec::new();
    let mut along = |start: usize, step: usize, len: usize| {
        line.clear();
        line.extend((0..len).filter_map(|i| photo.pixels.get(start + i * step)));
        for _ in 0..PASSES {
            box_blur(&line, radius, &mut blurred);
            core::mem::swap(&mut line, &mut blurred);
        }
        for (i, &value) in line.iter().enumerate() {
            if let Some(to) = photo.pixels.get_mut(start + i * step) {
                *to = value;
            }
        }
    };
    for channel in 0..3 {
        (0..height).for_each(|y| along(y * width * 3 + channel, 3, width));
    }
    for channel in 0..3 {
        (0..width).for_each(|x| along(x * 3 + channel, width * 3, height));
    }
}

/// The radius of the boxes, with a broken part, in f32 as in PIL (Gwosdek and others 2011).
fn box_radius(radius: f32) -> f32 {
    let variance = radius * radius / PASSES as f32;
    let side = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((f64::from(side) - 1.0) / 2.0).floor() as f32;
    let broken = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    whole + broken
}

/// The mean over a box around each value, the ends of the box weighted by the broken part of its radius; 24 fractional bits.
fn box_blur(line: &[u8], radius: f32, out: &mut Vec<u8>) {
    out.clear();
    let (Some(&first), Some(&last)) = (line.first(), line.last()) else {
        return;
    };
    let whole = radius as usize;
    let weight = ((1u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
    let edge_weight = ((1u32 << 24) - (whole as u32 * 2 + 1) * weight) / 2;
    let value = |i: isize| -> u32 {
        if i < 0 {
            return u32::from(first);
        }
        line.get(i as usize)
            .copied()
            .map_or(u32::from(last), u32::from)
    };
    let reach = whole as isize;
    let mut sum: u32 = (-reach - 1..reach).map(value).sum();
    for i in 0..line.len() as isize {
        sum = sum + value(i + reach) - value(i - reach - 1);
        let edges = value(i - reach - 1) + value(i + reach + 1);
        out.push(((sum * weight + edges * edge_weight + (1 << 23)) >> 24) as u8);
    }
}
