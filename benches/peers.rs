//! Our engine and tract on the same network, in turns, in one process on one core; README.md says how other engines join (peers.py).
//!
//!     cargo bench -p fec-bench --bench peers -- --graph small=small_224_scatter.onnx --save

use std::path::{Path, PathBuf};

use clap::Parser;
use fec::output::{Format, Output};
use fec_bench::Result;
use fec_bench::engine::Engine;
use fec_bench::networks::Network;
use fec_bench::peak::Peaks;
use fec_bench::record::{self, Record, Row};
use fec_bench::rounds::{Candidate, Times, disturbance, interleave};
use fec_convert::onnx::{Graph, TOLERANCE_F32};
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, ImageSize};

/// Version of tract that the lock file names, for records.
const TRACT: &str = "tract-onnx";
/// Graphs that are tried where none is named: a network with formula weights in the two forms that exporters give it.
const DEFAULT_GRAPHS: [&str; 2] = ["nano_64_scatter.onnx", "nano_64_onehot.onnx"];

/// Times our engine and tract on the same network.
#[derive(Parser)]
struct Args {
    /// Graph of a preset with formula weights; repeatable [default: nano's in ../shared/onnx]
    #[arg(long, value_name = "PRESET=FILE.onnx")]
    graph: Vec<String>,
    /// Rounds that are timed
    #[arg(long, value_name = "N", default_value_t = 40)]
    rounds: usize,
    /// Write a record into benches/record
    #[arg(long)]
    save: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// A graph in tract's hands.
struct Tract {
    name: String,
    graph: Graph,
    image: Vec<f32>,
    logits: Result<Vec<f32>>,
}

impl Candidate for Tract {
    fn run(&mut self) {
        self.logits = self.graph.run(&self.image).map_err(Into::into);
    }

    fn check(&mut self) -> Result<()> {
        match &self.logits {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.name).into()),
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = Output::new(Format::Text);
    let core = fec_bench::machine::pin()?;
    let graphs = graphs(&args, &mut out)?;
    let mut peaks = Peaks::measure();
    let mut rows = Vec::new();
    for (preset, path) in &graphs {
        rows.extend(compare(preset, path, args.rounds, &mut peaks, &mut out)?);
    }
    if args.save && !rows.is_empty() {
        let record = Record::new("peers", core, &peaks, rows);
        out.text(record.save(&record::folder())?.display())?;
    }
    Ok(())
}

/// Preset and file of each graph. Those of the default that are missing are named, and left out.
fn graphs(args: &Args, out: &mut Output) -> Result<Vec<(String, PathBuf)>> {
    let mut graphs = Vec::new();
    for graph in &args.graph {
        let (preset, path) = graph
            .split_once('=')
            .ok_or_else(|| format!("--graph {graph:?}: write it as in small=small_224.onnx"))?;
        graphs.push((preset.to_string(), PathBuf::from(path)));
    }
    if args.graph.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/onnx");
        for name in DEFAULT_GRAPHS {
            let path = folder.join(name);
            if path.exists() {
                graphs.push(("nano".to_string(), path));
            } else {
                out.text(format!(
                    "SKIPPED: {name} is not in ../shared/onnx; name a graph with --graph PRESET=FILE.onnx"
                ))?;
            }
        }
    }
    Ok(graphs)
}

/// Times both engines on one network; their logits must agree first.
fn compare(
    preset: &str,
    path: &Path,
    rounds: usize,
    peaks: &mut Peaks,
    out: &mut Output,
) -> Result<[Row; 2]> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let graph = Graph::from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let ImageSize { height, width } = graph.size();
    if height != width {
        return Err(
            format!("{name}: images of {height}x{width}; this bench takes square ones").into(),
        );
    }
    let network = Network::packed(preset, height, "f32")?;
    let model = network.model()?;
    let mut arena = AlignedBytes::zeroed(0);
    let mut ours = Engine::new(&network, &model, Kernels::best().isa(), &mut arena)?;
    let mut theirs = Tract {
        name: name.to_string(),
        image: network.image.clone(),
        graph,
        logits: Ok(Vec::new()),
    };
    let times = interleave(&mut [&mut ours, &mut theirs], rounds)?;
    peaks.refine();
    let difference = largest_difference(ours.logits(), theirs.logits?.as_slice());
    if difference > TOLERANCE_F32 {
        return Err(format!("{name}: logits of tract and ours differ by {difference}; this is not the same network, or an engine is wrong").into());
    }
    let our_row = ours.row().timed(&times[0], rounds);
    let rows = [
        our_row.clone().shared(ours.isa(), peaks),
        Row {
            engine: TRACT.to_string(),
            model: name.to_string(),
            logit_difference: Some(difference),
            ..untold(our_row.timed(&times[1], rounds))
        },
    ];
    report(&rows, &times, peaks, out)?;
    Ok(rows)
}

/// A row without what only our engine tells.
fn untold(row: Row) -> Row {
    Row {
        isa: None,
        multiply_adds: None,
        arena_bytes: None,
        output_crc: None,
        ..row
    }
}

fn report(rows: &[Row; 2], times: &[Times], peaks: &Peaks, out: &mut Output) -> Result<()> {
    out.text(peaks.text())?;
    for row in rows {
        out.text(row.text())?;
    }
    for warning in times.iter().filter_map(disturbance) {
        out.text(warning)?;
    }
    let [ours, theirs] = rows;
    out.text(format!(
        "{}: fec takes 1 / {:.2} of tract's time (median 1 / {:.2})",
        theirs.model,
        theirs.ms.min / ours.ms.min,
        theirs.ms.median / ours.ms.median
    ))?;
    Ok(())
}

/// Infinite where the lengths differ.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // A NaN is no agreement.
    differences.fold(0.0, |largest, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            largest.max(d)
        }
    })
}
