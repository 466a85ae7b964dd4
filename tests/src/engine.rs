//! The engine as a subject of golden parity, and packed models for other tests.

use std::collections::BTreeMap;

use fec_convert::pack::{PackOptions, pack};
use fec_runtime::config::POOLS;
use fec_runtime::format::{DType, Interpolation, Preprocessing};
use fec_runtime::kernels::{Kernels, Values};
use fec_runtime::reference::Map;
use fec_runtime::{
    AlignedBytes, Clusterer, Config, Image, ImageSize, MapSize, Model, Output, Probe, Session, Step,
};

use crate::golden::{Assignments, Case};
use crate::parity::{Outcome, Subject};

/// Options for a test's model: f32, no labels, ImageNet's normalisation, and a small self-test (packing runs it).
pub fn pack_options() -> PackOptions {
    PackOptions {
        dtype: DType::F32,
        keep: Vec::new(),
        labels: Vec::new(),
        preprocessing: Preprocessing {
            size: ImageSize {
                height: 32,
                width: 32,
            },
            crop_ratio: 1.0,
            interpolation: Interpolation::Bicubic,
            mean: Preprocessing::IMAGENET_MEAN,
            std: Preprocessing::IMAGENET_STD,
        },
        provenance: String::new(),
    }
}

/// A packed f32 model with these tensors.
pub fn packed(config: &Config, tensors: &BTreeMap<String, Vec<f32>>) -> AlignedBytes {
    let mut options = pack_options();
    options.preprocessing.size = config.nearest_size(options.preprocessing.size);
    AlignedBytes::copy_of(&pack(config, tensors, &options).expect("a network of the tests packs"))
}

/// Runs a model on a normalised image [3, H, W] under a probe and shows the output to `then`.
pub fn run<T>(
    model: &AlignedBytes,
    kernels: &'static Kernels,
    image: &Image<'_>,
    probe: &mut impl Probe,
    then: impl FnOnce(&Output<'_>) -> T,
) -> T {
    let model = Model::from_bytes(model.as_bytes()).expect("a packed model opens");
    let plan = model
        .plan(image.size())
        .expect("a size that the model takes");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session =
        Session::with_kernels(&model, plan, arena.as_bytes_mut(), kernels).expect("a session");
    let output = session.run_with(image, probe).expect("a run");
    then(&output)
}

/// The engine on one table of kernels. Keeps the model it packed last.
pub struct Engine {
    kernels: &'static Kernels,
    model: Option<(String, AlignedBytes)>,
}

impl Engine {
    /// The engine on these kernels.
    pub fn new(kernels: &'static Kernels) -> Self {
        Self {
            kernels,
            model: None,
        }
    }
}

impl Subject for Engine {
    fn name(&self) -> &'static str {
        self.kernels.isa().name()
    }

    fn run(&mut self, case: &Case, forced: Option<&Assignments>) -> Outcome {
        if self
            .model
            .as_ref()
            .is_none_or(|(name, _)| *name != case.name)
        {
            self.model = Some((case.name.clone(), packed(&case.config, &case.network())));
        }
        let Some((_, model)) = &self.model else {
            unreachable!("packed above")
        };
        let values = case.image();
        let image = Image::f32_chw(&values, case.size).expect("a golden image");
        let mut recorder = Recorder {
            config: case.config,
            size: case.size,
            forced,
            outcome: Outcome::default(),
        };
        let (logits, kept) = run(model, self.kernels, &image, &mut recorder, |output| {
            (output.logits().to_vec(), kept(&case.config, output))
        });
        let mut outcome = recorder.outcome;
        // What the session hands out must be what the steps used.
        let used = forced.unwrap_or(&outcome.own);
        assert!(
            kept == *used,
            "{}: the output's assignments are not those of the run",
            case.name
        );
        outcome.logits = logits;
        outcome
    }
}

/// The cluster maps of levels 1 to 3, one label per 4x4 patch, with golden's assignments in place of the engine's.
pub fn cluster_maps(case: &Case) -> Vec<Vec<u16>> {
    let model = packed(&case.config, &case.network());
    let values = case.image();
    let image = Image::f32_chw(&values, case.size).expect("a golden image");
    let golden = case.assignments();
    let mut recorder = Recorder {
        config: case.config,
        size: case.size,
        forced: Some(&golden),
        outcome: Outcome::default(),
    };
    run(
        &model,
        Kernels::portable(),
        &image,
        &mut recorder,
        |output| {
            let level = |level| {
                let mut labels = vec![0; output.patches().elements()];
                output.cluster_map(level, &mut labels).expect("a level");
                labels
            };
            (1..=POOLS).map(level).collect()
        },
    )
}

/// All assignments in a session's output, under golden's names and in its order.
pub fn kept(config: &Config, output: &Output<'_>) -> Assignments {
    let mut kept = Assignments::new();
    for (stage, layout) in config.stages.iter().enumerate() {
        for block in 0..layout.blocks {
            let heads =
                (0..layout.heads).flat_map(|head| output.mixer_assignment(stage, block, head));
            let clusterer = Clusterer::Mixer {
                stage,
                block,
                head: 0,
                region: 0,
            };
            kept.insert(name(clusterer), heads.map(|&a| u16::from(a)).collect());
        }
        if stage < POOLS {
            let clusterer = Clusterer::Pool { stage, region: 0 };
            kept.insert(name(clusterer), output.assignment(stage + 1).to_vec());
        }
    }
    kept
}

fn name(clusterer: Clusterer) -> String {
    match clusterer {
        Clusterer::Mixer { stage, block, .. } => {
            format!("network.{}.{block}.token_mixer", 2 * stage)
        }
        Clusterer::Pool { stage, .. } => format!("network.{}", 2 * stage + 1),
    }
}

/// Keeps every map and decision, and puts golden's assignments in place.
struct Recorder<'a> {
    config: Config,
    size: ImageSize,
    forced: Option<&'a Assignments>,
    outcome: Outcome,
}

impl Probe for Recorder<'_> {
    fn end(&mut self, step: Step, values: Values<'_>, size: MapSize, channels: usize) {
        let last = |stage: usize, block: usize| block + 1 == self.config.stages[stage].blocks;
        let name = match step {
            Step::PatchEmbed => "embed".to_owned(),
            Step::Mlp { stage, block } if last(stage, block) => format!("net.{}", 2 * stage),
            Step::Pool { stage } => format!("net.{}", 2 * stage + 1),
            Step::Feature { stage } => format!("feat.{stage}"),
            Step::Mixer { .. } | Step::Mlp { .. } | Step::Head => return,
        };
        self.outcome.maps.push((
            name,
            Map {
                size,
                channels,
                values: values.iter().collect(),
            },
        ));
    }

    fn assign(&mut self, clusterer: Clusterer, first: usize, assignments: &mut [u16]) {
        let (stage, folds, heads, index) = match clusterer {
            Clusterer::Mixer {
                stage,
                head,
                region,
                ..
            } => {
                let layout = self.config.stages[stage];
                (
                    stage,
                    layout.folds,
                    layout.heads,
                    head * layout.folds * layout.folds + region,
                )
            }
            Clusterer::Pool { stage, region } => {
                (stage, self.config.stages[stage + 1].folds, 1, region)
            }
        };
        let elements = self.size.map(stage).elements();
        let start = index * (elements / (folds * folds)) + first;
        let range = start..start + assignments.len();
        let own = self
            .outcome
            .own
            .entry(name(clusterer))
            .or_insert_with(|| vec![u16::MAX; heads * elements]);
        own[range.clone()].copy_from_slice(assignments);
        if let Some(forced) = self.forced {
            assignments.copy_from_slice(&forced[&name(clusterer)][range]);
        }
    }
}
