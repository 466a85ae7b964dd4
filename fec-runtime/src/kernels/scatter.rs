//! Aggregation (Eq. 6): the sum of each centre's members and their number. The mean is taken later, on M rows.

/// Rows to be added to their centres, in order of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Scatter<'a> {
    /// Rows [n, channels].
    pub x: &'a [f32],
    /// Channels C.
    pub channels: usize,
    /// Centre of each row.
    pub assign: &'a [u16],
}

impl Scatter<'_> {
    pub(super) fn check(&self, sums: usize, counts: usize) {
        assert!(
            self.x.len() == self.assign.len() * self.channels,
            "one row per assignment"
        );
        let last = usize::from(self.assign.iter().copied().max().unwrap_or(0));
        assert!(
            last < counts && (last + 1) * self.channels <= sums,
            "no such centre"
        );
    }
}

pub(super) fn portable(s: &Scatter<'_>, sums: &mut [f32], counts: &mut [f32]) {
    for (row, &centre) in s.x.chunks_exact(s.channels.max(1)).zip(s.assign) {
        let centre = usize::from(centre);
        for (sum, x) in sums[centre * s.channels..][..s.channels]
            .iter_mut()
            .zip(row)
        {
            *sum += x;
        }
        counts[centre] += 1.0;
    }
}
