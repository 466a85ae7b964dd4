//! `fec verify`: runs the self-test in a model file.

use std::path::PathBuf;

use fec::Error;
use fec::output::{Exit, Output};
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Session};
use serde::Serialize;

use super::{Common, model_file};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model file; the default model without it
    #[arg(value_name = "FILE.fec", conflicts_with = "model")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    ok: bool,
    expected: Crcs,
    found: Crcs,
}

#[derive(PartialEq, Serialize)]
struct Crcs {
    output: String,
    assignments: String,
}

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = model_file(args.file.as_deref().or(common.model.as_deref()))?;
    let model = file.model()?;
    let expected = model.self_test();
    let plan = model.plan(expected.size)?;
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    // The numbers in the file are those of the portable kernels, which give the same bits on every machine.
    let found = Session::with_kernels(&model, plan, arena.as_bytes_mut(), Kernels::portable())?
        .self_test()?;
    let crcs = |test: fec_runtime::format::SelfTest| Crcs {
        output: format!("{:08x}", test.output_crc),
        assignments: format!("{:08x}", test.assignments_crc),
    };
    let report = Report {
        file: file.name().to_string(),
        ok: found == expected,
        expected: crcs(expected),
        found: crcs(found),
    };
    out.json(&report)?;
    out.text(format_args!(
        "{}: {} (output CRC {}, expected {}; assignments CRC {}, expected {})",
        report.file,
        if report.ok { "ok" } else { "FAILED" },
        report.found.output,
        report.expected.output,
        report.found.assignments,
        report.expected.assignments
    ))?;
    Ok(if report.ok { Exit::Ok } else { Exit::Failed })
}
