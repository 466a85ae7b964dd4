//! `fec bench`: how fast a model runs on this machine.

use core::fmt::Write;
use core::time::Duration;
use std::time::Instant;

use fec::Error;
use fec::model_file::dtypes;
use fec::output::{Exit, Output};
use fec_runtime::formula;
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Image, ImageSize, Session};
use serde::Serialize;

use super::profile::{self, Peak, Profile, TimedStep};
use super::{Common, milliseconds, parse_size, within};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of the network's input in place of the model's: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
    /// Threads for one image
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Runs that are timed, after a warm-up
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Time of every step, as the median over the runs
    #[arg(long)]
    profile: bool,
    /// Instruction set of the kernels in place of the machine's best
    #[arg(long, value_name = "NAME", value_parser = fec::isa::named)]
    isa: Option<&'static Kernels>,
}

#[derive(Serialize)]
struct Report {
    model: String,
    height: usize,
    width: usize,
    dtype: String,
    isa: &'static str,
    threads: u16,
    runs: u32,
    ms: Times,
    multiply_adds: u64,
    arena_bytes: usize,
    output_crc: String,
    /// What the core does at best, in multiply-adds a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<Peak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<TimedStep>>,
}

#[derive(Serialize)]
struct Times {
    min: f64,
    median: f64,
    p95: f64,
}

/// Runs before the first that counts: pages are touched, the clock settles.
const WARM_UP: u32 = 5;

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = common.model_file()?;
    let model = file.model()?;
    let size = args.size.unwrap_or(model.preprocessing().size);
    let plan = model.plan(size)?.with_threads(usize::from(args.threads))?;
    let kernels = match args.isa {
        Some(kernels) => kernels,
        None => fec::isa::kernels()?,
    };
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session = Session::with_kernels(&model, plan, arena.as_bytes_mut(), kernels)?;
    // The self-test's image, but with its values in memory as photos have them: computing them is no part of a run.
    let values = formula::image(size, 0);
    let image = Image::f32_chw(&values, size)?;
    let mut crc = 0;
    let mut profile = Profile::default();
    let mut times = Vec::new();
    let runs = || -> Result<(), Error> {
        for _ in 0..WARM_UP {
            crc = session.run(&image)?.output_crc();
        }
        for _ in 0..args.runs {
            let started = Instant::now();
            let output = if args.profile {
                session.run_with(&image, &mut profile)?
            } else {
                session.run(&image)?
            };
            times.push(started.elapsed());
            // The same input must give the same bits: a bench of wrong results is worth nothing.
            if output.output_crc() != crc {
                return Err(Error::Unsteady);
            }
        }
        Ok(())
    };
    within(usize::from(args.threads), runs)??;
    let peak = args.profile.then(|| Peak::of(kernels.isa()));
    let report = Report {
        model: file.name().to_string(),
        height: size.height,
        width: size.width,
        dtype: dtypes(&model),
        isa: kernels.isa().name(),
        threads: args.threads,
        runs: args.runs,
        ms: Times {
            min: quantile(&mut times, 0.0),
            median: quantile(&mut times, 0.5),
            p95: quantile(&mut times, 0.95),
        },
        multiply_adds: plan.multiply_adds(),
        arena_bytes: plan.arena_len(),
        output_crc: format!("{crc:08x}"),
        peak,
        steps: peak.map(|peak| profile.steps(&model, &plan, kernels, peak)),
    };
    out.json(&report)?;
    out.text(text(&report))?;
    Ok(Exit::Ok)
}

/// The value below which a share of the times lies, in milliseconds.
pub(super) fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    times.get(index).copied().map_or(0.0, milliseconds)
}

fn text(report: &Report) -> String {
    let Report {
        model,
        height,
        width,
        dtype,
        isa,
        threads,
        runs,
        ms,
        multiply_adds,
        arena_bytes,
        output_crc,
        ..
    } = report;
    let noun = if *threads == 1 { "thread" } else { "threads" };
    let mut text = format!("{model}: {height}x{width}, {dtype}, {isa} kernels, {threads} {noun}\n");
    if let Some(steps) = &report.steps {
        text += &profile::text(steps);
    }
    if let Some(peak) = &report.peak {
        let _ = writeln!(text, "{}", peak.text(isa));
    }
    let rate = *multiply_adds as f64 / (ms.min * 1e6).max(1e-9);
    let _ = writeln!(
        text,
        "min {:.3} ms, median {:.3} ms, 95 % below {:.3} ms ({runs} runs)",
        ms.min, ms.median, ms.p95
    );
    let _ = write!(
        text,
        "{:.1} M multiply-adds, {rate:.2} G/s at best; arena {arena_bytes} bytes; output CRC {output_crc}",
        *multiply_adds as f64 / 1e6
    );
    text
}
