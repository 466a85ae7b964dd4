//! `fec-convert pack`: a checkpoint becomes a .fec file, and a report says what was read, recognised and folded.

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use fec::output::{Exit, Output, write_atomically};
use fec_convert::Error;
use fec_convert::keep;
use fec_convert::pack::{PackOptions, pack};
use fec_convert::recognise::{Recognised, recognise};
use fec_runtime::config::{Config, POOLS, Similarity};
use fec_runtime::format::{DType, Interpolation, Preprocessing, WriteError};
use fec_runtime::{AlignedBytes, ImageSize, Model};

use super::report::{Folded, Read, Report, Stored};
use super::{
    formula_network, in_file, integer, parse_arch, parse_number, parse_size, parse_three,
    read_checkpoint, read_file, weights_digest,
};

/// Longest file of labels; 65,536 labels of 255 bytes fill half of it.
const MAX_LABELS_LEN: u64 = 32 << 20;

/// Options of `pack`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Checkpoint (torch.save or safetensors), `-` for standard input, or formula:PRESET for weights from a formula
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    input: PathBuf,
    /// File to write, `-` for standard output
    #[arg(short, long, value_name = "OUT.fec", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Architecture where shapes do not tell it: a preset, or settings such as "heads=4,4,8,8 proposals=4,4,2,2"
    #[arg(long, value_name = "NAME", value_parser = parse_arch)]
    arch: Option<String>,
    /// Storage type of the weights: f32, f16, or i8, which makes an integer network
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = parse_dtype)]
    dtype: DType,
    /// Store a layer, or all layers whose names begin so or have that word in them, in another type, as in head=f32; an integer
    /// network's MLPs with GELU computed, as in mlp=fine; repeatable
    #[arg(long, value_name = "LAYER=TYPE", value_parser = parse_keep)]
    keep: Vec<(String, Keep)>,
    #[command(flatten)]
    integer: integer::IntegerArgs,
    /// Class names, a line each
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    labels: Option<PathBuf>,
    /// How much the pools prefer near centres: one number, or one per pool; 0 is as published
    #[arg(long, value_name = "F|F1,F2,F3", allow_hyphen_values = true, default_value = "0", value_parser = parse_locality)]
    locality: Locality,
    /// What the network was trained to compare elements and centres by: cosine, as published, dot or euclidean
    #[arg(long, value_name = "NAME", default_value = "cosine", value_parser = parse_similarity)]
    similarity: Similarity,
    /// Take the averaged weights (state_dict_ema, model_ema)
    #[arg(long)]
    ema: bool,
    /// Size of the model's input
    #[arg(long, value_name = "N|HxW", default_value = "224", value_parser = parse_size)]
    input_size: ImageSize,
    /// Share of the resized photo's side that the crop keeps
    #[arg(long, value_name = "F", allow_negative_numbers = true, default_value = "0.9", value_parser = parse_crop)]
    crop_pct: f32,
    /// Filter of the resize: nearest, lanczos, bilinear, bicubic, box or hamming
    #[arg(long, value_name = "NAME", default_value = "bicubic", value_parser = parse_interpolation)]
    interpolation: Interpolation,
    /// Mean per channel, of values 0 to 1 [default: ImageNet's]
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true, value_parser = parse_mean)]
    mean: Option<Three>,
    /// Deviation per channel, of values 0 to 1 [default: ImageNet's]
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true, value_parser = parse_std)]
    std: Option<Three>,
    /// Report as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--keep` makes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A storage type.
    Stored(DType),
    /// GELU computed.
    Fine,
}

/// Three numbers, one per channel.
type Three = [f32; 3];
/// One number per pool.
type Locality = [f32; POOLS];

pub(super) fn run(args: &Args, out: &mut Output) -> Result<Exit, Error> {
    check_target(&args.output)?;
    let labels = match &args.labels {
        Some(path) => read_labels(path)?,
        None => Vec::new(),
    };
    let (read, mut network) = read_network(args)?;
    network.config.locality = args.locality;
    let config = &network.config;
    if let Some(path) = &args.labels
        && labels.len() != config.classes
    {
        let (given, classes) = (labels.len(), config.classes);
        return Err(in_file(path, Error::LabelCount { given, classes }));
    }
    config
        .check_size(args.input_size)
        .map_err(Error::InputSize)?;
    check_layers(config, args)?;
    args.integer.check(args.dtype)?;

    let digest = weights_digest(&network.tensors);
    let options = pack_options(args, labels, provenance(args, &network.name, &digest));
    let (file, quantised) = if args.dtype == DType::I8 {
        let (file, report) =
            integer::pack(&args.integer, &network, &options, &fine(&args.keep), out)
                .map_err(|error| blamed(args, error))?;
        (file, Some(report))
    } else {
        let file = pack(config, &network.tensors, &options);
        (file.map_err(|error| packing(args, error))?, None)
    };
    // What was made is read back before it is written: the report speaks of the file, not of intentions.
    let bytes = AlignedBytes::copy_of(&file);
    let model = Model::from_bytes(bytes.as_bytes()).map_err(Error::Model)?;
    let plan = model.plan(args.input_size).map_err(Error::Model)?;
    let report = Report {
        file: args.input.display().to_string(),
        output: args.output.display().to_string(),
        read,
        recognised: super::report::Recognised::new(&network),
        folded: Folded::new(config),
        stored: Stored::new(&model, digest),
        run: super::report::Run::new(&plan),
        self_test: super::report::SelfTest::new(&model.self_test()),
        quantised,
    };
    args.integer.write_page(&report.quantised, &network.name)?;
    if args.output == Path::new("-") {
        out.write(&file)?;
        // Standard output is the file's: the report goes where messages go.
        report.show(&mut Output::with_streams(
            out.format(),
            io::stderr(),
            io::stderr(),
        ))?;
    } else {
        write_atomically(&args.output, &file)?;
        report.show(out)?;
    }
    Ok(Exit::Ok)
}

/// A target that cannot be written is said before minutes of reading and folding.
pub(super) fn check_target(path: &Path) -> Result<(), fec::Error> {
    if path.is_dir() {
        return Err(fec::Error::IsFolder { path: path.into() });
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            Err(fec::Error::Missing {
                path: folder.into(),
            })
        }
        _ => Ok(()),
    }
}

/// The checkpoint's network, or that of the formula weights.
fn read_network(args: &Args) -> Result<(Option<Read>, Recognised), Error> {
    if let Some(network) = formula_network(&args.input, args.arch.as_deref(), args.ema) {
        let mut network = network?;
        network.config.similarity = args.similarity;
        return Ok((None, network));
    }
    let checkpoint = read_checkpoint(&args.input, args.ema)?;
    let network = recognise(&checkpoint, args.arch.as_deref(), args.similarity)
        .map_err(|cause| in_file(&args.input, Error::Network(cause)))?;
    Ok((Some(Read::new(&checkpoint, args.ema)), network))
}

/// A line per label; the ends of lines may be Windows', and the last line may have one.
fn read_labels(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = read_file(path, MAX_LABELS_LEN)?;
    let text = core::str::from_utf8(&bytes).map_err(|error| {
        let sound = bytes.iter().take(error.valid_up_to());
        let line = 1 + sound.filter(|&&byte| byte == b'\n').count();
        in_file(path, Error::LabelsNotText { line })
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.lines().map(str::to_string).collect())
}

/// Refuses layers that nothing is called by: a silently ignored `--keep` would cost accuracy that nobody finds.
fn check_layers(config: &Config, args: &Args) -> Result<(), Error> {
    for (layer, keep) in &args.keep {
        let option = match keep {
            Keep::Fine => "fine",
            Keep::Stored(DType::I8) => "i8",
            Keep::Stored(_) => "",
        };
        if args.dtype != DType::I8 && !option.is_empty() {
            return Err(Error::IntegerOption {
                option: format!("--keep {layer}={option}"),
            });
        }
        let nearest = match keep {
            Keep::Fine => keep::nearest_if_no_gelu(config, layer),
            Keep::Stored(_) => keep::nearest_if_unknown(config, layer),
        };
        if let Some(nearest) = nearest {
            let given = layer.clone();
            return Err(Error::UnknownLayer { given, nearest });
        }
    }
    Ok(())
}

fn pack_options(args: &Args, labels: Vec<String>, provenance: String) -> PackOptions {
    PackOptions {
        dtype: args.dtype,
        keep: kept(&args.keep),
        labels,
        preprocessing: Preprocessing {
            size: args.input_size,
            crop_ratio: args.crop_pct,
            interpolation: args.interpolation,
            mean: args.mean.unwrap_or(Preprocessing::IMAGENET_MEAN),
            std: args.std.unwrap_or(Preprocessing::IMAGENET_STD),
        },
        provenance,
    }
}

/// Layers whose storage type is given.
fn kept(keep: &[(String, Keep)]) -> Vec<(String, DType)> {
    let kept = keep.iter().filter_map(|(layer, keep)| match keep {
        Keep::Stored(dtype) => Some((layer.clone(), *dtype)),
        Keep::Fine => None,
    });
    kept.collect()
}

/// MLPs that compute their GELU.
fn fine(keep: &[(String, Keep)]) -> Vec<String> {
    let fine = keep.iter().filter(|(_, keep)| *keep == Keep::Fine);
    fine.map(|(layer, _)| layer.clone()).collect()
}

/// Where the weights came from. Neither path nor time nor the file's own hash: the same weights give the same bytes.
fn provenance(args: &Args, architecture: &str, digest: &str) -> String {
    let mut lines = vec![
        format!("tool: fec-convert {}", env!("CARGO_PKG_VERSION")),
        format!("weights: sha256 {digest}"),
        format!("architecture: {architecture}"),
        format!("dtype: {}", args.dtype.name()),
    ];
    lines.extend(args.keep.iter().map(|(layer, keep)| match keep {
        Keep::Stored(dtype) => format!("keep: {layer}={}", dtype.name()),
        Keep::Fine => format!("keep: {layer}=fine"),
    }));
    if args.similarity != Similarity::Cosine {
        lines.push(format!("similarity: {}", args.similarity.name()));
    }
    if args.locality != Locality::default() {
        let [a, b, c] = args.locality;
        lines.push(format!("locality: {a},{b},{c}"));
    }
    lines.join("\n") + "\n"
}

/// Faults that the options brought in name the file they came from.
fn packing(args: &Args, error: WriteError) -> Error {
    match &args.labels {
        Some(path) if matches!(error, WriteError::LabelTooLong { .. }) => {
            in_file(path, Error::Packing(error))
        }
        _ => Error::Packing(error),
    }
}

fn blamed(args: &Args, error: Error) -> Error {
    match error {
        Error::Packing(error) => packing(args, error),
        error => error,
    }
}

fn parse_dtype(text: &str) -> Result<DType, String> {
    [DType::F32, DType::F16, DType::I8]
        .into_iter()
        .find(|dtype| dtype.name() == text)
        .ok_or_else(|| "expected f32, f16 or i8".to_string())
}

/// A layer's name may be that of its weights; what is said of them holds for the sums that go with them.
fn parse_keep(text: &str) -> Result<(String, Keep), String> {
    let (layer, keep) = text
        .rsplit_once('=')
        .ok_or("expected LAYER=TYPE, as in head=f32")?;
    let layer = layer.strip_suffix(".weight").unwrap_or(layer);
    let keep = match (keep, parse_dtype(keep)) {
        ("fine", _) => Keep::Fine,
        (_, Ok(dtype)) => Keep::Stored(dtype),
        _ => return Err("expected f32, f16, i8 or, for an MLP, fine".to_string()),
    };
    Ok((layer.to_string(), keep))
}

fn parse_locality(text: &str) -> Result<Locality, String> {
    if let Some(one) = parse_number(text, 0.0, 1e3) {
        return Ok([one; POOLS]);
    }
    parse_three(text, 0.0, 1e3)
        .map_err(|_| "expected one number from 0 to 1000, or three, one per pool".to_string())
}

fn parse_similarity(text: &str) -> Result<Similarity, String> {
    Similarity::ALL
        .into_iter()
        .find(|similarity| similarity.name() == text)
        .ok_or_else(|| "expected cosine, dot or euclidean".to_string())
}

fn parse_crop(text: &str) -> Result<f32, String> {
    parse_number(text, f32::MIN_POSITIVE, 1.0)
        .ok_or_else(|| "expected a number above 0 and at most 1".to_string())
}

fn parse_interpolation(text: &str) -> Result<Interpolation, String> {
    fec::preprocess::interpolation(text).map_err(|error| error.to_string())
}

fn parse_mean(text: &str) -> Result<Three, String> {
    parse_three(text, -1e3, 1e3)
}

fn parse_std(text: &str) -> Result<Three, String> {
    parse_three(text, 1e-3, 1e3)
}
