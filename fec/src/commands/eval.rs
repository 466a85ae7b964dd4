//! `fec eval`: accuracy over a folder of class folders.

use core::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use fec::Error;
use fec::classifier::Classifier;
use fec::confusion::Confusion;
use fec::dataset::{ClassFolder, Entry};
use fec::output::{Exit, Output, make_folder, write_atomically};
use fec_runtime::{ImageSize, Model, Ranked};
use serde::Serialize;

use super::{Common, in_order, labels, needs_classes, parse_size};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder with a folder of images per class, or one that holds such a folder as val or test
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Take only N images, spread evenly over the folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Size of the network's input in place of the model's: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
    /// Threads, over the images; every core without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Folder for the confusion matrix as a picture (confusion.png)
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    images: usize,
    skipped: usize,
    top1: f64,
    top5: f64,
    images_per_second: f64,
    per_class: Vec<PerClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<String>,
}

#[derive(Serialize)]
struct PerClass {
    class: usize,
    label: String,
    images: u64,
    top1: f64,
}

/// Files that could not be read are named at the end, but not all of thousands.
const NAMED: usize = 20;

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = common.model_file()?;
    let model = file.model()?;
    needs_classes(&model, &file)?;
    let (labels, classes) = (labels(&model), model.config().classes);
    let folder = ClassFolder::open(&args.dir, (!labels.is_empty()).then_some(&labels[..]))?;
    let found = folder.classes.len();
    if found > classes {
        return Err(Error::ClassCount { found, classes });
    }
    if let Some(folder) = &args.out {
        make_folder(folder)?;
    }
    folder.notes.iter().for_each(|note| out.message(note));
    let images = spread(&folder.images, args.limit);

    let started = Instant::now();
    let tally = evaluate(&model, &images, args, common, out)?;
    let seconds = started.elapsed().as_secs_f64();
    tally.name_skipped(out);
    let names = class_names(&labels, classes);
    let mut report = tally.report(&names, seconds);
    if let Some(folder) = &args.out {
        let path = folder.join("confusion.png");
        write_atomically(&path, &tally.confusion.picture(&names).to_png()?)?;
        report.confusion = Some(path.display().to_string());
    }
    out.json(&report)?;
    out.text(text(&report))?;
    // Nothing at all could be read: that is no result.
    let nothing = report.images == 0;
    Ok(if nothing { Exit::Failed } else { Exit::Ok })
}

/// Classifies the images and counts.
fn evaluate(
    model: &Model<'_>,
    images: &[&Entry],
    args: &Args,
    common: &Common,
    out: &mut Output,
) -> Result<Tally, Error> {
    let kernels = fec::isa::kernels()?;
    let state = |threads| Classifier::new(model, args.size, kernels)?.with_threads(threads);
    state(1)?;
    let work = |classifier: &mut Classifier<'_>, entry: &&Entry| {
        let classes = |output: &fec_runtime::Output<'_>| output.top::<5>().to_vec();
        Ok(classifier
            .classify_file(&entry.path, common.orientation(), classes)?
            .0)
    };
    let mut tally = Tally {
        confusion: Confusion::new(model.config().classes),
        top5: 0,
        skipped: Vec::new(),
    };
    let mut progress = out.progress("images", images.len() as u64);
    in_order(images, args.threads, state, work, |entry, result| {
        tally.add(entry, result);
        progress.advance(out, 1);
        Ok(())
    })?;
    progress.finish();
    Ok(tally)
}

/// A name per class.
fn class_names(labels: &[String], classes: usize) -> Vec<String> {
    (0..classes)
        .map(|class| fec::classifier::label(labels, class))
        .collect()
}

/// `limit` of the images, spread evenly.
fn spread(images: &[Entry], limit: Option<u32>) -> Vec<&Entry> {
    let count = limit.map_or(images.len(), |limit| images.len().min(limit as usize));
    (0..count)
        .filter_map(|i| images.get(i * images.len() / count.max(1)))
        .collect()
}

struct Tally {
    confusion: Confusion,
    top5: u64,
    skipped: Vec<Error>,
}

impl Tally {
    fn add(&mut self, entry: &Entry, result: Result<Vec<Ranked>, Error>) {
        match result {
            Ok(top) => {
                let first = top.first().map_or(usize::MAX, |ranked| ranked.class);
                self.confusion.add(entry.class, first);
                self.top5 += u64::from(top.iter().any(|ranked| ranked.class == entry.class));
            }
            Err(error) => self.skipped.push(error),
        }
    }

    fn name_skipped(&self, out: &mut Output) {
        if self.skipped.is_empty() {
            return;
        }
        out.message(format_args!(
            "skipped {} files that could not be read:",
            self.skipped.len()
        ));
        self.skipped
            .iter()
            .take(NAMED)
            .for_each(|error| out.message(format_args!("  {error}")));
        if self.skipped.len() > NAMED {
            out.message(format_args!("  and {} more", self.skipped.len() - NAMED));
        }
    }

    fn report(&self, labels: &[String], seconds: f64) -> Report {
        let images = self.confusion.total();
        let percent = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 * 100.0 / whole as f64
            }
        };
        let per_class = labels.iter().enumerate().map(|(class, label)| {
            let (right, count) = self.confusion.of(class);
            PerClass {
                class,
                label: label.clone(),
                images: count,
                top1: percent(right, count),
            }
        });
        Report {
            images: images as usize,
            skipped: self.skipped.len(),
            top1: percent(self.confusion.right(), images),
            top5: percent(self.top5, images),
            images_per_second: images as f64 / seconds.max(1e-9),
            per_class: per_class.filter(|class| class.images > 0).collect(),
            confusion: None,
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for class in &report.per_class {
        let _ = writeln!(
            text,
            "{:6.2} %  of {:5}  {}",
            class.top1, class.images, class.label
        );
    }
    let _ = write!(
        text,
        "{} images, {} skipped: top-1 {:.2} %, top-5 {:.2} %, {:.0} images/s",
        report.images, report.skipped, report.top1, report.top5, report.images_per_second
    );
    if let Some(path) = &report.confusion {
        let _ = write!(text, "\nconfusion matrix: {path}");
    }
    text
}
