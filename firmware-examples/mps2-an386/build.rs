//! Puts the model, the photo as raw RGB and the memory layout where `src/main.rs` and the linker find them.
//!
//! `FEC_MODEL` and `FEC_PHOTO` name other files than the default model and the sample photo; relative paths start at this folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use fec::{Orientation, Photo, preprocess};
use fec_runtime::{AlignedBytes, ImageSize, Model};

/// The image that the firmware runs on.
const SIZE: ImageSize = ImageSize {
    height: 64,
    width: 64,
};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo")?);
    fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rerun-if-changed=memory.x");

    let model = fs::read(input("FEC_MODEL", "../../models/default.fec")?)?;
    let photo = Photo::open(
        input("FEC_PHOTO", "../../samples/chelsea.jpg")?,
        Orientation::Apply,
    )?;
    fs::write(out.join("model.fec"), &model)?;
    fs::write(out.join("photo.rgb"), pixels(&model, &photo)?)?;
    Ok(())
}

/// The photo at the firmware's size, prepared as the model wants it.
fn pixels(model: &[u8], photo: &Photo) -> Result<Vec<u8>, fec_runtime::Error> {
    let model = AlignedBytes::copy_of(model);
    let mut preprocessing = Model::from_bytes(model.as_bytes())?.preprocessing();
    preprocessing.size = SIZE;
    Ok(preprocess::apply(&preprocessing, photo).pixels)
}

/// The file that `variable` names, or `default`; a change of either builds again.
fn input(variable: &str, default: &str) -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed={variable}");
    let path = env::var_os(variable).unwrap_or_else(|| default.into());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    if path.is_file() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("{path}: not found; set {variable} to a file"))
}
