//! Initial values (SPEC 8), from a generator keyed by the seed and the tensor's name: the same on every device.

use fec_runtime::config::OfficialTensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The standard deviation of the linear layers' weights.
const LINEAR_DEVIATION: f64 = 0.02;

/// What initial values depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Init {
    /// Two networks of one seed start equal.
    pub seed: u64,
    /// The layer scales: 1e-5 in the published training; a short training of a small network starts better at 0.1.
    pub layer_scale: f32,
}

impl Default for Init {
    fn default() -> Self {
        Self {
            seed: 0,
            layer_scale: 1e-5,
        }
    }
}

impl Init {
    /// The initial values of a tensor, in row-major order of its official shape. `fan_in`: how many products its layer's sums add
    /// up, for the bias as for the weight.
    pub(super) fn values(&self, tensor: &OfficialTensor, fan_in: usize) -> Vec<f32> {
        let count = tensor.elements();
        let suffix = tensor.suffix;
        if suffix.ends_with("sim_alpha") || (suffix.contains("norm") && suffix.ends_with("weight"))
        {
            return vec![1.0; count];
        }
        if suffix.ends_with("sim_beta") || suffix.contains("norm") {
            return vec![0.0; count];
        }
        if suffix.starts_with("layer_scale") {
            return vec![self.layer_scale; count];
        }
        let mut random = Random::new(self.seed, &tensor.to_string());
        let linear = suffix.contains("mlp.") || suffix.starts_with("head.");
        match (linear, tensor.shape()) {
            (true, [_]) => vec![0.0; count],
            // Truncated at two, a hundred standard deviations away: it never happens.
            (true, _) => (0..count)
                .map(|_| (LINEAR_DEVIATION * random.normal()) as f32)
                .collect(),
            (false, _) => {
                let bound = 1.0 / libm::sqrt(fan_in as f64);
                let value = |_| (bound * (2.0 * random.uniform() - 1.0)) as f32;
                (0..count).map(value).collect()
            }
        }
    }
}

struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        // FNV-1a, 64 bits.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&hash.to_le_bytes());
        key[16..27].copy_from_slice(b"initialises");
        Self(ChaCha8Rng::from_seed(key))
    }

    /// In [0, 1), 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(2.0 * core::f64::consts::PI * v)
    }
}
