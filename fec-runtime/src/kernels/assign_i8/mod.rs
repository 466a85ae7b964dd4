//! Similarity and argmax in one on bytes: the pools of int8 networks (Eq. 5; SPEC 3.3, 3.6).

pub(super) mod body;
pub(super) mod pack;

use super::matmul_i8::{MAX_INPUTS, span};
use super::{Locality, PanelsI8};
use crate::format::{GROUP, LANES};

/// Assigns each row to the centre with the largest score; the lowest centre wins ties.
///
/// `score(m, n) = (f32(acc) * centres.scales[m]) * scales[n] + shift[m]` with `acc = sum over k of (x[n][k] - 128) * centres[m][k]`,
/// with a locality minus `(lambda * |k_n|) * d²(m, n)`; each operation is rounded.
#[derive(Clone, Copy, Debug)]
pub struct AssignI8<'a> {
    /// Rows, `x_stride` bytes apart, `inputs` bytes each; 128 stands for 0. Up to `inputs` rounded up to 4 bytes of a row are read.
    pub x: &'a [u8],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows, in bytes.
    pub x_stride: usize,
    /// Scale of each row.
    pub scales: &'a [f32],
    /// Inputs K.
    pub inputs: usize,
    /// Centres, padded to 16.
    pub centres: PanelsI8<'a>,
    /// What is added to each centre's score; minus infinity in the padding.
    pub shift: &'a [f32],
    /// The pools' locality (SPEC 3.6), if any.
    pub locality: Option<Locality<'a>>,
}

/// Memory for packed centres: with the padded numbers K' = K rounded up to 4 and M' = M rounded up to 16, `[M' / 16][K' / 4][16][4]`
/// values from -127 to 127, round(c * (127 / max)) of each centre with its largest |c|, ties to even; scales max / 127; and the sums
/// of each centre's values. Padding is 0, and so is a centre of zeros, with scale 0.
#[derive(Debug)]
pub struct PanelsI8Mut<'a> {
    /// M' * K' values.
    pub values: &'a mut [i8],
    /// M' scales.
    pub scales: &'a mut [f32],
    /// M' sums.
    pub sums: &'a mut [i32],
}

impl PanelsI8Mut<'_> {
    /// The same to read.
    pub fn as_panels(&self) -> PanelsI8<'_> {
        PanelsI8 {
            values: self.values,
            scales: self.scales,
            sums: self.sums,
        }
    }

    pub(super) fn check(&self, centres: usize, inputs: usize) {
        assert!(
            inputs > 0 && centres.is_multiple_of(inputs),
            "centres are not whole"
        );
        let padded = (centres / inputs).next_multiple_of(LANES);
        assert!(
            self.values.len() == padded * inputs.next_multiple_of(GROUP)
                && self.scales.len() == padded
                && self.sums.len() == padded,
            "room of another shape"
        );
    }
}

impl AssignI8<'_> {
    pub(super) fn check(&self, out: usize) {
        let padded = self.shift.len();
        let stored = self.inputs.next_multiple_of(GROUP);
        assert!(
            padded > 0 && padded.is_multiple_of(LANES) && padded <= 65_536,
            "centres are not in panels"
        );
        assert!(
            (1..=MAX_INPUTS).contains(&self.inputs),
            "no inputs, or too many"
        );
        assert!(
            self.centres.values.len() == padded * stored
                && self.centres.scales.len() == padded
                && self.centres.sums.len() == padded,
            "centres do not fill their panels"
        );
        assert!(
            out == self.rows && self.scales.len() >= self.rows,
            "one assignment and one scale per row"
        );
        assert!(
            span(self.rows, self.x_stride, stored) <= self.x.len(),
            "too few inputs"
        );
        if let Some(l) = &self.locality {
            l.check(self.rows, padded);
        }
    }
}
