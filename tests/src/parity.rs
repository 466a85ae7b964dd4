//! The three golden comparisons, as one body for everything that runs the network.

use core::fmt::Write;

use fec_runtime::reference::Map;

use crate::golden::{Assignments, Case};
use crate::tolerance;

/// Something that runs a case's network on its image.
pub trait Subject {
    /// What the messages call it.
    fn name(&self) -> &'static str;

    /// Runs the case. Where `forced` is given, its assignments take the place of the subject's own.
    fn run(&mut self, case: &Case, forced: Option<&Assignments>) -> Outcome;
}

/// What a subject computed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By golden's names: `embed`, `net.0` to `net.6`, `feat.0` to `feat.3`.
    pub maps: Vec<(String, Map)>,
    /// One per class; empty for dense networks.
    pub logits: Vec<f32>,
    /// The subject's own decisions, also where others were forced on it.
    pub own: Assignments,
}

/// What one case showed.
#[derive(Debug)]
pub struct Report {
    /// One line: the case and its largest differences.
    pub summary: String,
    /// A line per broken promise.
    pub failures: Vec<String>,
}

/// Runs one case twice, with golden's assignments forced and (if it is stable) free, and compares everything that the file keeps.
pub fn check(subject: &mut dyn Subject, case: &Case) -> Report {
    let mut report = Report {
        summary: format!("{} {}:", subject.name(), case.name),
        failures: Vec::new(),
    };
    let golden = case.assignments();
    let forced = subject.run(case, Some(&golden));
    report.maps(case, &forced);
    report.values(case, "logits", &forced.logits, tolerance::FORCED);
    report.own_decisions(case, &golden, &forced.own);
    if case.stable {
        let free = subject.run(case, None);
        report.values(case, "logits", &free.logits, tolerance::FREE);
        if free.own != golden {
            report.fail(case, "a free run of a stable case makes other assignments");
        }
    }
    report
}

impl Report {
    fn fail(&mut self, case: &Case, what: &str) {
        self.failures.push(format!("{}: {what}", case.name));
    }

    fn maps(&mut self, case: &Case, outcome: &Outcome) {
        let expected = 8 + if case.config.dense { 4 } else { 0 };
        if outcome.maps.len() != expected {
            self.fail(
                case,
                &format!("{} maps, expected {expected}", outcome.maps.len()),
            );
        }
        for (name, map) in &outcome.maps {
            let flat = channels_first(map);
            let step = match (case.sampled, name.starts_with("feat.")) {
                (false, _) => 1,
                (true, true) => 11,
                (true, false) => 7,
            };
            let sampled: Vec<f32> = flat.iter().copied().step_by(step).collect();
            if case.values(name).is_some() {
                self.values(case, name, &sampled, tolerance::FORCED);
            }
            let sum = name
                .strip_prefix("net.")
                .and_then(|k| case.sum(k.parse().ok()?));
            if let Some(expected) = sum {
                let mean = (flat.iter().map(|&v| f64::from(v)).sum::<f64>() - expected)
                    / flat.len() as f64;
                if mean.is_nan() || mean.abs() > tolerance::MEAN {
                    self.fail(case, &format!("{name} is off by {mean:.1e} on average"));
                }
            }
        }
    }

    /// Compares with golden's values of that name; dense networks have no logits.
    fn values(&mut self, case: &Case, name: &str, found: &[f32], tolerance: f64) {
        let expected = case.values(name).unwrap_or_default();
        if expected.len() != found.len() {
            self.fail(
                case,
                &format!(
                    "{name} has {} values, expected {}",
                    found.len(),
                    expected.len()
                ),
            );
            return;
        }
        if found.is_empty() {
            return;
        }
        let pairs = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        // A NaN counts as infinitely wrong; `f64::max` would drop it.
        let worst = pairs
            .map(|d| if d.is_nan() { f64::INFINITY } else { d })
            .fold(0.0, f64::max);
        // Writing to a String cannot fail.
        let _ = write!(self.summary, " {name} {worst:.1e}");
        if worst > tolerance {
            self.fail(
                case,
                &format!("{name} differs by {worst:.2e}, allowed {tolerance:.0e}"),
            );
        }
    }

    fn own_decisions(&mut self, case: &Case, golden: &Assignments, own: &Assignments) {
        let (mut decisions, mut close, mut wrong) = (0, 0, 0);
        if !golden.keys().eq(own.keys()) {
            self.fail(case, "the mixers and pools are not those of golden");
            return;
        }
        for (name, expected) in golden {
            let (found, margins) = (&own[name], case.margins(name));
            if found.len() != expected.len() || margins.len() != expected.len() {
                self.fail(
                    case,
                    &format!(
                        "{name}: {} assignments, expected {}",
                        found.len(),
                        expected.len()
                    ),
                );
                continue;
            }
            for ((found, expected), margin) in found.iter().zip(expected).zip(&margins) {
                decisions += 1;
                let differs = found != expected;
                close += usize::from(differs && *margin <= tolerance::MARGIN);
                wrong += usize::from(differs && *margin > tolerance::MARGIN);
            }
        }
        let _ = write!(
            self.summary,
            "; of {decisions} decisions {wrong} wrong, {close} close ones otherwise;"
        );
        if wrong > 0 {
            self.fail(
                case,
                &format!("{wrong} of {decisions} decisions with a clear margin are wrong"),
            );
        }
    }
}

/// [N, C] to golden's [C, N].
fn channels_first(map: &Map) -> Vec<f32> {
    let (n, c) = (map.size.elements(), map.channels);
    assert_eq!(map.values.len(), n * c, "a map's values");
    (0..n * c).map(|i| map.values[i % n * c + i / n]).collect()
}
