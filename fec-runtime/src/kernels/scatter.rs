//! Aggregation (Eq. 6): the sum of each centre's members and their number, for all heads at once. The mean is taken later, on M rows.

use super::Values;
use super::elements::{Element, update};
use super::lanes::Lanes;

/// Rows to be added to their centres, in order of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Scatter<'a> {
    /// Rows [n, channels].
    pub x: Values<'a>,
    /// Channels C.
    pub channels: usize,
    /// Heads E, each with centres of its own.
    pub heads: usize,
    /// Centres M of a head.
    pub centres: usize,
    /// Centres of each row: head e's of row n is `assign[n * assign_stride + e]`.
    pub assign: &'a [u16],
    /// Distance of two rows in `assign`, at least `heads`.
    pub assign_stride: usize,
}

impl Scatter<'_> {
    /// Number of rows.
    fn rows(&self) -> usize {
        self.x.len() / self.channels.max(1)
    }

    pub(super) fn check(&self, sums: usize, counts: usize) {
        let rows = self.rows();
        assert!(
            self.channels > 0 && rows * self.channels == self.x.len(),
            "rows are not whole"
        );
        assert!(
            self.heads > 0 && self.heads <= self.assign_stride,
            "heads do not fit the stride"
        );
        assert!(
            counts == self.heads * self.centres && sums == counts * self.channels,
            "sums of another shape"
        );
        assert!(
            rows == 0 || (rows - 1) * self.assign_stride + self.heads <= self.assign.len(),
            "too few assignments"
        );
        assert!(
            self.assign
                .chunks(self.assign_stride)
                .take(rows)
                .all(|row| row[..self.heads]
                    .iter()
                    .all(|&m| usize::from(m) < self.centres)),
            "no such centre"
        );
    }
}

#[inline(always)]
pub(super) fn body<L: Lanes>(s: &Scatter<'_>, sums: &mut [f32], counts: &mut [f32]) {
    match s.x {
        Values::F32(x) => rows::<L, f32>(s, x, sums, counts),
        Values::F16(x) => rows::<L, u16>(s, x, sums, counts),
    }
}

#[inline(always)]
fn rows<L: Lanes, E: Element>(s: &Scatter<'_>, x: &[E], sums: &mut [f32], counts: &mut [f32]) {
    let assignments = s.assign.chunks(s.assign_stride);
    for (row, assign) in x.chunks_exact(s.channels).zip(assignments) {
        for (e, &centre) in assign[..s.heads].iter().enumerate() {
            let centre = e * s.centres + usize::from(centre);
            counts[centre] += 1.0;
            let sum = &mut sums[centre * s.channels..][..s.channels];
            update(
                row,
                sum,
                #[inline(always)]
                |x: L, sum| sum.add(x),
            );
        }
    }
}
