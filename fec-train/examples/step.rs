//! Times the training step (gradient and AdamW) on the CPU: `step [batch] [steps] [preset] [side] [colours]`; with `colours` the
//! pools' keys learn as well. Prints milliseconds per step, a line each, then the peak of resident memory. `RAYON_NUM_THREADS`
//! sets the threads. `benches/step.py` runs it beside PyTorch.

use std::io::Write;
use std::time::Instant;

use burn::tensor::Device;
use fec_runtime::{Config, ImageSize};
use fec_train::model::{Batch, Fec, Init, Pass, PoolGradient, PoolTraining, gradients};
use fec_train::optim::{Optimizer, Settings};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (batch, steps, side) = (number(1, 128)?, number(2, 10)?, number(4, 64)?);
    let preset = arguments.get(3).map_or("nano", String::as_str);
    let mut config = Config::preset(preset).ok_or("unknown preset")?;
    let mut pass = Pass::default();
    if arguments.get(5).is_some_and(|a| a == "colours") {
        config.locality = [0.05; 3];
        pass.pools = PoolTraining {
            gradient: PoolGradient::Colours { temperature: 0.04 },
            tie: 0.0,
        };
    }
    let mut fec = Fec::new(&config, Init::default(), &Device::flex().autodiff())?;
    let mut optimizer = Optimizer::new(&fec, Settings::default());
    let images: Vec<f32> = (0..batch * side * side * 3)
        .map(|i| ((i * 89 % 251) as f32 - 125.0) / 70.0)
        .collect();
    let targets = vec![1.0 / config.classes as f32; batch * config.classes];
    let batch = Batch {
        images: &images,
        targets: &targets,
        size: ImageSize {
            height: side,
            width: side,
        },
    };
    let mut out = std::io::stdout().lock();
    for _ in 0..steps {
        let start = Instant::now();
        let found = gradients(&fec, batch, &pass)?;
        fec = optimizer.step(1e-3, fec, found.parameters).0;
        writeln!(out, "{:.2}", start.elapsed().as_secs_f64() * 1e3)?;
    }
    match fec_train::memory::peak() {
        Some(bytes) => writeln!(out, "peak memory: {} kB", bytes / 1024)?,
        None => writeln!(out, "peak memory: not known on this system")?,
    }
    Ok(())
}
