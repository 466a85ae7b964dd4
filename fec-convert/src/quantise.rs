//! Weights in 8 bits: each output has a scale, and its weights are whole numbers from -127 to 127 times it (docs/NUMERICS.md, "int8").
//! All arithmetic is in f64 and in a fixed order: the same weights always give the same bytes.

use fec_runtime::format::LANES;

/// The largest weight; -128 is never used, so that products of two bytes can be added in pairs.
const LARGEST: f64 = 127.0;
/// Scales that are tried, as shares of the one that reaches the largest weight: `1 - i * STEP`.
const STEPS: u32 = 40;
const STEP: f64 = 0.01;

/// A matrix in 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// [outputs, inputs], -127 to 127.
    pub values: Vec<i8>,
    /// One per output, not negative; 0 where all of an output's weights are 0.
    pub scales: Vec<f32>,
}

/// Quantises `weights` ([outputs, inputs]), each output by itself. `importance` has a number per input: how much an error of its
/// weights matters (the mean square of what it is multiplied with); empty, where all count alike.
pub fn quantise(weights: &[f64], inputs: usize, importance: &[f64]) -> Quantised {
    let mut quantised = Quantised {
        values: Vec::with_capacity(weights.len()),
        scales: Vec::new(),
    };
    for row in weights.chunks(inputs.max(1)) {
        let scale = best_scale(row, importance);
        quantised.scales.push(scale);
        let rounded = row.iter().map(|&w| rounded(w, scale) as i8);
        quantised.values.extend(rounded);
    }
    quantised
}

/// The nearest whole number of scales, ties to even, within the range of a weight.
fn rounded(weight: f64, scale: f32) -> f64 {
    if scale == 0.0 {
        return 0.0;
    }
    (weight / f64::from(scale))
        .round_ties_even()
        .clamp(-LARGEST, LARGEST)
}

/// The scale with the smallest squared error. A smaller one than the largest weight's cuts that weight, and rounds all others finer.
fn best_scale(row: &[f64], importance: &[f64]) -> f32 {
    let largest = row.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
    let error = |scale: f32| -> f64 {
        let matters = importance.iter().copied().chain(core::iter::repeat(1.0));
        let errors = row.iter().zip(matters).map(|(&w, matters)| {
            let error = w - f64::from(scale) * rounded(w, scale);
            matters * error * error
        });
        errors.sum()
    };
    let widest = (largest / LARGEST) as f32;
    let mut best = (error(widest), widest);
    for step in 1..=STEPS {
        let scale = (f64::from(widest) * (1.0 - STEP * f64::from(step))) as f32;
        let error = error(scale);
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

impl Quantised {
    /// The weights that the integers stand for, [outputs, inputs].
    pub fn weights(&self, inputs: usize) -> Vec<f64> {
        let rows = self.values.chunks(inputs.max(1)).zip(&self.scales);
        rows.flat_map(|(row, &scale)| {
            row.iter()
                .map(move |&value| f64::from(value) * f64::from(scale))
        })
        .collect()
    }

    /// Sums over the inputs of those weights: what a folded norm's mean is multiplied with.
    pub fn sums(&self, inputs: usize) -> Vec<f64> {
        let rows = self.values.chunks(inputs.max(1)).zip(&self.scales);
        rows.map(|(row, &scale)| {
            let sum: i64 = row.iter().map(|&value| i64::from(value)).sum();
            sum as f64 * f64::from(scale)
        })
        .collect()
    }
}

/// Rows as the integer engine multiplies them: each value a whole number, -127 to 127, of its row's scale max|x| / 127.
pub fn round_rows(x: &mut [f32], inputs: usize) {
    for row in x.chunks_mut(inputs.max(1)) {
        let largest = row.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
        if largest == 0.0 {
            continue;
        }
        let (scale, factor) = (largest / 127.0, 127.0 / largest);
        for value in row {
            *value = (*value * factor).round_ties_even() * scale;
        }
    }
}

/// A matrix in panels of 16 outputs, as kernels of floats take it.
pub(crate) fn panels(weights: &[f64], inputs: usize, outputs: usize) -> Vec<f32> {
    let mut panels = vec![0.0; outputs.next_multiple_of(LANES) * inputs];
    for (o, row) in weights.chunks(inputs.max(1)).take(outputs).enumerate() {
        for (k, &weight) in row.iter().enumerate() {
            if let Some(place) = panels.get_mut((o / LANES * inputs + k) * LANES + o % LANES) {
                *place = weight as f32;
            }
        }
    }
    panels
}

/// A vector, padded to whole panels.
pub(crate) fn padded(values: &[f64]) -> Vec<f32> {
    let mut vector: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    vector.resize(values.len().next_multiple_of(LANES), 0.0);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(weights: &[f64], quantised: &Quantised, inputs: usize) -> f64 {
        let found = quantised.weights(inputs);
        weights
            .iter()
            .zip(found)
            .map(|(a, b)| (a - b).powi(2))
            .sum()
    }

    #[test]
    fn whole_numbers_of_a_scale_are_kept_exactly() {
        let weights: Vec<f64> = (-127..=127).map(|w| f64::from(w) * 0.25).collect();
        let quantised = quantise(&weights, weights.len(), &[]);
        assert_eq!(quantised.scales, [0.25]);
        assert_eq!(quantised.values, (-127..=127).collect::<Vec<i8>>());
        assert_eq!(quantised.weights(255), weights);
        assert_eq!(quantised.sums(255), [0.0]);
    }

    #[test]
    fn halves_go_to_even_and_never_to_minus_128() {
        let quantised = quantise(&[-127.0, 0.5, 1.5, 2.5, -0.5, 126.5], 6, &[]);
        assert_eq!(quantised.scales, [1.0]);
        assert_eq!(quantised.values, [-127, 0, 2, 2, 0, 126]);
        assert_eq!(rounded(-200.0, 1.0), -127.0);
    }

    #[test]
    fn each_output_has_its_own_scale_and_zeros_stay_zeros() {
        let quantised = quantise(&[127.0, 0.0, 0.0, 0.0, 1.27, -0.01], 2, &[]);
        assert_eq!(quantised.scales, [1.0, 0.0, 0.01]);
        assert_eq!(quantised.values, [127, 0, 0, 0, 127, -1]);
        assert_eq!(quantised.sums(2)[1], 0.0);
    }

    #[test]
    fn a_searched_scale_is_never_worse_and_follows_what_matters() {
        let weights: Vec<f64> = (0..64).map(|i| f64::from(i * 37 % 101) / 7.0).collect();
        let mut outlier = weights.clone();
        outlier[5] = 40.0;
        let quantised = quantise(&outlier, 64, &[]);
        let widest = Quantised {
            values: outlier
                .iter()
                .map(|&w| rounded(w, 40.0 / 127.0) as i8)
                .collect(),
            scales: vec![40.0 / 127.0],
        };
        assert!(error(&outlier, &quantised, 64) <= error(&outlier, &widest, 64));
        // Where the outlier is multiplied with nothing, it may be cut.
        let mut importance = [1.0; 64];
        importance[5] = 0.0;
        assert!(quantise(&outlier, 64, &importance).scales[0] < quantised.scales[0]);
    }

    #[test]
    fn rows_round_to_their_own_scale() {
        let mut x = [127.0, 0.4, -0.6, 0.0, 0.0, 0.0, -1.27, 0.014, 0.016];
        round_rows(&mut x, 3);
        assert_eq!(x[..6], [127.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        assert!((x[7] - 0.01).abs() < 1e-6 && (x[8] - 0.02).abs() < 1e-6);
    }

    #[test]
    fn panels_are_the_formats() {
        let weights: Vec<f64> = (0..18 * 20).map(f64::from).collect();
        let panels = panels(&weights, 20, 18);
        assert_eq!(panels.len(), 640);
        for (o, k, at) in [
            (0, 0, 0),
            (1, 0, 1),
            (0, 1, 16),
            (15, 19, 319),
            (17, 3, 369),
        ] {
            assert_eq!(panels[at], (o * 20 + k) as f32);
        }
        assert_eq!(padded(&[1.0, 2.0]).len(), 16);
    }
}
