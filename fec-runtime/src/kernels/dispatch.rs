//! Dispatch (Eq. 7): each element takes its centres' projected representatives, weighted; the residual is added at once.

use super::ValuesMut;
use super::elements::Element;
use super::lanes::Lanes;
use crate::format::LANES;

/// One run of elements: x[n] += bias + sum over heads e, ascending, of weights[n][e] * table[e][assign[n][e]].
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
    /// Centres of the elements [rows, heads].
    pub assign: &'a [u16],
    /// Weights of the elements [rows, heads].
    pub weights: &'a [f32],
}

impl Dispatch<'_> {
    pub(super) fn check(&self, x: usize) {
        let rows = x / self.channels.max(1);
        assert!(
            self.channels > 0 && self.heads > 0 && rows * self.channels == x,
            "rows are not whole"
        );
        assert!(
            self.assign.len() == rows * self.heads && self.weights.len() == rows * self.heads,
            "one assignment and one weight per element and head"
        );
        assert!(
            self.table.len() == self.heads * self.centres * self.channels
                && self.bias.len() >= self.channels,
            "table of another shape"
        );
        assert!(
            self.assign.iter().all(|&m| usize::from(m) < self.centres),
            "no such centre"
        );
    }
}

#[inline(always)]
pub(super) fn body<L: Lanes>(d: &Dispatch<'_>, x: ValuesMut<'_>) {
    match x {
        ValuesMut::F32(x) => rows::<L, f32>(d, x),
        ValuesMut::F16(x) => rows::<L, u16>(d, x),
    }
}

#[inline(always)]
fn rows<L: Lanes, E: Element>(d: &Dispatch<'_>, x: &mut [E]) {
    let bias = &d.bias[..d.channels];
    let heads = d
        .assign
        .chunks_exact(d.heads)
        .zip(d.weights.chunks_exact(d.heads));
    for (row, (assign, weights)) in x.chunks_exact_mut(d.channels).zip(heads) {
        for (x, bias) in row.chunks_mut(LANES).zip(bias.chunks(LANES).enumerate()) {
            let (i, bias) = bias;
            let mut sum: L = load(bias);
            for (e, (&centre, &weight)) in assign.iter().zip(weights).enumerate() {
                let start = (e * d.centres + usize::from(centre)) * d.channels + i * LANES;
                let table: L = load(&d.table[start..start + bias.len()]);
                sum = L::splat(weight).mul(table).add(sum);
            }
            match <&mut [E; LANES]>::try_from(&mut *x) {
                Ok(x) => E::store(E::load::<L>(x).add(sum), x),
                Err(_) => E::store_part(E::load_part::<L>(x).add(sum), x),
            }
        }
    }
}

/// At most sixteen values.
#[inline(always)]
fn load<L: Lanes>(values: &[f32]) -> L {
    match values.try_into() {
        Ok(values) => L::load(values),
        Err(_) => L::load_part(values),
    }
}
