//! Dispatch (Eq. 7): each element takes its centres' projected representatives, weighted; the residual is added at once.

use super::ValuesMut;
use super::elements::Element;
use super::lanes::Lanes;
use crate::format::LANES;

/// One run of elements: `x[n] += bias + sum over heads e, ascending, of weights[n][e] * table[e][assign[n][e]]`.
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
    /// Where the representative of a head's centre begins.
    #[inline(always)]
    fn row(&self, head: usize, centre: u16) -> usize {
        (head * self.centres + usize::from(centre)) * self.channels
    }

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
    let heads = d.assign.chunks_exact(d.heads);
    let heads = heads.zip(d.weights.chunks_exact(d.heads));
    for (row, (assign, weights)) in x.chunks_exact_mut(d.channels).zip(heads) {
        let (chunks, rest) = row.as_chunks_mut::<LANES>();
        let mut at = 0;
        let (fours, chunks) = chunks.as_chunks_mut::<4>();
        for chunks in fours {
            add::<L, E, 4>(d, assign, weights, at, chunks);
            at += 4 * LANES;
        }
        for chunk in chunks {
            add::<L, E, 1>(d, assign, weights, at, core::array::from_mut(chunk));
            at += LANES;
        }
        if !rest.is_empty() {
            let len = rest.len();
            let mut sum = L::load_part(&d.bias[at..][..len]);
            for (e, (&centre, &weight)) in assign.iter().zip(weights).enumerate() {
                let table = L::load_part(&d.table[d.row(e, centre) + at..][..len]);
                sum = L::splat(weight).mul(table).add(sum);
            }
            E::store_part(E::load_part::<L>(rest).add(sum), rest);
        }
    }
}

/// Adds to `C` chunks of a row, from channel `at` on: their sums stay in registers over the heads.
#[inline(always)]
fn add<L: Lanes, E: Element, const C: usize>(
    d: &Dispatch<'_>,
    assign: &[u16],
    weights: &[f32],
    at: usize,
    x: &mut [[E; LANES]; C],
) {
    let mut sums = load::<L, C>(d.bias, at);
    for (e, (&centre, &weight)) in assign.iter().zip(weights).enumerate() {
        let table = load::<L, C>(d.table, d.row(e, centre) + at);
        for (sum, table) in sums.iter_mut().zip(table) {
            *sum = L::splat(weight).mul(table).add(*sum);
        }
    }
    for (x, sum) in x.iter_mut().zip(sums) {
        E::store(E::load::<L>(x).add(sum), x);
    }
}

/// `C` chunks from `at` on.
#[inline(always)]
fn load<L: Lanes, const C: usize>(values: &[f32], at: usize) -> [L; C] {
    let (chunks, _) = values[at..][..C * LANES].as_chunks::<LANES>();
    core::array::from_fn(
        #[inline(always)]
        |i| L::load(&chunks[i]),
    )
}
