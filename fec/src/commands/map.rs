//! `fec map`: how the network grouped a photo.

use core::fmt::Write;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fec::classifier::Classifier;
use fec::labels::LabelMap;
use fec::maps::{ClusterMaps, Groups, LEVELS};
use fec::model_file::ModelFile;
use fec::output::{Exit, Output, make_folder, write_atomically};
use fec::page::{ClassRow, Level, Page};
use fec::render::{Style, overlay};
use fec::{Error, Photo};
use fec_runtime::{ImageSize, Model};
use serde::Serialize;

use super::{Common, Ranked, labels, parse_size, ranked};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Photos; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for the pictures; made if it is not there
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Level of the clusters: 1 (fine) to 3 (coarse), or all
    #[arg(long, value_name = "1|2|3|all", default_value = "3", value_parser = parse_level)]
    level: Levels,
    /// Put the final clusters into K groups by k-means
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    clusters: Option<u16>,
    /// How the overlay looks: boundary, fill or mean
    #[arg(long, value_name = "STYLE", default_value = "boundary", value_parser = parse_style)]
    style: Style,
    /// Size of the image that the network sees, in place of the photo's own shape: N or HEIGHTxWIDTH
    #[arg(long, value_name = "N|HxW", value_parser = parse_size)]
    size: Option<ImageSize>,
}

/// First and last level wanted.
#[derive(Clone, Copy)]
struct Levels(usize, usize);

fn parse_level(text: &str) -> Result<Levels, String> {
    match text {
        "all" => Ok(Levels(1, LEVELS)),
        "1" | "2" | "3" => text
            .parse()
            .map(|level| Levels(level, level))
            .map_err(|_| String::new()),
        _ => Err("expected 1, 2, 3 or all".to_string()),
    }
}

fn parse_style(text: &str) -> Result<Style, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

#[derive(Serialize)]
struct Mapped {
    file: String,
    height: usize,
    width: usize,
    top: Vec<Ranked>,
    levels: Vec<Drawn>,
    page: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inertia: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Pictures>,
}

#[derive(Serialize)]
struct Drawn {
    level: usize,
    clusters: usize,
    #[serde(flatten)]
    pictures: Pictures,
}

#[derive(Serialize)]
struct Pictures {
    labels: String,
    overlay: String,
}

pub(crate) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<Exit, Error> {
    let file = common.model_file()?;
    let model = file.model()?;
    if let Some(size) = args.size {
        model.plan(size)?;
    }
    // Asked here as well, so that kernels which are not there are said once.
    fec::isa::kernels()?;
    let mut exit = Exit::Ok;
    let mut stems = BTreeSet::new();
    for path in &args.files {
        let stem = stem(path);
        let mut written = Written::default();
        let mapped = if stems.insert(stem.clone()) {
            map(path, &stem, &mut written, args, common, &file, &model)
        } else {
            // Its files would replace those of another photo of this call.
            Err(Error::Setting {
                what: "the name of two photos",
                found: format!("'{stem}'"),
                expected: "names that differ before the extension, or a call with another --out for each",
            })
        };
        match mapped {
            Ok(mapped) => {
                out.json(&mapped)?;
                out.text(text(&mapped, args.files.len() > 1))?;
            }
            // One bad photo does not keep the others from being mapped; the exit code tells.
            Err(error) => {
                written.remove();
                exit = out.error(&error);
            }
        }
    }
    Ok(exit)
}

/// The files of one photo, in the order of writing.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Written {
    fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<String, Error> {
        write_atomically(&path, bytes)?;
        let name = path.display().to_string();
        self.0.push(path);
        Ok(name)
    }

    /// Where one file of a photo cannot be written, the others go: a page without its maps, or the reverse, is half a result.
    fn remove(self) {
        for path in self.0 {
            // The error that led here is told; one more would not help.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn map(
    path: &Path,
    stem: &str,
    written: &mut Written,
    args: &Args,
    common: &Common,
    file: &ModelFile,
    model: &Model<'_>,
) -> Result<Mapped, Error> {
    let photo = common.open_photo(path)?;
    let labels = labels(model);
    // The class at the model's own size and crop, the maps in the photo's own shape.
    let top = if model.config().dense {
        Vec::new()
    } else {
        top_classes(model, &photo, &labels)?
    };
    let classes: Vec<usize> = top.iter().map(|ranked| ranked.class).collect();
    let maps = ClusterMaps::of(model, &photo, args.size, &classes, fec::isa::kernels()?)?;
    let groups = args.clusters.map(|k| maps.groups(usize::from(k)));
    let groups = groups.transpose()?;

    make_folder(&args.out)?;
    let target = |suffix: &str| args.out.join(format!("{stem}.{suffix}"));
    let Levels(first, last) = args.level;
    let mut levels = Vec::new();
    for (level, cells) in (first..=last).zip(&maps.levels[first - 1..]) {
        let base = target(&format!("level{level}"));
        let pictures = draw(&photo, cells, args.style, &base, written)?;
        let clusters = cells.distinct().len();
        levels.push(Drawn {
            level,
            clusters,
            pictures,
        });
    }
    let grouped = groups.as_ref().map(|groups| {
        let base = target(&format!("k{}", groups.k));
        draw(&photo, &groups.patches, args.style, &base, written)
    });
    let grouped = grouped.transpose()?;
    let html = page(path, &photo, &maps, groups.as_ref(), &top, file.name())?;
    let page = written.write(target("html"), html.as_bytes())?;
    Ok(Mapped {
        file: path.display().to_string(),
        height: maps.size.height,
        width: maps.size.width,
        top,
        levels,
        page,
        k: groups.as_ref().map(|groups| groups.k),
        inertia: groups.as_ref().map(|groups| groups.inertia),
        groups: grouped,
    })
}

fn top_classes(model: &Model<'_>, photo: &Photo, labels: &[String]) -> Result<Vec<Ranked>, Error> {
    const SHOWN: usize = 5;
    let mut classifier = Classifier::new(model, None, fec::isa::kernels()?)?;
    classifier
        .classify(photo, |output| ranked(output, labels, SHOWN))
        .map(|(top, _)| top)
}

/// Writes `BASE.png`, the overlay, and `BASE.labels.png`, both at the photo's size. Labels are numbered in ascending order of the
/// clusters that are not empty.
fn draw(
    photo: &Photo,
    cells: &LabelMap,
    style: Style,
    base: &Path,
    written: &mut Written,
) -> Result<Pictures, Error> {
    let with = |suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let overlay = overlay(photo, cells, style)?.to_png()?;
    let (compact, _) = cells.compact();
    let labels = compact.scaled(photo.height, photo.width).to_png()?;
    Ok(Pictures {
        overlay: written.write(with(".png"), &overlay)?,
        labels: written.write(with(".labels.png"), &labels)?,
    })
}

fn page(
    path: &Path,
    photo: &Photo,
    maps: &ClusterMaps,
    groups: Option<&Groups>,
    top: &[Ranked],
    model: &str,
) -> Result<String, Error> {
    let levels: Vec<Level<'_>> = (1..)
        .zip(&maps.levels)
        .map(|(number, clusters)| Level {
            number,
            clusters: &clusters.labels,
            groups: groups
                .filter(|_| number == LEVELS)
                .map(|groups| &groups.patches.labels[..]),
        })
        .collect();
    let classes: Vec<ClassRow> = top
        .iter()
        .zip(&maps.contributions)
        .map(|(ranked, contributions)| ClassRow {
            label: ranked.label.clone(),
            probability: ranked.probability,
            logit: maps.logits.get(ranked.class).copied().unwrap_or(0.0),
            contributions: contributions.clone(),
        })
        .collect();
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let notes = [format!(
        "Clusters, logits and contributions are those of the photo at {} (height x width), the probabilities those of the model's own size and crop.",
        maps.size
    )];
    let page = Page {
        title: &name,
        photo,
        rows: maps.patches.rows,
        cols: maps.patches.cols,
        levels: &levels,
        classes: &classes,
        model,
        notes: &notes,
    };
    page.to_html()
}

/// The file's name without its extension.
fn stem(path: &Path) -> String {
    match path.file_stem() {
        Some(stem) if path != Path::new("-") => stem.to_string_lossy().into_owned(),
        _ => "stdin".to_string(),
    }
}

/// A class a line: `97.1 %  cat`.
pub(super) fn class_lines(top: &[Ranked]) -> String {
    let mut text = String::new();
    for ranked in top {
        let _ = writeln!(
            text,
            "{:5.1} %  {}",
            ranked.probability * 100.0,
            ranked.label
        );
    }
    text
}

fn text(mapped: &Mapped, several: bool) -> String {
    let mut text = if several {
        format!("{}\n", mapped.file)
    } else {
        String::new()
    };
    text += &class_lines(&mapped.top);
    for Drawn {
        level,
        clusters,
        pictures,
    } in &mapped.levels
    {
        let _ = writeln!(
            text,
            "level {level}: {clusters} clusters, {} and {}",
            pictures.overlay, pictures.labels
        );
    }
    if let (Some(k), Some(inertia), Some(pictures)) = (mapped.k, mapped.inertia, &mapped.groups) {
        let _ = writeln!(
            text,
            "{k} groups (inertia {inertia:.4}): {} and {}",
            pictures.overlay, pictures.labels
        );
    }
    let _ = write!(text, "page: {}", mapped.page);
    text
}
