//! One HTML page per photo that shows how the network grouped it: a single file that asks the network for nothing and works where it lies.
//!
//! Everything that comes from outside (the file's name, labels, notes) reaches the page either escaped as HTML or inside a JSON block in
//! which no `<` is left; the script writes text as text alone. The page's content security policy refuses any connection and any script
//! but the page's own.

use core::fmt::Write as _;

use serde::Serialize;

use crate::error::Error;
use crate::html::{base64, escape};
use crate::image::Photo;

/// JPEG quality of the embedded photo: no artefacts to be seen at the size of a window.
const PHOTO_QUALITY: u8 = 90;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page shows.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The photo's file name, shown as it is.
    pub title: &'a str,
    /// The photo, embedded at its own size.
    pub photo: &'a Photo,
    /// Rows of 4x4 patches that the network saw; the grid is stretched over the photo.
    pub rows: usize,
    /// Columns of patches.
    pub cols: usize,
    /// One to three levels, from fine to coarse.
    pub levels: &'a [Level<'a>],
    /// The likeliest classes, best first; may be empty.
    pub classes: &'a [ClassRow],
    /// One line about the model.
    pub model: &'a str,
    /// Remarks below the photo; may be empty.
    pub notes: &'a [String],
}

/// One level of the grouping (SPEC 7).
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    /// 1, 2 or 3: the pool whose clusters these are.
    pub number: usize,
    /// `[rows * cols]`: the cluster of each patch. On level 3 they index [`ClassRow::contributions`].
    pub clusters: &'a [u16],
    /// `[rows * cols]`: the k-means group of each patch, if asked for.
    pub groups: Option<&'a [u16]>,
}

/// One class and where its evidence lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRow {
    /// The class's name.
    pub label: String,
    /// From 0 to 1.
    pub probability: f32,
    /// The class's logit.
    pub logit: f32,
    /// Share of the logit of each level-3 cluster, also of those without a patch (SPEC 6): they add up to the logit. Empty if unknown.
    pub contributions: Vec<f32>,
}

/// What the script reads; maps are base64 of little-endian u16.
#[derive(Serialize)]
struct Data<'a> {
    rows: usize,
    cols: usize,
    levels: Vec<LevelData>,
    classes: &'a [ClassRow],
}

#[derive(Serialize)]
struct LevelData {
    number: usize,
    clusters: String,
    groups: Option<String>,
}

impl Page<'_> {
    /// The page as one HTML document; an error if maps, classes and photo do not fit each other.
    pub fn to_html(&self) -> Result<String, Error> {
        self.check()?;
        let data = self.data()?;
        let photo = base64(&self.photo.to_jpeg(PHOTO_QUALITY)?);
        // The policy admits inline code by this word only, and no file name can contain the hash of a page that contains the name.
        let nonce = format!("{:016x}", fnv1a(&[&data, self.title, self.model, &photo]));
        let title = escape(self.title);
        let model = escape(self.model);
        let notes = self.notes_html();
        let number = |n: usize| n.to_string();
        let (width, height) = (number(self.photo.width), number(self.photo.height));
        let (cols, rows) = (number(self.cols), number(self.rows));
        Ok(fill(TEMPLATE, |name| match name {
            "nonce" => &nonce,
            "title" => &title,
            "model" => &model,
            "width" => &width,
            "height" => &height,
            "cols" => &cols,
            "rows" => &rows,
            "photo" => &photo,
            "notes" => &notes,
            "data" => &data,
            "style" => STYLE,
            "script" => SCRIPT,
            _ => "",
        }))
    }

    fn check(&self) -> Result<(), Error> {
        let pixels = self
            .photo
            .width
            .saturating_mul(self.photo.height)
            .saturating_mul(3);
        same_len("pixels of a photo", pixels, self.photo.pixels.len())?;
        if pixels == 0 {
            return Err(setting("size of a photo", 0, "at least one pixel"));
        }
        let patches = self.rows.saturating_mul(self.cols);
        if patches == 0 {
            return Err(setting("number of patches", 0, "at least one"));
        }
        let numbers: Vec<usize> = self.levels.iter().map(|level| level.number).collect();
        let ascending = numbers.is_sorted_by(|a, b| a < b);
        if numbers.is_empty() || !ascending || numbers.iter().any(|n| !(1..=3).contains(n)) {
            let expected = "one to three of 1, 2, 3, in this order";
            return Err(setting(
                "levels of a page",
                format!("{numbers:?}"),
                expected,
            ));
        }
        for level in self.levels {
            same_len("clusters of a level", patches, level.clusters.len())?;
            if let Some(groups) = level.groups {
                same_len("groups of a level", patches, groups.len())?;
            }
        }
        self.check_classes()
    }

    fn check_classes(&self) -> Result<(), Error> {
        let last = self.levels.iter().find(|level| level.number == 3);
        let largest = last.and_then(|level| level.clusters.iter().max());
        let needed = largest.map_or(0, |&id| usize::from(id) + 1);
        for class in self.classes {
            let given = class.contributions.len();
            if given != 0 && given < needed {
                let what = "contributions of a class, one per level-3 cluster";
                return same_len(what, needed, given);
            }
            let numbers = [class.probability, class.logit];
            let mut all = numbers.iter().chain(&class.contributions);
            if let Some(odd) = all.find(|v| !v.is_finite()) {
                return Err(setting("value of a class", odd, "a finite number"));
            }
        }
        Ok(())
    }

    /// The JSON block, safe inside a script element.
    fn data(&self) -> Result<String, Error> {
        let levels = self.levels.iter().map(|level| LevelData {
            number: level.number,
            clusters: base64_u16(level.clusters),
            groups: level.groups.map(base64_u16),
        });
        let data = Data {
            rows: self.rows,
            cols: self.cols,
            levels: levels.collect(),
            classes: self.classes,
        };
        let json = serde_json::to_string(&data).map_err(|e| Error::Encode {
            what: "a page's data",
            reason: e.to_string(),
        })?;
        Ok(escape_json(&json))
    }

    fn notes_html(&self) -> String {
        if self.notes.is_empty() {
            return String::new();
        }
        let items = self
            .notes
            .iter()
            .map(|note| format!("  <li>{}</li>\n", escape(note)));
        format!("<ul class=\"notes\">\n{}</ul>\n", items.collect::<String>())
    }
}

fn same_len(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape {
        what,
        expected,
        found,
    })
}

fn setting(what: &'static str, found: impl ToString, expected: &'static str) -> Error {
    Error::Setting {
        what,
        found: found.to_string(),
        expected,
    }
}

/// The template with each `{{name}}` replaced, in one pass: what a value contains is never looked at.
fn fill<'a>(template: &'a str, value: impl Fn(&str) -> &'a str) -> String {
    let mut parts = template.split("{{");
    let mut out = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or(("", part));
        out.push_str(value(name));
        out.push_str(rest);
    }
    out
}

/// JSON in which nothing can end a script element or a line of JavaScript. These characters stand in JSON strings only.
fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn base64_u16(ids: &[u16]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    base64(&bytes)
}

/// 64-bit FNV-1a over all texts, one after the other.
fn fnv1a(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "</script><img src=x onerror=alert(1)>\"'&{{photo}}<!--\u{2028}\u{2029}\n";

    fn photo() -> Photo {
        let pixels = (0..16 * 8 * 3).map(|i| (i * 7 % 251) as u8).collect();
        Photo::new(16, 8, pixels).expect("the size fits")
    }

    fn class(label: &str, contributions: &[f32]) -> ClassRow {
        ClassRow {
            label: label.into(),
            probability: 0.5,
            logit: contributions.iter().sum(),
            contributions: contributions.to_vec(),
        }
    }

    fn page<'a>(photo: &'a Photo, levels: &'a [Level<'a>], classes: &'a [ClassRow]) -> Page<'a> {
        Page {
            title: "cup.jpg",
            photo,
            rows: 2,
            cols: 4,
            levels,
            classes,
            model: "a model",
            notes: &[],
        }
    }

    fn level(number: usize, clusters: &[u16]) -> Level<'_> {
        Level {
            number,
            clusters,
            groups: None,
        }
    }

    const IDS: [u16; 8] = [0, 0, 1, 1, 0, 0, 1, 300];

    /// The text between two marks, which must stand in the page once.
    fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
        assert_eq!(html.matches(from).count(), 1, "{from}");
        let rest = html.split_once(from).expect("counted").1;
        rest.split_once(to).expect("the end mark follows").0
    }

    fn refusal(page: &Page<'_>) -> String {
        page.to_html().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_page_holds_photo_maps_and_classes() {
        let photo = photo();
        let levels = [
            level(1, &IDS),
            Level {
                groups: Some(&[2; 8]),
                ..level(3, &IDS)
            },
        ];
        let classes = [class("cup", &[0.25; 301])];
        let html = page(&photo, &levels, &classes).to_html().expect("fits");
        let data = between(&html, "id=\"data\">", "</script>");
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["rows"], 2);
        assert_eq!(data["cols"], 4);
        // 300 is 0x012c: the last two bytes are 2c 01.
        assert_eq!(data["levels"][0]["clusters"], "AAAAAAEAAQAAAAAAAQAsAQ==");
        assert_eq!(data["levels"][0]["groups"], serde_json::Value::Null);
        assert_eq!(data["levels"][1]["groups"], "AgACAAIAAgACAAIAAgACAA==");
        assert_eq!(data["classes"][0]["label"], "cup");
        assert_eq!(data["classes"][0]["contributions"][300], 0.25);
        let jpeg = base64(&photo.to_jpeg(PHOTO_QUALITY).expect("a JPEG"));
        assert_eq!(between(&html, "data:image/jpeg;base64,", "\""), jpeg);
        assert!(html.contains("width=\"16\" height=\"8\""));
        let again = page(&photo, &levels, &classes).to_html().expect("fits");
        assert_eq!(html, again, "the same input gives the same bytes");
    }

    #[test]
    fn no_text_from_outside_breaks_out() {
        let photo = photo();
        let levels = [level(3, &IDS)];
        let classes = [class(HOSTILE, &[0.1; 301])];
        let notes = [HOSTILE.to_string()];
        let hostile = Page {
            title: HOSTILE,
            model: HOSTILE,
            notes: &notes,
            ..page(&photo, &levels, &classes)
        };
        let html = hostile.to_html().expect("text is never refused");
        let plain = page(&photo, &levels, &classes).to_html().expect("fits");
        for mark in ["</script", "<script", "<img", "<!", "data:image/jpeg"] {
            let (found, expected) = (html.matches(mark).count(), plain.matches(mark).count());
            assert_eq!(found, expected, "{mark}");
        }
        assert!(!html.contains("{{photo}}<"), "raw text stands in the page");
        let data = between(&html, "id=\"data\">", "</script>");
        assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\n']));
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["classes"][0]["label"], HOSTILE, "the text survives");
        // The quoted attribute ends where the template ends it.
        let alt = between(&html, "alt=\"", "\" width=");
        assert!(!alt.contains(['"', '<', '>', '\n']), "{alt}");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let photo = photo();
        let html = page(&photo, &[level(2, &IDS)], &[])
            .to_html()
            .expect("fits");
        let policy = between(&html, "Content-Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; img-src data:;"));
        assert!(!policy.contains("unsafe"));
        let nonce = between(policy, "script-src 'nonce-", "'");
        assert_eq!(html.matches(&format!(" nonce=\"{nonce}\"")).count(), 2);
        for mark in ["http:", "https:", "@import", "url(", "<link", "eval(", "{{"] {
            assert!(!html.contains(mark), "{mark}");
        }
        for mark in ["innerHTML", "insertAdjacent", "document.write", "fetch("] {
            assert!(!SCRIPT.contains(mark), "{mark}");
        }
        assert!(!html.contains(" style=\""), "the policy would refuse it");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_one_line() {
        let photo = photo();
        let refused = [
            (vec![], "levels of a page is []"),
            (vec![level(3, &IDS), level(1, &IDS)], "is [3, 1]"),
            (vec![level(1, &IDS), level(1, &IDS)], "is [1, 1]"),
            (vec![level(4, &IDS)], "is [4]"),
            (vec![level(1, &IDS[1..])], "7 values given, 8 expected"),
        ];
        for (levels, expected) in refused {
            let text = refusal(&page(&photo, &levels, &[]));
            assert!(text.contains(expected), "{text}");
        }
        let groups = [Level {
            groups: Some(&[0; 3]),
            ..level(1, &IDS)
        }];
        let text = refusal(&page(&photo, &groups, &[]));
        assert!(text.starts_with("groups of a level: 3"), "{text}");
        let levels = [level(3, &IDS)];
        let text = refusal(&page(&photo, &levels, &[class("cup", &[0.0; 300])]));
        assert!(text.contains("300 values given, 301 expected"), "{text}");
        let text = refusal(&page(&photo, &levels, &[class("cup", &[f32::NAN; 301])]));
        assert!(text.contains("NaN, expected a finite number"), "{text}");
        let empty = Page {
            rows: 0,
            ..page(&photo, &levels, &[])
        };
        assert!(refusal(&empty).starts_with("number of patches"));
        let nothing = Photo::default();
        let text = refusal(&page(&nothing, &levels, &[]));
        assert!(text.starts_with("size of a photo"), "{text}");
    }

    #[test]
    fn fnv1a_is_the_published_one() {
        // Test vectors of the authors: the empty text, "a", "foobar".
        assert_eq!(fnv1a(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(&["foo", "bar"]), 0x8594_4171_f739_67e8);
    }
}
