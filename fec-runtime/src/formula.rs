//! Weights and images from closed formulas (SPEC 11): any machine rebuilds the same network and picture, bit for bit.

use core::fmt::{self, Write};

use crate::config::OfficialTensor;
use crate::image::ImageSize;

/// The formula weights of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct TensorFormula {
    seed: u32,
    offset: f64,
    spread: f64,
}

impl TensorFormula {
    /// The formula of `tensor`, chosen by its name and shape.
    pub fn new(tensor: &OfficialTensor) -> Self {
        let mut hash = NameHash(0x811C_9DC5);
        // Hashing cannot fail: NameHash's write_str always returns Ok.
        let _ = write!(hash, "{tensor}");
        let fan_in = tensor.shape().iter().skip(1).product::<usize>();
        let (offset, spread) = match tensor.suffix {
            name if name.ends_with("sim_alpha") => (4.0, 1.0),
            name if name.ends_with("sim_beta") => (-1.0, 0.5),
            name if name.contains("layer_scale") => (0.3, 0.1),
            name if name.contains("norm") && name.ends_with("weight") => (1.0, 0.2),
            _ if tensor.shape().len() == 1 => (0.0, 0.1),
            _ => (0.0, libm::sqrt(3.0 / fan_in as f64)),
        };
        Self {
            seed: hash.0,
            offset,
            spread,
        }
    }

    /// Value `index` in row-major order of the official shape.
    pub fn value(&self, index: usize) -> f32 {
        let mut z = (index as u32)
            .wrapping_mul(0x9E37_79B1)
            .wrapping_add(self.seed);
        z = (z ^ (z >> 16)).wrapping_mul(0x85EB_CA6B);
        z = (z ^ (z >> 13)).wrapping_mul(0xC2B2_AE35);
        z ^= z >> 16;
        let u = f64::from(z >> 8) / f64::from(1 << 24) * 2.0 - 1.0;
        (self.offset + self.spread * u) as f32
    }
}

/// FNV-1a over the bytes written to it.
struct NameHash(u32);

impl Write for NameHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Ok(())
    }
}

/// The formula image as [3, H, W], for whom evaluating the formula again and again would cost too much.
#[cfg(feature = "alloc")]
pub fn image(size: ImageSize, index: usize) -> alloc::vec::Vec<f32> {
    let rows = (0..3).flat_map(|c| (0..size.height).map(move |y| (c, y)));
    rows.flat_map(|(c, y)| (0..size.width).map(move |x| image_value(size, c, y, x, index)))
        .collect()
}

/// The formula image (kind "waves") at channel c, row y, column x: about -2 to 2.
pub fn image_value(size: ImageSize, c: usize, y: usize, x: usize, index: usize) -> f32 {
    // The formula has this period in the index (lcm of 2 * 97, 2 * 61 and 3): no index overflows.
    let index = index % 35_502;
    let triangle = |t: usize, q: usize| (t % (2 * q)).abs_diff(q);
    let a = 2 * triangle(x * (3 + c) + y * (2 + index) + 17 * c, 97);
    let b = 3 * triangle(x * y / 16 + 31 * c + 7 * index, 61);
    let s = 60 * ((x * 5 / size.width + y * 4 / size.height + c + index) % 3);
    ((a + b + s) % 512) as f32 / 128.0 - 2.0
}
