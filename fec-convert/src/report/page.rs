//! The report as one HTML file: a bar per layer, light and dark, nothing from outside.

use core::fmt::Write;

use fec::html::escape;

use super::{Report, Row};

const TEMPLATE: &str = include_str!("page.html");
/// Decibels of a full bar.
const FULL_DB: f64 = 60.0;

/// Fills the template. Names may come from files: they are escaped.
pub(super) fn page(report: &Report, title: &str) -> String {
    let parts = [
        ("{{title}}", escape(title)),
        ("{{facts}}", facts(report)),
        ("{{assignments}}", assignments(report)),
        ("{{measured}}", escape(report.measured)),
        ("{{layers}}", report.layers.iter().map(layer).collect()),
        ("{{finer}}", finer(report)),
    ];
    // One pass over the template: what is filled in is not searched again.
    let mut page = String::new();
    let mut rest = TEMPLATE;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        page.push_str(before);
        let found = parts.iter().find(|(name, _)| from.starts_with(name));
        let (name, text) = found.map_or(("{{", "{{"), |(name, text)| (*name, text.as_str()));
        page.push_str(text);
        rest = from.get(name.len()..).unwrap_or_default();
    }
    page.push_str(rest);
    page
}

fn facts(report: &Report) -> String {
    let mut facts = String::new();
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(facts, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    };
    fact("calibrated on", report.calibration.text());
    fact("compared on", report.check.text());
    let agreement = &report.agreement;
    if let Some(same) = agreement.same_class {
        fact("same class as f32", format!("{same:.2} %"));
    }
    if let Some(top1) = agreement.top1 {
        fact(
            "top-1",
            format!("{:.2} % (f32 {:.2} %)", top1.integer, top1.float),
        );
    }
    if !report.chosen.is_empty() {
        fact("kept finer by --max-drop", report.chosen.join(", "));
    }
    facts
}

fn bar(name: &str, share: f64, value: &str, detail: &str) -> String {
    let width = (100.0 * share).clamp(0.0, 100.0);
    format!(
        "<tr title=\"{}\"><th>{}</th><td class=\"bar\"><i style=\"width:{width:.1}%\"></i></td><td>{}</td></tr>\n",
        escape(detail),
        escape(name),
        escape(value)
    )
}

/// Bars of disagreement: agreement is so near 100 % that its bars would all look alike.
fn assignments(report: &Report) -> String {
    let pools = (1..).zip(&report.agreement.pools);
    let pools = pools.map(|(level, &share)| (format!("pool {level}"), share));
    let blocks = report.agreement.blocks.iter();
    let blocks = blocks.map(|block| (block.block.clone(), block.agreement));
    let all: Vec<(String, f64)> = pools.chain(blocks).collect();
    let most = all
        .iter()
        .fold(1.0, |most: f64, (_, share)| most.max(100.0 - share));
    let row = |(name, share): &(String, f64)| {
        let other = 100.0 - share;
        bar(
            name,
            other / most,
            &format!("{other:.2} %"),
            &format!("{share:.3} % agree"),
        )
    };
    all.iter().map(row).collect()
}

fn layer(row: &Row) -> String {
    let gelu = row
        .gelu
        .map_or(String::new(), |gelu| format!(", GELU {gelu}"));
    let detail = format!(
        "{}{gelu}, {} bytes, cosine {:.6}, worst channel {} at {:.1} dB",
        row.dtype, row.bytes, row.cosine, row.worst_channel, row.worst_channel_db
    );
    let value = format!(
        "{:.1} dB · {} · worst channel {:.1} dB",
        row.sqnr_db, row.dtype, row.worst_channel_db
    );
    bar(&row.layer, row.sqnr_db / FULL_DB, &value, &detail)
}

fn finer(report: &Report) -> String {
    let row = |finer: &super::Finer| {
        format!(
            "<tr><th>{}</th><td>--keep {}</td><td>{} bytes</td><td>{:.1} %</td></tr>\n",
            escape(&finer.layer),
            escape(&finer.keep),
            finer.bytes,
            finer.time_percent_estimated
        )
    };
    report.worst.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_stay_text() {
        assert_eq!(escape("a<b>&\"\n"), "a&lt;b&gt;&amp;&quot;\u{fffd}");
    }

    #[test]
    fn every_place_of_the_template_is_filled() {
        let report = Report {
            calibration: super::super::Images {
                folder: Some("<{{layers}}>".to_string()),
                ..Default::default()
            },
            check: Default::default(),
            layers: Vec::new(),
            measured: "",
            agreement: super::super::Agreement {
                images: 0,
                same_class: None,
                top1: None,
                pools: Vec::new(),
                blocks: Vec::new(),
                mixers: 0.0,
            },
            worst: Vec::new(),
            chosen: Vec::new(),
        };
        let page = page(&report, "a{{b}}");
        assert!(page.contains("a{{b}}") && page.contains("&lt;{{layers}}&gt;"));
        assert_eq!(page.matches("{{").count(), 3, "{page}");
        assert!(!page.contains("http"), "nothing from outside");
    }
}
