//! Times the training step: `step [batch] [steps] [preset] [side]`. One line per step on standard output: milliseconds of forward,
//! backward and optimizer together. `RAYON_NUM_THREADS` sets the threads.
use std::io::Write;
use std::time::Instant;

use burn::tensor::Device;
use fec_runtime::{Config, ImageSize};
use fec_train::model::{Batch, Fec, Init, Pass, gradients};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (batch, steps, side) = (number(1, 128)?, number(2, 10)?, number(4, 64)?);
    let preset = arguments.get(3).map_or("nano", String::as_str);
    let config = Config::preset(preset).ok_or("unknown preset")?;
    let fec = Fec::new(&config, Init::default(), &Device::flex().autodiff())?;
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
        let found = gradients(&fec, batch, &Pass::default())?;
        let time = start.elapsed();
        writeln!(
            out,
            "{:.1} ms loss {:.6}",
            time.as_secs_f64() * 1e3,
            found.loss
        )?;
    }
    Ok(())
}
