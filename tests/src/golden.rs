//! Golden files: what PyTorch computed, read as it lies there (maps in NCHW order, sampled where the case is large).
//!
//! The nano and compact cases are fixtures of this package; the others are in `shared/golden` beside the workspace, where that
//! exists.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fec_runtime::config::{Dispatch, OfficialTensor, STAGES, Similarity, Stage};
use fec_runtime::formula::TensorFormula;
use fec_runtime::{Config, ImageSize};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

/// Cases of small networks, fixtures of this package.
pub const SMALL_CASES: [&str; 8] = [
    "d_nano_64",
    "e_nano_32",
    "e2_nano_96x64",
    "f_compact_96",
    "i_nano_ties_64",
    "i2_nano_constant_64",
    "k_nano_noise_64",
    "l_nano_locality_64",
];

/// Cases of the published networks.
pub const LARGE_CASES: [&str; 6] = [
    "a_small_224",
    "b_base_224",
    "c_large_224",
    "g_small_seg_512x384",
    "h_small_det_256x320",
    "l2_small_locality_224x160",
];

/// Assignments [regions, N] of every mixer and pool, by its name in the checkpoint.
pub type Assignments = BTreeMap<String, Vec<u16>>;

/// One case: a network, an image, and what PyTorch made of them.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The network's configuration.
    pub config: Config,
    /// The image's size.
    pub size: ImageSize,
    /// Every margin is above 2e-5: a free run must make the same decisions.
    pub stable: bool,
    /// The file keeps every 7th value of a map and every 11th of a feature.
    pub sampled: bool,
    tensors: Tensors,
}

impl Case {
    /// The case of that name, or `None` where its file is not there (`shared` is not part of the repository).
    pub fn load(name: &str) -> Option<Case> {
        let tensors = Tensors::load(name)?;
        let index =
            std::fs::read_to_string(directory(name)?.join("index.json")).expect("golden index");
        let index: Value = serde_json::from_str(&index).expect("golden index is JSON");
        let entry = &index[name];
        Some(Case {
            name: name.to_owned(),
            config: config(&entry["config"]),
            size: ImageSize {
                height: number(&entry["image"][2]),
                width: number(&entry["image"][3]),
            },
            stable: entry["stable"] == true,
            sampled: entry["keep"] == "sample",
            tensors,
        })
    }

    /// Values of a tensor of the network, in row-major order of its official shape: from the file, else the formula weights with
    /// the case's edits (`negative` in make_golden.py).
    pub fn weights(&self, tensor: &OfficialTensor) -> Vec<f32> {
        let name = tensor.to_string();
        if let Some(values) = self.tensors.f32(&format!("weights.{name}")) {
            return values;
        }
        match (self.name.as_str(), name.as_str()) {
            ("i_nano_ties_64", "network.0.0.token_mixer.sim_alpha") => vec![-3.0],
            ("i_nano_ties_64", "network.4.0.token_mixer.f.weight") => vec![0.0; tensor.elements()],
            _ => {
                let formula = TensorFormula::new(tensor);
                (0..tensor.elements()).map(|i| formula.value(i)).collect()
            }
        }
    }

    /// All tensors by name.
    pub fn network(&self) -> BTreeMap<String, Vec<f32>> {
        let mut network = BTreeMap::new();
        self.config.official_tensors(|tensor| {
            network.insert(tensor.to_string(), self.weights(&tensor));
        });
        network
    }

    /// The normalised image [3, H, W].
    pub fn image(&self) -> Vec<f32> {
        match self.name.as_str() {
            "i2_nano_constant_64" => constant(self.size),
            "k_nano_noise_64" => waves(self.size, 3),
            _ => waves(self.size, 0),
        }
    }

    /// Golden values of a tensor (`embed`, `net.3`, `logits`), or `None` where the case does not keep it.
    pub fn values(&self, name: &str) -> Option<Vec<f32>> {
        self.tensors.f32(name)
    }

    /// Sum of all values of the map after `network.{k}`, where the map itself is sampled.
    pub fn sum(&self, k: usize) -> Option<f64> {
        self.tensors.f64(&format!("netsum.{k}"))?.first().copied()
    }

    /// Golden assignments.
    pub fn assignments(&self) -> Assignments {
        let names = self
            .tensors
            .names()
            .filter_map(|name| name.strip_prefix("assign."));
        names
            .map(|name| (name.to_owned(), self.tensors.u16(&format!("assign.{name}"))))
            .collect()
    }

    /// Golden margins of a mixer or pool, [regions, N].
    pub fn margins(&self, clusterer: &str) -> Vec<f32> {
        self.tensors
            .f32(&format!("margin.{clusterer}"))
            .expect("a margin for every clusterer")
    }
}

/// Loads the cases; those that are not there are counted in a line on standard error, which `cargo test` does not swallow.
pub fn load(names: &[&str]) -> Vec<Case> {
    let cases: Vec<Case> = names.iter().filter_map(|name| Case::load(name)).collect();
    let missing = names.len() - cases.len();
    if missing > 0 {
        notice(&format!(
            "SKIPPED {missing} of {} golden cases: shared/golden is not there",
            names.len()
        ));
    }
    cases
}

/// Writes a line to standard error past the test harness, which keeps what `eprintln!` writes to itself.
pub fn notice(line: &str) {
    // A closed standard error is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A golden file's tensors.
#[derive(Debug)]
pub struct Tensors(BTreeMap<String, (Dtype, Vec<u8>)>);

impl Tensors {
    /// The tensors of `NAME.safetensors`, or `None` where there is no such file.
    pub fn load(name: &str) -> Option<Self> {
        let bytes = std::fs::read(directory(name)?.join(format!("{name}.safetensors")))
            .expect("golden file");
        let tensors = SafeTensors::deserialize(&bytes).expect("golden file is safetensors");
        let owned = tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), (view.dtype(), view.data().to_vec())));
        Some(Self(owned.collect()))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A tensor stored as f32 or f16.
    pub fn f32(&self, name: &str) -> Option<Vec<f32>> {
        let (dtype, bytes) = self.0.get(name)?;
        Some(match dtype {
            Dtype::F32 => numbers(bytes, f32::from_le_bytes),
            Dtype::F16 => numbers(bytes, |b| small_float(u16::from_le_bytes(b))),
            other => panic!("{name} is {other:?}, expected f32 or f16"),
        })
    }

    /// A tensor stored as f64.
    pub fn f64(&self, name: &str) -> Option<Vec<f64>> {
        let (dtype, bytes) = self.0.get(name)?;
        assert_eq!(*dtype, Dtype::F64, "{name}");
        Some(numbers(bytes, f64::from_le_bytes))
    }

    /// A tensor stored as u16.
    pub fn u16(&self, name: &str) -> Vec<u16> {
        let (dtype, bytes) = self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no tensor {name}"));
        assert_eq!(*dtype, Dtype::U16, "{name}");
        numbers(bytes, u16::from_le_bytes)
    }
}

fn numbers<T, const SIZE: usize>(bytes: &[u8], from: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (chunks, rest) = bytes.as_chunks::<SIZE>();
    assert!(rest.is_empty(), "a tensor ends within a value");
    chunks.iter().map(|chunk| from(*chunk)).collect()
}

/// Value of a finite, non-negative f16 (margins are).
fn small_float(bits: u16) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 10), f32::from(bits & 0x3ff));
    if exponent == 0 {
        mantissa * (-24f32).exp2()
    } else {
        (1024.0 + mantissa) * ((exponent - 25) as f32).exp2()
    }
}

fn directory(name: &str) -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        package.join("fixtures/golden"),
        package.join("../../shared/golden"),
    ];
    places
        .into_iter()
        .find(|place| place.join(format!("{name}.safetensors")).is_file())
}

fn number(value: &Value) -> usize {
    value
        .as_u64()
        .and_then(|v| usize::try_from(v).ok())
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// The configuration as make_golden.py writes it: a list of four per field.
fn config(entry: &Value) -> Config {
    let stage = |i: usize| {
        let of = |field: &str| number(&entry[field][i]);
        Stage {
            blocks: of("blocks"),
            dim: of("dims"),
            hidden: of("dims") * of("mlp_ratios"),
            heads: of("heads"),
            head_dim: of("head_dims"),
            proposals: of("proposals"),
            folds: of("folds"),
        }
    };
    let locality = entry["locality"].as_f64().unwrap_or(0.0) as f32;
    Config {
        stages: core::array::from_fn::<_, STAGES, _>(stage),
        classes: number(&entry["classes"]),
        dense: entry["dense"] == true,
        locality: [locality; STAGES - 1],
        similarity: Similarity::Cosine,
        dispatch: Dispatch::AlphaBeta,
        integer: false,
    }
}

/// The image formula of SPEC 11, written once more: the runtime's own is under test.
pub fn waves(size: ImageSize, j: usize) -> Vec<f32> {
    let ImageSize {
        height: h,
        width: w,
    } = size;
    let tri = |t: usize, q: usize| (t % (2 * q)).abs_diff(q);
    let value = |c: usize, y: usize, x: usize| {
        let a = 2 * tri(x * (3 + c) + y * (2 + j) + 17 * c, 97);
        let b = 3 * tri(x * y / 16 + 31 * c + 7 * j, 61);
        let s = 60 * ((5 * x / w + 4 * y / h + c + j) % 3);
        ((a + b + s) % 512) as f32 / 128.0 - 2.0
    };
    (0..3 * h * w)
        .map(|i| value(i / (h * w), i / w % h, i % w))
        .collect()
}

fn constant(size: ImageSize) -> Vec<f32> {
    let n = size.height * size.width;
    (0..3 * n)
        .map(|i| (200 + 20 * (i / n)) as f32 / 128.0 - 2.0)
        .collect()
}
