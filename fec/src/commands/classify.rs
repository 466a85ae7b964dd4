//! `fec classify`: the most probable classes of photos.

use core::fmt::Write;
use std::path::PathBuf;

use fec::Error;
use fec::classifier::Classifier;
use fec::output::{Exit, Output};
use fec_runtime::ImageSize;
use serde::Serialize;

use super::{Common, Ranked, in_order, labels, milliseconds, needs_classes, parse_size, ranked};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Photos; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many classes to show
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Size of the network's input in place of the model's: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
    /// Give the logits of every class as well (with --json)
    #[arg(long)]
    logits: bool,
    /// Threads, over the files, or within the image if it is one; every core without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

#[derive(Serialize)]
struct Classified {
    file: String,
    top: Vec<Ranked>,
    ms: Times,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
}

#[derive(Serialize)]
struct Times {
    decode: f64,
    preprocess: f64,
    network: f64,
}

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = common.model_file()?;
    let model = file.model()?;
    needs_classes(&model, &file)?;
    let labels = labels(&model);
    let kernels = fec::isa::kernels()?;
    let state = |threads| Classifier::new(&model, args.size, kernels)?.with_threads(threads);
    // Made once here, so that a size that is not possible is said once.
    state(1)?;
    let classify = |classifier: &mut Classifier<'_>, path: &PathBuf| {
        let read = |output: &fec_runtime::Output<'_>| {
            let logits = args.logits.then(|| output.logits().to_vec());
            (ranked(output, &labels, usize::from(args.top)), logits)
        };
        let ((top, logits), times) = classifier.classify_file(path, common.orientation(), read)?;
        let ms = Times {
            decode: milliseconds(times.decode),
            preprocess: milliseconds(times.preprocess),
            network: milliseconds(times.network),
        };
        let file = path.display().to_string();
        Ok(Classified {
            file,
            top,
            ms,
            logits,
        })
    };
    let mut exit = Exit::Ok;
    in_order(
        &args.files,
        args.threads,
        state,
        classify,
        |_, result| match result {
            Ok(classified) => {
                out.json(&classified)?;
                out.text(text(&classified, args.files.len() > 1))
            }
            // One bad photo does not keep the others from being classified; the exit code tells.
            Err(error) => {
                exit = out.error(&error);
                Ok(())
            }
        },
    )?;
    Ok(exit)
}

/// One class a line, `97.1 %  cat`; the file's name above where there are several.
fn text(classified: &Classified, several: bool) -> String {
    let mut text = String::new();
    if several {
        let _ = writeln!(text, "{}", classified.file);
    }
    text += &super::map::class_lines(&classified.top);
    text.truncate(text.trim_end().len());
    text
}
