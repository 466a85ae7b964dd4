//! The loop over k of products and assignments: a tile of sums that stay in registers.
#![expect(unsafe_code, reason = "the loop reads without checks")]

use core::ops::Range;

use crate::format::{GROUP, LANES};
use crate::kernels::lanes::Lanes;

/// Weights as they are stored in panels.
pub(in crate::kernels) trait Stored: Copy {
    /// Values of a panel of so many inputs.
    fn panel_len(inputs: usize) -> usize;

    /// The weights of input `k` for the panel's outputs.
    ///
    /// # Safety
    /// `panel` must begin a panel with more than `k` inputs.
    unsafe fn row<L: Lanes>(panel: *const Self, k: usize) -> L;
}

impl Stored for f32 {
    #[inline(always)]
    fn panel_len(inputs: usize) -> usize {
        inputs * LANES
    }

    // SAFETY: reads input k alone, which the caller has.
    #[inline(always)]
    unsafe fn row<L: Lanes>(panel: *const Self, k: usize) -> L {
        // SAFETY: the panel has an input k.
        L::load(unsafe { &*panel.add(k * LANES).cast() })
    }
}

impl Stored for u16 {
    #[inline(always)]
    fn panel_len(inputs: usize) -> usize {
        inputs * LANES
    }

    // SAFETY: reads input k alone, which the caller has.
    #[inline(always)]
    unsafe fn row<L: Lanes>(panel: *const Self, k: usize) -> L {
        // SAFETY: the panel has an input k.
        L::load_half(unsafe { &*panel.add(k * LANES).cast() })
    }
}

impl Stored for i8 {
    #[inline(always)]
    fn panel_len(inputs: usize) -> usize {
        inputs.next_multiple_of(GROUP) * LANES
    }

    // SAFETY: reads the group of input k alone, which the caller has; panels are padded to whole groups.
    #[inline(always)]
    unsafe fn row<L: Lanes>(panel: *const Self, k: usize) -> L {
        // SAFETY: the panel has an input k, and therefore its group.
        L::load_bytes(unsafe { &*panel.add(k / GROUP * GROUP * LANES).cast() }, k)
    }
}

/// `start` plus the products of `R` rows of `x`, `stride` apart, with the `inputs` of `P` panels, k in ascending order.
///
/// # Panics
/// When a row or a panel is too short.
#[inline(always)]
pub(in crate::kernels) fn sums<L: Lanes, S: Stored, const R: usize, const P: usize>(
    x: &[f32],
    stride: usize,
    panels: [&[S]; P],
    inputs: Range<usize>,
    start: [L; P],
) -> [[L; P]; R] {
    assert!(
        (R - 1) * stride + inputs.len() <= x.len(),
        "a row is too short"
    );
    let len = S::panel_len(inputs.end);
    assert!(
        inputs.start <= inputs.end && panels.iter().all(|panel| len <= panel.len()),
        "a panel is too short"
    );
    let (x, panels) = (x.as_ptr(), panels.map(<[S]>::as_ptr));
    let mut sums = [start; R];
    for k in 0..inputs.end - inputs.start {
        let weights: [L; P] = core::array::from_fn(
            // SAFETY: the panels have all of `inputs`: asserted above.
            #[inline(always)]
            |p| unsafe { S::row(panels[p], inputs.start + k) },
        );
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: r < R and k < inputs.len(): within `x`, as asserted above.
            let x = L::splat(unsafe { *x.add(r * stride + k) });
            for (sum, weights) in sums.iter_mut().zip(&weights) {
                *sum = x.mul_add(*weights, *sum);
            }
        }
    }
    sums
}

/// A vector's values for the outputs of `P` panels; it is padded to whole panels.
#[inline(always)]
pub(in crate::kernels) fn vectors<L: Lanes, const P: usize>(
    values: &[f32],
    panel: usize,
) -> [L; P] {
    let (chunks, _) = values.as_chunks::<LANES>();
    core::array::from_fn(
        #[inline(always)]
        |p| L::load(&chunks[panel + p]),
    )
}
