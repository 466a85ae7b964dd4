//! The network written straight from SPEC.md, section by section: slow, obvious, in f32, with the heap. The engine and its
//! kernels are tested against it; nothing here is shared with them but the list of tensors and the formulas of SPEC 11.
//!
//! Letters are SPEC's: N elements and C channels of a map, M centres, d channels and E heads of a mixer, p centres per side.
//! Equation numbers are the paper's. Maps are pixel-major, [N, C].

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::config::{Config, OfficialTensor, PATCH, Place, STAGES};
use crate::formula::TensorFormula;
use crate::image::{Image, ImageSize, MapSize};
use cluster::{Choice, Region, cluster_region};
use map::{Regions, adaptive_average_pool, add, multiply_add, scaled, transpose, windows};

mod cluster;
mod map;
mod trace;

pub use map::Map;
use trace::check_forced;
pub use trace::{Clustering, Refused, Trace};

/// Added to the variance in every norm (SPEC 5).
const NORM_EPSILON: f64 = 1e-5;

/// A configuration with its weights, under the names and in the layout of the checkpoints.
#[derive(Clone, Debug)]
pub struct Network {
    config: Config,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl Network {
    /// A network whose weights come from `tensors`, each in row-major order of its official shape.
    ///
    /// # Errors
    /// [`Refused::Input`] for a configuration outside its limits, [`Refused::TensorLength`] for the first tensor of another length.
    pub fn new(
        config: Config,
        mut tensors: impl FnMut(&OfficialTensor) -> Vec<f32>,
    ) -> Result<Self, Refused> {
        config.check()?;
        let mut network = Self {
            config,
            tensors: BTreeMap::new(),
        };
        let mut refused = None;
        config.official_tensors(|tensor| {
            let values = tensors(&tensor);
            if values.len() != tensor.elements() && refused.is_none() {
                refused = Some(Refused::TensorLength {
                    tensor,
                    given: values.len(),
                });
            }
            network.tensors.insert(tensor.to_string(), values);
        });
        refused.map_or(Ok(network), Err)
    }

    /// A network with the formula weights of SPEC 11.
    ///
    /// # Errors
    /// [`Refused::Input`] for a configuration outside its limits.
    pub fn from_formula(config: Config) -> Result<Self, Refused> {
        Self::new(config, |tensor| {
            let formula = TensorFormula::new(tensor);
            (0..tensor.elements()).map(|i| formula.value(i)).collect()
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs on a normalised image [3, H, W]. Where `forced` has the name of a mixer or pool, its assignments [regions, N] stand
    /// in for the argmax; everything else is computed as ever.
    ///
    /// # Errors
    /// [`Refused`] for an image size that the network does not take, an image of another length or with NaN or infinity, and
    /// forced assignments that do not fit.
    pub fn run(
        &self,
        image: &[f32],
        size: ImageSize,
        forced: Option<&BTreeMap<String, Vec<u16>>>,
    ) -> Result<Trace, Refused> {
        self.config.check_size(size)?;
        Image::f32_chw(image, size)?;
        let embed = self.patch_embed(image, size);
        let mut run = Run {
            network: self,
            forced,
            clusterers: Vec::new(),
        };
        let (mut net, mut features) = (Vec::new(), Vec::new());
        let mut x = embed.clone();
        for stage in 0..STAGES {
            for block in 0..self.config.stages[stage].blocks {
                x = run.block(stage, block, x)?;
            }
            net.push(x.clone());
            if self.config.dense {
                features.push(self.norm(Place::Network, &format!("norm{}", 2 * stage), &x));
            }
            if stage + 1 < STAGES {
                x = run.pool(stage, &x)?;
                net.push(x.clone());
            }
        }
        let logits = if self.config.dense {
            Vec::new()
        } else {
            self.logits(&x)
        };
        Ok(Trace {
            embed,
            net,
            clusterers: run.clusterers,
            features,
            logits,
        })
    }

    /// `new` has put every official tensor there, with its right length.
    fn tensor(&self, place: Place, suffix: &str) -> &[f32] {
        self.tensors
            .get(&format!("{place}{suffix}"))
            .map_or(&[], Vec::as_slice)
    }

    /// A linear layer, or the convolution whose windows `x` holds: `name`.weight [outputs, C] and `name`.bias.
    fn linear(&self, place: Place, name: &str, x: &Map) -> Map {
        let weight = self.tensor(place, &format!("{name}.weight"));
        let bias = self.tensor(place, &format!("{name}.bias"));
        let (inputs, outputs) = (x.channels, bias.len());
        debug_assert_eq!(weight.len(), outputs * inputs);
        let transposed = transpose(weight, outputs, inputs);
        let mut y = Map::zeros(x.size, outputs);
        for (x, y) in x.elements().zip(y.values.chunks_exact_mut(outputs)) {
            y.copy_from_slice(bias);
            multiply_add(x, &transposed, y);
        }
        y
    }

    /// GroupNorm with one group: over all N * C values of the image (SPEC 5), scale and shift per channel.
    fn norm(&self, place: Place, name: &str, x: &Map) -> Map {
        let weight = self.tensor(place, &format!("{name}.weight"));
        let bias = self.tensor(place, &format!("{name}.bias"));
        // In f64: an f32 sum over a map's 100,000s of values loses the digits that the variance needs.
        let count = x.values.len() as f64;
        let mean = x.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = x
            .values
            .iter()
            .map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean))
            .sum::<f64>()
            / count;
        let (mean, scale) = (
            mean as f32,
            (1.0 / libm::sqrt(variance + NORM_EPSILON)) as f32,
        );
        let mut y = x.clone();
        for y in y.values.chunks_exact_mut(x.channels) {
            for ((y, g), b) in y.iter_mut().zip(weight).zip(bias) {
                *y = (*y - mean) * scale * g + b;
            }
        }
        y
    }
}

// ---- SPEC 2: patch embedding ----

impl Network {
    /// Two position channels behind the three of the image, then 4x4 patches.
    fn patch_embed(&self, image: &[f32], size: ImageSize) -> Map {
        let ImageSize {
            height: h,
            width: w,
        } = size;
        let mut x = Map::zeros(MapSize { rows: h, cols: w }, 5);
        for (n, x) in x.values.chunks_exact_mut(5).enumerate() {
            let (row, col) = (n / w, n % w);
            for c in 0..3 {
                x[c] = image[(c * h + row) * w + col];
            }
            x[3] = row as f32 / (h as f32 - 1.0) - 0.5;
            x[4] = col as f32 / (w as f32 - 1.0) - 0.5;
        }
        self.linear(
            Place::Network,
            "patch_embed.proj",
            &windows(&x, PATCH, PATCH, 0),
        )
    }
}

// ---- SPEC 3: pool; its clustering serves the mixer as well ----

/// A run under way.
struct Run<'a> {
    network: &'a Network,
    forced: Option<&'a BTreeMap<String, Vec<u16>>>,
    clusterers: Vec<Clustering>,
}

impl Run<'_> {
    fn pool(&mut self, stage: usize, x: &Map) -> Result<Map, Refused> {
        let (network, place) = (self.network, Place::Pool { stage });
        let folds = network.config.stages[stage + 1].folds;
        // 3.1: x is not normalised first. 3.4: the keys serve the argmax alone; they are never trained.
        let keys = network.linear(place, "conv_f", x);
        let values = network.linear(place, "conv_v", x);
        // 3.2: M = N/4 centres.
        let half = MapSize {
            rows: x.size.rows / 2,
            cols: x.size.cols / 2,
        };
        let clusterer = Clusterer {
            name: format!("network.{}", 2 * stage + 1),
            regions: Regions {
                heads: 1,
                folds,
                map: x.size,
            },
            centres: MapSize {
                rows: half.rows / folds,
                cols: half.cols / folds,
            },
            choice: Choice::Pool {
                locality: network.config.locality[stage],
            },
        };
        let cells = Regions {
            heads: 1,
            folds,
            map: half,
        };
        let mut reps = Map::zeros(half, values.channels);
        self.cluster(clusterer, &keys, &values, |region, found| {
            cells.paste(region, &found.reps, &mut reps)
        })?;
        // 3.5, Eq. 9: the paper norms the sum, the code the representatives alone.
        let skip = network.linear(place, "conv_skip", &windows(x, 3, 2, 1));
        Ok(add(skip, &network.norm(place, "norm2", &reps)))
    }

    /// Clusters every region by itself, records it and shows it to `each`.
    fn cluster(
        &mut self,
        clusterer: Clusterer,
        keys: &Map,
        values: &Map,
        mut each: impl FnMut(usize, &Region),
    ) -> Result<(), Refused> {
        let Clusterer {
            name,
            regions,
            centres,
            choice,
        } = clusterer;
        let n = regions.size().elements();
        let forced = self.forced.and_then(|forced| forced.get(&name));
        if let Some(forced) = forced {
            check_forced(&name, forced, regions.count() * n, centres.elements())?;
        }
        let mut all = Clustering {
            name,
            regions: regions.count(),
            centres: centres.elements(),
            assign: Vec::new(),
            own: Vec::new(),
            margin: Vec::new(),
            reps: Vec::new(),
            centre_keys: Vec::new(),
        };
        for r in 0..regions.count() {
            let forced = forced.and_then(|forced| forced.get(r * n..(r + 1) * n));
            let found = cluster_region(
                &regions.cut(r, keys),
                &regions.cut(r, values),
                centres,
                (self.network.config.similarity, choice),
                forced,
            );
            each(r, &found);
            all.assign.extend(&found.assign);
            all.own.extend(&found.own);
            all.margin.extend(&found.margin);
            all.reps.extend(&found.reps);
            all.centre_keys.extend(&found.centre_keys);
        }
        self.clusterers.push(all);
        Ok(())
    }
}

/// What a mixer or a pool clusters by.
struct Clusterer {
    name: String,
    regions: Regions,
    /// Centres of one region, in rows and columns.
    centres: MapSize,
    choice: Choice,
}

// ---- SPEC 4: mixer ----

impl Run<'_> {
    /// `x` has been through norm1. Each head clusters on its own, and each fold.
    fn mixer(&mut self, stage: usize, block: usize, x: &Map) -> Result<Map, Refused> {
        let (network, place) = (self.network, Place::Block { stage, block });
        let config = network.config.stages[stage];
        // Table 4b: where they are not learnt they are 1 and 0.
        let scalar = |name, absent| {
            network
                .tensor(place, name)
                .first()
                .copied()
                .unwrap_or(absent)
        };
        let (alpha, beta) = (
            scalar("token_mixer.sim_alpha", 1.0),
            scalar("token_mixer.sim_beta", 0.0),
        );
        let keys = network.linear(place, "token_mixer.f", x);
        let values = network.linear(place, "token_mixer.v", x);
        let regions = Regions {
            heads: config.heads,
            folds: config.folds,
            map: x.size,
        };
        let clusterer = Clusterer {
            name: format!("{place}token_mixer"),
            regions,
            centres: MapSize {
                rows: config.proposals,
                cols: config.proposals,
            },
            choice: Choice::Mixer { alpha, beta },
        };
        let d = config.head_dim;
        let mut y = Map::zeros(x.size, values.channels);
        self.cluster(clusterer, &keys, &values, |region, found| {
            // 4.4, Eq. 7: the paper passes w * R through an MLP, the code has the projection of all heads below.
            let mut out = Vec::new();
            for (&a, w) in found.assign.iter().zip(&found.weight) {
                let a = usize::from(a);
                out.extend(found.reps[a * d..(a + 1) * d].iter().map(|r| w * r));
            }
            regions.paste(region, &out, &mut y);
        })?;
        // 4.5.
        Ok(network.linear(place, "token_mixer.proj", &y))
    }
}

// ---- SPEC 5: block ----

impl Run<'_> {
    fn block(&mut self, stage: usize, block: usize, x: Map) -> Result<Map, Refused> {
        let (network, place) = (self.network, Place::Block { stage, block });
        let mixed = self.mixer(stage, block, &network.norm(place, "norm1", &x))?;
        let x = add(x, &scaled(mixed, network.tensor(place, "layer_scale_1")));
        let mut hidden = network.linear(place, "mlp.fc1", &network.norm(place, "norm2", &x));
        hidden.values.iter_mut().for_each(|t| *t = gelu(*t));
        let y = network.linear(place, "mlp.fc2", &hidden);
        Ok(add(x, &scaled(y, network.tensor(place, "layer_scale_2"))))
    }
}

fn gelu(t: f32) -> f32 {
    0.5 * t * (1.0 + libm::erff(t * core::f32::consts::FRAC_1_SQRT_2))
}

// ---- SPEC 6: outputs ----

impl Network {
    fn logits(&self, x: &Map) -> Vec<f32> {
        let x = self.norm(Place::Network, "norm", x);
        let mean = adaptive_average_pool(&x, MapSize { rows: 1, cols: 1 });
        self.linear(Place::Network, "head", &mean).values
    }
}
