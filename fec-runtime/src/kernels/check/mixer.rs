//! Assignments and weights of the mixer.

use super::elements::{BITS, widths};
use super::{
    Buffers, Failure, Kind, Numbers, ROW_COUNTS, SMALL, ULP, canary, fingerprint, is_exact,
};
use super::{near, untouched};
use crate::config::Similarity;
use crate::format::LANES;
use crate::kernels::{Kernels, MixerAssign};

/// A value that no centre has.
const UNTOUCHED: u16 = 0xFFFF;

pub(super) fn check(kernels: &Kernels, b: &mut Buffers, n: &mut Numbers) -> Result<usize, Failure> {
    let mut cases = 0;
    for dim in widths() {
        for similarity in Similarity::ALL {
            for centres in [1, 4, n.within(1, 16), n.within(17, 40)] {
                let most = if dim <= SMALL { 60 } else { 4 };
                let rows = n.pick(&ROW_COUNTS).min(most);
                let centres = centres.min(if dim <= 320 { 40 } else { 16 });
                run(kernels, b, n, similarity, [rows, dim, centres])?;
                cases += 1;
            }
        }
    }
    Ok(cases)
}

fn run(
    kernels: &Kernels,
    b: &mut Buffers,
    n: &mut Numbers,
    similarity: Similarity,
    [rows, dim, centres]: [usize; 3],
) -> Result<(), Failure> {
    let stride = dim + n.within(0, 5);
    let padded = centres.next_multiple_of(LANES);
    // The last two saturate.
    let alpha = n.pick(&[4.0, 1.0, -3.0, 0.0, 500.0, -500.0]);
    let beta = n.value(Kind::Real, 0);
    let [shift, ..] = &mut b.vectors;
    let (shift, panels) = (&mut shift[..padded], &mut b.matrix[..padded * dim]);
    fill_centres(similarity, alpha, n, [dim, centres], panels, shift);
    n.fill(&mut b.x, Kind::Real, 0);
    // A key of zeros has cosine 0 with everything (SPEC 3.3); a key of NaN goes anywhere, and disturbs no other.
    b.x[..dim].fill(0.0);
    let poisoned = if rows > 2 { 1 } else { usize::MAX };
    if poisoned < rows {
        b.x[stride..][..dim].fill(f32::NAN);
    }
    let problem = MixerAssign {
        keys: &b.x[..(rows - 1) * stride + dim],
        rows,
        stride,
        dim,
        centres: panels,
        shift,
        similarity,
        alpha,
        beta,
    };
    let failed = |promise, found: f32, expected| Failure {
        kernel: "mixer_assign",
        promise,
        names: &["rows", "dim", "centres", "similarity"],
        sizes: [rows, dim, centres, similarity.number() as usize, 0, 0].map(|size| size as u32),
        found: found.into(),
        expected,
    };
    let (assign, out) = (&mut b.assign, &mut b.out);
    assign.fill(UNTOUCHED);
    out.fill(canary());
    Kernels::portable().mixer_assign(&problem, &mut assign[2..][..rows], &mut out[3..][..rows]);
    let mut portable = [UNTOUCHED; 64];
    portable[..rows].copy_from_slice(&assign[2..][..rows]);
    let weights = fingerprint(&out[3..][..rows]);
    kernels.mixer_assign(&problem, &mut assign[2..][..rows], &mut out[3..][..rows]);
    let same = portable[..rows] == assign[2..][..rows] && fingerprint(&out[3..][..rows]) == weights;
    if is_exact(kernels) && !same {
        return Err(failed(BITS, 0.0, 0.0));
    }
    let results = (&assign[2..][..rows], &out[3..][..rows]);
    compare(&problem, centres, poisoned, results)
        .map_err(|(promise, found, expected)| failed(promise, found, expected))?;
    let around = untouched(&out[..3]) && untouched(&out[3 + rows..]);
    let ends = assign[..2].iter().chain(&assign[2 + rows..]);
    if around && ends.into_iter().all(|a| *a == UNTOUCHED) {
        Ok(())
    } else {
        Err(failed("values around the output are untouched", 0.0, 0.0))
    }
}

/// A broken promise, what was found, and what was expected.
type Broken = (&'static str, f32, f64);

/// Holds all rows but the poisoned one against f64.
fn compare(
    p: &MixerAssign<'_>,
    centres: usize,
    poisoned: usize,
    (assign, weights): (&[u16], &[f32]),
) -> Result<(), Broken> {
    for row in (0..p.rows).filter(|&row| row != poisoned) {
        let found = usize::from(assign[row]);
        if found >= centres {
            return Err(("a centre that exists", found as f32, centres as f64));
        }
        let best = (0..centres)
            .map(|m| exact(p, row, m).0)
            .fold(f64::NEG_INFINITY, f64::max);
        let (score, t, size) = exact(p, row, found);
        if !near(0.0, best - score, (p.dim + 8) as f64 * ULP * size) {
            return Err(("the centre with the largest score", score as f32, best));
        }
        let expected = 1.0 / (1.0 + libm::exp(-t));
        let tolerance = 4e-7 + (p.dim + 8) as f64 * ULP * f64::from(p.alpha).abs() * size;
        if !near(weights[row], expected, tolerance) {
            return Err((
                "sigmoid of beta + alpha * similarity",
                weights[row],
                expected,
            ));
        }
    }
    Ok(())
}

/// Centres in panels, unit ones for the cosine, negated for a negative alpha, and the starts of their scores.
fn fill_centres(
    similarity: Similarity,
    alpha: f32,
    n: &mut Numbers,
    [dim, centres]: [usize; 2],
    panels: &mut [f32],
    shift: &mut [f32],
) {
    panels.fill(0.0);
    shift.fill(f32::NEG_INFINITY);
    let sign = if alpha < 0.0 { -1.0 } else { 1.0 };
    for (m, shift) in shift.iter_mut().enumerate().take(centres) {
        let at = |k: usize| (m / LANES * dim + k) * LANES + m % LANES;
        let mut squares = 0.0;
        for k in 0..dim {
            let value = n.value(Kind::Real, 0);
            panels[at(k)] = value;
            squares += f64::from(value * value);
        }
        let factor = if similarity == Similarity::Cosine {
            (1.0 / libm::sqrt(squares)) as f32
        } else {
            1.0
        };
        (0..dim).for_each(|k| panels[at(k)] *= factor * sign);
        *shift = if similarity == Similarity::Euclidean {
            (-0.5 * squares) as f32 * sign
        } else {
            0.0
        };
    }
}

/// In f64: score, argument of the sigmoid, and what rounding errors are proportional to.
fn exact(p: &MixerAssign<'_>, row: usize, m: usize) -> (f64, f64, f64) {
    let key = &p.keys[row * p.stride..][..p.dim];
    let sign = if p.alpha < 0.0 { -1.0 } else { 1.0 };
    let (mut dot, mut norm, mut distance, mut length) = (0.0, 0.0, 0.0, 0.0);
    for (k, key) in key.iter().enumerate() {
        let centre = sign * f64::from(p.centres[(m / LANES * p.dim + k) * LANES + m % LANES]);
        let key = f64::from(*key);
        dot += key * centre;
        norm += key * key;
        distance += (key - centre) * (key - centre);
        length += centre * centre;
    }
    let (norm, distance) = (libm::sqrt(norm), libm::sqrt(distance));
    let (similarity, size) = match p.similarity {
        Similarity::Cosine => (dot / if norm > 1e-12 { norm } else { 1e-12 }, 1.0 + norm),
        Similarity::Dot => (dot, 1.0 + norm * libm::sqrt(length)),
        Similarity::Euclidean => (-distance, 1.0 + norm * libm::sqrt(length) + length),
    };
    let score = sign * dot + f64::from(p.shift[m]);
    (
        score,
        f64::from(p.beta) + f64::from(p.alpha) * similarity,
        size,
    )
}
