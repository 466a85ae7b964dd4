//! The network in burn (SPEC 1 to 6): modules whose parameters have the official checkpoints' names and shapes.
//!
//! Maps are pixel-major, [B, N, C]. Every part is defined in burn's operations, which run on any backend; on the CPU the heavy
//! parts are single operations of our own (`fused`). Letters are SPEC's.

mod block;
mod embed;
mod fused;
mod gradients;
mod grid;
mod init;
mod layers;
mod mixer;
mod names;
mod pass;
mod pool;
mod weights;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use fec_runtime::config::{Config, OfficialTensor, STAGES};
use fec_runtime::{Error, ImageSize, MapSize};

use block::{Block, Mlp};
use embed::PatchEmbed;
use layers::{Conv, Linear, Norm};
use mixer::Mixer;
use pass::Run;
use pool::Pool;

pub use gradients::{Batch, Gradient, gradients};
pub use init::Init;
pub use pass::{DropPath, Pass, PoolGradient, PoolTraining, Trace};
pub use weights::{Loaded, Misfit, load, save, tensors};

/// A stage's blocks, or the pool behind it.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are seven in a network, and burn knows no boxed modules"
)]
pub enum Layer {
    /// `network.{0,2,4,6}`
    Blocks(Vec<Block>),
    /// `network.{1,3,5}`
    Pool(Pool),
}

/// The network.
#[derive(Module, Debug)]
pub struct Fec {
    /// Patches to the first map.
    pub patch_embed: PatchEmbed,
    /// Stage, pool, stage, ... stage.
    pub network: Vec<Layer>,
    /// Classifiers: of the last map.
    pub norm: Option<Norm>,
    /// Classifiers: [classes, C].
    pub head: Option<Linear>,
    /// Dense networks: of the first stage's map.
    pub norm0: Option<Norm>,
    /// Dense networks: of the second stage's map.
    pub norm2: Option<Norm>,
    /// Dense networks: of the third stage's map.
    pub norm4: Option<Norm>,
    /// Dense networks: of the last stage's map.
    pub norm6: Option<Norm>,
    #[module(skip)]
    config: Config,
}

/// What a pass gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// Classifiers: [B, classes].
    pub logits: Option<Tensor<2>>,
    /// Dense networks: the normalised maps of the four stages [B, N, C].
    pub features: Vec<Tensor<3>>,
    /// The loss \[1\] that the pools' keys learn from besides the task's, where [`PoolTraining`] asks for one.
    pub pools: Option<Tensor<1>>,
    /// What was seen on the way, if it was asked for.
    pub trace: Trace,
}

impl Fec {
    /// A network with initial weights (SPEC 8). They depend on `init` alone, not on the device.
    ///
    /// # Errors
    /// [`Error`] for a configuration outside its limits.
    pub fn new(config: &Config, init: Init, device: &Device) -> Result<Self, Error> {
        // In the list a layer's bias follows its weight.
        let mut fan_in = 1;
        Self::with(config, device, |tensor| {
            if let [_, inputs @ ..] = tensor.shape()
                && !inputs.is_empty()
            {
                fan_in = inputs.iter().product();
            }
            init.values(tensor, fan_in)
        })
    }

    /// A network whose weights come from `values`, each in row-major order of its official shape.
    ///
    /// # Errors
    /// [`Error`] for a configuration outside its limits.
    ///
    /// # Panics
    /// When `values` gives another number of values than the shape asks for.
    pub fn with(
        config: &Config,
        device: &Device,
        values: impl FnMut(&OfficialTensor) -> Vec<f32>,
    ) -> Result<Self, Error> {
        config.check()?;
        Ok(Builder::new(config, device, values).network(config))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same weights with another locality of the pools (SPEC 3.6).
    pub fn set_locality(&mut self, locality: [f32; 3]) {
        self.config.locality = locality;
    }

    /// Blocks in all.
    pub fn blocks(&self) -> usize {
        self.config.stages.iter().map(|stage| stage.blocks).sum()
    }

    /// Logits [B, classes] of normalised images [B, H, W, 3].
    ///
    /// # Errors
    /// [`Error::Size`] and [`Error::Limit`] for an image size that the network does not take, [`Error::OutOfRange`] for a dense
    /// network, which has no logits.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let output = self.run(images, &Pass::default())?;
        output
            .logits
            .ok_or(Error::OutOfRange { given: 0, limit: 0 })
    }

    /// Runs as `pass` says.
    ///
    /// # Errors
    /// [`Error::Size`] and [`Error::Limit`] for an image size that the network does not take, [`Error::OutOfRange`] for drop path
    /// of another number of images.
    ///
    /// # Panics
    /// When forced assignments are fewer than the elements, or not those of centres.
    pub fn run(&self, images: Tensor<4>, pass: &Pass) -> Result<Output, Error> {
        let [b, height, width, _] = images.dims();
        let size = ImageSize { height, width };
        self.config.check_size(size)?;
        if let Some(given) = pass.drop_path.as_ref().map(DropPath::images)
            && given != b
        {
            return Err(Error::OutOfRange { given, limit: b });
        }
        let mut run = Run {
            pass,
            trace: Trace::default(),
            images: b,
            pools: None,
            colours: matches!(pass.pools.gradient, PoolGradient::Colours { .. })
                .then(|| pool::of_patches(&images)),
        };
        let mut x = self.patch_embed.forward(images, pass.bf16);
        if pass.traced {
            run.trace.maps.push(("embed".to_string(), x.clone()));
        }
        let (mut features, mut branch) = (Vec::new(), 0);
        for (i, layer) in self.network.iter().enumerate() {
            let stage = i / 2;
            match layer {
                Layer::Blocks(blocks) => {
                    x = self.stage(x, stage, blocks, size.map(stage), &mut branch, &mut run);
                    let norm = [&self.norm0, &self.norm2, &self.norm4, &self.norm6][stage];
                    features.extend(norm.as_ref().map(|norm| norm.forward(x.clone())));
                }
                Layer::Pool(pool) => x = self.pool(x, stage, pool, size.map(stage), &mut run),
            }
            if pass.traced {
                run.trace.maps.push((format!("net.{i}"), x.clone()));
            }
        }
        let logits = match (&self.norm, &self.head) {
            (Some(norm), Some(head)) => {
                let channels = x.dims()[2];
                let mean = norm.forward(x).mean_dim(1).reshape([b, channels]);
                Some(head.rows(mean, false))
            }
            _ => None,
        };
        Ok(Output {
            logits,
            features,
            pools: run.pools,
            trace: run.trace,
        })
    }

    fn stage(
        &self,
        mut x: Tensor<3>,
        stage: usize,
        blocks: &[Block],
        map: MapSize,
        branch: &mut usize,
        run: &mut Run,
    ) -> Tensor<3> {
        for (i, block) in blocks.iter().enumerate() {
            let setting = mixer::Setting {
                name: &format!("network.{}.{i}.token_mixer", 2 * stage),
                stage: self.config.stages[stage],
                similarity: self.config.similarity,
                map,
                branch: *branch,
            };
            x = block.forward(x, setting, run);
            *branch += 2;
        }
        x
    }

    fn pool(
        &self,
        x: Tensor<3>,
        stage: usize,
        pool: &Pool,
        map: MapSize,
        run: &mut Run,
    ) -> Tensor<3> {
        let setting = pool::Setting {
            name: &format!("network.{}", 2 * stage + 1),
            similarity: self.config.similarity,
            locality: self.config.locality[stage],
            folds: self.config.stages[stage + 1].folds,
            map,
        };
        if !run.pass.composed && !run.pass.bf16 && fused::on_cpu(&x) {
            pool.fused(x, setting, run)
        } else {
            pool.composed(x, setting, run)
        }
    }
}

/// Makes modules of the official tensors: their names and shapes come from the one list.
struct Builder<'a> {
    tensors: alloc::collections::BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    device: &'a Device,
}

impl<'a> Builder<'a> {
    fn new(
        config: &Config,
        device: &'a Device,
        mut values: impl FnMut(&OfficialTensor) -> Vec<f32>,
    ) -> Self {
        let mut tensors = alloc::collections::BTreeMap::new();
        config.official_tensors(|tensor| {
            let entry = (tensor.shape().to_vec(), values(&tensor));
            tensors.insert(tensor.to_string(), entry);
        });
        Self { tensors, device }
    }

    fn network(mut self, config: &Config) -> Fec {
        let patch_embed = PatchEmbed {
            proj: self.conv("patch_embed.proj"),
        };
        let mut network = Vec::new();
        for (i, stage) in config.stages.iter().enumerate() {
            let blocks = (0..stage.blocks).map(|j| self.block(&format!("network.{}.{j}", 2 * i)));
            network.push(Layer::Blocks(blocks.collect()));
            if i + 1 < STAGES {
                network.push(Layer::Pool(self.pool(&format!("network.{}", 2 * i + 1))));
            }
        }
        let mut norm = |name: &str| {
            let there = self.tensors.contains_key(&format!("{name}.weight"));
            there.then(|| self.norm(name))
        };
        Fec {
            patch_embed,
            network,
            norm: norm("norm"),
            norm0: norm("norm0"),
            norm2: norm("norm2"),
            norm4: norm("norm4"),
            norm6: norm("norm6"),
            head: (!config.dense).then(|| self.linear("head")),
            config: *config,
        }
    }

    fn block(&mut self, name: &str) -> Block {
        Block {
            norm1: self.norm(&format!("{name}.norm1")),
            token_mixer: Mixer {
                f: self.conv(&format!("{name}.token_mixer.f")),
                v: self.conv(&format!("{name}.token_mixer.v")),
                proj: self.conv(&format!("{name}.token_mixer.proj")),
                sim_alpha: self.scalar(&format!("{name}.token_mixer.sim_alpha")),
                sim_beta: self.scalar(&format!("{name}.token_mixer.sim_beta")),
            },
            norm2: self.norm(&format!("{name}.norm2")),
            mlp: Mlp {
                fc1: self.linear(&format!("{name}.mlp.fc1")),
                fc2: self.linear(&format!("{name}.mlp.fc2")),
            },
            layer_scale_1: self.param(&format!("{name}.layer_scale_1")),
            layer_scale_2: self.param(&format!("{name}.layer_scale_2")),
        }
    }

    fn pool(&mut self, name: &str) -> Pool {
        Pool {
            norm2: self.norm(&format!("{name}.norm2")),
            conv_f: self.conv(&format!("{name}.conv_f")),
            conv_v: self.conv(&format!("{name}.conv_v")),
            conv_skip: self.conv(&format!("{name}.conv_skip")),
        }
    }

    fn norm(&mut self, name: &str) -> Norm {
        Norm {
            weight: self.param(&format!("{name}.weight")),
            bias: self.param(&format!("{name}.bias")),
        }
    }

    fn linear(&mut self, name: &str) -> Linear {
        Linear {
            weight: self.param(&format!("{name}.weight")),
            bias: self.param(&format!("{name}.bias")),
        }
    }

    fn conv(&mut self, name: &str) -> Conv {
        Conv {
            weight: self.param(&format!("{name}.weight")),
            bias: self.param(&format!("{name}.bias")),
        }
    }

    fn scalar(&mut self, name: &str) -> Option<Param<Tensor<1>>> {
        self.tensors.contains_key(name).then(|| self.param(name))
    }

    fn param<const D: usize>(&mut self, name: &str) -> Param<Tensor<D>> {
        let (shape, values) = self
            .tensors
            .remove(name)
            .expect("the module tree and the official list have the same names");
        let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), self.device);
        let tensor = if self.device.is_autodiff() {
            tensor.require_grad()
        } else {
            tensor
        };
        Param::initialized(ParamId::new(), tensor)
    }
}
