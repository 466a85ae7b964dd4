//! Affine transforms of 8-bit images: shear, translation and rotation as PIL's `Image.transform` and `Image.rotate` compute them, byte for
//! byte.
//!
//! Every output pixel is read at one point of the source, by linear or cubic interpolation (a = -1) of its nearest pixels; the edge pixels
//! go on outwards, and where the point itself lies outside there is the fill colour. Values are cut, not rounded, as PIL does it.

use fec::Photo;

/// How a value between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// From 2 x 2 pixels.
    Bilinear,
    /// From 4 x 4 pixels.
    Bicubic,
}

impl Resample {
    /// The filter of the same name for resizing.
    pub fn filter(self) -> fec::Interpolation {
        match self {
            Resample::Bilinear => fec::Interpolation::Bilinear,
            Resample::Bicubic => fec::Interpolation::Bicubic,
        }
    }
}

/// Where an output point (x, y) lies in the source: (a x + b y + c, d x + e y + f) for [a, b, c, d, e, f]. Pixel (i, j) is the point
/// (i + ½, j + ½).
pub type Matrix = [f64; 6];

/// Shear along the rows by `factor` pixels a row.
pub fn shear_x(factor: f64) -> Matrix {
    [1.0, factor, 0.0, 0.0, 1.0, 0.0]
}

/// Shear along the columns by `factor` pixels a column.
pub fn shear_y(factor: f64) -> Matrix {
    [1.0, 0.0, 0.0, factor, 1.0, 0.0]
}

/// The point of the source that comes to lie at the origin.
pub fn translate(x: f64, y: f64) -> Matrix {
    [1.0, 0.0, x, 0.0, 1.0, y]
}

/// Rotation about the middle, counter-clockwise.
pub fn rotate(degrees: f64, width: usize, height: usize) -> Matrix {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    // PIL rounds to 15 decimals, so that right angles are exact.
    let rounded = |v: f64| (v * 1e15).round() / 1e15;
    let (cos, sin) = (rounded(libm::cos(angle)), rounded(libm::sin(angle)));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [
        cos,
        sin,
        cos * -x + sin * -y + x,
        -sin,
        cos,
        -sin * -x + cos * -y + y,
    ]
}

/// The transformed photo, of the same size.
pub fn transform(
    photo: &Photo,
    matrix: Matrix,
    resample: Resample,
    fill: [u8; 3],
    out: &mut Photo,
) {
    let (width, height) = (photo.width, photo.height);
    (out.width, out.height) = (width, height);
    out.pixels.clear();
    out.pixels.reserve(photo.pixels.len());
    if photo.pixels.len() != width * height * 3 {
        return;
    }
    let source = Source {
        pixels: photo.pixels.as_chunks::<3>().0,
        width,
        height,
    };
    let [a, b, c, d, e, f] = matrix;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in 0..height {
                let y = row as f64 + 0.5;
                for column in 0..width {
                    let x = column as f64 + 0.5;
                    let at = (a * x + b * y + c, d * x + e * y + f);
                    let pixel = match resample {
                        Resample::Bilinear => source.interpolate(at, linear),
                        Resample::Bicubic => source.interpolate(at, cubic),
                    };
                    out.pixels.extend(pixel.unwrap_or(fill));
                }
            }
        },
    );
}

struct Source<'a> {
    pixels: &'a [[u8; 3]],
    width: usize,
    height: usize,
}

impl Source<'_> {
    /// The value at a point, from the TAPS x TAPS pixels around it; `None` outside.
    #[inline(always)]
    fn interpolate<const TAPS: usize>(
        &self,
        (x, y): (f64, f64),
        between: impl Fn([f64; TAPS], f64) -> f64,
    ) -> Option<[u8; 3]> {
        let inside = x >= 0.0 && x < self.width as f64 && y >= 0.0 && y < self.height as f64;
        if !inside {
            return None;
        }
        let (column, dx) = split(x - 0.5);
        let (row, dy) = split(y - 0.5);
        let (left, top) = (
            column - (TAPS / 2 - 1) as isize,
            row - (TAPS / 2 - 1) as isize,
        );
        let columns: [usize; TAPS] = core::array::from_fn(|i| clip(left + i as isize, self.width));
        let along = |row: usize| -> [f64; 3] {
            let Some(row) = self.pixels.get(row * self.width..(row + 1) * self.width) else {
                return [0.0; 3];
            };
            let taps = columns.map(|c| row.get(c).copied().unwrap_or_default());
            core::array::from_fn(|c| between(taps.map(|pixel| f64::from(pixel[c])), dx))
        };
        // A point on a row of pixels needs that row alone: the interpolation gives its value exactly.
        let sums = if dy == 0.0 {
            along(clip(row, self.height))
        } else {
            let rows: [[f64; 3]; TAPS] =
                core::array::from_fn(|i| along(clip(top + i as isize, self.height)));
            core::array::from_fn(|c| between(rows.map(|row| row[c]), dy))
        };
        // A cast cuts to 0..=255.
        Some(sums.map(|v| v as u8))
    }
}

/// Whole and broken part of a coordinate of at least -0.5.
#[inline(always)]
fn split(x: f64) -> (isize, f64) {
    let whole = if x < 0.0 { -1 } else { x as isize };
    (whole, x - whole as f64)
}

#[inline(always)]
fn clip(index: isize, len: usize) -> usize {
    (index.max(0) as usize).min(len.saturating_sub(1))
}

#[inline(always)]
fn linear([a, b]: [f64; 2], d: f64) -> f64 {
    a + (b - a) * d
}

#[inline(always)]
fn cubic([v1, v2, v3, v4]: [f64; 4], d: f64) -> f64 {
    let p2 = v3 - v1;
    let p3 = 2.0 * (v1 - v2) + v3 - v4;
    let p4 = -v1 + v2 - v3 + v4;
    v2 + d * (p2 + d * (p3 + d * p4))
}
