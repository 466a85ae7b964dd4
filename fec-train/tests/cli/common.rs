//! Folders of drawn images, and the program.

use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use fec_train::model::{Fec, Init, tensors};
use fec_train::optim::{Settings, State};
use fec_train::recipe::Recipe;
use fec_train::run::Folder;

/// Two classes that differ in the direction of their stripes, `count` images each, `side` pixels, in DIR/CLASS/N.png.
pub(crate) fn stripes(dir: &Path, count: u32, side: u32) {
    for (class, name) in ["across", "down"].into_iter().enumerate() {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for i in 0..count {
            let (period, phase) = (6 + i % 7, i * 5 % 11);
            let image = image::RgbImage::from_fn(side, side, |x, y| {
                let along = if class == 0 { y } else { x };
                let on = (along + phase) / (period / 2) % 2 == 0;
                let grain = ((x * 7 + y * 13 + i * 29) % 23) as u8;
                image::Rgb(if on {
                    [200 + grain, 180, 90 + (i * 8 % 60) as u8]
                } else {
                    [30, 40 + grain, 60]
                })
            });
            image
                .save(folder.join(format!("{i}.png")))
                .expect("a picture");
        }
    }
}

/// A recipe for them that takes seconds.
pub(crate) fn recipe(data: &Path) -> Vec<String> {
    let data = format!("data={}", data.display());
    [
        "initial-checkpoint=none",
        "img-size=32",
        "batch-size=8",
        "epochs=3",
        "warmup-epochs=1",
        "lr=2e-3",
        "workers=2",
        "max-minutes=0",
        "layer-scale=0.1",
        "model=micro",
        "mixup=0.2",
        "reprob=0.2",
        "drop-path=0.1",
        "model-ema=true",
        "model-ema-decay=0.9",
        "device=cpu",
    ]
    .map(String::from)
    .into_iter()
    .chain([data])
    .collect()
}

/// `fec-train` with these arguments, in a folder.
pub(crate) fn command(folder: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fec-train"));
    command.current_dir(folder).args(arguments);
    command
}

pub(crate) fn run(folder: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Output {
    command(folder, arguments)
        .output()
        .expect("fec-train starts")
}

/// The same, where it must go well; gives standard output.
pub(crate) fn ok(folder: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> String {
    let output = run(folder, arguments);
    let (text, messages) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success(),
        "{}\n{text}\n{messages}",
        output.status
    );
    text
}

/// The line of the error that ended a run; there must be one, and one alone.
pub(crate) fn error_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}: {text}", output.status);
    errors[0].to_string()
}

/// Arguments of `train` with a name for the run.
pub(crate) fn train(name: &str, recipe: Vec<String>) -> Vec<String> {
    ["train", "folder.toml", "--name", name]
        .map(String::from)
        .into_iter()
        .chain(recipe)
        .collect()
}

/// The weights of a run's newest checkpoint, then their average, bit for bit. The files themselves differ from run to run: they hold
/// numbers by which a process tells parameters apart.
pub(crate) fn newest(run: &Path) -> Vec<u32> {
    let folder = Folder::open(run).expect("a run");
    let recipe = Recipe::parse(
        "recipe.toml",
        &folder.recipe().expect("a recipe"),
        &[] as &[&str],
    )
    .expect("a recipe");
    let config = recipe.config(2).expect("a network");
    let fec = Fec::new(&config, Init::default(), &Device::flex().autodiff()).expect("a network");
    let last = folder.last().expect("a checkpoint").checkpoint;
    let state = State::load(&last.folder, fec, Settings::default(), Some(0.9)).expect("weights");
    let average = state.average.expect("an average").fec;
    [state.fec, average]
        .iter()
        .flat_map(tensors)
        .flat_map(|(_, _, values)| values)
        .map(f32::to_bits)
        .collect()
}
