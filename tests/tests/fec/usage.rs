//! Calls with mistakes: exit code 2 and one line that shows the way; and the programs beside `fec`.

use super::*;

/// Calls with mistakes that the command line alone shows, and a part of what must be said.
const USAGE: [(&[&str], &str); 31] = [
    (&["clasify", "x.png"], "'classify'"),
    (&["evall", "x"], "'eval'"),
    (&["nonsense"], "'nonsense'"),
    (&["--jsn", "verify"], "'--json'"),
    (&["classify"], "<FILE>"),
    (&["classify", "--logit", "x.png"], "'--logits'"),
    (&["classify", "--top", "x", "x.png"], "--top <K>"),
    (&["classify", "--top", "0", "x.png"], "--top <K>"),
    (&["classify", "--top", "-1", "x.png"], "'-1'"),
    (&["classify", "--size", "big", "x.png"], "HEIGHTxWIDTH"),
    (&["classify", "--size", "64x", "x.png"], "HEIGHTxWIDTH"),
    (&["classify", "--size", "64x64x64", "x.png"], "HEIGHTxWIDTH"),
    (&["classify", "--threads", "0", "x.png"], "--threads <N>"),
    (&["classify", "x.png", "-m"], "--model <FILE>"),
    (&["map"], "<FILE>"),
    (&["map", "x.png", "--level", "4"], "1, 2, 3 or all"),
    (&["map", "x.png", "--clusters", "0"], "--clusters <K>"),
    (&["map", "x.png", "--clusters", "many"], "--clusters <K>"),
    (&["map", "x.png", "--style", "glow"], "boundary, fill, mean"),
    (&["eval"], "<DIR>"),
    (&["eval", "a", "b"], "'b'"),
    (&["eval", "a", "--limit", "0"], "--limit <N>"),
    (&["bench", "--isa", "sse9"], "portable"),
    (&["bench", "--runs", "0"], "--runs <N>"),
    (&["bench", "--threads", "0"], "--threads <N>"),
    (&["bench", "--threads", "1000000"], "--threads <N>"),
    (&["trace", "formula:0"], "--out <OUT.safetensors>"),
    (&["trace", "formula:0", "-o", ""], "--out <OUT.safetensors>"),
    (&["map", "x.png", "-o", ""], "--out <DIR>"),
    (&["inspect", "a.fec", "-m", "b.fec"], "--model <FILE>"),
    (&["verify", "a.fec", "b.fec"], "'b.fec'"),
];

#[test]
fn mistakes_in_the_call_exit_with_2_and_one_line() {
    let dir = folder();
    for (args, part) in USAGE {
        let run = fec_in(&dir, args);
        let line = run.error(2);
        assert!(
            line.contains(part),
            "{args:?}: {part} is missing in: {line}"
        );
        assert!(run.stdout.is_empty(), "{run}");
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn help_and_version_are_no_mistakes() {
    let help = run(fec().arg("--help")).expect(0).text();
    let commands = [
        "classify", "map", "eval", "bench", "trace", "inspect", "verify", "convert", "train",
    ];
    for command in commands {
        assert!(help.contains(command), "{command} is not in the help");
    }
    let options: [(&str, &[&str]); 7] = [
        ("classify", &["--top", "--size", "--logits", "--threads"]),
        (
            "map",
            &["--level", "--clusters", "--style", "--size", "--out"],
        ),
        ("eval", &["--limit", "--threads", "--out"]),
        (
            "bench",
            &["--size", "--threads", "--runs", "--profile", "--isa"],
        ),
        ("trace", &["--out", "--size"]),
        ("inspect", &["--size"]),
        ("verify", &["--model"]),
    ];
    for (command, options) in options {
        let help = run(fec().args([command, "--help"])).expect(0).text();
        for option in [options, &["--model", "--json"]].concat() {
            assert!(
                help.contains(option),
                "{option} is not in the help of {command}"
            );
        }
    }
    let version = run(fec().arg("--version")).expect(0).text();
    assert_eq!(version, format!("fec {}\n", env!("CARGO_PKG_VERSION")));
    let nothing = run(&mut fec()).expect(2);
    assert!(nothing.stderr.contains("Usage: fec"), "{nothing}");
}

#[test]
fn fec_convert_is_started_with_its_arguments_and_exit_code() {
    let help = run(fec().args(["convert", "pack", "--help"]))
        .expect(0)
        .text();
    assert!(
        help.contains("--calib") || help.contains("--dtype"),
        "{help}"
    );
    let bad = run(fec().args(["convert", "pack"]));
    assert!(bad.error(2).contains("--output"), "{bad}");
    let dir = folder();
    let missing = fec_in(&dir, &["convert", "pack", "none.pth", "-o", "x.fec"]);
    assert!(missing.error(1).contains("none.pth"), "{missing}");
}

/// From a folder of its own, so that no fec-train that was built lies beside it. A link, not a copy: a file that was just written may
/// still be open in a process that another test is starting, and then cannot be run.
#[test]
fn a_program_that_is_not_installed_is_named() {
    let program = PathBuf::from(fec().get_program());
    let beside = program.parent().expect("the folder of programs");
    let dir = tempfile::tempdir_in(beside).expect("a folder");
    let alone = dir
        .path()
        .join(format!("fec{}", std::env::consts::EXE_SUFFIX));
    fs::hard_link(&program, &alone).expect("a link");
    let mut command = std::process::Command::new(&alone);
    let run = run(command
        .env("PATH", dir.path())
        .args(["train", "recipe.toml"]));
    let line = run.error(1);
    assert!(line.starts_with("fec-train cannot be started"), "{line}");
    assert!(line.contains("beside fec or on the path"), "{line}");
}
