//! `pack --dtype i8`: calibration, the choice of what is kept finer, and the report.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use fec::dataset::ClassFolder;
use fec::output::{Output, write_atomically};
use fec_convert::Error;
use fec_convert::calibrate::{Calibration, Measurement};
use fec_convert::compare::{Decider, Decisions, Twin};
use fec_convert::integers::{Calibrated, Quantiser, Stored};
use fec_convert::layers::Layer;
use fec_convert::pack::{PackOptions, pack as pack_floats, pack_stored};
use fec_convert::recognise::Recognised;
use fec_convert::report::{self, Report, finer};
use fec_runtime::format::DType;
use fec_runtime::{AlignedBytes, Config, Model, Output as Results};

use super::images::Images;
use super::{in_file, parse_number};

/// Formula images that stand in when there is no folder.
const FORMULA_IMAGES: usize = 8;

/// Options of integer networks.
#[derive(clap::Args)]
pub(super) struct IntegerArgs {
    /// Folder of images that an integer network is calibrated on, searched with all folders inside it; your own photos, as many as a few
    /// hundred [default: eight formula images]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    calib: Option<PathBuf>,
    /// Most images that are used of a folder, spread evenly over those found
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    calib_images: u32,
    /// Folder of images that the integer network is compared with f32 on [default: those of --calib]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    check: Option<PathBuf>,
    /// Keep the worst layers finer until top-1 on the class folders of --calib is at most this many points below f32
    #[arg(long, value_name = "POINTS", allow_negative_numbers = true, value_parser = parse_points)]
    max_drop: Option<f32>,
    /// Write the report as a page
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    report: Option<PathBuf>,
}

fn parse_points(text: &str) -> Result<f32, String> {
    parse_number(text, 0.0, 100.0).ok_or_else(|| "expected a number from 0 to 100".to_string())
}

impl IntegerArgs {
    /// Refuses options of integer networks where another network is packed, and pages that cannot be written.
    pub(super) fn check(&self, dtype: DType) -> Result<(), Error> {
        let used = [
            ("--calib", self.calib.is_some()),
            ("--check", self.check.is_some()),
            ("--max-drop", self.max_drop.is_some()),
            ("--report", self.report.is_some()),
        ];
        let used = used.into_iter().find(|(_, used)| *used);
        if let Some((option, _)) = used.filter(|_| dtype != DType::I8) {
            let option = option.to_string();
            return Err(Error::IntegerOption { option });
        }
        if let Some(path) = &self.report {
            super::pack::check_target(path)?;
        }
        Ok(())
    }

    /// Writes the page, if one is asked for.
    pub(super) fn write_page(&self, report: &Option<Report>, name: &str) -> Result<(), Error> {
        if let (Some(path), Some(report)) = (&self.report, report) {
            write_atomically(path, report.page(name).as_bytes())?;
        }
        Ok(())
    }
}

/// A float network and what stores it as integers.
struct Work<'a> {
    float: &'a Model<'a>,
    quantiser: &'a Quantiser<'a>,
    calibrated: Calibrated,
    options: PackOptions,
}

/// Packs an integer network; gives the file and the report on it. The MLPs that `fine` names compute their GELU.
pub(super) fn pack(
    args: &IntegerArgs,
    network: &Recognised,
    options: &PackOptions,
    fine: &[String],
    out: &mut Output,
) -> Result<(Vec<u8>, Report), Error> {
    let mut images = images(args, args.calib.as_deref(), &network.config, options, out)?;
    let mut check = match &args.check {
        Some(dir) => Some(self::images(
            args,
            Some(dir),
            &network.config,
            options,
            out,
        )?),
        None => None,
    };
    let floats = PackOptions {
        dtype: DType::F32,
        keep: Vec::new(),
        ..options.clone()
    };
    let float = pack_floats(&network.config, &network.tensors, &floats).map_err(Error::Packing)?;
    let float = AlignedBytes::copy_of(&float);
    let float = Model::from_bytes(float.as_bytes()).map_err(Error::Model)?;
    let quantiser = Quantiser::new(&network.config, &network.tensors);
    let mut work = Work {
        float: &float,
        quantiser: &quantiser,
        calibrated: Calibrated::default(),
        options: options.clone(),
    };
    work.calibrate(fine, &mut images, out)?;
    let chosen = match args.max_drop {
        Some(points) => work.choose(f64::from(points), &mut images, out)?,
        None => Vec::new(),
    };
    let calibrated_on = described(&images);
    let compared_on = check.as_mut().unwrap_or(&mut images);
    work.report(calibrated_on, compared_on, chosen, out)
}

/// The images of a folder, with their classes where it has class folders; formula images without a folder.
fn images(
    args: &IntegerArgs,
    dir: Option<&Path>,
    config: &Config,
    options: &PackOptions,
    out: &mut Output,
) -> Result<Images, Error> {
    let Some(dir) = dir else {
        if args.max_drop.is_some() {
            let cause = Box::new(Error::NoImages);
            return Err(Error::NoClasses { cause });
        }
        out.message(format_args!(
            "warning: calibrated on {FORMULA_IMAGES} formula images, which are no photos; give photos like yours: --calib DIR"
        ));
        return Ok(Images::formula(FORMULA_IMAGES));
    };
    let labels = (!options.labels.is_empty()).then_some(options.labels.as_slice());
    match ClassFolder::open(dir, labels) {
        Ok(folder) if !config.dense && folder.classes.len() == config.classes => {
            let notes = folder.notes.iter();
            notes.for_each(|note| out.message(format_args!("note: {note}")));
            Images::labelled(dir, folder, args.calib_images)
        }
        Ok(folder) if args.max_drop.is_some() => {
            let cause = Box::new(Error::LabelCount {
                given: folder.classes.len(),
                classes: config.classes,
            });
            Err(in_file(dir, Error::NoClasses { cause }))
        }
        Err(cause) if args.max_drop.is_some() => {
            let cause = Box::new(Error::Host(cause));
            Err(Error::NoClasses { cause })
        }
        _ => Images::below(dir, args.calib_images),
    }
}

fn described(images: &Images) -> report::Images {
    report::Images {
        folder: images
            .folder
            .as_ref()
            .map(|folder| folder.display().to_string()),
        images: images.len() - images.skipped.len(),
        skipped: images.skipped.clone(),
    }
}

impl Work<'_> {
    fn stored(&self) -> Stored<'_, '_> {
        Stored {
            quantiser: self.quantiser,
            options: &self.options,
            calibrated: &self.calibrated,
        }
    }

    /// Tables, then corrections of the layers as they will be stored.
    fn calibrate(
        &mut self,
        fine: &[String],
        images: &mut Images,
        out: &mut Output,
    ) -> Result<(), Error> {
        let preprocessing = self.float.preprocessing();
        let mut calibration = Calibration::new(self.float, self.quantiser)?;
        images.for_each("calibrating", &preprocessing, out, &mut |shown| {
            calibration.add(&shown.image)
        })?;
        self.calibrated.tables = calibration.tables();
        fine.iter()
            .for_each(|layer| self.calibrated.compute_gelu(layer));
        let mut measurement = Measurement::new(self.float, &self.stored())?;
        images.for_each("measuring", &preprocessing, out, &mut |shown| {
            measurement.add(&shown.image, &shown.normalised, |_| ())
        })?;
        self.calibrated.corrections = measurement.corrections();
        Ok(())
    }

    /// The file, and how it does on images.
    fn report(
        &self,
        calibration: report::Images,
        images: &mut Images,
        chosen: Vec<String>,
        out: &mut Output,
    ) -> Result<(Vec<u8>, Report), Error> {
        let stored = self.stored();
        let file = pack_stored(&stored).map_err(Error::Packing)?;
        let bytes = AlignedBytes::copy_of(&file);
        let model = Model::from_bytes(bytes.as_bytes()).map_err(Error::Model)?;
        let mut measurement = Measurement::new(self.float, &stored)?;
        let mut twin = Twin::new(&model)?;
        let config = *self.float.config();
        images.for_each(
            "comparing",
            &self.float.preprocessing(),
            out,
            &mut |shown| {
                let read = |results: &Results<'_>| Decisions::of(&config, results);
                let float = measurement.add(&shown.image, &shown.normalised, read)?;
                twin.add(&shown.image, &float, shown.class)
            },
        )?;
        let (layers, compared) = (measurement.layers(), twin.compared());
        let check = described(images);
        let report = Report::new(&stored, &layers, compared, calibration, check, chosen);
        Ok((file, report))
    }
}

impl Work<'_> {
    /// Keeps the worst layers finer, one after the other, until top-1 is at most `points` below the float network's; gives what was
    /// chosen.
    fn choose(
        &mut self,
        points: f64,
        images: &mut Images,
        out: &mut Output,
    ) -> Result<Vec<String>, Error> {
        let preprocessing = self.float.preprocessing();
        let mut decider = Decider::new(self.float)?;
        let mut float_right = 0;
        images.for_each("f32", &preprocessing, out, &mut |shown| {
            let class = decider.decide(&shown.image)?.class;
            float_right += usize::from(class == shown.class);
            Ok(())
        })?;
        let count = images.len() - images.skipped.len();
        let mut layers = self.worst_first(images, out)?;
        let mut chosen = Vec::new();
        loop {
            let right = self.right(images, out)?;
            let drop = 100.0 * (float_right as f64 - right as f64) / count.max(1) as f64;
            out.message(format_args!(
                "{} layers finer: top-1 {drop:+.2} points below f32",
                chosen.len()
            ));
            if drop <= points {
                return Ok(chosen);
            }
            let Some(keep) = self.keep_finer(&mut layers) else {
                return Err(Error::DropsTooFar {
                    drop,
                    allowed: points,
                    images: count,
                });
            };
            chosen.push(keep);
        }
    }

    /// Images that the integer network, as it would be stored now, classifies rightly.
    fn right(&self, images: &mut Images, out: &mut Output) -> Result<usize, Error> {
        let file = pack_stored(&self.stored()).map_err(Error::Packing)?;
        let bytes = AlignedBytes::copy_of(&file);
        let model = Model::from_bytes(bytes.as_bytes()).map_err(Error::Model)?;
        let mut decider = Decider::new(&model)?;
        let mut right = 0;
        images.for_each("int8", &self.float.preprocessing(), out, &mut |shown| {
            let class = decider.decide(&shown.image)?.class;
            right += usize::from(class == shown.class);
            Ok(())
        })?;
        Ok(right)
    }

    /// All layers, the worst first.
    fn worst_first(&self, images: &mut Images, out: &mut Output) -> Result<Vec<Layer>, Error> {
        let mut measurement = Measurement::new(self.float, &self.stored())?;
        let preprocessing = self.float.preprocessing();
        images.for_each("measuring", &preprocessing, out, &mut |shown| {
            measurement.add(&shown.image, &shown.normalised, |_| ())
        })?;
        let mut layers = measurement.layers();
        layers.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
        Ok(layers.into_iter().map(|error| error.layer).collect())
    }

    /// Keeps the first layer that can be finer so, and puts it behind all others; gives what `--keep` would say, or none when all are
    /// as fine as can be.
    fn keep_finer(&mut self, layers: &mut Vec<Layer>) -> Option<String> {
        let stored = self.stored();
        let mut places = layers.iter().enumerate();
        let (at, keep) =
            places.find_map(|(at, layer)| Some((at, finer(layer, &stored, 1.0)?.keep)))?;
        let layer = layers.remove(at);
        layers.push(layer);
        match keep.rsplit_once('=') {
            Some((mlp, "fine")) => self.calibrated.compute_gelu(mlp),
            Some((layer, _)) => self.options.keep.push((layer.to_string(), DType::F16)),
            None => {}
        }
        let line = format!("keep: {keep}\n");
        self.options.provenance.push_str(&line);
        Some(keep)
    }
}
