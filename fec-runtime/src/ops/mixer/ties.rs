//! Where several similarities round to one weight, the definition's argmax over weights decides (SPEC 4.2).

use crate::kernels::MixerAssign;
use crate::kernels::activation::sigmoid;

/// Whether two cosines that differ by more than 4e-6 can have the same weight in f32 (SPEC 4: alpha near 0, or a sigmoid near
/// saturation). Towards 1 the largest such difference is where the sigmoid is flattest: at the larger end of t = beta ± alpha,
/// where its rounding error 2^-24 stands against the slope w (1 - w); t itself is rounded by |t| 2^-24. Towards 0 weights keep
/// their relative accuracy until they are no normal numbers any more, below t = -87.
pub(crate) fn ties_matter(alpha: f32, beta: f32) -> bool {
    ties_between(alpha, beta - alpha.abs(), beta + alpha.abs())
}

/// The same for t from `low` to `high`.
fn ties_between(alpha: f32, low: f32, high: f32) -> bool {
    const ULP: f32 = 6e-8;
    let weight = sigmoid(high);
    let slope = weight * (1.0 - weight);
    let size = if high.abs() > low.abs() {
        high.abs()
    } else {
        low.abs()
    };
    let difference = (ULP * weight / slope + ULP * size) / alpha.abs();
    // NaN (0 / 0: alpha = 0, or a slope of 0) is a tie as well.
    difference.is_nan() || difference >= 4e-6 || low < -87.0
}

/// SPEC 4.2 to the letter: the lowest index of the largest weight. Where not `all` rows ask for it, those do whose weight with the
/// centre found may tie: similarities other than the cosine have no bound that would say it for a whole mixer.
pub(super) fn assign_by_weight(m: &MixerAssign<'_>, centres: usize, all: bool, assign: &mut [u16]) {
    for (n, assign) in assign.iter_mut().enumerate() {
        let t = m.logit(n, usize::from(*assign));
        if !all && !ties_between(m.alpha, t, t) {
            continue;
        }
        let mut best = f32::NEG_INFINITY;
        for centre in 0..centres {
            let weight = m.weight(n, centre);
            if weight > best {
                (best, *assign) = (weight, centre as u16);
            }
        }
    }
}
