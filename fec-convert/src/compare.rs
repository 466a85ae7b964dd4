//! Two networks side by side, each running freely: how often an integer network decides as the float network does.

use fec_runtime::config::{Config, POOLS};
use fec_runtime::{Image, Model, Output};

use crate::calibrate::Runner;
use crate::error::Error;
use crate::verify::{Agreement, best};

/// What a run decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The best class; none of a dense network.
    pub class: Option<usize>,
    /// Assignments of the pools, by level.
    pools: [Vec<u16>; POOLS],
    /// Assignments of the mixers, heads one after the other, in the order of execution.
    mixers: Vec<Vec<u8>>,
}

impl Decisions {
    /// Those of a run that has ended.
    pub fn of(config: &Config, output: &Output<'_>) -> Self {
        let mut mixers = Vec::new();
        for (stage, shape) in config.stages.iter().enumerate() {
            for block in 0..shape.blocks {
                let heads = 0..shape.heads;
                let all = heads.flat_map(|head| output.mixer_assignment(stage, block, head));
                mixers.push(all.copied().collect());
            }
        }
        Self {
            class: (!config.dense).then(|| best(output.logits())),
            pools: core::array::from_fn(|i| output.assignment(i + 1).to_vec()),
            mixers,
        }
    }
}

/// Agreement with the float network, over all images so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Images.
    pub images: usize,
    /// Images with the same best class.
    pub same_class: usize,
    /// Images whose class is known.
    pub labelled: usize,
    /// Of these, images that the float network classifies rightly.
    pub float_right: usize,
    /// Of these, images that the integer network classifies rightly.
    pub right: usize,
    /// Assignments of the pools, by level.
    pub levels: [Agreement; POOLS],
    /// Assignments of the mixers: stage, block and their agreement.
    pub blocks: Vec<(usize, usize, Agreement)>,
}

impl Compared {
    /// Mean agreement of the mixers in percent, each counting alike.
    pub fn mixers_percent(&self) -> f64 {
        let sum: f64 = self.blocks.iter().map(|(_, _, a)| a.percent()).sum();
        sum / self.blocks.len().max(1) as f64
    }

    /// Points of top-1 that the integer network lost; negative where it gained.
    pub fn drop(&self) -> f64 {
        100.0 * (self.float_right as f64 - self.right as f64) / self.labelled.max(1) as f64
    }
}

/// An integer network that runs beside a float network.
#[derive(Debug)]
pub struct Twin<'m> {
    runner: Runner<'m>,
    compared: Compared,
}

impl<'m> Twin<'m> {
    /// Compares this network.
    ///
    /// # Errors
    /// [`Error::Model`] when the model's size is not possible.
    pub fn new(model: &'m Model<'m>) -> Result<Self, Error> {
        let runner = Runner::new(model)?;
        let stages = runner.config().stages.iter().enumerate();
        let blocks = stages
            .flat_map(|(stage, s)| (0..s.blocks).map(move |b| (stage, b, Agreement::default())));
        let compared = Compared {
            blocks: blocks.collect(),
            ..Compared::default()
        };
        Ok(Self { runner, compared })
    }

    /// Runs on an image, on which the float network decided so; `class` is what it shows, if that is known.
    ///
    /// # Errors
    /// [`Error::Model`] when the image does not fit the model.
    pub fn add(
        &mut self,
        image: &Image<'_>,
        float: &Decisions,
        class: Option<usize>,
    ) -> Result<(), Error> {
        let config = self.runner.config();
        let read = |output: &Output<'_>| Decisions::of(config, output);
        let own = self.runner.run(image, &mut (), read)?;
        let compared = &mut self.compared;
        compared.images += 1;
        compared.same_class += usize::from(own.class.is_some() && own.class == float.class);
        if class.is_some() && own.class.is_some() {
            compared.labelled += 1;
            compared.float_right += usize::from(float.class == class);
            compared.right += usize::from(own.class == class);
        }
        let pools = own.pools.iter().zip(&float.pools);
        for (level, (own, float)) in compared.levels.iter_mut().zip(pools) {
            level.add(own.iter().copied(), float);
        }
        let mixers = own.mixers.iter().zip(&float.mixers);
        for ((_, _, agreement), (own, float)) in compared.blocks.iter_mut().zip(mixers) {
            agreement.add(own.iter().copied(), float);
        }
        Ok(())
    }

    /// What was found so far.
    pub fn compared(&self) -> &Compared {
        &self.compared
    }
}

/// A network whose decisions others are compared with.
#[derive(Debug)]
pub struct Decider<'m>(Runner<'m>);

impl<'m> Decider<'m> {
    /// One of this model.
    ///
    /// # Errors
    /// [`Error::Model`] when the model's size is not possible.
    pub fn new(model: &'m Model<'m>) -> Result<Self, Error> {
        Runner::new(model).map(Self)
    }

    /// Its decisions on an image.
    ///
    /// # Errors
    /// [`Error::Model`] when the image does not fit the model.
    pub fn decide(&mut self, image: &Image<'_>) -> Result<Decisions, Error> {
        let config = self.0.config();
        let read = |output: &Output<'_>| Decisions::of(config, output);
        self.0.run(image, &mut (), read)
    }
}
