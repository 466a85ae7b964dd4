//! The report on a run: one page that says how good the model is, what that rests on, and what to do next. No network, no script.

use fec::Photo;

use crate::plots::{self, Axis, LineChart, Series};
use crate::run::Rows;

mod advice;
pub(crate) mod html;
mod numbers;
mod page;

pub use numbers::interval;

/// Fewer epochs than this are drawn by steps.
const FEW_EPOCHS: usize = 4;

/// All that the page tells.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The run's name.
    pub name: String,
    /// One line on the model: its kind, image size and number of parameters.
    pub model: String,
    /// What training began from, e.g. "the weights of the default model".
    pub begun_from: String,
    /// Names of the classes by index.
    pub classes: Vec<String>,
    /// Training images of each class.
    pub train_images: Vec<u64>,
    /// `[classes, classes]`: validation images by true class, then by the class they were taken for.
    pub confusion: Vec<u64>,
    /// Validation images whose class is among the five likeliest; shown where there are more than five classes.
    pub top5: Option<u64>,
    /// The run's metrics.
    pub rows: Rows,
    /// Validation images that the model got most wrong, worst first.
    pub worst: Vec<Mistake>,
    /// How the network grouped some images.
    pub maps: Vec<Grouped>,
    /// Files that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// The recipe, in TOML.
    pub recipe: String,
    /// Seconds of training.
    pub seconds: f64,
    /// The packed model.
    pub model_file: Option<ModelFile>,
    /// Commands to go on with, each with a word on what it does.
    pub next: Vec<Command>,
}

/// An image that was taken for another class.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// The image, about 160 pixels wide.
    pub picture: Photo,
    /// Its file, below the data's folder.
    pub file: String,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// Probability of that class, 0 to 1.
    pub probability: f32,
}

/// An image and its cluster maps.
#[derive(Clone, Debug)]
pub struct Grouped {
    /// What it is: its file or class.
    pub caption: String,
    /// The image and its maps, each with what it shows, e.g. "level 3".
    pub pictures: Vec<(String, Photo)>,
}

/// A file that could not be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The file, below the data's folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// The packed model.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A command to go on with.
#[derive(Clone, Debug)]
pub struct Command {
    /// What it is for.
    pub what: String,
    /// The command.
    pub line: String,
}

impl Report {
    /// The page as one HTML document.
    ///
    /// # Errors
    /// [`fec::Error::Shape`] where the numbers are not those of the classes, or where a picture's pixels are not as many as its size says.
    pub fn to_html(&self) -> Result<String, fec::Error> {
        let classes = self.classes.len();
        same_len("training images by class", classes, self.train_images.len())?;
        let cells = classes.saturating_mul(classes);
        same_len("counts of a confusion matrix", cells, self.confusion.len())?;
        page::page(self)
    }

    /// What stands out and what to do about it: a paragraph each, most important first; never empty.
    pub fn advice(&self) -> Vec<String> {
        advice::advice(self, &numbers::Numbers::of(self))
    }
}

/// The loss and accuracy of a run as an SVG file.
pub fn curves_svg(rows: &Rows) -> String {
    plots::standalone(&curves(rows).svg())
}

/// Loss on the left, accuracy on the right; by epochs, or by steps where there are few of them.
fn curves(rows: &Rows) -> LineChart<'static> {
    let by_steps = rows.epochs.len() < FEW_EPOCHS;
    let x = |row: &crate::run::EpochRow| {
        if by_steps {
            row.step as f64
        } else {
            row.epoch as f64 + 1.0
        }
    };
    let epochs = |value: fn(&crate::run::EpochRow) -> Option<f64>| {
        let points = rows.epochs.iter();
        points
            .filter_map(|row| Some((x(row), value(row)?)))
            .collect::<Vec<_>>()
    };
    let train = if by_steps {
        let points = rows.steps.iter().map(|row| (row.step as f64, row.loss));
        points.collect()
    } else {
        epochs(|row| Some(row.train_loss))
    };
    let line = |name, points, axis, dashed| Series {
        name,
        points,
        axis,
        dashed,
    };
    let all = [
        line("training loss", train, Axis::Left, false),
        line("validation loss", epochs(|r| r.eval_loss), Axis::Left, true),
        line("top-1", epochs(|r| r.eval_top1), Axis::Right, false),
        line("top-5", epochs(|r| r.eval_top5), Axis::Right, true),
    ];
    LineChart {
        x: if by_steps { "step" } else { "epoch" },
        left: "loss",
        right: "accuracy in percent",
        series: all.into_iter().filter(|s| !s.points.is_empty()).collect(),
    }
}

fn same_len(what: &'static str, expected: usize, found: usize) -> Result<(), fec::Error> {
    if expected == found {
        return Ok(());
    }
    Err(fec::Error::Shape {
        what,
        expected,
        found,
    })
}

#[cfg(test)]
mod tests;
