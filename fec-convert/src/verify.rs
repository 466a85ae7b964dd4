//! Verification: the engine on the packed file against the reference network on the checkpoint, image by image.
//!
//! Each image runs three times: through the reference, through the engine as it is, and through the engine with the reference's
//! assignments put in place. A close decision may fall either way in two right implementations, and then everything after it differs;
//! so the free run is reported, and the forced run is what is judged: by its outputs, and, since the pools' keys enter nothing but
//! their argmax, by the choices that the engine's pools would have made on the same input.

use fec_runtime::config::{Config, POOLS, STAGES};
use fec_runtime::format::DType;
use fec_runtime::reference::{Clustering, Network, Trace};
use fec_runtime::{AlignedBytes, Clusterer, Image, Model, Output, Plan, Probe, Session};

use crate::error::Error;
use crate::fold::Tensors;

/// How far a packed model may be from its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Largest difference of a logit or feature, assignments forced.
    pub difference: f32,
    /// Largest margin (best minus second similarity) of a pool's choice that may fall otherwise.
    pub margin: f32,
}

impl Tolerance {
    /// f32 weights. Measured on the presets with formula weights and on a trained nano: at most 1.0e-5 and 4.8e-7.
    pub const F32: Tolerance = Tolerance {
        difference: 1e-4,
        margin: 1e-5,
    };
    /// Models with any f16 weight. Measured likewise: at most 3.1e-3 and 1.8e-4.
    pub const F16: Tolerance = Tolerance {
        difference: 0.02,
        margin: 1e-3,
    };

    /// Integer networks. Measured likewise: at most 0.18 and 0.011. How good one is, the report of its packing says; this finds what is
    /// another network's.
    pub const I8: Tolerance = Tolerance {
        difference: 0.5,
        margin: 0.05,
    };

    /// What a model's weights ask for.
    pub fn of(model: &Model<'_>) -> Self {
        if model.config().integer {
            return Self::I8;
        }
        let mut tolerance = Self::F32;
        model.tensors(|_, dtype, _| {
            if dtype == DType::F16 {
                tolerance = Self::F16;
            }
        });
        tolerance
    }
}

/// How many assignments of two runs were compared, and how many differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Assignments compared.
    pub elements: usize,
    /// Those that differ.
    pub different: usize,
}

impl Agreement {
    /// Share of equal assignments in percent; 100 when there is none.
    pub fn percent(&self) -> f64 {
        let same = self.elements.saturating_sub(self.different);
        100.0 * same as f64 / self.elements.max(1) as f64
    }

    pub(crate) fn add<T: PartialEq>(&mut self, found: impl Iterator<Item = T>, expected: &[T]) {
        self.elements += expected.len();
        let same = found.zip(expected).filter(|(a, b)| a == *b).count();
        self.different += expected.len().saturating_sub(same);
    }
}

/// What the comparisons so far have found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Images compared.
    pub images: usize,
    /// Largest difference of a logit (dense: of a feature), both running freely.
    pub difference: f32,
    /// The same with the reference's assignments forced on the engine; infinite when any value was NaN.
    pub forced_difference: f32,
    /// Largest margin of a pool's choice that the engine, on the reference's assignments before it, would have made otherwise.
    pub forced_margin: f32,
    /// Largest absolute logit or feature of the reference.
    pub magnitude: f32,
    /// Images with the same best class; 0 for dense models.
    pub same_top1: usize,
    /// Assignments of the pools, by level, running freely.
    pub levels: [Agreement; POOLS],
    /// Assignments of all mixers, running freely.
    pub mixers: Agreement,
}

impl Comparison {
    /// The free runs' largest difference as a share of the largest value.
    pub fn relative_difference(&self) -> f32 {
        self.difference / self.magnitude.max(f32::MIN_POSITIVE)
    }

    /// Judges the forced runs.
    ///
    /// # Errors
    /// [`Error::Differs`] or [`Error::Decides`] when they are further from the reference than `tolerance`.
    pub fn check(&self, tolerance: &Tolerance) -> Result<(), Error> {
        if self.forced_difference > tolerance.difference {
            return Err(Error::Differs {
                difference: self.forced_difference,
                tolerance: tolerance.difference,
            });
        }
        if self.forced_margin > tolerance.margin {
            return Err(Error::Decides {
                margin: self.forced_margin,
                tolerance: tolerance.margin,
            });
        }
        Ok(())
    }
}

/// A packed model beside its checkpoint.
#[derive(Debug)]
pub struct Verifier<'m> {
    model: &'m Model<'m>,
    network: Network,
    plan: Plan,
    arena: AlignedBytes,
    comparison: Comparison,
}

impl<'m> Verifier<'m> {
    /// Compares `model` with a network of these tensors, at the model's input size. The configuration is the model's, its locality
    /// included; `tensors` must be those of [`first_difference`]'s agreement.
    ///
    /// # Errors
    /// [`Error::Model`] when the size is not possible, [`Error::Reference`] when the tensors are not the configuration's.
    pub fn new(model: &'m Model<'m>, tensors: &Tensors) -> Result<Self, Error> {
        let plan = model
            .plan(model.preprocessing().size)
            .map_err(Error::Model)?;
        let network = Network::new(*model.config(), |tensor| {
            tensors
                .get(&tensor.to_string())
                .cloned()
                .unwrap_or_default()
        });
        Ok(Self {
            model,
            network: network.map_err(Error::Reference)?,
            plan,
            arena: AlignedBytes::zeroed(plan.arena_len()),
            comparison: Comparison::default(),
        })
    }

    /// Compares on one image: `image` as the engine takes it, `normalised` [3, H, W] as the reference does.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Reference`] when the image does not fit the model.
    pub fn compare(&mut self, image: &Image<'_>, normalised: &[f32]) -> Result<(), Error> {
        let size = self.plan.size();
        let trace = self.network.run(normalised, size, None);
        let trace = trace.map_err(Error::Reference)?;
        let expected = trace_values(&trace);
        let mut session =
            Session::new(self.model, self.plan, self.arena.as_bytes_mut()).map_err(Error::Model)?;
        let comparison = &mut self.comparison;

        let output = session.run(image).map_err(Error::Model)?;
        let found = output_values(&output);
        comparison.images += 1;
        let magnitude = expected.iter().map(|v| v.abs()).fold(0.0, f32::max);
        comparison.magnitude = comparison.magnitude.max(magnitude);
        comparison.difference = comparison
            .difference
            .max(largest_difference(&found, &expected));
        if !trace.logits.is_empty() && best(&found) == best(&expected) {
            comparison.same_top1 += 1;
        }
        count_agreement(comparison, self.model.config(), &output, &trace);

        let mut forced = Forced {
            config: self.model.config(),
            clusterings: &trace.clusterers,
            margin: comparison.forced_margin,
        };
        let output = session.run_with(image, &mut forced).map_err(Error::Model)?;
        let difference = largest_difference(&output_values(&output), &expected);
        comparison.forced_margin = forced.margin;
        comparison.forced_difference = comparison.forced_difference.max(difference);
        Ok(())
    }

    /// What the comparisons so far have found.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }
}

/// The first number in which a checkpoint's network differs from the model's; locality and similarity, which are no checkpoint's,
/// left aside.
pub fn first_difference(found: &Config, expected: &Config) -> Option<Error> {
    let numbers = |config: &Config| {
        let mut numbers = vec![
            ("dense outputs".to_string(), 4 * usize::from(config.dense)),
            ("classes".to_string(), config.classes),
            (
                "learnt sim_alpha".to_string(),
                config.dispatch.has_alpha().into(),
            ),
            (
                "learnt sim_beta".to_string(),
                config.dispatch.has_beta().into(),
            ),
        ];
        for (i, stage) in config.stages.iter().enumerate() {
            numbers.extend(
                [
                    ("blocks", stage.blocks),
                    ("width", stage.dim),
                    ("hidden width", stage.hidden),
                    ("heads", stage.heads),
                    ("head channels", stage.head_dim),
                    ("proposals", stage.proposals),
                    ("folds", stage.folds),
                ]
                .map(|(what, number)| (format!("stage {}: {what}", i + 1), number)),
            );
        }
        numbers
    };
    let pairs = numbers(found).into_iter().zip(numbers(expected));
    pairs
        .filter(|((_, found), (_, expected))| found != expected)
        .map(|((what, found), (_, expected))| Error::OtherNetwork {
            what,
            found,
            expected,
        })
        .next()
}

/// Heads, proposals and folds of a model in the form of `--arch`: what a checkpoint's shapes do not tell, its packed model does.
pub fn arch_settings(config: &Config) -> String {
    let list = |number: fn(&fec_runtime::config::Stage) -> usize| {
        config
            .stages
            .each_ref()
            .map(|stage| number(stage).to_string())
            .join(",")
    };
    format!(
        "heads={} proposals={} folds={}",
        list(|s| s.heads),
        list(|s| s.proposals),
        list(|s| s.folds)
    )
}

fn trace_values(trace: &Trace) -> Vec<f32> {
    let features = trace.features.iter().flat_map(|map| &map.values);
    trace.logits.iter().chain(features).copied().collect()
}

fn output_values(output: &Output<'_>) -> Vec<f32> {
    let features = (0..STAGES).flat_map(|stage| output.feature(stage));
    output.logits().iter().chain(features).copied().collect()
}

/// Infinite for NaN and for lists of different lengths, which `f32::max` and `zip` would hide.
pub(crate) fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            most.max(d)
        }
    })
}

/// The first of the largest.
pub(crate) fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if logits.get(best).is_some_and(|most| logit > most) {
            best = i;
        }
    }
    best
}

fn count_agreement(
    comparison: &mut Comparison,
    config: &Config,
    output: &Output<'_>,
    trace: &Trace,
) {
    let mut clusterings = trace.clusterers.iter();
    let mut next = || clusterings.next().map_or(&[][..], |c| &c.assign);
    for (stage, layout) in config.stages.iter().enumerate() {
        for block in 0..layout.blocks {
            let heads =
                (0..layout.heads).flat_map(|head| output.mixer_assignment(stage, block, head));
            comparison.mixers.add(heads.map(|&a| a.into()), next());
        }
        if let Some(level) = comparison.levels.get_mut(stage) {
            level.add(output.assignment(stage + 1).iter().copied(), next());
        }
    }
}

/// Puts the reference's assignments in place of the engine's, and notes by how much the pools' choices differed.
struct Forced<'a> {
    config: &'a Config,
    /// In order of execution.
    clusterings: &'a [Clustering],
    /// Largest margin of a pool's choice that fell otherwise.
    margin: f32,
}

impl Probe for Forced<'_> {
    fn assign(&mut self, clusterer: Clusterer, first: usize, assignments: &mut [u16]) {
        let stages = &self.config.stages;
        // Before a stage lie the mixers of the stages before it and a pool after each.
        let start =
            |stage: usize| -> usize { stages.iter().take(stage).map(|s| s.blocks + 1).sum() };
        let (index, region) = match clusterer {
            Clusterer::Mixer {
                stage,
                block,
                head,
                region,
            } => {
                let folds = stages.get(stage).map_or(1, |s| s.folds);
                (start(stage) + block, head * folds * folds + region)
            }
            Clusterer::Pool { stage, region } => (start(stage + 1) - 1, region),
        };
        let Some(clustering) = self.clusterings.get(index) else {
            return;
        };
        let elements = clustering.assign.len() / clustering.regions.max(1);
        let from = region * elements + first;
        let range = from..from + assignments.len();
        let (Some(forced), Some(margins)) = (
            clustering.assign.get(range.clone()),
            clustering.margin.get(range),
        ) else {
            return;
        };
        if matches!(clusterer, Clusterer::Pool { .. }) {
            for ((own, forced), margin) in assignments.iter().zip(forced).zip(margins) {
                if own != forced {
                    self.margin = self.margin.max(*margin);
                }
            }
        }
        assignments.copy_from_slice(forced);
    }
}

#[cfg(test)]
mod tests {
    use fec_runtime::config::{MICRO, NANO};

    use super::*;

    #[test]
    fn nan_and_missing_values_are_infinite_differences() {
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.5, 2.0]), 0.5);
        assert_eq!(
            largest_difference(&[f32::NAN, 2.0], &[1.5, 2.0]),
            f32::INFINITY
        );
        assert_eq!(largest_difference(&[1.0], &[1.0, 2.0]), f32::INFINITY);
    }

    #[test]
    fn the_first_number_that_differs_is_named() {
        assert!(first_difference(&MICRO, &MICRO).is_none());
        let mut other = NANO;
        other.locality = [0.5; POOLS];
        assert!(first_difference(&other, &NANO).is_none());
        other.stages[2].heads = 2;
        let line = first_difference(&other, &NANO).map(|e| e.to_string());
        assert_eq!(
            line.as_deref(),
            Some(
                "another network than the packed model's: stage 3: heads 2, the model has 4; give the checkpoint it was packed from"
            )
        );
    }

    #[test]
    fn settings_are_what_arch_takes() {
        assert_eq!(
            arch_settings(&NANO),
            "heads=2,2,4,4 proposals=2,2,2,2 folds=1,1,1,1"
        );
    }
}
