//! Validation: the packed network in the runtime, on photos prepared as `fec eval` does it. What is reported is what will be deployed.

use fec::classifier::Classifier;
use fec_runtime::{AlignedBytes, Model};
use rayon::prelude::*;

use crate::Error;
use crate::data::Dataset;

/// One validated image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Its index in the dataset.
    pub index: usize,
    /// Its class.
    pub truth: usize,
    /// The likeliest class.
    pub predicted: usize,
    /// That class's probability.
    pub probability: f32,
    /// Classes that are likelier than the true one.
    pub before: usize,
    /// -ln of the true class's probability.
    pub loss: f64,
}

/// All validated images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// In the dataset's order; images that cannot be read are left out.
    pub verdicts: Vec<Verdict>,
}

impl Validation {
    /// Runs a packed network over a dataset on all threads of rayon's pool.
    ///
    /// # Errors
    /// [`Error::Network`] for a file that is no network.
    pub fn run(file: &AlignedBytes, dataset: &Dataset) -> Result<Self, Error> {
        let model = Model::from_bytes(file.as_bytes())?;
        let kernels = fec::isa::kernels()?;
        Classifier::new(&model, None, kernels)?;
        let verdicts: Result<Vec<Option<Verdict>>, fec::Error> = (0..dataset.len())
            .into_par_iter()
            .map_init(
                || Classifier::new(&model, None, kernels),
                |classifier, index| {
                    let (Some(photo), Some(sample)) =
                        (dataset.photo(index), dataset.samples().get(index))
                    else {
                        return Ok(None);
                    };
                    // Made once above with the same arguments.
                    let Ok(classifier) = classifier else {
                        return Ok(None);
                    };
                    let truth = sample.class as usize;
                    let verdict = classifier.run(&photo, &mut (), |output| {
                        judge(index, truth, output.logits())
                    })?;
                    Ok(Some(verdict))
                },
            )
            .collect();
        Ok(Self {
            verdicts: verdicts?.into_iter().flatten().collect(),
        })
    }

    /// Images whose true class is among the `k` likeliest.
    pub fn within(&self, k: usize) -> usize {
        self.verdicts.iter().filter(|v| v.before < k).count()
    }

    /// The same in percent.
    pub fn percent(&self, k: usize) -> f64 {
        100.0 * self.within(k) as f64 / self.verdicts.len().max(1) as f64
    }

    /// Mean loss.
    pub fn loss(&self) -> f64 {
        let sum: f64 = self.verdicts.iter().map(|v| v.loss).sum();
        sum / self.verdicts.len().max(1) as f64
    }

    /// Counts [classes, classes] by true, then by predicted class.
    pub fn confusion(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes * classes];
        for verdict in &self.verdicts {
            if let Some(count) = counts.get_mut(verdict.truth * classes + verdict.predicted) {
                *count += 1;
            }
        }
        counts
    }

    /// Wrong images, the most confident first.
    pub fn worst(&self, most: usize) -> Vec<Verdict> {
        let mut wrong: Vec<Verdict> = self
            .verdicts
            .iter()
            .filter(|v| v.predicted != v.truth)
            .copied()
            .collect();
        wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        wrong.truncate(most);
        wrong
    }
}

fn judge(index: usize, truth: usize, logits: &[f32]) -> Verdict {
    let (mut predicted, mut largest) = (0, f32::NEG_INFINITY);
    for (class, &logit) in logits.iter().enumerate() {
        if logit > largest {
            (predicted, largest) = (class, logit);
        }
    }
    let of = |logit: f32| f64::from(logit - largest);
    let sum: f64 = logits.iter().map(|&logit| of(logit).exp()).sum();
    let true_logit = logits.get(truth).copied().unwrap_or(f32::NEG_INFINITY);
    let before = logits
        .iter()
        .enumerate()
        .filter(|&(class, &logit)| logit > true_logit || (logit == true_logit && class < truth))
        .count();
    Verdict {
        index,
        truth,
        predicted,
        probability: (1.0 / sum) as f32,
        before,
        loss: sum.ln() - of(true_logit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_likelier_classes_and_measures_the_loss() {
        let verdict = judge(7, 2, &[1.0, 3.0, 2.0, 2.0]);
        assert_eq!(
            (verdict.index, verdict.predicted, verdict.before),
            (7, 1, 1)
        );
        let sum: f64 = [1.0f64, 3.0, 2.0, 2.0].iter().map(|l| l.exp()).sum();
        assert!((verdict.loss - (sum.ln() - 2.0)).abs() < 1e-6);
        assert!((f64::from(verdict.probability) - 3f64.exp() / sum).abs() < 1e-6);
        let validation = Validation {
            verdicts: vec![verdict, judge(8, 1, &[1.0, 3.0, 2.0, 2.0])],
        };
        assert_eq!((validation.within(1), validation.within(2)), (1, 2));
        assert_eq!(validation.confusion(4)[2 * 4 + 1], 1);
        assert_eq!(validation.worst(5), [verdict]);
    }
}
