//! What a run gave: logits or features, assignments, cluster maps, evidence.

use crate::clustermap;
use crate::config::{POOLS, Place, STAGES};
use crate::error::Error;
use crate::format::Role;
use crate::format::crc::Crc32;
use crate::image::MapSize;
use crate::kernels::{Moments, Values};
use crate::memory;
use crate::model::Model;
use crate::ops::head;
use crate::plan::Plan;
use crate::session::map_at;

/// The results of a run, read from the arena.
#[derive(Clone, Copy, Debug)]
pub struct Output<'s> {
    pub(crate) model: &'s Model<'s>,
    pub(crate) plan: &'s Plan,
    pub(crate) arena: &'s [u8],
    pub(crate) moments: &'s Moments,
}

/// A class and its probability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ranked {
    /// The class.
    pub class: usize,
    /// Its share of the softmax.
    pub probability: f32,
}

/// The most probable classes, best first; of equal logits the lower class comes first. As many as there are classes, at most K.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top<const K: usize> {
    entries: [Ranked; K],
    len: usize,
}

impl<const K: usize> core::ops::Deref for Top<K> {
    type Target = [Ranked];

    fn deref(&self) -> &[Ranked] {
        self.entries.get(..self.len).unwrap_or_default()
    }
}

impl<'s> Output<'s> {
    /// Logits of all classes; empty for dense models.
    pub fn logits(&self) -> &'s [f32] {
        if self.plan.config.dense {
            &[]
        } else {
            memory::floats(&self.arena[self.plan.result(0)])
        }
    }

    /// The K most probable classes.
    pub fn top<const K: usize>(&self) -> Top<K> {
        let logits = self.logits();
        let mut top = Top {
            entries: [Ranked::default(); K],
            len: 0,
        };
        for (class, &logit) in logits.iter().enumerate() {
            let better = |ranked: &Ranked| logit > logits[ranked.class];
            let at = top.iter().position(better).unwrap_or(top.len);
            if at < K {
                top.len = (top.len + 1).min(K);
                top.entries[at..top.len].rotate_right(1);
                top.entries[at].class = class;
            }
        }
        for ranked in &mut top.entries[..top.len] {
            ranked.probability = head::probability(logits, ranked.class);
        }
        top
    }

    /// Softmax probability of a class.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a class that the model does not have.
    pub fn probability(&self, class: usize) -> Result<f32, Error> {
        check_index(class, self.logits().len())?;
        Ok(head::probability(self.logits(), class))
    }

    /// Normalised map of a stage (0 to 3) of a dense model, [N, C]; empty for classifiers.
    pub fn feature(&self, stage: usize) -> &'s [f32] {
        if self.plan.config.dense && stage < STAGES {
            memory::floats(&self.arena[self.plan.result(stage)])
        } else {
            &[]
        }
    }

    /// Assignments of the pool that makes level 1, 2 or 3, [regions, N]: each element's centre within its region. Empty for other
    /// levels.
    pub fn assignment(&self, level: usize) -> &'s [u16] {
        match level.checked_sub(1) {
            Some(stage) if stage < POOLS => memory::halves(&self.arena[self.plan.pool(stage)]),
            _ => &[],
        }
    }

    /// Assignments of one head of a mixer, [regions, N]; empty when there is no such head.
    pub fn mixer_assignment(&self, stage: usize, block: usize, head: usize) -> &'s [u8] {
        match self.plan.config.stages.get(stage) {
            Some(config) if block < config.blocks && head < config.heads => {
                let n = self.plan.map(stage).elements();
                &self.arena[self.plan.mixer(stage, block)][head * n..][..n]
            }
            _ => &[],
        }
    }

    /// Rows and columns of the patches that [`Output::cluster_map`] labels.
    pub fn patches(&self) -> MapSize {
        self.plan.map(0)
    }

    /// Writes the cluster of level 1, 2 or 3 of each 4x4 patch to `labels` ([`Output::patches`]); clusters are numbered as the
    /// elements of [`Output::clusters`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for another level, or when level 1 has more clusters than labels have numbers (folded networks on
    /// images of more than 2048 x 2048); [`Error::PixelCount`] for another length.
    pub fn cluster_map(&self, level: usize, labels: &mut [u16]) -> Result<(), Error> {
        if !(1..=POOLS).contains(&level) {
            return Err(Error::OutOfRange {
                given: level,
                limit: POOLS + 1,
            });
        }
        let needed = self.patches().elements();
        if labels.len() != needed {
            return Err(Error::PixelCount {
                needed,
                given: labels.len(),
            });
        }
        let (clusters, numbers) = (self.clusters(1).elements(), usize::from(u16::MAX) + 1);
        if clusters > numbers {
            return Err(Error::OutOfRange {
                given: clusters,
                limit: numbers + 1,
            });
        }
        for stage in 0..level {
            let folds = self.plan.config.stages[stage + 1].folds;
            if stage == 0 {
                // The first map may have more elements than u16 counts: its elements are taken as they come.
                for (n, label) in labels.iter_mut().enumerate() {
                    let cell =
                        clustermap::next_element(self.assignment(1), self.plan.map(0), folds, n)
                            .unwrap_or(0);
                    *label = u16::try_from(cell).unwrap_or(u16::MAX);
                }
            } else {
                clustermap::link(
                    labels,
                    self.assignment(stage + 1),
                    self.plan.map(stage),
                    folds,
                );
            }
        }
        Ok(())
    }

    /// Rows and columns of the clusters of a level (1 to 3); none of other levels.
    pub fn clusters(&self, level: usize) -> MapSize {
        if (1..=POOLS).contains(&level) {
            self.plan.map(level)
        } else {
            MapSize { rows: 0, cols: 0 }
        }
    }

    /// The last stage's map, [N, C], before the norm.
    pub fn final_map(&self) -> Values<'s> {
        map_at(self.plan, self.arena, STAGES - 1)
    }

    /// Writes what each cluster of level 3 contributes to the logit of `class` (SPEC 6); the contributions add up to the logit.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a class that the model does not have, [`Error::PixelCount`] for another length than that of
    /// [`Output::clusters`] of level 3.
    pub fn evidence(&self, class: usize, contributions: &mut [f32]) -> Result<(), Error> {
        check_index(class, self.logits().len())?;
        let needed = self.clusters(POOLS).elements();
        if contributions.len() != needed {
            return Err(Error::PixelCount {
                needed,
                given: contributions.len(),
            });
        }
        let layer = self.model.norm_linear(
            Place::Network,
            [Role::HeadWeights, Role::HeadBias, Role::HeadSums],
        );
        head::evidence(
            &layer,
            self.moments.norm(),
            self.final_map(),
            class,
            contributions,
        );
        Ok(())
    }

    /// CRC-32 of the results: logits, or the four feature maps, as little-endian f32.
    pub fn output_crc(&self) -> u32 {
        let mut crc = Crc32::new();
        for stage in 0..STAGES {
            crc.update(&self.arena[self.plan.result(stage)]);
        }
        crc.value()
    }

    /// CRC-32 of all assignments in order of execution, pools as little-endian u16, mixers as u8.
    pub fn assignments_crc(&self) -> u32 {
        let mut crc = Crc32::new();
        for (stage, config) in self.plan.config.stages.iter().enumerate() {
            for block in 0..config.blocks {
                crc.update(&self.arena[self.plan.mixer(stage, block)]);
            }
            if stage < POOLS {
                crc.update(&self.arena[self.plan.pool(stage)]);
            }
        }
        crc.value()
    }
}

fn check_index(given: usize, limit: usize) -> Result<(), Error> {
    if given < limit {
        Ok(())
    } else {
        Err(Error::OutOfRange { given, limit })
    }
}
