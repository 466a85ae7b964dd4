//! Centres as bytes in panels.

use super::PanelsI8Mut;
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::{Lanes, Portable};
use crate::kernels::quantise::{chunk, row};

pub(in crate::kernels) fn portable(centres: &[f32], inputs: usize, panels: PanelsI8Mut<'_>) {
    body::<Portable>(centres, inputs, panels);
}

#[inline(always)]
pub(in crate::kernels) fn body<L: Lanes>(centres: &[f32], inputs: usize, panels: PanelsI8Mut<'_>) {
    panels.values.fill(0);
    panels.scales.fill(0.0);
    panels.sums.fill(0);
    let groups = inputs.div_ceil(GROUP);
    let (words, _) = panels.values.as_chunks_mut::<GROUP>();
    for (m, centre) in centres.chunks_exact(inputs).enumerate() {
        let words = &mut words[m / LANES * groups * LANES..][..groups * LANES];
        let mut sum = 0;
        let value = |at| L::load(&chunk(centre, at));
        panels.scales[m] = row(inputs, value, |at, bytes| {
            let bytes = bytes.map(|byte| byte as i8);
            sum += bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
            let column = words[m % LANES..].iter_mut().step_by(LANES);
            for (word, group) in column.skip(at / GROUP).zip(bytes.as_chunks().0) {
                *word = *group;
            }
        });
        panels.sums[m] = sum;
    }
}
