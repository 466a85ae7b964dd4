//! Small pictures as SVG: lines over two axes, bars, and confusion matrices.
//!
//! Colours are CSS variables with a light and a dark value ([`STYLE`]), so that a picture follows the page or the window it is shown in.

use core::fmt::Write;

use crate::report::html::escape;

mod lines;
mod matrix;

pub use lines::{Axis, LineChart, Series};
pub use matrix::confusion_matrix;

/// What the pictures need of a style sheet; [`standalone`] puts it into a picture that is a file of its own.
pub const STYLE: &str = include_str!("plots.css");

/// Width of a picture that is as wide as the page, in its own units: pixels where there is room.
const WIDTH: f64 = 920.0;
/// Size of text.
const FONT: f64 = 12.0;
/// More bars than this have no room for a line each.
const LABELLED_BARS: usize = 40;

/// A picture as a file of its own.
pub fn standalone(svg: &str) -> String {
    let Some((head, rest)) = svg.split_once('>') else {
        return String::new();
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{head} xmlns=\"http://www.w3.org/2000/svg\"><style>\n{STYLE}</style>\
         <rect width=\"100%\" height=\"100%\" style=\"fill:var(--card)\"/>{rest}\n"
    )
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar<'a> {
    /// What it is of.
    pub label: &'a str,
    /// How long it is, from 0.
    pub value: f64,
}

/// Bars in the order given: a line each with label and value; more than 40 stand side by side, named where the pointer rests.
pub fn bar_chart(bars: &[Bar<'_>]) -> String {
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    if bars.len() > LABELLED_BARS {
        return columns(bars, most);
    }
    const LINE: f64 = 20.0;
    let labels: Vec<String> = bars.iter().map(|bar| cut(bar.label, 200.0)).collect();
    let left = labels.iter().map(|l| text_width(l)).fold(40.0, f64::max) + 10.0;
    let room = WIDTH - left - 60.0;
    let mut svg = open(WIDTH, LINE * bars.len() as f64 + 4.0, "Bars");
    for (i, (bar, label)) in bars.iter().zip(&labels).enumerate() {
        let y = LINE * i as f64 + 2.0;
        let length = room * share(bar.value, most);
        let middle = y + 13.0;
        let _ = write!(
            svg,
            "<g><title>{name}: {value}</title><text x=\"{x:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"bar\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"15\" rx=\"2\"/>\
             <text class=\"quiet\" x=\"{end:.1}\" y=\"{middle:.1}\">{value}</text></g>",
            name = escape(bar.label),
            value = bar.value,
            x = left - 8.0,
            label = escape(label),
            end = left + length + 6.0,
        );
    }
    svg + "</svg>"
}

fn columns(bars: &[Bar<'_>], most: f64) -> String {
    const HEIGHT: f64 = 160.0;
    let left = text_width(&most.to_string()) + 12.0;
    let each = (WIDTH - left) / bars.len() as f64;
    let mut svg = open(WIDTH, HEIGHT + 12.0, "Bars");
    for (value, y) in [(most, 8.0), (0.0, HEIGHT)] {
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{left:.1} {y}H{WIDTH}\"/><text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            left - 6.0,
            y + 4.0
        );
    }
    for (i, bar) in bars.iter().enumerate() {
        let height = (HEIGHT - 8.0) * share(bar.value, most);
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{height:.1}\"><title>{}: {}</title></rect>",
            left + each * i as f64,
            HEIGHT - height,
            (each - 1.0).max(each * 0.7),
            escape(bar.label),
            bar.value
        );
    }
    svg + "</svg>"
}

/// The part of a whole, from 0 to 1; of nothing 0.
fn share(part: f64, whole: f64) -> f64 {
    let share = part / whole;
    if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// The beginning of a picture of that size.
fn open(width: f64, height: f64, what: &str) -> String {
    format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">",
        escape(what)
    )
}

/// About how wide a text is: letters of the common scripts are near half as wide as high, those of East Asia and emoji as wide as high.
fn text_width(text: &str) -> f64 {
    let letter = |c: char| match u32::from(c) {
        0x1100..=0x11ff | 0x2e80..=0xd7ff | 0xf900..=0xfaff | 0xff00..=0xff60 | 0x1f000.. => 1.1,
        _ => 0.58,
    };
    FONT * text.chars().map(letter).sum::<f64>()
}

/// The text, or its beginning and dots where it is wider.
fn cut(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_string();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if text_width(&kept) + FONT > width {
            break;
        }
    }
    kept + "…"
}

#[cfg(test)]
mod tests;
