//! The programs as a user calls them: built once, run in a folder of the test's own, everything shown when they fail.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// `fec-convert`, ready for arguments.
pub fn fec_convert() -> Command {
    Command::new(program("fec-convert", &QUICK, &["fec", "fec-convert"]))
}

/// `fec-train`, ready for arguments.
pub fn fec_train() -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    Command::new(program("fec-train", &FOLDER, &["fec-train"]))
}

/// `fec`, ready for arguments.
pub fn fec() -> Command {
    Command::new(program("fec", &QUICK, &["fec", "fec-convert"]))
}

/// What a program did.
#[derive(Debug)]
pub struct Run {
    /// The call, for messages.
    call: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, with nothing on its standard input.
pub fn run(command: &mut Command) -> Run {
    run_with_input(command, &[])
}

/// Runs a program to its end, with `input` on its standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Run {
    let call = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{call}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // A program that does not read its input closes the pipe, which is no fault.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    })
    .unwrap_or_else(|error| panic!("{call}: {error}"));
    Run {
        call,
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Run {
    /// The run, if it ended with this code; else the test fails and shows everything.
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}: {self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The one object that `--json` writes.
    pub fn json(&self) -> Value {
        let text = self.text();
        assert!(
            text.lines().count() == 1 && text.ends_with('\n'),
            "expected one line of JSON: {self}"
        );
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The one line on standard error of a run that failed with `code`, without its `error: `.
    pub fn error(&self, code: i32) -> &str {
        assert!(self.code == Some(code), "expected exit code {code}: {self}");
        let line = self
            .stderr
            .strip_prefix("error: ")
            .and_then(|line| line.strip_suffix('\n'))
            .filter(|line| !line.contains('\n'));
        line.unwrap_or_else(|| panic!("expected one line that begins with `error: `: {self}"))
    }
}

impl core::fmt::Display for Run {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Run {
            call, code, stderr, ..
        } = self;
        let stdout = self.text();
        write!(
            f,
            "{call}\nexit code: {code:?}\nstandard output:\n{stdout}\nstandard error:\n{stderr}"
        )
    }
}

/// The folder of the programs that take seconds to build.
static QUICK: OnceLock<PathBuf> = OnceLock::new();

/// The programs of these packages are built once per test binary, in its own profile: cargo does not do it for tests of another package.
fn program(name: &str, folder: &OnceLock<PathBuf>, packages: &[&str]) -> PathBuf {
    let folder = folder.get_or_init(|| build(packages));
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// Builds the programs beside this test binary, which is TARGET/PROFILE/deps/NAME, and gives TARGET/PROFILE.
fn build(packages: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let folder = test.ancestors().nth(2).expect("the profile's folder");
    let target = folder.parent().expect("the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--bins"])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo runs");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the programs cannot be built:\n{messages}"
    );
    folder.to_path_buf()
}
