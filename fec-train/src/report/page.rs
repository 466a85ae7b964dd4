//! The report's page. Whatever comes from outside is escaped; there is no script, and the page's policy allows none.

use core::fmt::Write;

use fec::Photo;

use super::html::{escape, jpeg_uri};
use super::numbers::{Class, Numbers, interval};
use super::{Report, curves};
use crate::memory::readable;
use crate::plots::{self, Bar, bar_chart, confusion_matrix};
use crate::progress::duration;

const JPEG_QUALITY: u8 = 82;
/// Lines of a list or table that are shown before the rest is folded away.
const SHOWN: usize = 40;
/// Mistakes in the list of the most frequent.
const FREQUENT: usize = 10;
/// The matrix of more classes than this is larger than a window and is folded away.
const AT_A_GLANCE: usize = 60;

/// Fills the page.
pub(super) fn page(report: &Report) -> Result<String, fec::Error> {
    let numbers = Numbers::of(report);
    let sections = [
        headline(report, &numbers),
        advice(report),
        section("Training", "", &chart(&curves(&report.rows).svg())),
        confusion(report, &numbers),
        classes(report, &numbers),
        worst(report)?,
        maps(report)?,
        balance(report),
        unreadable(report),
        facts(report, &numbers),
    ];
    Ok(format!(
        include_str!("page.html"),
        name = escape(&report.name),
        model = escape(&report.model),
        plots = plots::STYLE,
        style = include_str!("page.css"),
        sections = sections.concat(),
    ))
}

/// A share in percent: whole ones, but none that is called all or nothing and is not. The blank does not break.
pub(super) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value > 0.0 && value < 1.0 {
        format!("{:.1}\u{a0}%", value.max(0.1))
    } else if value > 99.05 && value < 100.0 {
        format!("{:.1}\u{a0}%", value.min(99.9))
    } else {
        format!("{value:.0}\u{a0}%")
    }
}

/// The name of a class.
pub(super) fn named(report: &Report, class: usize) -> String {
    let name = report.classes.get(class);
    name.map_or_else(|| format!("class {class}"), Clone::clone)
}

fn section(title: &str, note: &str, content: &str) -> String {
    let note = match note {
        "" => String::new(),
        note => format!("<p class=\"note\">{note}</p>\n"),
    };
    format!("<section>\n<h2>{title}</h2>\n{note}{content}\n</section>\n")
}

/// A picture that scrolls sideways where the window is too narrow for its text.
fn chart(svg: &str) -> String {
    format!("<div class=\"wide chart\">{svg}</div>")
}

fn headline(report: &Report, numbers: &Numbers) -> String {
    let Some(accuracy) = numbers.accuracy() else {
        return section(
            "Accuracy",
            "",
            "<p>Not known: there were no validation images.</p>",
        );
    };
    let Numbers { right, total, .. } = *numbers;
    let (low, high) = interval(right, total);
    let mut said = format!(
        "<p>{right} of {total} validation images, which training has not seen, were classified right.</p>\
         <p>With other photos of the same kind expect between {} and {} (95 % confidence).</p>",
        percent(low),
        percent(high)
    );
    if let Some(top5) = report.top5.filter(|_| report.classes.len() > 5) {
        let share = top5 as f64 / total as f64;
        let _ = write!(
            said,
            "<p>For {} the right class is among the five likeliest.</p>",
            percent(share)
        );
    }
    let class = |c: &Class, what: &str| {
        let name = escape(&named(report, c.class));
        format!(
            "<p>{what}: <b>{name}</b>, {} of {} recognised.</p>",
            c.right, c.val
        )
    };
    if let (Some(best), Some(worst)) = (numbers.best(), numbers.worst()) {
        if best.recall() == worst.recall() {
            let _ = write!(said, "<p>All classes are recognised equally well.</p>");
        } else {
            said += &class(best, "Best class");
            said += &class(worst, "Worst class");
        }
    }
    let at = |share: f64| format!("{:.2}%", 100.0 * share);
    let range = format!(
        "<div class=\"range\"><i style=\"left:{};width:{}\"></i><u style=\"left:{}\"></u><b style=\"left:{}\"></b></div>\
         <div class=\"key\">From 0 to 100 %: blue the accuracy and where it may lie, grey what always naming the most common class gets right ({}).</div>",
        at(low),
        at(high - low),
        at(numbers.baseline()),
        at(accuracy),
        percent(numbers.baseline())
    );
    format!(
        "<section class=\"head\">\n<div class=\"big\">{} <small>right (top-1 accuracy)</small></div>\n<div>{said}</div>\n{range}\n</section>\n",
        percent(accuracy)
    )
}

fn advice(report: &Report) -> String {
    let said = report.advice();
    let items: String = said
        .iter()
        .map(|s| format!("<li>{}</li>\n", marked(s)))
        .collect();
    section(
        "What stands out, and what to do",
        "",
        &format!("<ul>\n{items}</ul>"),
    )
}

/// Text in which what stands between backticks is code.
fn marked(text: &str) -> String {
    let parts = text.split('`').map(escape).enumerate();
    parts
        .map(|(i, part)| match i % 2 {
            0 => part,
            _ => format!("<code>{part}</code>"),
        })
        .collect()
}

fn confusion(report: &Report, numbers: &Numbers) -> String {
    if numbers.total == 0 {
        return String::new();
    }
    let matrix = confusion_matrix(&report.classes, &report.confusion);
    let matrix = format!("<div class=\"wide\">{matrix}</div>\n");
    let frequent = match report.classes.len() {
        0..=2 => String::new(),
        _ => frequent(report, numbers),
    };
    let content = if report.classes.len() > AT_A_GLANCE {
        format!("{frequent}<details><summary>The whole matrix</summary>{matrix}</details>")
    } else {
        matrix + &frequent
    };
    section(
        "What was taken for what",
        "A row per true class, a column per class it was taken for. Right answers lie on the diagonal, in blue; mistakes are red, the stronger the \
         larger their share of the row.",
        &content,
    )
}

/// The most frequent mistakes as a table.
fn frequent(report: &Report, numbers: &Numbers) -> String {
    if numbers.confused.is_empty() {
        return String::new();
    }
    let rows = numbers.confused.iter().take(FREQUENT).map(|c| {
        format!(
            "<tr><th>{}</th><td>{}</td><td class=\"n\">{} of {}</td></tr>\n",
            escape(&named(report, c.truth)),
            escape(&named(report, c.predicted)),
            c.count,
            c.of
        )
    });
    format!(
        "<h3>Most frequent mistakes</h3>\n<table><thead><tr><th>true class</th><th>taken for</th><th class=\"n\">images</th></tr></thead>\n\
         <tbody>{}</tbody></table>\n",
        rows.collect::<String>()
    )
}

fn classes(report: &Report, numbers: &Numbers) -> String {
    let row = |c: &&Class| {
        let meter = |share: Option<f64>| match share {
            Some(share) => format!(
                "<td class=\"meter\"><i style=\"--share:{:.1}%\"></i>{}</td>",
                100.0 * share,
                percent(share)
            ),
            None => "<td class=\"meter\">–</td>".to_string(),
        };
        let mistaken = c.mistaken.map_or(String::new(), |(other, count)| {
            format!("{} ({count})", escape(&named(report, other)))
        });
        format!(
            "<tr><th>{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>{}{}<td>{mistaken}</td></tr>\n",
            escape(&named(report, c.class)),
            c.train,
            c.val,
            meter(c.recall()),
            meter(c.precision())
        )
    };
    let head = "<table><thead><tr><th>class</th><th class=\"n\">training<br>images</th><th class=\"n\">validation<br>images</th>\
                <th>recognised<br>(recall)</th><th>right when named<br>(precision)</th><th>mostly taken for</th></tr></thead>\n<tbody>";
    let sorted = numbers.worst_first();
    let rows: Vec<String> = sorted.iter().map(row).collect();
    let (shown, more) = rows.split_at(rows.len().min(SHOWN));
    let mut content = format!(
        "<div class=\"wide\">{head}{}</tbody></table>",
        shown.concat()
    );
    if !more.is_empty() {
        let _ = write!(
            content,
            "<details><summary>{} more classes, better recognised</summary>\n{head}{}</tbody></table></details>",
            more.len(),
            more.concat()
        );
    }
    section(
        "Classes, worst first",
        "Recognised: of the images of this class, how many got it. Right when named: of the images that got this class, how many are of it.",
        &(content + "</div>"),
    )
}

fn image(photo: &Photo, what: &str) -> Result<String, fec::Error> {
    Ok(format!(
        "<img alt=\"{}\" width=\"{}\" height=\"{}\" src=\"{}\">",
        escape(what),
        photo.width,
        photo.height,
        jpeg_uri(&photo.to_jpeg(JPEG_QUALITY)?)
    ))
}

fn worst(report: &Report) -> Result<String, fec::Error> {
    if report.worst.is_empty() {
        return Ok(String::new());
    }
    let mut content = String::from("<div class=\"pictures\">\n");
    for mistake in &report.worst {
        let _ = writeln!(
            content,
            "<figure>{}<figcaption>{}, taken for <b>{}</b> ({})<small>{}</small></figcaption></figure>",
            image(&mistake.picture, &mistake.file)?,
            escape(&named(report, mistake.truth)),
            escape(&named(report, mistake.predicted)),
            percent(f64::from(mistake.probability)),
            escape(&mistake.file)
        );
    }
    content += "</div>";
    Ok(section(
        "The worst mistakes",
        "Validation images that the model was surest about and wrong. In brackets how probable it thought its answer. Often it is the label that is wrong.",
        &content,
    ))
}

fn maps(report: &Report) -> Result<String, fec::Error> {
    if report.maps.is_empty() {
        return Ok(String::new());
    }
    let mut content = String::new();
    for grouped in &report.maps {
        let _ = write!(
            content,
            "<div class=\"grouped\"><p>{}</p><div class=\"pictures\">",
            escape(&grouped.caption)
        );
        for (what, photo) in &grouped.pictures {
            let _ = write!(
                content,
                "<figure>{}<figcaption><small>{}</small></figcaption></figure>",
                image(photo, what)?,
                escape(what)
            );
        }
        content += "</div></div>\n";
    }
    Ok(section(
        "How the network groups images",
        "It sees an image as groups of patches, fewer and larger from level to level, and decides by the last ones. Groups that follow the things in \
         the image are a good sign.",
        &content,
    ))
}

fn balance(report: &Report) -> String {
    let mut order: Vec<(u64, &str)> = report
        .train_images
        .iter()
        .copied()
        .zip(report.classes.iter().map(String::as_str))
        .collect();
    // The sort is stable: equals stay in the order of the classes.
    order.sort_by_key(|&(images, _)| core::cmp::Reverse(images));
    let bars: Vec<Bar<'_>> = order
        .iter()
        .map(|&(images, label)| Bar {
            label,
            value: images as f64,
        })
        .collect();
    let total: u64 = report.train_images.iter().sum();
    let note = match (order.first(), order.last()) {
        (Some(&(most, largest)), Some(&(least, smallest))) if most > least => format!(
            "{total} training images; most are of {} ({most}), fewest of {} ({least}).",
            escape(largest),
            escape(smallest)
        ),
        _ => format!("{total} training images, equally many of each class."),
    };
    section(
        "Training images of each class",
        &note,
        &chart(&bar_chart(&bars)),
    )
}

fn unreadable(report: &Report) -> String {
    if report.unreadable.is_empty() {
        return String::new();
    }
    let item = |file: &super::Unreadable| {
        let (name, reason) = (escape(&file.file), escape(&file.reason));
        format!("<li><b>{name}</b>: {reason}</li>\n")
    };
    let items: Vec<String> = report.unreadable.iter().map(item).collect();
    let (shown, more) = items.split_at(items.len().min(SHOWN));
    let mut content = format!("<ul>\n{}</ul>", shown.concat());
    if !more.is_empty() {
        let _ = write!(
            content,
            "<details><summary>{} more</summary><ul>\n{}</ul></details>",
            more.len(),
            more.concat()
        );
    }
    let title = format!("Files that could not be read ({})", items.len());
    section(&title, "They were left out.", &content)
}

fn facts(report: &Report, numbers: &Numbers) -> String {
    let mut facts = String::from("<dl>\n");
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(facts, "<dt>{name}</dt><dd>{}</dd>", escape(value));
        }
    };
    let train: u64 = report.train_images.iter().sum();
    fact("begun from", &report.begun_from);
    fact(
        "images",
        &format!(
            "{train} to train on, {} to validate on, {} classes",
            numbers.total,
            report.classes.len()
        ),
    );
    if let Some(last) = report.rows.epochs.last() {
        fact(
            "trained",
            &format!("{} epochs, {} steps", last.epoch + 1, last.step),
        );
        fact(
            "speed",
            &format!("{:.0} images per second", last.images_per_second),
        );
    }
    fact("time taken", &duration(report.seconds));
    if let Some(file) = &report.model_file {
        fact(
            "model file",
            &format!("{}, {}", file.name, readable(file.bytes)),
        );
    }
    facts += "</dl>\n";
    for command in &report.next {
        let (what, line) = (escape(&command.what), escape(&command.line));
        let _ = writeln!(
            facts,
            "<p class=\"note command\">{what}</p><pre>{line}</pre>"
        );
    }
    let _ = write!(
        facts,
        "<details><summary>The whole recipe</summary><pre>{}</pre></details>",
        escape(&report.recipe)
    );
    section("The run", "", &facts)
}
