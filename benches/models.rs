//! Whole models, next to the peak of the core: every type and instruction set takes turns in one process, on one core.
//!
//!     cargo bench -p fec-bench --bench models -- --network small@224 --save

use std::path::{Path, PathBuf};

use clap::Parser;
use fec::output::{Format, Output};
use fec_bench::Result;
use fec_bench::engine::{Engine, tables};
use fec_bench::networks::Network;
use fec_bench::peak::Peaks;
use fec_bench::record::{self, Record};
use fec_bench::rounds::{Candidate, disturbance, interleave};
use fec_runtime::kernels::Isa;
use fec_runtime::{AlignedBytes, Model};

/// Times whole models on one core, next to what that core can do at best.
#[derive(Parser)]
struct Args {
    /// Network with formula weights and the side of its images; repeatable
    #[arg(long, value_name = "PRESET@SIDE", default_values = ["nano@64", "small@224"])]
    network: Vec<String>,
    /// Type of the networks' weights; repeatable
    #[arg(long, value_name = "TYPE", default_values = ["f32", "f16"])]
    dtype: Vec<String>,
    /// Packed files to time in place of networks with formula weights; repeatable
    #[arg(long, value_name = "FILE.fec")]
    model: Vec<PathBuf>,
    /// Instruction set; repeatable [default: all that this machine has]
    #[arg(long, value_name = "NAME")]
    isa: Vec<String>,
    /// Rounds that are timed
    #[arg(long, value_name = "N", default_value_t = 60)]
    rounds: usize,
    /// Write a record into benches/record
    #[arg(long)]
    save: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = Output::new(Format::Text);
    let core = fec_bench::machine::pin()?;
    let isas = isas(&args.isa)?;
    let networks = networks(&args)?;
    let models = networks.iter().map(Network::model);
    let models = models.collect::<Result<Vec<Model<'_>>>>()?;
    let mut arenas: Vec<AlignedBytes> = Vec::new();
    arenas.resize_with(networks.len() * isas.len(), || AlignedBytes::zeroed(0));
    let mut free = arenas.iter_mut();
    let mut engines = Vec::new();
    for (network, model) in networks.iter().zip(&models) {
        for (&isa, arena) in isas.iter().zip(&mut free) {
            engines.push(Engine::new(network, model, isa, arena)?);
        }
    }
    let mut peaks = Peaks::measure();
    let mut candidates: Vec<&mut dyn Candidate> = Vec::new();
    candidates.extend(engines.iter_mut().map(|e| e as &mut dyn Candidate));
    let times = interleave(&mut candidates, args.rounds)?;
    peaks.refine();
    out.text(peaks.text())?;
    let mut rows = Vec::new();
    for (engine, times) in engines.iter().zip(&times) {
        let row = engine.row().timed(times, args.rounds);
        let row = row.shared(engine.isa(), &peaks);
        out.text(row.text())?;
        if let Some(warning) = disturbance(times) {
            out.text(warning)?;
        }
        rows.push(row);
    }
    if args.save {
        let record = Record::new("models", core, &peaks, rows);
        out.text(record.save(&record::folder())?.display())?;
    }
    Ok(())
}

/// The instruction sets of these names, or all that have a table.
fn isas(names: &[String]) -> Result<Vec<Isa>> {
    if names.is_empty() {
        return Ok(tables());
    }
    let known = Isa::ALL.map(Isa::name).join(", ");
    let isa = |name: &String| {
        let isa = Isa::from_name(name);
        isa.ok_or_else(|| format!("no instruction set is named {name:?}; known are {known}").into())
    };
    names.iter().map(isa).collect()
}

/// The networks that the arguments ask for.
fn networks(args: &Args) -> Result<Vec<Network>> {
    let read = |path: &PathBuf| Network::read(Path::new(path));
    if !args.model.is_empty() {
        return args.model.iter().map(read).collect();
    }
    let mut networks = Vec::new();
    for network in &args.network {
        let (preset, side) = fec_bench::networks::parse(network)?;
        for dtype in &args.dtype {
            networks.push(Network::packed(preset, side, dtype)?);
        }
    }
    Ok(networks)
}
