//! Sums that do not depend on the order of what is added: whole numbers of a small unit.

/// Units per 1: 2 to the 76th.
const UNITS: f64 = (1u128 << 76) as f64;

/// An exact sum of numbers rounded to 2^-76.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(i128);

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        // The conversion saturates, and gives 0 for NaN.
        self.0 = self.0.saturating_add((value * UNITS) as i128);
    }

    pub(crate) fn value(self) -> f64 {
        self.0 as f64 / UNITS
    }
}

/// What is known of an output's errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    /// Sum of y², y being the float layer's.
    pub(crate) float: Sum,
    /// Sum of q², q being the stored layer's.
    pub(crate) stored: Sum,
    /// Sum of y q.
    pub(crate) product: Sum,
    /// Sum of (y - q)².
    pub(crate) error: Sum,
}

impl Errors {
    /// Takes in an output of all rows of an image: pairs of y and q.
    pub(crate) fn add(&mut self, pairs: impl Iterator<Item = (f32, f32)>) {
        let mut sums = [0.0; 4];
        for (y, q) in pairs {
            let (y, q) = (f64::from(y), f64::from(q));
            let terms = [y * y, q * q, y * q, (y - q) * (y - q)];
            sums.iter_mut()
                .zip(terms)
                .for_each(|(sum, term)| *sum += term);
        }
        let all = [
            &mut self.float,
            &mut self.stored,
            &mut self.product,
            &mut self.error,
        ];
        for (sum, value) in all.into_iter().zip(sums) {
            sum.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter() {
        let values: Vec<f64> = (1..1000)
            .map(|i| f64::from(i * 7919 % 997) / 3.0e5)
            .collect();
        let (mut up, mut down) = (Sum::default(), Sum::default());
        values.iter().for_each(|&v| up.add(v));
        values.iter().rev().for_each(|&v| down.add(v));
        assert_eq!(up, down);
        assert!((up.value() - values.iter().sum::<f64>()).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_number_or_too_large_does_not_wrap() {
        let mut sum = Sum::default();
        for value in [f64::NAN, f64::INFINITY, 1e300, 1.0] {
            sum.add(value);
        }
        assert!(sum.value() > 0.0 && sum.value().is_finite());
    }
}
