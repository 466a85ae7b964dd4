//! The table that stands for GELU in an integer network's MLP, fitted to what the layer before it gave on calibration images.
//!
//! An index is a byte, an entry is a byte, and both have one scale for the whole block: what the table loses is decided by where the
//! index begins and ends. GELU is all but 0 below -4 and all but the identity above, so that the range of the index is chosen from
//! the values that were seen, and where they lie off centre the middle is moved to 0 by the layer's bias.

use fec_runtime::format::TensorValues;
use fec_runtime::kernels::activation::gelu;
use half::f16;

/// Numbers of an f16.
const BINS: usize = 1 << 16;
/// Entries of a table.
const ENTRIES: usize = 256;
/// Lowest ends of the index that are tried: below -4 GELU is nearly 0.
const LOWS: [f64; 12] = [
    -5.0, -4.0, -3.5, -3.0, -2.75, -2.5, -2.25, -2.0, -1.75, -1.5, -1.0, -0.5,
];
/// Highest ends that are tried, and the share of the one before.
const HIGHS: usize = 32;
const SHRINK: f64 = 0.96;
/// Scales of the entries that are tried, as shares of the one that reaches the highest entry.
const POSTS: [f64; 7] = [1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8];

/// How often each value was seen, rounded to f16. Counts do not depend on the order of what is counted.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BINS],
        }
    }
}

impl Histogram {
    /// Counts values; numbers beyond f16 count as its largest, NaN as nothing.
    pub fn add(&mut self, values: &[f32]) {
        for &value in values.iter().filter(|value| !value.is_nan()) {
            let held = value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32());
            let bin = usize::from(f16::from_f32(held).to_bits());
            if let Some(count) = self.counts.get_mut(bin) {
                *count += 1;
            }
        }
    }

    /// Values that were seen, ascending, with their counts.
    fn seen(&self) -> Vec<(f64, f64)> {
        let value = |bits: usize| f16::from_bits(bits as u16).to_f64();
        // Negative f16 descend as their bits ascend.
        let negative = (BINS / 2..BINS).rev();
        let ascending = negative.chain(0..BINS / 2);
        let counted = ascending.filter_map(|bits| Some((bits, *self.counts.get(bits)?)));
        counted
            .filter(|&(_, count)| count > 0)
            .map(|(bits, count)| (value(bits), count as f64))
            .collect()
    }
}

/// GELU by table, as the file holds it, and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Scale of the index.
    pub pre: f32,
    /// Scale of the entries.
    pub post: f32,
    /// Entry that means 0.
    pub zero: u8,
    /// Value in the middle of the index: the layer's bias is lowered by it, so that the index stands for v - `middle`.
    pub middle: f32,
    /// The entries, by the bit pattern of the index.
    pub entries: [u8; ENTRIES],
}

impl Table {
    /// The table with the smallest squared error of the hidden layer over the values of a histogram.
    pub fn fit(histogram: &Histogram) -> Self {
        let seen = Seen::new(&histogram.seen());
        let mut best: Option<(f64, Table)> = None;
        let mut high = seen.highest().max(LEAST);
        for _ in 0..HIGHS {
            let lowest = seen.lowest().min(0.0);
            let lows = LOWS.iter().map(|low| low.max(lowest));
            for low in lows.filter(|&low| low < high) {
                let cells = Cells::new(&seen, low, high);
                for post in cells.posts() {
                    let table = cells.table(post);
                    let error = cells.error(&table);
                    if best.as_ref().is_none_or(|(least, _)| error < *least) {
                        best = Some((error, table));
                    }
                }
            }
            high *= SHRINK;
        }
        // `high` is above every low, so that something was tried.
        best.map_or_else(
            || Cells::new(&seen, -1.0, 1.0).table(LEAST),
            |(_, table)| table,
        )
    }

    /// What the hidden layer holds in place of GELU of `v`.
    pub fn apply(&self, v: f32) -> f32 {
        let index = ((v - self.middle) / self.pre)
            .round_ties_even()
            .clamp(-128.0, 127.0) as i8;
        let entry = self.entries.get(usize::from(index.cast_unsigned()));
        let entry = entry.copied().unwrap_or(self.zero);
        (f32::from(entry) - f32::from(self.zero)) * self.post
    }

    /// As the writer takes it.
    pub fn values(&self) -> TensorValues {
        TensorValues::Gelu {
            pre: self.pre,
            post: self.post,
            zero: self.zero,
            table: Box::new(self.entries),
        }
    }
}

/// Least upper end of an index: a block that was given nothing has a table all the same.
const LEAST: f64 = 1e-3;

fn gelu_of(v: f64) -> f64 {
    let [g] = gelu([v as f32]);
    f64::from(g)
}

/// The values that were seen, with running sums of counts, of GELU and of its square before each.
struct Seen {
    values: Vec<f64>,
    sums: Vec<[f64; 3]>,
}

impl Seen {
    fn new(seen: &[(f64, f64)]) -> Self {
        let mut sums = vec![[0.0; 3]];
        let mut total = [0.0; 3];
        for &(value, count) in seen {
            let g = gelu_of(value);
            for (sum, part) in total.iter_mut().zip([count, count * g, count * g * g]) {
                *sum += part;
            }
            sums.push(total);
        }
        let values = seen.iter().map(|&(value, _)| value).collect();
        Self { values, sums }
    }

    fn lowest(&self) -> f64 {
        self.values.first().copied().unwrap_or_default()
    }

    fn highest(&self) -> f64 {
        self.values.last().copied().unwrap_or_default()
    }

    /// Sums over the values below `end`.
    fn below(&self, end: f64) -> [f64; 3] {
        let at = self.values.partition_point(|&value| value < end);
        self.sums.get(at).copied().unwrap_or_default()
    }
}

/// The values that share an index, for an index from `low` to `high`.
struct Cells {
    pre: f32,
    middle: f32,
    /// Count, sum of GELU and of its square, for index -128 to 127.
    sums: Vec<[f64; 3]>,
}

impl Cells {
    fn new(seen: &Seen, low: f64, high: f64) -> Self {
        let pre = ((high - low) / 255.0) as f32;
        // A whole number of steps: where GELU is the identity, entries of the same scale then lose nothing more.
        let steps = (low / f64::from(pre)).round_ties_even() + 128.0;
        let middle = (steps * f64::from(pre)) as f32;
        let mut before = [0.0; 3];
        let cells = (-128..=127).map(|index| {
            let end = f64::from(middle) + (f64::from(index) + 0.5) * f64::from(pre);
            let upto = seen.below(if index == 127 { f64::INFINITY } else { end });
            let cell = core::array::from_fn(|i| upto[i] - before[i]);
            before = upto;
            cell
        });
        let sums = cells.collect();
        Self { pre, middle, sums }
    }

    /// GELU of an index: the mean over the values seen there, or of its middle.
    fn mean(&self, index: i32, sums: &[f64; 3]) -> f64 {
        let [count, sum, _] = *sums;
        if count > 0.0 {
            return sum / count;
        }
        gelu_of(f64::from(self.middle) + f64::from(index) * f64::from(self.pre))
    }

    /// GELU of every index, lowest first.
    fn means(&self) -> Vec<f64> {
        let indices = (-128..).zip(&self.sums);
        indices
            .map(|(index, sums)| self.mean(index, sums))
            .collect()
    }

    /// Scales of the entries that are worth trying: about that which reaches the highest entry, and the index's own.
    fn posts(&self) -> Vec<f64> {
        let means = self.means();
        let low = means.iter().fold(0.0, |low: f64, m| low.min(*m));
        let high = means.iter().fold(0.0, |high: f64, m| high.max(*m));
        let widest = (high - low).max(LEAST) / 255.0;
        let shares = POSTS.iter().map(|share| widest * share);
        shares.chain([f64::from(self.pre)]).collect()
    }

    /// The table whose entries have this scale.
    fn table(&self, post: f64) -> Table {
        let means = self.means();
        let low = means.iter().fold(0.0, |low: f64, m| low.min(*m));
        let post = post as f32;
        let zero = (-low / f64::from(post)).round_ties_even().clamp(0.0, 255.0);
        let mut entries = [0; ENTRIES];
        for (index, mean) in (-128i32..).zip(&means) {
            let entry = (mean / f64::from(post)).round_ties_even() + zero;
            if let Some(place) = entries.get_mut(usize::from((index as i8).cast_unsigned())) {
                *place = entry.clamp(0.0, 255.0) as u8;
            }
        }
        Table {
            pre: self.pre,
            post,
            zero: zero as u8,
            middle: self.middle,
            entries,
        }
    }

    /// Squared error of the hidden layer, summed over the values seen.
    fn error(&self, table: &Table) -> f64 {
        let errors = (-128i32..)
            .zip(&self.sums)
            .map(|(index, &[count, sum, squares])| {
                let entry = table
                    .entries
                    .get(usize::from((index as i8).cast_unsigned()));
                let held = f64::from(entry.copied().unwrap_or_default()) - f64::from(table.zero);
                let held = held * f64::from(table.post);
                squares - 2.0 * held * sum + held * held * count
            });
        errors.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values as a layer gives them: a bell around `mean`.
    fn bell(mean: f32, width: f32) -> Vec<f32> {
        let uniform = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
        (0..20_000)
            .map(|i| (0..6).map(|j| uniform(6 * i + j) - 0.5).sum::<f32>() * width + mean)
            .collect()
    }

    fn rms(table: &Table, values: &[f32]) -> f64 {
        let errors = values.iter().map(|&v| {
            let [g] = gelu([v]);
            f64::from(g - table.apply(v)).powi(2)
        });
        (errors.sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn a_table_is_as_fine_as_its_range_allows() {
        for (mean, width) in [
            (0.0, 1.0),
            (-1.0, 2.0),
            (2.0, 3.0),
            (0.0, 0.01),
            (-3.0, 8.0),
        ] {
            let values = bell(mean, width);
            let mut histogram = Histogram::default();
            histogram.add(&values);
            let table = Table::fit(&histogram);
            let highest = values.iter().fold(0.0, |a: f32, v| a.max(*v));
            let lowest = values.iter().fold(0.0, |a: f32, v| a.min(*v)).max(-5.0);
            // The index's step and the entry's, each giving a uniform error, and a third for the slope above 1.
            let step = f64::from(highest - lowest) / 255.0;
            let bound = step * (2.3f64 / 12.0).sqrt();
            let found = rms(&table, &values);
            assert!(found <= bound, "{mean} {width}: {found} above {bound}");
            assert!(table.pre > 0.0 && table.post > 0.0);
        }
    }

    #[test]
    fn the_order_of_values_and_of_batches_does_not_matter() {
        let values = bell(0.5, 2.0);
        let mut whole = Histogram::default();
        whole.add(&values);
        let mut parts = Histogram::default();
        for part in values.rchunks(77) {
            parts.add(part);
        }
        assert_eq!(Table::fit(&whole), Table::fit(&parts));
    }

    #[test]
    fn nothing_and_absurd_values_give_a_sound_table() {
        let nothing = Table::fit(&Histogram::default());
        assert!(nothing.pre > 0.0 && nothing.post > 0.0 && nothing.pre.is_finite());
        let mut absurd = Histogram::default();
        absurd.add(&[f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30, -1e30, 0.0]);
        let table = Table::fit(&absurd);
        assert!(table.pre.is_finite() && table.post.is_finite());
        let mut low = Histogram::default();
        low.add(&[-7.0, -8.0]);
        assert!(Table::fit(&low).apply(-7.5).abs() < 1e-3);
    }
}
