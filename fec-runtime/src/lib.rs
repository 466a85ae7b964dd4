//! Runs FEC, the clustering vision network, from one packed file.
//!
//! ```
//! use fec_runtime::{Arena, Error, Image, ImageSize, Model, Session};
//!
//! # fn main() -> Result<(), Error> {
//! # let bytes: &[u8] = &[];
//! # if bytes.is_empty() { return Ok(()); }
//! let mut arena = Arena::<65_536>::new();
//! let model = Model::from_bytes(bytes)?; // borrows; checks everything once; no heap
//! let plan = model.plan(ImageSize { height: 64, width: 64 })?; // plan.arena_len() says how many bytes
//! let mut session = Session::new(&model, plan, arena.bytes_mut())?;
//! let output = session.run(&Image::rgb8(&[0; 64 * 64 * 3], plan.size())?)?;
//! let best = output.top::<5>();
//! # let _ = best; Ok(())
//! # }
//! ```
//!
//! Maps are pixel-major everywhere: [N, C], the elements row by row. The runtime reads no file, clock or variable, starts no thread
//! and allocates nothing.
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!(
    "a .fec file is used where it lies and is little-endian: big-endian targets are not supported"
);

pub mod clustermap;
pub mod config;
mod error;
pub mod format;
pub mod formula;
mod image;
pub mod kernels;
mod memory;
mod model;
mod official;
mod ops;
mod output;
mod plan;
mod probe;
#[cfg(feature = "reference")]
pub mod reference;
mod session;

pub use config::Config;
pub use error::{Checked, Error, Field, Quantity};
pub use image::{Image, ImageSize, MapSize};
#[cfg(feature = "alloc")]
pub use memory::AlignedBytes;
pub use memory::{Aligned, Arena};
pub use model::Model;
pub use output::{Output, Ranked, Top};
pub use plan::Plan;
pub use probe::{Clusterer, Probe, Step};
pub use session::{Progress, Session};
