//! House rules, held by reading the sources: one test per rule, each message says what to do.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/safety.rs"]
mod safety;
#[path = "tidy/source.rs"]
mod source;

use source::rust_files;

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Longer files: path, lines at most, why.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Longer functions: path, name, lines at most, why.
const LONG_FUNCTIONS: &[(&str, &str, usize, &str)] = &[];

/// Fails with every line of `broken`, and `remedy`.
fn hold(broken: Vec<String>, remedy: &str) {
    assert!(broken.is_empty(), "{remedy}\n  {}", broken.join("\n  "));
}

#[test]
fn files_have_at_most_500_lines() {
    let broken = rust_files().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        let listed = LONG_FILES.iter().find(|(path, ..)| *path == file.path);
        let limit = listed.map_or(MAX_FILE_LINES, |&(_, limit, _)| limit);
        (lines > limit).then(|| format!("{}: {lines} lines, {limit} allowed", file.path))
    });
    hold(
        broken.collect(),
        "split these files by idea, or list them in LONG_FILES with a reason:",
    );
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut broken = Vec::new();
    for file in rust_files() {
        for function in file.functions() {
            let listed = LONG_FUNCTIONS
                .iter()
                .find(|(path, name, ..)| *path == file.path && *name == function.name);
            let limit = listed.map_or(MAX_FUNCTION_LINES, |&(_, _, limit, _)| limit);
            if function.lines > limit {
                broken.push(format!(
                    "{}: fn {}: {} lines, {limit} allowed",
                    file.path, function.name, function.lines
                ));
            }
        }
    }
    hold(
        broken,
        "split these functions, or list them in LONG_FUNCTIONS with a reason:",
    );
}

#[test]
fn files_begin_with_a_sentence_about_themselves() {
    let files = rust_files();
    let silent = files.iter().filter(|file| !file.text.starts_with("//! "));
    hold(
        silent.map(|file| file.path.clone()).collect(),
        "begin these files with `//! ` and what they are for:",
    );
}

#[test]
fn a_tests_name_is_the_promise_it_holds() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let nameless = file
            .functions()
            .into_iter()
            .filter(|f| f.name.starts_with("test_") || f.name == "works");
        broken.extend(nameless.map(|f| format!("{}: fn {}", file.path, f.name)));
    }
    hold(
        broken,
        "name these tests after what they promise (`one_byte_short_is_refused`):",
    );
}
