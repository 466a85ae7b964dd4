//! Centres as bytes in panels.

use super::PanelsI8Mut;
use crate::format::{GROUP, LANES};
use crate::kernels::lanes::Lanes;
use crate::kernels::quantise::{Row, ZERO};

#[inline(always)]
pub(in crate::kernels) fn body<L: Lanes>(centres: &[f32], inputs: usize, panels: PanelsI8Mut<'_>) {
    panels.values.fill(0);
    panels.scales.fill(0.0);
    panels.sums.fill(0);
    let groups = inputs.div_ceil(GROUP);
    let (words, _) = panels.values.as_chunks_mut::<GROUP>();
    for (m, centre) in centres.chunks_exact(inputs).enumerate() {
        // Every sixteenth word of the panel is this centre's.
        let words = &mut words[m / LANES * groups * LANES..][..groups * LANES];
        let mut words = words[m % LANES..].iter_mut().step_by(LANES);
        let row = Row::<_, false> {
            x: centre,
            centre: &[],
        };
        let factor;
        (panels.scales[m], factor) = row.scale::<L>();
        let mut sum = 0;
        for i in 0..inputs.div_ceil(LANES) {
            let bytes = match i < inputs / LANES {
                true => row.bytes::<L>(i, factor),
                false => row.last_bytes::<L>(factor),
            };
            for (word, group) in bytes.as_chunks::<GROUP>().0.iter().zip(&mut words) {
                for (byte, value) in word.iter().zip(group) {
                    *value = (byte ^ ZERO) as i8;
                    sum += i32::from(*value);
                }
            }
        }
        panels.sums[m] = sum;
    }
}
