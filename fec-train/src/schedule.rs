//! The learning rate as a pure function of the step: linear warm-up, half a cosine, then the minimum, as timm's `CosineLRScheduler`.

use core::f64::consts::PI;

/// timm's settings of a cosine schedule with one cycle. Epochs of the cosine count from the run's start, warm-up included, unless
/// `warmup_prefix` puts the warm-up before them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Rate at the top.
    pub lr: f64,
    /// Rate at the end of the cosine and in the cooldown.
    pub min_lr: f64,
    /// Rate of the first step, where there is a warm-up.
    pub warmup_lr: f64,
    /// Epochs of the cosine.
    pub epochs: u64,
    /// Epochs of the warm-up.
    pub warmup_epochs: u64,
    /// Epochs at `min_lr` after the cosine.
    pub cooldown_epochs: u64,
    /// The warm-up comes before the `epochs`, not out of them.
    pub warmup_prefix: bool,
    /// The rate changes with every update; otherwise with every epoch, as in the published training.
    pub on_updates: bool,
}

impl Schedule {
    /// Epochs of the whole run.
    pub fn total_epochs(&self) -> u64 {
        let prefix = if self.warmup_prefix {
            self.warmup_epochs
        } else {
            0
        };
        self.epochs
            .saturating_add(prefix)
            .saturating_add(self.cooldown_epochs)
    }

    /// The rate of update `step` (from 0) of a run with so many updates an epoch.
    pub fn lr(&self, step: u64, steps_per_epoch: u64) -> f64 {
        let steps_per_epoch = steps_per_epoch.max(1);
        let (t, unit) = if self.on_updates {
            (step, steps_per_epoch)
        } else {
            (step / steps_per_epoch, 1)
        };
        let warmup = self.warmup_epochs.saturating_mul(unit);
        let cosine = self.epochs.saturating_mul(unit);
        if t < warmup {
            return self.warmup_lr + t as f64 * ((self.lr - self.warmup_lr) / warmup as f64);
        }
        let t = if self.warmup_prefix { t - warmup } else { t };
        if t >= cosine {
            return self.min_lr;
        }
        let angle = PI * t as f64 / cosine as f64;
        self.min_lr + 0.5 * (self.lr - self.min_lr) * (1.0 + libm::cos(angle))
    }
}
