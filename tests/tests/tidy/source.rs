//! The project's files as the rules see them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lexer::{blank, body_len, words};

/// Folders with sources; what is built, downloaded or binary lies elsewhere.
const FOLDERS: [&str; 7] = [
    "fec-runtime",
    "fec",
    "fec-convert",
    "fec-train",
    "tests",
    "benches",
    "firmware-examples",
];
/// Folders within them that hold no sources.
const SKIPPED: [&str; 3] = ["target", "fixtures", ".git"];

/// A file of the project.
pub(crate) struct Source {
    /// Path from the root of the workspace, with `/`.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
    /// The same, line for line, with comments, strings and characters blanked out.
    pub(crate) code: String,
}

/// A function and its length.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files.
pub(crate) fn rust_files() -> Vec<Source> {
    let files = files(|name| name.ends_with(".rs"));
    assert!(
        files.len() > 30,
        "only {} Rust files found: is this the workspace?",
        files.len()
    );
    files
}

/// Files of the source folders whose name `wanted` accepts, by path.
pub(crate) fn files(wanted: fn(&str) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        walk(&root(), folder, wanted, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, folder: &str, wanted: fn(&str) -> bool, found: &mut Vec<Source>) {
    let entries = fs::read_dir(root.join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(root, &path, wanted, found);
            }
        } else if wanted(&name) {
            found.push(Source::read(&path));
        }
    }
}

impl Source {
    /// A file by its path from the root.
    pub(crate) fn read(path: &str) -> Source {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let code = blank(&text);
        Source {
            path: path.into(),
            text,
            code,
        }
    }

    /// Whether the whole file is a test's.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }

    /// The code before the module of unit tests, which stands last.
    pub(crate) fn product_code(&self) -> &str {
        let end = self
            .code
            .match_indices("\n#[cfg(test)]\n")
            .find(|(at, mark)| {
                self.code[at + mark.len()..]
                    .trim_start()
                    .starts_with("mod ")
            });
        end.map_or(&self.code, |(at, _)| &self.code[..at])
    }

    /// Its functions, nested ones too.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for at in words(&self.code, "fn") {
            let rest = &self.code[at + 2..];
            let name: String = rest
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // `fn(` is a type; a `;` before the body ends a declaration (but not within brackets: `[u8; 4]`).
            if !name.is_empty()
                && let Some(body) = body_len(rest)
            {
                functions.push(Function {
                    name,
                    lines: rest[..body].lines().count(),
                });
            }
        }
        functions
    }
}
