//! What a FEC network looks like: its configuration, the presets, and the one list of its tensors (SPEC 1).
//!
//! Every reader, writer and test iterates over [`Config::official_tensors`] (the checkpoint's names and shapes); the packed
//! file has its own list in [`crate::format::packed_tensors`], made from the same configuration.

use crate::error::{Error, Quantity};
use crate::image::ImageSize;

pub use crate::official::{OfficialTensor, Place};

/// Stages of a network.
pub const STAGES: usize = 4;
/// Pools between the stages.
pub const POOLS: usize = STAGES - 1;
/// Side of the patches that the first layer embeds, in pixels.
pub const PATCH: usize = 4;

/// One stage: `blocks` blocks over a map of `dim` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Blocks in this stage.
    pub blocks: usize,
    /// Channels C of the stage's map.
    pub dim: usize,
    /// Width of the MLP's hidden layer (MLP ratio times `dim`).
    pub hidden: usize,
    /// Heads E of the mixers.
    pub heads: usize,
    /// Channels d of one head.
    pub head_dim: usize,
    /// Mixer centres per side: p gives p x p centres in each region.
    pub proposals: usize,
    /// Regions per side (folds): above 1, clustering stays inside each region.
    pub folds: usize,
}

impl Stage {
    /// Width E * d of a mixer's keys and values.
    pub const fn key_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Centres p * p of one head in one region.
    pub const fn centres(&self) -> usize {
        self.proposals * self.proposals
    }
}

/// What elements and centres are compared by (Eq. 5 and the paper's Table 4a), in pools and mixers alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Similarity {
    /// c·k / (|c| |k|), as published.
    #[default]
    Cosine,
    /// c·k
    Dot,
    /// -|c - k|
    Euclidean,
}

impl Similarity {
    /// All of them, in the order of their numbers.
    pub const ALL: [Similarity; 3] = [Self::Cosine, Self::Dot, Self::Euclidean];

    /// Its number in the file. Numbers are never reused.
    pub const fn number(self) -> u32 {
        match self {
            Self::Cosine => 0,
            Self::Dot => 1,
            Self::Euclidean => 2,
        }
    }

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
        }
    }
}

/// Which numbers of the mixers' weights sigmoid(beta + alpha * similarity) are learnt (Eq. 7 and the paper's Table 4b). Without
/// them alpha is 1 and beta 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// alpha and beta, as published.
    #[default]
    AlphaBeta,
    /// alpha alone.
    Alpha,
    /// beta alone.
    Beta,
    /// Neither.
    Plain,
}

impl Dispatch {
    /// All of them, in the order of their numbers.
    pub const ALL: [Dispatch; 4] = [Self::AlphaBeta, Self::Alpha, Self::Beta, Self::Plain];

    /// The form in which these are learnt.
    pub const fn of(alpha: bool, beta: bool) -> Self {
        match (alpha, beta) {
            (true, true) => Self::AlphaBeta,
            (true, false) => Self::Alpha,
            (false, true) => Self::Beta,
            (false, false) => Self::Plain,
        }
    }

    /// Its number in the file. Numbers are never reused.
    pub const fn number(self) -> u32 {
        match self {
            Self::AlphaBeta => 0,
            Self::Alpha => 1,
            Self::Beta => 2,
            Self::Plain => 3,
        }
    }

    /// Whether checkpoints have sim_alpha.
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::AlphaBeta | Self::Alpha)
    }

    /// Whether checkpoints have sim_beta.
    pub const fn has_beta(self) -> bool {
        matches!(self, Self::AlphaBeta | Self::Beta)
    }
}

/// A network's configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The four stages.
    pub stages: [Stage; STAGES],
    /// Classes of the head; 0 in dense models.
    pub classes: usize,
    /// Four normalised feature maps (SPEC 6) in place of logits.
    pub dense: bool,
    /// Locality of each pool (SPEC 3.6), 0 as published; with the cosine alone.
    pub locality: [f32; POOLS],
    /// What elements and centres are compared by.
    pub similarity: Similarity,
    /// Which numbers of the mixers' weights are learnt.
    pub dispatch: Dispatch,
    /// Products in 8-bit integers, maps in f16: the same bits on every machine.
    pub integer: bool,
}

/// Names that [`Config::preset`] knows.
pub const PRESETS: [&str; 18] = [
    "small",
    "base",
    "large",
    "compact",
    "nano",
    "micro",
    "small_seg",
    "base_seg",
    "large_seg",
    "compact_seg",
    "nano_seg",
    "small_det",
    "base_det",
    "large_det",
    "compact_det",
    "nano_det",
    "micro_dense",
    "nano_dense",
];

/// One preset as a row of SPEC 1's table.
const fn row(
    blocks: [usize; STAGES],
    dims: [usize; STAGES],
    ratios: [usize; STAGES],
    heads: [usize; STAGES],
    head_dim: usize,
    proposals: [usize; STAGES],
    classes: usize,
) -> Config {
    let mut stages = [Stage {
        blocks: 0,
        dim: 0,
        hidden: 0,
        heads: 0,
        head_dim,
        proposals: 0,
        folds: 1,
    }; STAGES];
    let mut i = 0;
    while i < STAGES {
        stages[i].blocks = blocks[i];
        stages[i].dim = dims[i];
        stages[i].hidden = dims[i] * ratios[i];
        stages[i].heads = heads[i];
        stages[i].proposals = proposals[i];
        i += 1;
    }
    Config {
        stages,
        classes,
        dense: false,
        locality: [0.0; POOLS],
        similarity: Similarity::Cosine,
        dispatch: Dispatch::AlphaBeta,
        integer: false,
    }
}

/// FEC-Small, the paper's smallest network.
pub const SMALL: Config = row(
    [3, 4, 5, 2],
    [32, 64, 196, 320],
    [8, 8, 4, 4],
    [4, 4, 8, 8],
    24,
    [4, 4, 2, 2],
    1000,
);
/// FEC-Base.
pub const BASE: Config = row(
    [2, 2, 6, 2],
    [64, 128, 320, 512],
    [8, 8, 4, 4],
    [4, 4, 8, 8],
    32,
    [4, 4, 2, 2],
    1000,
);
/// FEC-Large.
pub const LARGE: Config = row(
    [4, 4, 12, 4],
    [64, 128, 320, 512],
    [8, 8, 4, 4],
    [6, 6, 12, 12],
    32,
    [4, 4, 2, 2],
    1000,
);
/// FEC-Compact (ours): between nano and small.
pub const COMPACT: Config = row(
    [2, 2, 4, 2],
    [32, 64, 128, 224],
    [4; 4],
    [4, 4, 8, 8],
    16,
    [4, 4, 2, 2],
    100,
);
/// FEC-Nano (ours): for microcontrollers.
pub const NANO: Config = row(
    [1, 1, 2, 1],
    [16, 32, 64, 96],
    [4; 4],
    [2, 2, 4, 4],
    16,
    [2; 4],
    10,
);
/// The smallest network that has every part; file formats are tested with it.
pub const MICRO: Config = row([1; 4], [8, 12, 16, 20], [2; 4], [2; 4], 4, [2; 4], 5);

impl Config {
    /// The preset of that name, or `None`. `_seg` and `_det` are the paper's dense variants (SPEC 1), `_dense` keeps the
    /// classification network's clustering.
    pub fn preset(name: &str) -> Option<Config> {
        if !PRESETS.contains(&name) {
            return None;
        }
        let (base, task) = name.split_once('_').unwrap_or((name, ""));
        let mut config = match base {
            "small" => SMALL,
            "base" => BASE,
            "large" => LARGE,
            "compact" => COMPACT,
            "nano" => NANO,
            _ => MICRO,
        };
        let (proposals, folds) = match task {
            "" => return Some(config),
            "seg" => ([10, 10, 5, 5], [1; STAGES]),
            "det" => ([7; STAGES], [2, 2, 1, 1]),
            _ => (config.stages.map(|stage| stage.proposals), [1; STAGES]),
        };
        for (stage, (p, f)) in config
            .stages
            .iter_mut()
            .zip(proposals.into_iter().zip(folds))
        {
            stage.proposals = p;
            stage.folds = f;
        }
        config.dense = true;
        config.classes = 0;
        Some(config)
    }

    /// Checks every number against its limit, so that all later arithmetic on them stays in range.
    ///
    /// # Errors
    /// [`Error::Limit`] names the first quantity out of its range, [`Error::Locality`] a negative or non-finite locality,
    /// [`Error::LocalityWithoutCosine`] one beside another similarity: lambda is measured against cosines.
    pub fn check(&self) -> Result<(), Error> {
        use Quantity as Q;
        for stage in &self.stages {
            Q::Blocks.check(stage.blocks)?;
            Q::Channels.check(stage.dim)?;
            Q::Hidden.check(stage.hidden)?;
            Q::Heads.check(stage.heads)?;
            Q::HeadChannels.check(stage.head_dim)?;
            Q::Proposals.check(stage.proposals)?;
            Q::Folds.check(stage.folds)?;
        }
        if self.dense {
            Q::DenseClasses.check(self.classes)?
        } else {
            Q::Classes.check(self.classes)?
        }
        for (pool, locality) in (1..).zip(self.locality) {
            if !(locality.is_finite() && (0.0..=1.0e3).contains(&locality)) {
                return Err(Error::Locality { pool });
            }
            if locality > 0.0 && self.similarity != Similarity::Cosine {
                return Err(Error::LocalityWithoutCosine { pool });
            }
        }
        Ok(())
    }

    /// Sides accepted by this network are multiples of this many pixels (SPEC 9): 32, more where folds ask for it.
    pub fn granularity(&self) -> usize {
        let mut side = PATCH << POOLS;
        for (i, stage) in self.stages.iter().enumerate() {
            side = least_common_multiple(side, (PATCH << i) * stage.folds);
        }
        side
    }

    /// Checks an image size (SPEC 9).
    ///
    /// # Errors
    /// [`Error::Size`] with the nearest accepted size; [`Error::Limit`] when a side or the number of centres is too large.
    pub fn check_size(&self, size: ImageSize) -> Result<(), Error> {
        Quantity::Side.check(size.height)?;
        Quantity::Side.check(size.width)?;
        let nearest = self.nearest_size(size);
        if nearest != size {
            return Err(Error::Size {
                given: size,
                nearest,
                multiple: self.granularity(),
            });
        }
        for (i, next) in self.stages.iter().enumerate().skip(1) {
            let map = size.map(i);
            Quantity::Centres.check(map.elements() / (next.folds * next.folds))?;
        }
        Ok(())
    }

    /// The accepted size nearest to `size`, each side by itself.
    pub fn nearest_size(&self, size: ImageSize) -> ImageSize {
        let step = self.granularity();
        let (_, longest) = Quantity::Side.limits();
        let most = (longest / step).max(1);
        let near = |side: usize| ((side.min(longest) + step / 2) / step).clamp(1, most) * step;
        ImageSize {
            height: near(size.height),
            width: near(size.width),
        }
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(name: &str) -> usize {
        let mut total = 0;
        Config::preset(name)
            .expect("a preset")
            .official_tensors(|t| total += t.elements());
        total
    }

    #[test]
    fn presets_have_the_published_numbers_of_parameters() {
        assert_eq!(parameters("small"), 5_727_528);
        assert_eq!(parameters("base"), 15_086_848);
        assert_eq!(parameters("large"), 29_720_344);
        assert_eq!(parameters("compact"), 2_286_072);
        assert_eq!(parameters("nano"), 300_068);
    }

    #[test]
    fn every_preset_is_within_the_limits() {
        for name in PRESETS {
            let config = Config::preset(name).expect("listed");
            assert_eq!(config.check(), Ok(()), "{name}");
            assert_eq!(config.granularity(), 32, "{name}");
        }
        assert_eq!(Config::preset("medium"), None);
    }

    #[test]
    fn sizes_that_the_published_code_gets_wrong_are_refused_with_the_nearest() {
        for (side, near) in [
            (24, 32),
            (48, 64),
            (33, 32),
            (200, 192),
            (225, 224),
            (1, 32),
        ] {
            let given = ImageSize {
                height: side,
                width: 64,
            };
            let nearest = ImageSize {
                height: near,
                width: 64,
            };
            assert_eq!(
                NANO.check_size(given),
                Err(Error::Size {
                    given,
                    nearest,
                    multiple: 32
                })
            );
        }
        assert_eq!(
            NANO.check_size(ImageSize {
                height: 96,
                width: 64
            }),
            Ok(())
        );
    }
}
