//! How far training has come, on standard error: a bar on a terminal, else a line now and then.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use fec::output::Output;
use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(15);
/// Speed is that of the last so many steps.
const RECENT: usize = 50;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Epochs of the run.
    pub epochs: u64,
    /// Steps of the run, over all epochs.
    pub steps: u64,
    /// Steps that are done already, where it is resumed.
    pub done: u64,
}

/// A step that has just been done.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its epoch, from 0.
    pub epoch: u64,
    /// Steps that are done, this one included.
    pub step: u64,
    /// Its loss, or a mean over the last few.
    pub loss: f64,
    /// Its learning rate.
    pub lr: f64,
    /// Its images.
    pub images: u64,
}

/// The progress of a run. Standard output is never written to.
pub struct Progress {
    plan: Plan,
    speed: Speed,
    /// When the last step ended.
    clock: Instant,
    /// When the last line was said.
    said: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to show; the clock of the first step begins now.
    pub fn new(out: &Output, plan: Plan) -> Self {
        let bar = out.interactive().then(|| {
            let bar = ProgressBar::new(plan.steps).with_position(plan.done);
            match ProgressStyle::with_template("{wide_bar} {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            plan,
            speed: Speed::default(),
            clock: Instant::now(),
            said: None,
            bar,
        }
    }

    /// A step is done.
    pub fn step(&mut self, out: &mut Output, step: &Step) {
        let now = Instant::now();
        self.speed.add(now - self.clock, step.images);
        self.clock = now;
        match &self.bar {
            Some(bar) => {
                bar.set_position(step.step);
                bar.set_message(line(&self.plan, step, &self.speed));
            }
            None if self.said.is_none_or(|said| now - said >= SAY_EVERY) => {
                self.said = Some(now);
                out.message(line(&self.plan, step, &self.speed));
            }
            None => {}
        }
    }

    /// The clock of the next step begins now: what was between, a validation or a checkpoint, is no training.
    pub fn restart_clock(&mut self) {
        self.clock = Instant::now();
    }

    /// Images per second over the last steps; 0 before the first.
    pub fn images_per_second(&self) -> f64 {
        self.speed.images_per_second()
    }

    /// A message that does not tear the bar.
    pub fn message(&self, out: &mut Output, line: impl core::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| out.message(line)),
            None => out.message(line),
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Times and images of the last steps.
#[derive(Debug, Default)]
struct Speed {
    recent: VecDeque<(Duration, u64)>,
}

impl Speed {
    fn add(&mut self, time: Duration, images: u64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((time, images));
    }

    fn seconds(&self) -> f64 {
        self.recent.iter().map(|(time, _)| time.as_secs_f64()).sum()
    }

    fn images_per_second(&self) -> f64 {
        let images: u64 = self.recent.iter().map(|(_, images)| images).sum();
        if images == 0 {
            return 0.0;
        }
        images as f64 / self.seconds().max(1e-9)
    }

    /// Seconds that so many steps will take.
    fn seconds_of(&self, steps: u64) -> f64 {
        steps as f64 * self.seconds() / self.recent.len().max(1) as f64
    }
}

fn line(plan: &Plan, step: &Step, speed: &Speed) -> String {
    format!(
        "epoch {}/{}  step {}/{}  loss {:.3}  lr {:.1e}  {} images/s  {} left",
        step.epoch + 1,
        plan.epochs,
        step.step,
        plan.steps,
        step.loss,
        step.lr,
        rate(speed.images_per_second()),
        duration(speed.seconds_of(plan.steps.saturating_sub(step.step)))
    )
}

/// Three digits of a speed.
fn rate(images_per_second: f64) -> String {
    if images_per_second < 9.95 {
        format!("{images_per_second:.1}")
    } else {
        format!("{images_per_second:.0}")
    }
}

/// Seconds as people say them: "45 s", "12 min", "3 h 05 min", "2 d 4 h".
pub fn duration(seconds: f64) -> String {
    // A cast of what is not a number gives 0; nothing takes 30,000 years.
    let seconds = seconds.clamp(0.0, 1e12).round() as u64;
    let minutes = (seconds + 30) / 60;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..3570 => format!("{minutes} min"),
        3570..86_370 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => {
            let hours = (seconds + 1800) / 3600;
            format!("{} d {} h", hours / 24, hours % 24)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use fec::output::Format;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAN: Plan = Plan {
        epochs: 50,
        steps: 2500,
        done: 0,
    };

    fn step(step: u64) -> Step {
        Step {
            epoch: 2,
            step,
            loss: 1.2344,
            lr: 1e-3,
            images: 64,
        }
    }

    #[test]
    fn the_line_tells_speed_and_time_left_of_the_last_steps() {
        let mut speed = Speed::default();
        // Slow steps that are long past do not count: 50 of 2 s come after them.
        for seconds in [100, 100].into_iter().chain([2; 50]) {
            speed.add(Duration::from_secs(seconds), 64);
        }
        assert_eq!(
            line(&PLAN, &step(100), &speed),
            "epoch 3/50  step 100/2500  loss 1.234  lr 1.0e-3  32 images/s  1 h 20 min left"
        );
    }

    #[test]
    fn durations_are_those_that_people_say() {
        for (seconds, expected) in [
            (0.4, "0 s"),
            (99.0, "99 s"),
            (100.0, "2 min"),
            (3569.0, "59 min"),
            (3570.0, "1 h 00 min"),
            (86_369.0, "23 h 59 min"),
            (86_370.0, "1 d 0 h"),
            (187_000.0, "2 d 4 h"),
            (f64::NAN, "0 s"),
            (-5.0, "0 s"),
            (f64::INFINITY, "11574074 d 2 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn off_a_terminal_a_line_comes_now_and_then_and_standard_output_stays_empty() {
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let mut out = Output::with_streams(Format::Text, stdout.clone(), stderr.clone());
        let mut progress = Progress::new(&out, PLAN);
        for i in 1..=1000 {
            progress.step(&mut out, &step(i));
        }
        progress.said = progress.said.and_then(|said| said.checked_sub(SAY_EVERY));
        progress.step(&mut out, &step(1001));
        progress.message(&mut out, "epoch 3: top-1 61.0 %");
        assert!(progress.images_per_second() > 0.0);
        progress.finish();
        let said = String::from_utf8(stderr.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(lines[0].contains("step 1/2500") && lines[1].contains("step 1001/2500"));
        assert!(stdout.0.lock().unwrap().is_empty());
    }
}
