//! A run step by step: how long each took, how much it multiplied, and what share of the core's best that is.

use core::fmt::Write;
use core::time::Duration;
use std::time::Instant;

use fec_runtime::config::Place;
use fec_runtime::format::{DType, Role, TensorKind};
use fec_runtime::kernels::{Isa, Kernels, Values, peak};
use fec_runtime::{MapSize, Model, Plan, Probe, Step};
use serde::Serialize;

use super::bench::quantile;

/// What a core does at best, in multiply-adds a second; measured in the same run, since clocks change.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Peak {
    f32: f64,
    i8: f64,
}

#[derive(Serialize)]
pub(super) struct TimedStep {
    step: String,
    ms: f64,
    multiply_adds: u64,
    /// Of the peak of its instruction set and its widest type, times the threads.
    share_of_peak: f64,
    isa: &'static str,
    /// Storage types of its matrices.
    dtype: String,
    /// Types that its products were done in.
    arithmetic: &'static str,
}

/// Times of every step over all runs.
#[derive(Default)]
pub(super) struct Profile {
    begun: Option<Instant>,
    times: Vec<(Step, Vec<Duration>)>,
}

impl Probe for Profile {
    fn begin(&mut self, _step: Step) {
        self.begun = Some(Instant::now());
    }

    fn end(&mut self, step: Step, _values: Values<'_>, _size: MapSize, _channels: usize) {
        let time = self
            .begun
            .take()
            .map_or(Duration::ZERO, |begun| begun.elapsed());
        match self.times.iter_mut().find(|(known, _)| *known == step) {
            Some((_, times)) => times.push(time),
            None => self.times.push((step, vec![time])),
        }
    }

    fn watches_assignments(&self) -> bool {
        false
    }
}

impl Profile {
    /// The steps in their order, with the median of their times.
    pub(super) fn steps(
        mut self,
        model: &Model<'_>,
        plan: &Plan,
        kernels: &Kernels,
        peak: Peak,
    ) -> Vec<TimedStep> {
        let timed = |(step, times): &mut (Step, Vec<Duration>)| {
            let ms = quantile(times, 0.5);
            let (dtype, arithmetic) = types(model, *step);
            let multiply_adds = plan.step_multiply_adds(*step);
            let best = if arithmetic.contains("i8") {
                peak.i8
            } else {
                peak.f32
            };
            let rate = multiply_adds as f64 * 1e3 / ms.max(1e-9);
            TimedStep {
                step: step.to_string(),
                ms,
                multiply_adds,
                share_of_peak: rate / (best * plan.threads() as f64).max(1.0),
                isa: kernels.isa().name(),
                dtype,
                arithmetic,
            }
        };
        self.times.iter_mut().map(timed).collect()
    }
}

impl Peak {
    /// Measures the peaks of an instruction set.
    pub(super) fn of(isa: Isa) -> Self {
        Self {
            f32: rate(isa, false),
            i8: rate(isa, true),
        }
    }

    /// For people.
    pub(super) fn text(&self, isa: &str) -> String {
        format!(
            "peak of a core with {isa}: {:.1} G/s multiply-adds of f32, {:.1} G/s of i8",
            self.f32 / 1e9,
            self.i8 / 1e9
        )
    }
}

/// Multiply-adds a second: the best of a few tries of about a millisecond.
fn rate(isa: Isa, integer: bool) -> f64 {
    const ROUNDS: u32 = 30_000;
    const TRIES: u32 = 20;
    let once = |_| {
        let started = Instant::now();
        let done = peak::multiply_adds(isa, integer, ROUNDS);
        done as f64 / started.elapsed().as_secs_f64().max(1e-9)
    };
    (0..TRIES).map(once).fold(0.0, f64::max)
}

/// Storage types of a step's matrices, and the types of its products. In an integer network keys, MLP and pool multiply bytes, as far
/// as their weights are stored so; all other products are of f32.
fn types(model: &Model<'_>, step: Step) -> (String, &'static str) {
    let (mut stored, mut bytes, mut floats) = (Vec::new(), false, false);
    model.tensors(|tensor, dtype, _| {
        if !matches!(tensor.kind, TensorKind::Matrix { .. })
            || !belongs(step, tensor.id.role, tensor.id.place)
        {
            return;
        }
        if !stored.contains(&dtype.name()) {
            stored.push(dtype.name());
        }
        let multiplies_bytes = model.config().integer
            && dtype == DType::I8
            && matches!(
                tensor.id.role,
                Role::KeysWeights | Role::Fc1Weights | Role::Fc2Weights | Role::SkipWeights
            );
        bytes |= multiplies_bytes;
        floats |= !multiplies_bytes;
    });
    let arithmetic = match (bytes, floats) {
        (true, true) => "i8+f32",
        (true, false) => "i8",
        (false, _) => "f32",
    };
    (stored.join("+"), arithmetic)
}

/// Whether a step uses the tensor.
fn belongs(step: Step, role: Role, place: Place) -> bool {
    let mlp = matches!(role, Role::Fc1Weights | Role::Fc2Weights);
    match (step, place) {
        (Step::PatchEmbed, Place::Network) => role == Role::PatchWeights,
        (Step::Head, Place::Network) => role == Role::HeadWeights,
        (Step::Mixer { stage, block }, _) => !mlp && place == Place::Block { stage, block },
        (Step::Mlp { stage, block }, _) => mlp && place == Place::Block { stage, block },
        (Step::Pool { stage }, _) => place == Place::Pool { stage },
        _ => false,
    }
}

/// A line a step.
pub(super) fn text(steps: &[TimedStep]) -> String {
    let mut text = String::new();
    for s in steps {
        let _ = writeln!(
            text,
            "  {:9.3} ms {:9.2} M {:5.1} %  {:6} {:8} {}",
            s.ms,
            s.multiply_adds as f64 / 1e6,
            s.share_of_peak * 100.0,
            s.arithmetic,
            s.isa,
            s.step
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_measured_where_there_is_one() {
        for isa in Isa::ALL {
            assert_eq!(rate(isa, false) > 0.0, isa.is_available(), "{isa}");
        }
    }
}
