//! Confusion matrices: a row per true class, a column per predicted one.

use core::fmt::Write;

use super::{FONT, cut, escape, open, share, text_width};

/// Sides of a cell: as large as fits the page, but labels have to stay legible.
const SIDE: f64 = 640.0;
const LARGEST: f64 = 56.0;
const SMALLEST: f64 = 13.0;
/// Cells of this size have room for their count, and labels above them may lean instead of standing upright.
const WITH_COUNT: f64 = 24.0;
const LEANING: f64 = 34.0;
/// Widest label.
const LABEL: f64 = 190.0;
/// More classes than this have no room for labels at all.
const LABELLED: usize = 300;

/// The matrix as a picture. `counts` is [classes, classes], true class by predicted class; the stronger a cell's colour, the larger its
/// share of the row. Names come up where the pointer rests. Counts beyond `labels` are left out.
pub fn confusion_matrix(labels: &[String], counts: &[u64]) -> String {
    let classes = labels.len();
    let labelled = classes <= LABELLED;
    let cell = if labelled {
        (SIDE / classes.max(1) as f64)
            .clamp(SMALLEST, LARGEST)
            .floor()
    } else {
        (SIDE / classes as f64).max(1.0)
    };
    let names: Vec<String> = labels.iter().map(|label| cut(label, LABEL)).collect();
    let widest = names.iter().map(|n| text_width(n)).fold(30.0, f64::max);
    let leans = cell >= LEANING;
    let margin = if labelled { widest + 12.0 } else { 4.0 };
    let (left, top) = (margin + 18.0, margin + 18.0);
    let side = cell * classes as f64;
    let beyond = if labelled && leans { widest } else { 4.0 };
    let (width, height) = (left + side + beyond, top + side + 4.0);
    let mut svg = open(width, height, "Confusion matrix").replacen("plot", "plot fixed", 1);
    let _ = write!(
        svg,
        "<text class=\"quiet\" x=\"{left}\" y=\"12\">taken for</text>\
         <text class=\"quiet\" transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"end\">true class</text>\
         <rect class=\"ground\" x=\"{left}\" y=\"{top}\" width=\"{side}\" height=\"{side}\"/>",
        top
    );
    if labelled {
        for (i, name) in names.iter().enumerate() {
            label(&mut svg, name, i, cell, (left, top), leans);
        }
        grid(&mut svg, classes, cell, (left, top));
    }
    for (truth, row) in counts.chunks(classes.max(1)).take(classes).enumerate() {
        cells(&mut svg, labels, row, truth, cell, (left, top));
    }
    svg + "</svg>"
}

fn cells(
    svg: &mut String,
    labels: &[String],
    row: &[u64],
    truth: usize,
    cell: f64,
    at: (f64, f64),
) {
    let total: u64 = row.iter().sum();
    let name = |class: usize| escape(labels.get(class).map_or("", String::as_str));
    for (predicted, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
        // Small shares are what one looks for off the diagonal: the square root shows them.
        let strength = share(count as f64, total as f64).sqrt();
        let (x, y) = (at.0 + cell * predicted as f64, at.1 + cell * truth as f64);
        let class = if truth == predicted { "right" } else { "wrong" };
        let _ = write!(
            svg,
            "<g><title>{} taken for {}: {count} of {total}</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell}\" height=\"{cell}\" fill-opacity=\"{strength:.2}\"/>",
            name(truth),
            name(predicted)
        );
        if cell >= WITH_COUNT {
            let over = if strength > 0.6 { "over" } else { "" };
            let _ = write!(
                svg,
                "<text class=\"{over}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                x + cell / 2.0,
                y + cell / 2.0 + 4.0
            );
        }
        svg.push_str("</g>");
    }
}

/// The class's name left of its row and above its column.
fn label(svg: &mut String, name: &str, class: usize, cell: f64, at: (f64, f64), leans: bool) {
    let size = FONT.min(cell - 1.0);
    let middle = cell * (class as f64 + 0.5);
    let angle = if leans { -50 } else { -90 };
    let name = escape(name);
    let _ = write!(
        svg,
        "<text style=\"font-size:{size}px\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
         <text style=\"font-size:{size}px\" transform=\"translate({:.1} {:.1}) rotate({angle})\">{name}</text>",
        at.0 - 6.0,
        at.1 + middle + size / 3.0,
        at.0 + middle + size / 3.0,
        at.1 - 6.0
    );
}

fn grid(svg: &mut String, classes: usize, cell: f64, at: (f64, f64)) {
    let side = cell * classes as f64;
    let mut path = String::new();
    for i in 0..=classes {
        let along = cell * i as f64;
        let _ = write!(
            path,
            "M{:.1} {:.1}v{side}M{:.1} {:.1}h{side}",
            at.0 + along,
            at.1,
            at.0,
            at.1 + along
        );
    }
    let _ = write!(svg, "<path class=\"grid\" d=\"{path}\"/>");
}
