//! Dispatch (Eq. 7): each element takes its centres' projected representatives, weighted; the residual is added at once.

/// One run of elements; heads in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'a> {
    /// Projected representatives [heads, centres, channels].
    pub table: &'a [f32],
    /// Bias of the projection, at least `channels`.
    pub bias: &'a [f32],
    /// Heads E.
    pub heads: usize,
    /// Centres M of a head.
    pub centres: usize,
    /// Channels C.
    pub channels: usize,
    /// Centres of the run's elements: head e's from `e * assign_stride` on.
    pub assign: &'a [u8],
    /// Distance of two heads in `assign`.
    pub assign_stride: usize,
    /// Weights of the run's elements: head e's from `e * weights_stride` on.
    pub weights: &'a [f32],
    /// Distance of two heads in `weights`.
    pub weights_stride: usize,
}

impl Dispatch<'_> {
    pub(super) fn check(&self, x: usize) {
        let rows = x / self.channels.max(1);
        assert!(
            self.heads > 0 && rows * self.channels == x,
            "rows are not whole"
        );
        assert!(
            (self.heads - 1) * self.assign_stride + rows <= self.assign.len(),
            "too few assignments"
        );
        assert!(
            (self.heads - 1) * self.weights_stride + rows <= self.weights.len(),
            "too few weights"
        );
        assert!(
            self.table.len() == self.heads * self.centres * self.channels
                && self.bias.len() >= self.channels,
            "table of another shape"
        );
        for e in 0..self.heads {
            assert!(
                self.assign[e * self.assign_stride..][..rows]
                    .iter()
                    .all(|&a| usize::from(a) < self.centres),
                "no such centre"
            );
        }
    }
}

pub(super) fn portable(d: &Dispatch<'_>, x: &mut [f32]) {
    // Chunks of channels, so that the sum over heads stays in registers.
    const CHUNK: usize = 16;
    let c = d.channels;
    for (n, row) in x.chunks_exact_mut(c.max(1)).enumerate() {
        for (i, x) in row.chunks_mut(CHUNK).enumerate() {
            let mut sum = [0.0; CHUNK];
            for (sum, bias) in sum.iter_mut().zip(&d.bias[i * CHUNK..]) {
                *sum = *bias;
            }
            for e in 0..d.heads {
                let centre = usize::from(d.assign[e * d.assign_stride + n]);
                let weight = d.weights[e * d.weights_stride + n];
                let reps = &d.table[(e * d.centres + centre) * c + i * CHUNK..][..x.len()];
                for (sum, rep) in sum.iter_mut().zip(reps) {
                    *sum += weight * rep;
                }
            }
            for (x, sum) in x.iter_mut().zip(&sum) {
                *x += sum;
            }
        }
    }
}
