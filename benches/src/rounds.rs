//! Rounds: candidates take turns (A B C A B C ...), so that whatever slows the machine for a while slows all of them.

use core::time::Duration;
use std::time::Instant;

use serde::Serialize;

use crate::machine::cpu_time;

/// Rounds before the first that counts: pages are touched, the clock settles.
pub const WARM_UP: usize = 5;

/// What takes turns.
pub trait Candidate {
    /// What is timed.
    fn run(&mut self);

    /// Looks at the result of the run before; not timed.
    ///
    /// # Errors
    /// The result is not what it should be.
    fn check(&mut self) -> crate::Result<()>;
}

/// Milliseconds of a number of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Milliseconds {
    /// The fastest.
    pub min: f64,
    /// Half were faster.
    pub median: f64,
    /// 95 % were faster.
    pub p95: f64,
}

impl Milliseconds {
    /// Those of these times.
    pub fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        let at = |share: f64| {
            let index = (last as f64 * share).round() as usize;
            times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
        };
        Self {
            min: at(0.0),
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

/// A candidate's times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// By the clock on the wall.
    pub wall: Milliseconds,
    /// Time that the thread ran for. As long as the core was quiet, both are the same.
    pub cpu: Milliseconds,
}

/// Gives every candidate its turn in each of `rounds` rounds, after some that do not count.
///
/// # Errors
/// That of the first check that fails.
pub fn interleave(
    candidates: &mut [&mut dyn Candidate],
    rounds: usize,
) -> crate::Result<Vec<Times>> {
    let mut times: Vec<[Vec<Duration>; 2]> =
        candidates.iter().map(|_| Default::default()).collect();
    for round in 0..WARM_UP + rounds {
        for (candidate, [wall, cpu]) in candidates.iter_mut().zip(&mut times) {
            let (cpu_started, started) = (cpu_time(), Instant::now());
            candidate.run();
            let (elapsed, cpu_elapsed) = (started.elapsed(), cpu_time() - cpu_started);
            candidate.check()?;
            if round >= WARM_UP {
                wall.push(elapsed);
                cpu.push(cpu_elapsed);
            }
        }
    }
    let summary = |[wall, cpu]: &mut [Vec<Duration>; 2]| Times {
        wall: Milliseconds::of(wall),
        cpu: Milliseconds::of(cpu),
    };
    Ok(times.iter_mut().map(summary).collect())
}

/// A warning where the median run waited for something else than itself: such figures are not for publication.
pub fn disturbance(times: &Times) -> Option<String> {
    let share = times.wall.median / times.cpu.median.max(1e-9);
    (share > 1.01).then(|| {
        format!(
            "the core was not quiet: time on the wall is {:.0} % more than time on the core",
            (share - 1.0) * 100.0
        )
    })
}
