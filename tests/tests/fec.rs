//! `fec` through its binary: what it writes, how it ends, and what it says when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use fec_tests::command::{Run, fec, run};
use serde_json::Value;
use tempfile::TempDir;

#[path = "fec/eval.rs"]
mod eval;
#[path = "fec/long.rs"]
mod long;
#[path = "fec/maps.rs"]
mod maps;
#[path = "fec/models.rs"]
mod models;
#[path = "fec/photos.rs"]
mod photos;
#[path = "fec/refusals.rs"]
mod refusals;
#[path = "fec/results.rs"]
mod results;
#[path = "fec/streams.rs"]
mod streams;
#[path = "fec/trace.rs"]
mod trace;
#[path = "fec/usage.rs"]
mod usage;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A photo of the repository.
fn sample(name: &str) -> PathBuf {
    let path = workspace().join("samples").join(name);
    assert!(path.exists(), "{}: no such sample", path.display());
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Names in a folder, sorted.
fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Runs `fec` in a folder.
fn fec_in(dir: impl AsRef<Path>, args: &[&str]) -> Run {
    run(fec().current_dir(dir).args(args))
}

/// The objects of a run that wrote one a line.
fn objects(run: &Run) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {run}"));
    run.text().lines().map(parse).collect()
}

/// What a JSON value is.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_u64() => "count",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Fails unless the object has exactly these keys, in this order, with values of these kinds.
fn check_keys(value: &Value, expected: &[(&str, &str)]) {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    let found: Vec<(&str, &str)> = object
        .iter()
        .map(|(key, value)| (key.as_str(), kind(value)))
        .collect();
    assert_eq!(found, expected, "keys and kinds of {value}");
}

/// The object without one of its keys, e.g. one that holds times.
fn without(mut value: Value, key: &str) -> Value {
    let removed = value.as_object_mut().and_then(|object| object.remove(key));
    assert!(removed.is_some(), "no {key} in {value}");
    value
}
