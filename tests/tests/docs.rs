//! ARCHITECTURE.md, docs/MODEL.md and docs/NUMERICS.md against the sources: tables, figures, names. docs/FORMAT.md has `format.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fec_runtime::config::{PRESETS, STAGES};
use fec_runtime::{Config, Model};
use fec_tests::fixtures::{config, model, size};

const PAGES: [&str; 3] = ["ARCHITECTURE.md", "docs/MODEL.md", "docs/NUMERICS.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The rows of the first table under a heading, without its head; cells trimmed.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{page}: no table under {heading}");
    rows
}

/// A number with or without commas.
fn number(text: &str) -> usize {
    let digits = text.replace(',', "");
    digits
        .parse()
        .unwrap_or_else(|e| panic!("{text} is no number: {e}"))
}

/// One number per stage, or one for all.
fn per_stage(text: &str) -> [usize; STAGES] {
    let numbers: Vec<usize> = text.split_whitespace().map(number).collect();
    match numbers[..] {
        [all] => [all; STAGES],
        [a, b, c, d] => [a, b, c, d],
        _ => panic!("{text}: expected one number or four"),
    }
}

/// Rust files below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A preset from its row of "Presets".
fn base(row: &[String]) -> Config {
    let [
        _,
        blocks,
        dims,
        ratios,
        heads,
        head_dims,
        proposals,
        classes,
        _,
    ] = row
    else {
        panic!("docs/MODEL.md: a preset of {} columns", row.len());
    };
    let mut config = config("nano");
    config.classes = number(classes);
    for (i, stage) in config.stages.iter_mut().enumerate() {
        stage.blocks = per_stage(blocks)[i];
        stage.dim = per_stage(dims)[i];
        stage.hidden = per_stage(ratios)[i] * stage.dim;
        stage.heads = per_stage(heads)[i];
        stage.head_dim = per_stage(head_dims)[i];
        stage.proposals = per_stage(proposals)[i];
        stage.folds = 1;
    }
    config
}

#[test]
fn the_documented_presets_are_those_of_the_configuration() {
    let mut documented = BTreeMap::new();
    for row in rows("docs/MODEL.md", "Presets") {
        let config = base(&row);
        let mut parameters = 0;
        config.official_tensors(|tensor| parameters += tensor.elements());
        assert_eq!(number(&row[8]), parameters, "parameters of {}", row[0]);
        documented.insert(row[0].clone(), config);
    }
    let classifiers = documented.clone();
    for row in rows("docs/MODEL.md", "Dense variants") {
        for name in row[1].split_whitespace() {
            let mut config = classifiers[name];
            (config.dense, config.classes) = (true, 0);
            let numbers = per_stage(&row[2]).into_iter().zip(per_stage(&row[3]));
            for (stage, (proposals, folds)) in config.stages.iter_mut().zip(numbers) {
                (stage.proposals, stage.folds) = (proposals, folds);
            }
            documented.insert(format!("{name}{}", row[0]), config);
        }
    }
    let names: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(PRESETS), "names of presets");
    for (name, documented) in &documented {
        assert_eq!(*documented, config(name), "{name}");
    }
}

#[test]
fn the_documented_arenas_and_costs_are_the_plans() {
    for row in rows("ARCHITECTURE.md", "Memory") {
        let (height, width) = row[1].split_once('x').expect("HEIGHTxWIDTH");
        let bytes = model(&row[0]);
        let model = Model::from_bytes(bytes.as_bytes()).expect("a model");
        let plan = model
            .plan(size(number(height), number(width)))
            .expect("a plan");
        let found = (plan.arena_len(), plan.multiply_adds());
        let documented = (number(&row[2]), number(&row[3]) as u64);
        assert_eq!(found, documented, "{} at {}", row[0], row[1]);
    }
}

#[test]
fn the_documented_tolerances_are_those_of_the_tests() {
    let source = read("tests/src/tolerance.rs");
    let constants: BTreeMap<&str, &str> = source
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("pub const ")?.split_once(':')?;
            let (_, value) = rest.split_once(" = ")?;
            Some((name, value.trim_end_matches(';')))
        })
        .collect();
    let table = rows("docs/NUMERICS.md", "Tolerances");
    let documented: BTreeMap<&str, &str> = table
        .iter()
        .map(|row| (row[0].as_str(), row[1].as_str()))
        .collect();
    assert_eq!(documented, constants);
}

/// In backticks: paths that end in .rs, and names of functions and tests with two or more underscores.
#[test]
fn every_file_and_test_that_a_page_names_exists() {
    let mut files = Vec::new();
    for folder in ["fec-runtime", "fec", "fec-convert", "fec-train", "tests"] {
        for part in ["src", "tests"] {
            let folder = root().join(folder).join(part);
            if folder.is_dir() {
                rust_files(&folder, &mut files);
            }
        }
    }
    let mut paths: Vec<String> = Vec::new();
    let mut functions = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source");
        paths.push(file.to_string_lossy().replace('\\', "/"));
        for line in text.lines() {
            let name = line
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split(['(', '<']).next());
            functions.extend(name.map(str::to_owned));
        }
    }
    let mut missing = Vec::new();
    for page in PAGES {
        let text = read(page);
        // Every second piece stands between backticks; a pair of fences has six of them, which keeps the count even.
        for name in text.split('`').skip(1).step_by(2) {
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let exists = if name.ends_with(".rs") {
                paths.iter().any(|path| path.ends_with(&format!("/{name}")))
            } else if name.matches('_').count() >= 2 && name.chars().all(is_word) {
                functions.contains(name)
            } else {
                true
            };
            if !exists {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "correct these names:\n  {}",
        missing.join("\n  ")
    );
}

/// docs/NUMERICS.md, "Arithmetic": of a mathematics library the engine may call what IEEE 754 rounds correctly, and nothing fused.
#[test]
fn the_engine_calls_no_function_whose_last_bits_differ() {
    const OUTSIDE: [&str; 5] = [
        "/reference",
        "/kernels/check",
        "/kernels/peak",
        "/lanes/check.rs",
        "/formula.rs",
    ];
    // What may fuse: lanes whose type says so, in the kernels that are generic over it.
    const FUSING: [&str; 5] = [
        "/kernels/lanes/",
        "/matmul_f32/",
        "/assign/",
        "/mixer_assign.rs",
        "/activation/",
    ];
    let mut files = Vec::new();
    rust_files(&root().join("fec-runtime/src"), &mut files);
    let (mut seen, mut broken) = (0, Vec::new());
    for file in files {
        let path = file.to_string_lossy().replace('\\', "/");
        if OUTSIDE.iter().any(|outside| path.contains(outside)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source");
        let product = text.split("\n#[cfg(test)]\n").next().unwrap_or("");
        for line in product
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for rest in line.split("libm::").skip(1) {
                seen += 1;
                let name = rest.split(['(', ')']).next();
                if !matches!(name, Some("sqrt" | "sqrtf" | "rintf")) {
                    broken.push(format!("{path}: {}", line.trim()));
                }
            }
            let fused = ["mul_add(", "fmadd", "vfma", "fmul_fast", "fadd_fast"];
            let may = FUSING.iter().any(|place| path.contains(place));
            if !may && fused.iter().any(|name| line.contains(name)) {
                broken.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    assert!(seen > 3, "no square root found: is this the engine?");
    assert!(
        broken.is_empty(),
        "these differ from machine to machine; write them with + - * / and sqrt:\n  {}",
        broken.join("\n  ")
    );
}
