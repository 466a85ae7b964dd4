//! Kernels on the shapes that they meet in a network: what `kernels.rs` checks and times.

mod floats;
mod integers;

use fec_runtime::config::{POOLS, Stage};
use fec_runtime::kernels::Kernels;
use fec_runtime::{Config, ImageSize};

/// Runs a kernel of a table.
type Run = Box<dyn Fn(&Kernels, &mut Results)>;

/// One kernel on one shape.
pub struct Case {
    /// The kernel and what the network uses it for, as in `matmul_fc1_gelu`.
    pub kernel: &'static str,
    /// The shape, as in `3136x32x256`.
    pub shape: String,
    /// Multiply-adds, or for kernels without products the values that are read.
    pub elements: u64,
    /// Peak that it is compared with: `f32`, `i8`, or none where it does no products.
    pub peak: Option<&'static str>,
    /// Runs it with a table; what it wrote stands in the results afterwards.
    pub run: Run,
}

/// What a kernel wrote. Each kernel uses what it needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// 32-bit floats.
    pub floats: Vec<f32>,
    /// Further ones.
    pub more: Vec<f32>,
    /// Assignments, or a map in f16.
    pub halves: Vec<u16>,
    /// Quantised values.
    pub bytes: Vec<u8>,
}

impl Results {
    /// Makes room for a kernel's results; what was there before stays.
    fn room(&mut self, floats: usize, more: usize, halves: usize, bytes: usize) {
        self.floats.resize(floats, 0.0);
        self.more.resize(more, 0.0);
        self.halves.resize(halves, 0);
        self.bytes.resize(bytes, 0);
    }

    /// Compares with the portable table's: floats within what sums in another order may differ by, all else exactly; of
    /// assignments one in a hundred may differ where that is so (two centres may be equally near).
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, portable: &Results, exactly: bool) -> crate::Result<()> {
        if exactly {
            if self == portable {
                return Ok(());
            }
            return Err("bits other than the portable table's".into());
        }
        let largest = portable.floats.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        let pairs = self.floats.iter().zip(&portable.floats);
        if let Some((found, expected)) = pairs
            .clone()
            .find(|(a, b)| (*a - *b).abs().is_nan() || (*a - *b).abs() > 1e-4 * largest)
        {
            return Err(format!("{found}, where the portable table gives {expected}").into());
        }
        let others = self
            .halves
            .iter()
            .zip(&portable.halves)
            .filter(|(a, b)| a != b)
            .count();
        if others * 100 > self.halves.len() {
            return Err(format!(
                "{others} of {} assignments differ from the portable table's",
                self.halves.len()
            )
            .into());
        }
        Ok(())
    }
}

/// A stage's part in a network: N elements of the map, and what the pool behind it makes of them.
struct Place {
    stage: Stage,
    elements: usize,
    next: Option<usize>,
}

/// All kernels on the shapes of a preset at a size.
///
/// # Errors
/// There is no such preset, or it does not take the size.
pub fn of_network(preset: &str, side: usize) -> crate::Result<Vec<Case>> {
    let config = Config::preset(preset).ok_or_else(|| format!("no preset is named {preset:?}"))?;
    config.check_size(ImageSize {
        height: side,
        width: side,
    })?;
    let mut cases = Vec::new();
    let mut map = side / fec_runtime::config::PATCH;
    for (i, &stage) in config.stages.iter().enumerate() {
        let place = Place {
            stage,
            elements: map * map,
            next: (i < POOLS).then(|| config.stages[i + 1].dim),
        };
        floats::of_stage(&place, &mut cases);
        integers::of_stage(&place, &mut cases);
        map /= 2;
    }
    Ok(cases)
}

/// Numbers of -1 to 1 that look random (xorshift), the same everywhere.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Values at an address that is a multiple of 64, as packed weights are.
struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    fn new(from: &[T]) -> Self {
        let mut values = vec![T::default(); from.len() + 64];
        let start = values.as_ptr().align_offset(64).min(64);
        values[start..start + from.len()].copy_from_slice(from);
        Self {
            values,
            start,
            len: from.len(),
        }
    }

    fn get(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }
}
