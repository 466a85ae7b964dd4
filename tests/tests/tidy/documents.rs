//! Rules about manifests, the README and other documents.

use std::fs;

use crate::hold;
use crate::lexer::words;
use crate::source::{Source, files, root, rust_files};

/// Documents and scripts beside the source folders.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "deny.toml",
    ".ci/run",
    ".cargo/config.toml",
    "docs/MODEL.md",
    "docs/FORMAT.md",
    "docs/NUMERICS.md",
];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Lines of a manifest's section, without comments.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != format!("[{name}]"));
    lines
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect()
}

#[test]
fn the_runtime_depends_on_half_and_libm_alone() {
    let manifest = read("fec-runtime/Cargo.toml");
    let mut names: Vec<&str> = section(&manifest, "dependencies")
        .iter()
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .collect();
    names.sort_unstable();
    // Threads are a host's: rayon comes with the feature of that name alone.
    let optional = |name: &&str| {
        manifest.contains(&format!(
            "\n{name} = {{ workspace = true, optional = true }}"
        ))
    };
    names.retain(|name| !(*name == "rayon" && optional(name)));
    assert_eq!(
        names,
        ["half", "libm"],
        "the runtime goes onto microcontrollers: do without, or put it into `fec`"
    );
    let further = manifest
        .lines()
        .any(|line| line.starts_with("[target.") || line == "[build-dependencies]");
    assert!(
        !further,
        "no target's and no build script's dependencies in fec-runtime/Cargo.toml either"
    );
}

#[test]
fn every_dependency_comes_from_the_crate_registry() {
    for lock in ["Cargo.lock", "firmware-examples/Cargo.lock"] {
        let text = read(lock);
        let foreign = text.lines().filter(|line| {
            line.starts_with("source = ")
                && *line != "source = \"registry+https://github.com/rust-lang/crates.io-index\""
        });
        hold(
            foreign.map(|line| format!("{lock}: {line}")).collect(),
            "depend on released crates alone:",
        );
    }
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let mut sources = files(|name| {
        [".rs", ".toml", ".md", ".py", ".sh", ".x"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    sources.extend(
        DOCUMENTS
            .into_iter()
            .filter(|path| root().join(path).exists())
            .map(Source::read),
    );
    let folders =
        ["work", "root", "home", "tmp", "Users", "farm"].map(|folder| format!("/{folder}/"));
    let mut broken = Vec::new();
    for file in sources {
        for (i, line) in file.text.lines().enumerate() {
            if folders.iter().any(|folder| starts_a_path(line, folder)) {
                broken.push(format!("{}:{}: {}", file.path, i + 1, line.trim()));
            }
        }
    }
    hold(
        broken,
        "use paths relative to the project (env!(\"CARGO_MANIFEST_DIR\"), tempfile):",
    );
}

/// Whether `folder` stands in `line` as the start of a path, not within one.
fn starts_a_path(line: &str, folder: &str) -> bool {
    let within = |c: char| c.is_alphanumeric() || "._-/}".contains(c);
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(within))
}

#[test]
fn the_commands_in_the_readme_exist() {
    let readme = read("README.md");
    let aliases = read(".cargo/config.toml");
    let mut broken = Vec::new();
    let mut seen = 0;
    for line in code_lines(&readme) {
        let line = line.trim_start_matches("$ ");
        let (cargo, command) = line
            .strip_prefix("cargo ")
            .map_or((false, line), |rest| (true, rest));
        let mut parts = command.split_whitespace();
        let (Some(program @ ("fec" | "fec-convert" | "fec-train")), Some(subcommand)) =
            (parts.next(), parts.next())
        else {
            continue;
        };
        seen += 1;
        if cargo && !aliases.contains(&format!("{program} = \"run ")) {
            broken.push(format!("{line}: no alias in .cargo/config.toml"));
        }
        if !subcommand.starts_with('-') && !has_subcommand(program, subcommand) {
            broken.push(format!("{line}: {program} has no {subcommand}"));
        }
    }
    assert!(
        seen > 0,
        "README.md shows no `fec` command in a code block: show the first one"
    );
    hold(broken, "correct the README, or the commands:");
}

/// Lines of the code blocks of a Markdown text.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        inside && !fence
    })
}

/// A subcommand is a file in `commands/`, or a variant of the enum that clap reads.
fn has_subcommand(program: &str, name: &str) -> bool {
    let variant: String = name
        .split('-')
        .map(|part| part[..1].to_uppercase() + &part[1..])
        .collect();
    root()
        .join(format!("{program}/src/commands/{name}.rs"))
        .exists()
        || rust_files().iter().any(|file| {
            file.path.starts_with(&format!("{program}/src/"))
                && file.code.contains("Subcommand")
                && words(&file.code, &variant).next().is_some()
        })
}

#[test]
fn the_readme_marks_its_two_commands_for_the_ci() {
    let readme = read("README.md");
    for marker in ["<!-- main command -->", "<!-- test command -->"] {
        assert!(
            readme.lines().any(|line| line == marker),
            "README.md: put the line {marker} before the code block; .ci/run takes the command from there"
        );
    }
}

#[test]
fn the_readme_names_every_target_that_the_ci_builds() {
    let script = read(".ci/run");
    let targets = script
        .lines()
        .find_map(|line| line.strip_prefix("TARGETS=(")?.strip_suffix(')'));
    let targets = targets.expect(".ci/run: a line TARGETS=(...)");
    let readme = read("README.md");
    let missing = targets
        .split_whitespace()
        .filter(|target| !readme.contains(target));
    hold(
        missing.map(String::from).collect(),
        "README.md: add these to the table of targets:",
    );
}
