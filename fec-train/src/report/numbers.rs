//! What is computed from the counts of a validation.

use super::Report;

/// A class in numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class {
    /// Its index.
    pub(super) class: usize,
    /// Training images.
    pub(super) train: u64,
    /// Validation images.
    pub(super) val: u64,
    /// Validation images of it that were taken for it.
    pub(super) right: u64,
    /// Validation images of any class that were taken for it.
    pub(super) named: u64,
    /// The other class that it is most often taken for, and how often.
    pub(super) mistaken: Option<(usize, u64)>,
}

/// A mistake and how often it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confused {
    pub(super) truth: usize,
    pub(super) predicted: usize,
    pub(super) count: u64,
    /// Validation images of the true class.
    pub(super) of: u64,
}

/// The numbers of a report.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// By index.
    pub(super) classes: Vec<Class>,
    /// Validation images.
    pub(super) total: u64,
    /// Those that were right.
    pub(super) right: u64,
    /// Mistakes, the most frequent first.
    pub(super) confused: Vec<Confused>,
}

impl Class {
    /// Share of its images that were recognised; none without images.
    pub(super) fn recall(&self) -> Option<f64> {
        ratio(self.right, self.val)
    }

    /// Share of the images taken for it that are of it; none where none was.
    pub(super) fn precision(&self) -> Option<f64> {
        ratio(self.right, self.named)
    }
}

impl Numbers {
    pub(super) fn of(report: &Report) -> Self {
        let n = report.classes.len();
        let mut named = vec![0u64; n];
        let mut classes = Vec::new();
        let mut confused = Vec::new();
        let rows = report.confusion.chunks(n.max(1));
        for (truth, (row, &train)) in rows.zip(&report.train_images).enumerate() {
            let val = row.iter().sum();
            for (total, count) in named.iter_mut().zip(row) {
                *total += count;
            }
            let others = row
                .iter()
                .enumerate()
                .filter(|&(i, c)| i != truth && *c > 0);
            confused.extend(others.map(|(predicted, &count)| Confused {
                truth,
                predicted,
                count,
                of: val,
            }));
            let others = row
                .iter()
                .enumerate()
                .filter(|&(i, c)| i != truth && *c > 0);
            // The first of equals.
            let mistaken = others.max_by_key(|&(i, count)| (*count, core::cmp::Reverse(i)));
            classes.push(Class {
                class: truth,
                train,
                val,
                right: row.get(truth).copied().unwrap_or(0),
                named: 0,
                mistaken: mistaken.map(|(i, count)| (i, *count)),
            });
        }
        for (class, named) in classes.iter_mut().zip(named) {
            class.named = named;
        }
        confused.sort_by_key(|c| (core::cmp::Reverse(c.count), c.truth, c.predicted));
        Self {
            total: classes.iter().map(|c| c.val).sum(),
            right: classes.iter().map(|c| c.right).sum(),
            classes,
            confused,
        }
    }

    /// Share of right answers; none without images.
    pub(super) fn accuracy(&self) -> Option<f64> {
        ratio(self.right, self.total)
    }

    /// Share of the largest class: what always naming it would get right.
    pub(super) fn baseline(&self) -> f64 {
        let largest = self.classes.iter().map(|c| c.val).max().unwrap_or(0);
        ratio(largest, self.total).unwrap_or(0.0)
    }

    /// Classes that were validated, the worst recognised first; of equals the one with more images.
    pub(super) fn worst_first(&self) -> Vec<&Class> {
        let mut classes: Vec<_> = self.classes.iter().collect();
        let key = |c: &Class| c.recall().unwrap_or(2.0);
        classes.sort_by(|a, b| key(a).total_cmp(&key(b)).then(b.val.cmp(&a.val)));
        classes
    }

    /// The best recognised class; of equals the one with more images.
    pub(super) fn best(&self) -> Option<&Class> {
        let validated = self.classes.iter().filter(|c| c.val > 0);
        let key = |c: &Class| c.recall().unwrap_or(0.0);
        validated.max_by(|a, b| key(a).total_cmp(&key(b)).then(a.val.cmp(&b.val)))
    }

    /// The worst recognised class.
    pub(super) fn worst(&self) -> Option<&Class> {
        self.worst_first().into_iter().find(|c| c.val > 0)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The range in which the true share lies with 95 % confidence when `right` of `total` were right: Wilson's interval, which keeps its
/// promise for few images too. From 0 to 1; all of it without images.
pub fn interval(right: u64, total: u64) -> (f64, f64) {
    /// The normal distribution's 97.5 % point.
    const Z: f64 = 1.959_964;
    let Some(share) = ratio(right.min(total), total) else {
        return (0.0, 1.0);
    };
    let n = total as f64;
    let whole = 1.0 + Z * Z / n;
    let middle = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let low = (middle - reach) / whole;
    let high = (middle + reach) / whole;
    (low.clamp(0.0, 1.0), high.clamp(0.0, 1.0))
}
