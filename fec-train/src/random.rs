//! Randomness without state: every draw comes from a generator keyed by the run's seed, a purpose, an epoch and an index, so that a resumed
//! run draws what the uninterrupted one would have drawn, whatever the number of threads.
//!
//! The generator is ChaCha with 8 rounds; logarithms and powers are those of `libm`, so that the draws are the same on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a draw is for. Numbers are never reused: with the same seed another purpose is another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights.
    Init = 0,
    /// The order of an epoch's images.
    Shuffle = 1,
    /// Which images are kept for validation.
    Split = 2,
    /// Crop, flip and colours of one image.
    Augment = 3,
    /// Mixup and cutmix of one batch.
    Mix = 4,
    /// Random erasing of one image.
    Erase = 5,
}

/// A generator for one key.
///
/// ```
/// use fec_train::random::{Keyed, Purpose};
/// let draw = || Keyed::new(42, Purpose::Augment, 3, 17).uniform(0.0, 1.0);
/// assert_eq!(draw(), draw());
/// ```
#[derive(Clone, Debug)]
pub struct Keyed(ChaCha8Rng);

impl Keyed {
    /// The generator for this key. `index` counts whatever the purpose has many of in an epoch: images, batches, tensors.
    pub fn new(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> Keyed {
        let mut key = [0u8; 32];
        let words = [seed, purpose as u64, epoch, index];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Keyed(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in [0, 1), a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number from `low` to `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from 0 to `count` - 1, all equally likely; 0 for a count of 0.
    pub fn below(&mut self, count: usize) -> usize {
        let count = count as u64;
        // The high half of a product with 64 random bits; the few low halves that would make some numbers likelier are drawn again.
        let excess = count.wrapping_neg().checked_rem(count).unwrap_or(0);
        loop {
            let product = u128::from(self.bits()) * u128::from(count);
            if product as u64 >= excess {
                return (product >> 64) as usize;
            }
        }
    }

    /// One of the items; `None` of none.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// An index with probability in proportion to its weight, 0 where all weights are 0.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            if left < *weight {
                return i;
            }
            left -= weight;
        }
        weights.iter().rposition(|&w| w > 0.0).unwrap_or(0)
    }

    /// Brings the items into a random order, all orders equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }

    /// A number of the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        self.normal_pair().0
    }

    /// Fills with numbers of the standard normal distribution.
    pub fn fill_normal(&mut self, values: &mut [f32]) {
        for pair in values.chunks_mut(2) {
            let (a, b) = self.normal_pair();
            for (value, normal) in pair.iter_mut().zip([a, b]) {
                *value = normal as f32;
            }
        }
    }

    /// A normal number that is drawn again until it lies between `low` and `high`.
    pub fn truncated_normal(&mut self, mean: f64, std: f64, low: f64, high: f64) -> f64 {
        /// An interval far out in the tail is not waited for.
        const TRIES: usize = 1_000;
        for _ in 0..TRIES {
            let value = mean + std * self.normal();
            if (low..=high).contains(&value) {
                return value;
            }
        }
        mean.max(low).min(high)
    }

    /// A number of the Beta(a, b) distribution, a and b above 0.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        // Both can underflow to 0 where a and b are tiny: then the distribution is a coin.
        if x + y > 0.0 {
            x / (x + y)
        } else {
            f64::from(u8::from(self.chance(a / (a + b))))
        }
    }

    /// A number of the Gamma(shape, 1) distribution (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            let u = 1.0 - self.unit();
            if v > 0.0 {
                let v = v * v * v;
                if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                    return d * v;
                }
            }
        }
    }

    /// Two independent normal numbers (Marsaglia's polar method).
    fn normal_pair(&mut self) -> (f64, f64) {
        loop {
            let (x, y) = (self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * libm::log(square) / square).sqrt();
                return (x * scale, y * scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 100_000;

    fn keyed(index: u64) -> Keyed {
        Keyed::new(7, Purpose::Augment, 1, index)
    }

    /// Mean and variance of many draws.
    fn moments(mut draw: impl FnMut(&mut Keyed) -> f64) -> (f64, f64) {
        let mut random = keyed(0);
        let values: Vec<f64> = (0..DRAWS).map(|_| draw(&mut random)).collect();
        let mean = values.iter().sum::<f64>() / DRAWS as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        (mean, variance)
    }

    fn check(found: (f64, f64), mean: f64, variance: f64) {
        assert!((found.0 - mean).abs() < 0.015, "mean {} {mean}", found.0);
        assert!(
            (found.1 / variance - 1.0).abs() < 0.03,
            "variance {} {variance}",
            found.1
        );
    }

    #[test]
    fn the_first_words_of_a_key_are_those_of_chacha8() {
        // The key stream of ChaCha with 8 rounds for a key of zeros (eSTREAM's test vector, set 6): 3e00ef2f895f40d6.
        let first = Keyed::new(0, Purpose::Init, 0, 0).bits();
        assert_eq!(
            first.to_le_bytes(),
            [0x3e, 0, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]
        );
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let keys = [
            Keyed::new(1, Purpose::Mix, 1, 1),
            Keyed::new(2, Purpose::Mix, 1, 1),
            Keyed::new(1, Purpose::Erase, 1, 1),
            Keyed::new(1, Purpose::Mix, 2, 1),
            Keyed::new(1, Purpose::Mix, 1, 2),
        ];
        let mut first: Vec<u64> = keys.map(|mut k| k.bits()).to_vec();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 5);
    }

    #[test]
    fn the_distributions_have_their_mean_and_variance() {
        check(moments(|r| r.uniform(-1.0, 3.0)), 1.0, 16.0 / 12.0);
        check(moments(Keyed::normal), 0.0, 1.0);
        check(moments(|r| r.below(10) as f64), 4.5, 99.0 / 12.0);
        check(moments(|r| f64::from(u8::from(r.chance(0.3)))), 0.3, 0.21);
        // Beta(a, b): mean a / (a + b), variance ab / ((a + b)² (a + b + 1)).
        check(moments(|r| r.beta(0.8, 0.8)), 0.5, 0.64 / (2.56 * 2.6));
        check(moments(|r| r.beta(1.0, 1.0)), 0.5, 1.0 / 12.0);
        check(
            moments(|r| r.beta(2.0, 5.0)),
            2.0 / 7.0,
            10.0 / (49.0 * 8.0),
        );
        // The standard normal cut at ±1: variance 1 - 2 φ(1) / (2 Φ(1) - 1).
        check(
            moments(|r| r.truncated_normal(0.0, 1.0, -1.0, 1.0)),
            0.0,
            0.2911,
        );
        let (mean, _) = moments(|r| r.weighted(&[1.0, 0.0, 3.0]) as f64);
        assert!((mean - 1.5).abs() < 0.015, "{mean}");
    }

    #[test]
    fn normal_numbers_have_normal_tails() {
        let mut random = keyed(1);
        let mut values = vec![0f32; DRAWS + 1];
        random.fill_normal(&mut values);
        let beyond =
            |limit| values.iter().filter(|v| v.abs() > limit).count() as f64 / DRAWS as f64;
        assert!((beyond(1.0) - 0.3173).abs() < 0.006, "{}", beyond(1.0));
        assert!((beyond(2.0) - 0.0455).abs() < 0.003, "{}", beyond(2.0));
        assert!((beyond(3.0) - 0.0027).abs() < 0.0008, "{}", beyond(3.0));
    }

    #[test]
    fn a_shuffle_keeps_all_and_favours_no_order() {
        let mut counts = [0u32; 6];
        for index in 0..6_000 {
            let mut items = [0, 1, 2];
            keyed(index).shuffle(&mut items);
            let order = items[0] * 2 + usize::from(items[1] > items[2]);
            counts[order] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2]);
        }
        assert!(
            counts.iter().all(|c| (880..1_120).contains(c)),
            "{counts:?}"
        );
    }

    #[test]
    fn nothing_to_choose_from_is_no_panic() {
        let mut random = keyed(2);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.choice::<u8>(&[]), None);
        assert_eq!(random.weighted(&[]), 0);
        assert_eq!(random.weighted(&[0.0, 0.0]), 0);
        assert!((0.0..=1.0).contains(&random.beta(1e-9, 1e-9)));
        assert_eq!(random.truncated_normal(0.0, 1.0, 50.0, 51.0), 50.0);
    }
}
