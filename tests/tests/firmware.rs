//! The board example in the emulator against the host: same network, same photo, same numbers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use fec::{Orientation, Photo, preprocess};
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Image, ImageSize, Model, Session};
use fec_tests::golden::notice;

const TARGET: &str = "thumbv7em-none-eabihf";
const SIZE: ImageSize = ImageSize {
    height: 64,
    width: 64,
};
/// How the firmware draws clusters 0, 1, 2, ...
const MARKS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What a run gave, on either side.
#[derive(Debug, PartialEq)]
struct Results {
    logits: Vec<f32>,
    assignments_crc: u32,
    arena_bytes: usize,
    map: Vec<String>,
}

/// The portable kernels promise the same bits on every machine, so nothing is allowed for rounding.
#[test]
#[ignore = "needs qemu-system-arm and the board's target; .ci/run firmware installs both"]
fn the_board_gives_the_hosts_logits_assignments_and_map() {
    if let Some(missing) = missing_tool() {
        assert!(
            env::var_os("FEC_EXPECT_FIRMWARE").is_none(),
            "{missing} is missing"
        );
        notice(&format!(
            "SKIPPED 1 of 1 firmware runs: {missing} is missing"
        ));
        return;
    }
    let output = run_firmware();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let board = parse(&text).unwrap_or_else(|| panic!("unreadable output:\n{text}"));
    notice(&format!("the board printed\n{text}"));
    assert_eq!(board, run_host());
}

fn missing_tool() -> Option<&'static str> {
    let answers = |program: &str, args: &[&str]| Command::new(program).args(args).output().ok();
    if answers("qemu-system-arm", &["--version"]).is_none() {
        return Some("qemu-system-arm");
    }
    let libraries = answers("rustc", &["--print", "target-libdir", "--target", TARGET])
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let present = libraries.is_some_and(|folder| folder.is_dir());
    (!present).then_some("the standard library of the board's target")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-examples/mps2-an386")
}

/// The file that the firmware's build takes: another one by the same variable.
fn input(variable: &str, default: &str) -> PathBuf {
    folder().join(env::var_os(variable).unwrap_or_else(|| default.into()))
}

/// Builds and runs the firmware as `cargo run` in its folder does; the runner ends what hangs.
fn run_firmware() -> Output {
    Command::new("cargo")
        .args(["run", "--release", "--locked"])
        .current_dir(folder())
        .output()
        .expect("cargo starts")
}

/// The lines `name: values`, and the map's rows after the line `map:`.
fn parse(text: &str) -> Option<Results> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(": "))
    };
    let logits = value("logits")?.split(' ').map(|logit| logit.parse().ok());
    let rows = text.lines().skip_while(|line| !line.starts_with("map: "));
    Some(Results {
        logits: logits.collect::<Option<_>>()?,
        assignments_crc: u32::from_str_radix(value("assignments-crc")?, 16).ok()?,
        arena_bytes: value("arena-bytes")?.split(' ').next()?.parse().ok()?,
        map: rows
            .skip(1)
            .take(SIZE.map(0).rows)
            .map(String::from)
            .collect(),
    })
}

fn run_host() -> Results {
    let file = fs::read(input("FEC_MODEL", "../../models/default.fec")).expect("the default model");
    let file = AlignedBytes::copy_of(&file);
    let model = Model::from_bytes(file.as_bytes()).expect("the default model opens");
    let photo = Photo::open(
        input("FEC_PHOTO", "../../samples/chelsea.jpg"),
        Orientation::Apply,
    )
    .expect("the sample photo opens");
    let mut preprocessing = model.preprocessing();
    preprocessing.size = SIZE;
    let photo = preprocess::apply(&preprocessing, &photo);

    let plan = model.plan(SIZE).expect("the firmware's size is accepted");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session =
        Session::with_kernels(&model, plan, arena.as_bytes_mut(), Kernels::portable())
            .expect("a session");
    let output = session
        .run(&Image::rgb8(&photo.pixels, SIZE).expect("as many pixels as planned"))
        .expect("a run");
    let mut labels = vec![0; output.patches().elements()];
    output.cluster_map(3, &mut labels).expect("level 3");
    let mark = |&label: &u16| char::from(MARKS[usize::from(label) % MARKS.len()]);
    Results {
        logits: output.logits().to_vec(),
        assignments_crc: output.assignments_crc(),
        arena_bytes: plan.arena_len(),
        map: labels
            .chunks(output.patches().cols)
            .map(|row| row.iter().map(mark).collect())
            .collect(),
    }
}
