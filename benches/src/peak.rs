//! What the core can do at best, measured in the same run as what is compared with it.

use std::time::Instant;

use fec_runtime::kernels::{Isa, peak};
use serde::Serialize;

/// Batches per peak, the fastest of which counts.
const BATCHES: usize = 200;
/// Rounds of a batch: about 0.1 ms of most loops, short enough to be left alone on a busy core.
const ROUNDS: u32 = 4_000;

/// The most multiply-adds that one core does with an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Name of the instruction set.
    pub isa: &'static str,
    /// `f32` or `i8`.
    pub dtype: &'static str,
    /// Multiply-adds in a second, in units of 10^9.
    pub giga_per_second: f64,
    /// The same per cycle.
    pub per_cycle: f64,
}

/// The peaks of every instruction set of this machine, and its clock.
#[derive(Clone, Debug, Default)]
pub struct Peaks {
    /// Clock in GHz while it was busy: operations in a dependent chain.
    pub clock_ghz: f64,
    /// One of f32 and one of i8 per instruction set.
    pub peaks: Vec<Peak>,
}

impl Peaks {
    /// Measures all of them.
    pub fn measure() -> Self {
        let mut peaks = Self::default();
        peaks.refine();
        peaks
    }

    /// Measures again and keeps the larger: a core that was disturbed the first time must not flatter what is compared with it.
    pub fn refine(&mut self) {
        let clock = fastest(|| peak::dependent_operations(ROUNDS));
        self.clock_ghz = self.clock_ghz.max(clock);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for dtype in ["f32", "i8"] {
                let rate = fastest(|| peak::multiply_adds(isa, dtype == "i8", ROUNDS));
                let before = self.giga_per_second(isa, dtype).unwrap_or(0.0);
                self.peaks
                    .retain(|p| (p.isa, p.dtype) != (isa.name(), dtype));
                self.peaks.push(Peak {
                    isa: isa.name(),
                    dtype,
                    giga_per_second: rate.max(before),
                    per_cycle: rate.max(before) / self.clock_ghz,
                });
            }
        }
    }

    /// 10^9 multiply-adds a second of an instruction set, on `f32` or `i8`.
    pub fn giga_per_second(&self, isa: Isa, dtype: &str) -> Option<f64> {
        let mut peaks = self.peaks.iter();
        let found = peaks.find(|p| p.isa == isa.name() && p.dtype == dtype);
        found.map(|p| p.giga_per_second)
    }

    /// What share of that peak `multiply_adds` in `ms` milliseconds are.
    pub fn share(&self, isa: Isa, dtype: &str, multiply_adds: u64, ms: f64) -> Option<f64> {
        let giga = multiply_adds as f64 / (ms * 1e6);
        Some(giga / self.giga_per_second(isa, dtype)?)
    }

    /// A line for people.
    pub fn text(&self) -> String {
        let peaks = self.peaks.iter().map(|p| {
            let Peak {
                isa,
                dtype,
                giga_per_second,
                per_cycle,
            } = p;
            format!("; {isa} {dtype} {giga_per_second:.1} G/s ({per_cycle:.1} per cycle)")
        });
        format!(
            "clock {:.3} GHz{}",
            self.clock_ghz,
            peaks.collect::<String>()
        )
    }
}

/// 10^9 operations a second in the fastest batch.
fn fastest(batch: impl Fn() -> u64) -> f64 {
    let rate = |_| {
        let started = Instant::now();
        let operations = batch();
        operations as f64 / started.elapsed().as_nanos().max(1) as f64
    };
    (0..BATCHES).map(rate).fold(0.0, f64::max)
}
