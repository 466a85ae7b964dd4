//! The memory plan: where every buffer of a run lies in the arena, from configuration and image size alone.
//!
//! The arena holds, from its start: the pools' assignments, the mixers' assignments, the results (logits or dense features), and the
//! work area. Maps of stages 0 and 2 lie at the start of the work area, those of stages 1 and 3 at its end, the running step's
//! scratch between them.

use core::ops::Range;

use crate::config::{Config, POOLS, STAGES};
use crate::error::Error;
use crate::format::{ALIGN, LANES, pool_key_dim};
use crate::image::{ImageSize, MapSize};
use crate::kernels::{reach, window};
use crate::ops::pool::PoolShape;
use crate::ops::{map_len, mixer, mlp, patch_embed, room};
use crate::probe::Step;

/// Half the address space of the smallest targets.
const LARGEST_ARENA: u64 = i32::MAX as u64;
/// Each thread has scratch of its own; more of them than this have nothing to do.
const MOST_THREADS: usize = 256;

/// A run on images of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub(crate) config: Config,
    size: ImageSize,
    threads: usize,
    /// Bytes from the (aligned) start of the arena.
    pools: [Range32; POOLS],
    mixers: [Range32; STAGES],
    results: [Range32; STAGES],
    work: Range32,
}

/// Bytes `start..end` of the arena; all of it stays below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Range32 {
    start: u32,
    end: u32,
}

impl Range32 {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Hands out bytes one after the other.
struct Cursor(u64);

impl Cursor {
    fn take(&mut self, bytes: u64) -> Range32 {
        let start = self.0;
        self.0 = (start + bytes).next_multiple_of(ALIGN as u64);
        // `Plan::new` refuses a plan whose end does not fit 32 bits.
        Range32 {
            start: start as u32,
            end: (start + bytes) as u32,
        }
    }
}

impl Plan {
    pub(crate) fn new(config: &Config, size: ImageSize, threads: usize) -> Result<Self, Error> {
        config.check()?;
        config.check_size(size)?;
        // A map lies in the arena as a whole. Once each fits, the sums of a few of them below fit 32-bit targets too.
        for (i, stage) in config.stages.iter().enumerate() {
            let needed = 4 * size.map(i).elements() as u64 * stage.dim as u64;
            if needed > LARGEST_ARENA {
                return Err(Error::ArenaTooLarge { needed });
            }
        }
        let mut cursor = Cursor(0);
        let mut plan = Self {
            config: *config,
            size,
            threads: threads.clamp(1, MOST_THREADS),
            pools: [Range32::default(); POOLS],
            mixers: [Range32::default(); STAGES],
            results: [Range32::default(); STAGES],
            work: Range32::default(),
        };
        for (i, range) in plan.pools.iter_mut().enumerate() {
            *range = cursor.take(2 * size.map(i).elements() as u64);
        }
        for (i, (range, stage)) in plan.mixers.iter_mut().zip(&config.stages).enumerate() {
            let heads = (stage.blocks * stage.heads) as u64;
            *range = cursor.take(heads * size.map(i).elements() as u64);
        }
        for (i, (range, stage)) in plan.results.iter_mut().zip(&config.stages).enumerate() {
            let values = match (config.dense, i) {
                (true, _) => size.map(i).elements() * stage.dim,
                (false, 0) => config.classes,
                (false, _) => 0,
            };
            *range = cursor.take(4 * values as u64);
        }
        plan.work = cursor.take(4 * plan.work_len() as u64);
        if cursor.0 > LARGEST_ARENA {
            return Err(Error::ArenaTooLarge { needed: cursor.0 });
        }
        Ok(plan)
    }

    /// The size of its images.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The same with scratch for `threads` threads, 1 to 256, to be run within a rayon pool of the caller's (feature `threads`;
    /// without it one thread does all parts). Results do not depend on it.
    ///
    /// # Errors
    /// [`Error::ArenaTooLarge`].
    pub fn with_threads(&self, threads: usize) -> Result<Self, Error> {
        Self::new(&self.config, self.size, threads)
    }

    /// Parts that work is cut into.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of arena that a session needs, wherever the arena begins: up to 63 bytes serve to align it.
    pub fn arena_len(&self) -> usize {
        self.work.end as usize + ALIGN - 1
    }

    /// Bytes of the arena behind its first multiple of 64.
    pub(crate) fn aligned_len(&self) -> usize {
        self.work.end as usize
    }

    pub(crate) fn pool(&self, stage: usize) -> Range<usize> {
        self.pools[stage].range()
    }

    /// Assignments of one block, [E, regions, N].
    pub(crate) fn mixer(&self, stage: usize, block: usize) -> Range<usize> {
        let len = self.config.stages[stage].heads * self.size.map(stage).elements();
        let start = self.mixers[stage].start as usize + block * len;
        start..start + len
    }

    /// Logits (0), or the dense features of a stage.
    pub(crate) fn result(&self, stage: usize) -> Range<usize> {
        self.results[stage].range()
    }

    pub(crate) fn work(&self) -> Range<usize> {
        self.work.range()
    }

    /// Length of a stage's map, in floats, with its padding.
    pub(crate) fn map_len(&self, stage: usize) -> usize {
        map_len(self.map_values(stage), self.config.integer)
    }

    /// Values of a stage's map.
    pub(crate) fn map_values(&self, stage: usize) -> usize {
        self.size.map(stage).elements() * self.config.stages[stage].dim
    }

    /// Where a stage's map lies in the work area, in floats: at its start after an even number of pools, at its end after an odd one.
    pub(crate) fn map_range(&self, stage: usize) -> Range<usize> {
        let len = self.map_len(stage);
        let start = if stage.is_multiple_of(2) {
            0
        } else {
            self.work().len() / size_of::<f32>() - len
        };
        start..start + len
    }

    /// Where it lies in the arena, in bytes.
    pub(crate) fn map_bytes(&self, stage: usize) -> Range<usize> {
        let start = self.work().start + self.map_range(stage).start * size_of::<f32>();
        let size = if self.config.integer { 2 } else { 4 };
        start..start + self.map_values(stage) * size
    }

    /// Sizes that the pool after `stage` depends on.
    pub(crate) fn pool_shape(&self, stage: usize) -> PoolShape {
        let (dim, next) = (
            self.config.stages[stage].dim,
            self.config.stages[stage + 1].dim,
        );
        let folds = self.config.stages[stage + 1].folds;
        PoolShape {
            map: self.size.map(stage),
            folds,
            dim,
            next,
            key_dim: pool_key_dim(dim, next),
            integer: self.config.integer,
            local: self.config.locality[stage] > 0.0,
            threads: self.threads,
        }
    }

    /// Floats of the work area: the largest step decides.
    fn work_len(&self) -> usize {
        let (threads, stages) = (self.threads, &self.config.stages);
        let map = |i: usize| (self.size.map(i), self.map_len(i));
        let (first, len) = map(0);
        let (integer, embedded) = (self.config.integer, stages[0].dim);
        let mut most = len + patch_embed::scratch_len(first.elements(), embedded, integer, threads);
        for (i, stage) in stages.iter().enumerate() {
            let (map, len) = map(i);
            let mlp = mlp::scratch_len(stage, integer, i, map, threads);
            most = most.max(len + mixer::scratch_len(stage, integer, map, threads).max(mlp));
            if i < POOLS {
                let shape = self.pool_shape(i);
                most = most.max(len + shape.out_len() + shape.scratch_len());
            }
        }
        let (_, len) = map(STAGES - 1);
        most.max(len + room(stages[STAGES - 1].dim))
    }

    /// Multiply-adds of a run, as executed: those of the products, not of norms, activations and sums. With a locality the centres
    /// outside its window are not counted.
    pub fn multiply_adds(&self) -> u64 {
        let mut total = 0;
        let mut step = Some(Step::PatchEmbed);
        while let Some(next) = step {
            total += self.step_multiply_adds(next);
            step = next.next(&self.config);
        }
        total
    }

    /// Those of one step.
    pub fn step_multiply_adds(&self, step: Step) -> u64 {
        // In 64 bits on every target: FEC-Base already has more than 2^32 at twice its size.
        let wide = |n: usize| n as u64;
        let stage = |i: usize| &self.config.stages[i.min(STAGES - 1)];
        let elements = |i: usize| wide(self.size.map(i.min(STAGES - 1)).elements());
        match step {
            Step::PatchEmbed => elements(0) * wide(crate::format::PATCH_INPUTS * stage(0).dim),
            Step::Mixer { stage: i, .. } => {
                let (n, s) = (elements(i), stage(i));
                let (c, key) = (wide(s.dim), wide(s.key_dim()));
                let centres = wide(s.centres() * s.folds * s.folds);
                let keys = n * c * key;
                let similarity = n * wide(s.centres()) * key;
                let weights = 2 * n * key;
                keys + similarity + weights + 3 * centres * c * key + n * wide(s.heads) * c
            }
            Step::Mlp { stage: i, .. } => 2 * elements(i) * wide(stage(i).dim * stage(i).hidden),
            Step::Feature { .. } => 0,
            Step::Pool { stage: i } if i < POOLS => {
                let (n, shape) = (elements(i), self.pool_shape(i));
                let (c, d, next) = (wide(shape.dim), wide(shape.key_dim), wide(shape.next));
                let norms = if self.config.locality[i] > 0.0 {
                    n * c * d
                } else {
                    0
                };
                n / 4 * (2 * c * d + c * next + 9 * c * next) + self.pool_pairs(i) * c + norms
            }
            Step::Pool { .. } => 0,
            Step::Head => wide(stage(STAGES - 1).dim * self.config.classes),
        }
    }

    /// Pairs of element and centre that a pool compares.
    fn pool_pairs(&self, stage: usize) -> u64 {
        let PoolShape { map, folds, .. } = self.pool_shape(stage);
        let lambda = self.config.locality[stage];
        let pairs = |side: usize| -> usize {
            let cells = side / folds / 2;
            if lambda <= 0.0 {
                return side * cells;
            }
            let near = |element: usize| {
                let (start, end) = window((element as f32 + 0.5) * 0.5, reach(lambda), cells);
                end - start
            };
            folds * (0..2 * cells).map(near).sum::<usize>()
        };
        pairs(map.rows) as u64 * pairs(map.cols) as u64
    }

    /// The map of a stage, for the runtime's own modules.
    pub(crate) fn map(&self, stage: usize) -> MapSize {
        self.size.map(stage)
    }
}

const _: () = assert!(
    LANES * 4 == ALIGN,
    "a padded buffer of floats ends where the next may start"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PRESETS;

    /// Networks that no file can hold, their configurations being within the limits: planning must not overflow.
    #[test]
    fn networks_and_images_at_all_limits_are_planned_or_refused() {
        let extreme = |change: fn(&mut Config)| {
            let mut config = crate::config::LARGE;
            change(&mut config);
            config
        };
        let extremes = [
            extreme(|c| {
                for stage in &mut c.stages {
                    (stage.blocks, stage.dim, stage.hidden) = (64, 4096, 32_768);
                    (stage.heads, stage.head_dim) = (64, 512);
                    (stage.proposals, stage.folds) = (16, 8);
                }
                (c.classes, c.locality) = (65_536, [1e-45; POOLS]);
            }),
            extreme(|c| {
                for stage in &mut c.stages {
                    (stage.dim, stage.heads, stage.blocks) = (1, 64, 64);
                }
            }),
            extreme(|c| {
                for stage in &mut c.stages {
                    (stage.blocks, stage.dim, stage.hidden) = (1, 1, 1);
                    (stage.heads, stage.head_dim, stage.proposals) = (1, 1, 1);
                }
                (c.classes, c.locality) = (1, [1000.0; POOLS]);
            }),
        ];
        let presets = PRESETS.into_iter().filter_map(Config::preset);
        for config in presets.chain(extremes) {
            for height in [32, 256, 2048, 4096] {
                for width in [32, 256, 2048, 4096] {
                    let size = config.nearest_size(ImageSize { height, width });
                    match Plan::new(&config, size, 1) {
                        Ok(plan) => assert!(plan.multiply_adds() > 0),
                        Err(Error::ArenaTooLarge { needed }) => assert!(needed > LARGEST_ARENA),
                        Err(error) => assert!(matches!(error, Error::Limit { .. }), "{error}"),
                    }
                }
            }
        }
    }
}
