//! The file that a split is written to: CSV, a line per image: `train` or `val`, the class, the file below the folder.

use core::fmt::Write;
use std::path::Path;

use super::error::Error;
use super::split::{Sample, Split};

const HEADER: &str = "split,class,file";

/// A line of the file.
pub(super) struct Row {
    pub(super) validation: bool,
    pub(super) class: String,
    pub(super) file: String,
}

/// The file of a split.
pub(super) fn text(split: &Split) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, samples) in [("train", &split.train), ("val", &split.val)] {
        for Sample { path, class } in samples {
            let class = split
                .classes
                .get(*class as usize)
                .map_or("", String::as_str);
            let file = path
                .strip_prefix(&split.root)
                .unwrap_or(path)
                .to_string_lossy();
            let _ = writeln!(text, "{name},{},{}", quoted(class), quoted(&file));
        }
    }
    text
}

/// A field of CSV.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// The lines of a split file.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, Error> {
    let bytes = std::fs::read(path).map_err(|e| fec::Error::from_read(path, e))?;
    let refused = |line, reason| Error::SplitFile {
        path: path.into(),
        line,
        reason,
    };
    let text = String::from_utf8(bytes).map_err(|_| refused(1, "is no text in UTF-8"))?;
    let mut records = records(&text).into_iter();
    match records.next() {
        Some((_, header)) if header.join(",") == HEADER => {}
        _ => return Err(refused(1, "expected the heading split,class,file")),
    }
    let mut rows = Vec::new();
    for (line, record) in records {
        let [split, class, file] = &record[..] else {
            return Err(refused(line, "expected three fields: split, class, file"));
        };
        let validation = match split.as_str() {
            "train" => false,
            "val" => true,
            _ => return Err(refused(line, "expected train or val first")),
        };
        // A split file names images of its folder and no others.
        let inside = Path::new(file)
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
        if !inside || file.is_empty() {
            return Err(refused(line, "expected a file inside the folder"));
        }
        rows.push(Row {
            validation,
            class: class.clone(),
            file: file.clone(),
        });
    }
    for validation in [false, true] {
        if !rows.iter().any(|row| row.validation == validation) {
            return Err(refused(1, "lists no images of one of train and val"));
        }
    }
    Ok(rows)
}

/// The records of a CSV text, each with the number of its first line.
fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut records = Vec::new();
    let (mut record, mut field, mut quotes) = (Vec::new(), String::new(), false);
    let (mut line, mut first_line) = (1, 1);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quotes && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quotes = !quotes,
            ',' if !quotes => record.push(core::mem::take(&mut field)),
            '\r' if !quotes => {}
            '\n' if !quotes => {
                record.push(core::mem::take(&mut field));
                records.push((first_line, core::mem::take(&mut record)));
                first_line = line;
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push((first_line, record));
    }
    records
}
