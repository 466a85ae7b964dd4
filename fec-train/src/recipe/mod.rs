//! Recipes: one TOML file of options, `key=value` overrides, and the complete recipe printed back.

mod build;
mod error;
mod options;
mod value;

use std::path::Path;

pub use build::{MODELS, POOL_GRADIENTS};
pub use error::Error;
pub use options::Recipe;

/// The recipes that are part of the program, by file name.
pub const EMBEDDED: [(&str, &str); 4] = [
    ("folder.toml", include_str!("../../recipes/folder.toml")),
    (
        "cifar10-fec-nano.toml",
        include_str!("../../recipes/cifar10-fec-nano.toml"),
    ),
    (
        "tiny-imagenet-fec-compact.toml",
        include_str!("../../recipes/tiny-imagenet-fec-compact.toml"),
    ),
    (
        "imagenet-fec-small.toml",
        include_str!("../../recipes/imagenet-fec-small.toml"),
    ),
];

/// Most bytes of a recipe file.
const MAX_BYTES: u64 = 1 << 20;

impl Recipe {
    /// The recipe in that file, or, where there is no such file, the program's own of that name (with or without `.toml`); then the
    /// overrides, `key=value` each.
    ///
    /// # Errors
    /// One line: no such recipe, no TOML, an unknown option with the nearest known one, a value that is not possible.
    pub fn load(name: &str, overrides: &[impl AsRef<str>]) -> Result<Recipe, Error> {
        let path = Path::new(name);
        // A folder of that name does not hide the program's own recipe; anything else does.
        let there = path.exists() && !(path.is_dir() && embedded(name).is_some());
        let text = match (there, embedded(name)) {
            (false, Some(text)) => text.to_owned(),
            (false, None) => {
                let known = EMBEDDED.map(|(known, _)| known);
                return Err(Error::Missing {
                    name: name.into(),
                    nearest: nearest(name, &known).map(str::to_owned),
                });
            }
            (true, _) => read(name)?,
        };
        Recipe::parse(name, &text, overrides)
    }

    /// The recipe in a text; `name` is for messages.
    ///
    /// # Errors
    /// Those of [`Recipe::load`].
    pub fn parse(name: &str, text: &str, overrides: &[impl AsRef<str>]) -> Result<Recipe, Error> {
        let table: toml::Table = text.parse().map_err(|e| syntax(name, text, &e))?;
        let mut recipe = Recipe::default();
        let mut seen = Vec::new();
        for (key, value) in &table {
            let field = key.replace('-', "_");
            let done = recipe.set(&field, value);
            recipe_result(name, key, done, || shown(value))?;
            if seen.contains(&field) {
                return Err(Error::Twice {
                    name: name.into(),
                    key: key.clone(),
                });
            }
            seen.push(field);
        }
        for text in overrides {
            recipe.override_with(text.as_ref())?;
        }
        recipe.check(name)?;
        Ok(recipe)
    }

    /// Sets one option from `key=value`. The values' ranges are checked by [`Recipe::check`] when all are set.
    fn override_with(&mut self, text: &str) -> Result<(), Error> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Error::Override { found: text.into() })?;
        let (key, value) = (key.trim().trim_start_matches("--"), value.trim());
        let done = self.set_text(&key.replace('-', "_"), value);
        recipe_result("command line", key, done, || format!("'{value}'"))
    }
}

/// The text of the program's own recipe of that name.
pub fn embedded(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.trim_end_matches(".toml").to_owned();
    let found = EMBEDDED
        .iter()
        .find(|(known, _)| plain(known) == plain(name));
    found.map(|(_, text)| *text)
}

fn read(name: &str) -> Result<String, Error> {
    let fail = |source| Error::Read {
        name: name.into(),
        source,
    };
    let path = Path::new(name);
    if path.is_dir() {
        return Err(fail(fec::Error::IsFolder { path: path.into() }));
    }
    let io = |source| {
        fail(fec::Error::Read {
            path: path.into(),
            source,
        })
    };
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > MAX_BYTES {
        return Err(Error::Syntax {
            name: name.into(),
            line: 1,
            reason: "more than the megabyte that a recipe may have".into(),
        });
    }
    std::fs::read_to_string(path).map_err(io)
}

fn syntax(name: &str, text: &str, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    Error::Syntax {
        name: name.into(),
        line: before.matches('\n').count() + 1,
        reason: error.message().replace('\n', ", "),
    }
}

/// The result of setting an option, as an error that names what and where.
fn recipe_result(
    name: &str,
    key: &str,
    done: Option<Result<(), &'static str>>,
    found: impl FnOnce() -> String,
) -> Result<(), Error> {
    match done {
        Some(Ok(())) => Ok(()),
        Some(Err(expected)) => Err(Error::Value {
            name: name.into(),
            key: key.into(),
            found: found(),
            expected: expected.into(),
        }),
        None => Err(Error::UnknownKey {
            name: name.into(),
            key: key.into(),
            nearest: nearest(&key.replace('-', "_"), Recipe::FIELDS).map(|n| n.replace('_', "-")),
        }),
    }
}

/// A value as a message shows it: short, in one line.
fn shown(value: &toml::Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string().replace('\n', " ");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The known name that is most alike, if any is at all.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    /// A name of which fewer letters than these are right is no slip of another.
    const ALIKE: f64 = 0.5;
    let alike = strsim::normalized_damerau_levenshtein;
    let scored = known.iter().map(|k| (alike(name, k), *k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
