//! The lines about what is made from a checkpoint, or compared with it; those about the checkpoint itself stand in the parent module.

use core::fmt;

use fec_runtime::config::PRESETS;

use super::{Error, Shown};

impl Error {
    /// Faults of what is made from a checkpoint, or compared with it.
    pub(super) fn fmt_command(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(cause) => fmt::Display::fmt(cause, f),
            Self::Packing(cause) => fmt::Display::fmt(cause, f),
            Self::Model(cause) => fmt::Display::fmt(cause, f),
            Self::InputSize(cause) => write!(f, "--input-size: {cause}"),
            Self::Reference(cause) => fmt::Display::fmt(cause, f),
            Self::Graph(cause) => fmt::Display::fmt(cause, f),
            Self::Host(cause) => fmt::Display::fmt(cause, f),
            Self::UnknownLayer { given, nearest } => write!(
                f,
                "--keep: the network has no layer {} with weights; the nearest name is {nearest}",
                Shown(given)
            ),
            Self::LabelsNotText { line } => write!(
                f,
                "line {line} is not UTF-8 text; expected one label a line: save the file as UTF-8"
            ),
            Self::LabelCount { given, classes: 0 } => write!(
                f,
                "{given} labels for a dense network, which has no classes: leave --labels out"
            ),
            Self::LabelCount { given, classes } => write!(
                f,
                "{given} labels for {classes} classes; expected one line per class, in their order"
            ),
            Self::UnknownFormula { given } => write!(
                f,
                "formula:{}: unknown preset; expected one of {}",
                Shown(given),
                PRESETS.join(", ")
            ),
            Self::FormulaOption { option } => write!(
                f,
                "{option} does not go with formula weights, whose preset says everything: leave it out"
            ),
            Self::GraphOption { option } => write!(
                f,
                "{option} does not go with an ONNX graph, which says everything itself: leave it out"
            ),
            Self::OtherNetwork {
                what,
                found,
                expected,
            } => write!(
                f,
                "another network than the packed model's: {what} {found}, the model has {expected}; give the checkpoint it was packed from"
            ),
            Self::Differs {
                difference,
                tolerance,
            } => write!(
                f,
                "the outputs differ from the checkpoint's by up to {difference:.3e}, more than the tolerance {tolerance:e}; pack this checkpoint again"
            ),
            Self::Decides { margin, tolerance } => write!(
                f,
                "the pools choose other centres than the checkpoint's, by margins of up to {margin:.3e} where {tolerance:e} is allowed; pack this checkpoint again"
            ),
            Self::NoImages => write!(
                f,
                "no readable image found; looked for {}",
                fec::image::READABLE
            ),
            _ => self.fmt_integers(f),
        }
    }

    /// Faults of what makes a network of integers.
    fn fmt_integers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IntegerOption { option } => write!(
                f,
                "{} goes with integer networks alone: add --dtype i8, or leave it out",
                Shown(option)
            ),
            Self::NoClasses { cause } => write!(
                f,
                "--max-drop needs images in class folders, DIR/CLASS/*, named like --labels: {cause}"
            ),
            Self::DropsTooFar {
                drop,
                allowed,
                images,
            } => write!(
                f,
                "--max-drop {allowed}: even with all layers kept finer top-1 is {drop:.2} points below f32 on {images} images; allow more, or pack as f16"
            ),
            // The variants above this function have been shown already.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_that_stays_too_far_is_one_line_with_both_numbers() {
        let error = Error::DropsTooFar {
            drop: 1.25,
            allowed: 0.5,
            images: 400,
        };
        assert_eq!(
            error.to_string(),
            "--max-drop 0.5: even with all layers kept finer top-1 is 1.25 points below f32 on 400 images; allow more, or pack as f16"
        );
    }
}
