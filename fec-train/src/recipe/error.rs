//! What can be wrong with a recipe, one line each.

use core::fmt;

/// Why a recipe was not taken. `Display` is one line.
#[derive(Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the line above each variant and the fields' names say it"
)]
pub enum Error {
    /// Neither a file nor one of the recipes in the program.
    Missing {
        name: String,
        nearest: Option<String>,
    },
    /// The file could not be read.
    Read { name: String, source: fec::Error },
    /// No TOML.
    Syntax {
        name: String,
        line: usize,
        reason: String,
    },
    /// An option that does not exist.
    UnknownKey {
        name: String,
        key: String,
        nearest: Option<String>,
    },
    /// An option given twice, once as written here and once with underscores.
    Twice { name: String, key: String },
    /// An override that is not `key=value`.
    Override { found: String },
    /// A value of the wrong kind or outside its range.
    Value {
        name: String,
        key: String,
        found: String,
        expected: String,
    },
    /// Two options that do not go together.
    Conflict { name: String, reason: &'static str },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::Missing { name, nearest } => {
                let known = super::EMBEDDED.map(|(name, _)| name).join(", ");
                let hint = nearest
                    .as_ref()
                    .map_or_else(String::new, |n| format!("; did you mean {n}?"));
                format!(
                    "{name}: no such recipe file, and none of the program's own ({known}){hint}"
                )
            }
            Error::Read { source, .. } => source.to_string(),
            Error::Syntax { name, line, reason } => format!("{name}: line {line}: {reason}"),
            Error::UnknownKey { name, key, nearest } => {
                let hint = nearest.as_ref().map_or_else(
                    || "; a saved recipe.toml lists all options".to_owned(),
                    |n| format!("; did you mean '{n}'?"),
                );
                format!("{name}: unknown option '{key}'{hint}")
            }
            Error::Twice { name, key } => format!("{name}: option '{key}' is given twice"),
            Error::Override { found } => {
                format!("'{found}' is no option; expected KEY=VALUE, as in epochs=20")
            }
            Error::Value {
                name,
                key,
                found,
                expected,
            } => format!("{name}: {key} is {found}, expected {expected}"),
            Error::Conflict { name, reason } => format!("{name}: {reason}"),
        };
        // Foreign text may hold line breaks and control characters.
        for c in text.chars() {
            fmt::Write::write_char(f, if c.is_control() { ' ' } else { c })?;
        }
        Ok(())
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}
