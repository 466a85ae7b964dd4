//! Work in tiles: what each owns of the buffers that a step writes, one after the other or on several threads.
//!
//! How a map is cut depends on shapes alone, and a tile's result on its own input: the bits are the same for any number of threads.

use super::{Context, Region, TILE};
use crate::kernels::{Kernels, Moments, Values, ValuesMut};
use crate::probe::Probe;

/// Buffers that tiles own pieces of.
pub(crate) trait Tiles: Send + Sized {
    /// The pieces of the first `tiles` tiles, and the others'.
    fn split(self, tiles: usize) -> (Self, Self);
}

/// A buffer of which each tile owns `each` values, the last one perhaps fewer.
pub(crate) struct Of<B> {
    pub(crate) buffer: B,
    each: usize,
}

/// `each` values per tile.
pub(crate) fn of<B>(buffer: B, each: usize) -> Of<B> {
    Of { buffer, each }
}

impl<T: Send> Tiles for Of<&mut [T]> {
    fn split(self, tiles: usize) -> (Self, Self) {
        let at = (tiles * self.each).min(self.buffer.len());
        let (first, rest) = self.buffer.split_at_mut(at);
        (of(first, self.each), of(rest, self.each))
    }
}

impl Tiles for Of<ValuesMut<'_>> {
    fn split(self, tiles: usize) -> (Self, Self) {
        let at = (tiles * self.each).min(self.buffer.len());
        let (first, rest) = self.buffer.split_at(at);
        (of(first, self.each), of(rest, self.each))
    }
}

impl<A: Tiles, B: Tiles> Tiles for (A, B) {
    fn split(self, tiles: usize) -> (Self, Self) {
        let ((a, c), (b, d)) = (self.0.split(tiles), self.1.split(tiles));
        ((a, b), (c, d))
    }
}

/// Calls `work` with each tile's number, its pieces of `buffers`, and scratch that is its own while it runs: `scratch` is cut into
/// `threads` equal parts.
pub(crate) fn for_each<B: Tiles>(
    threads: usize,
    count: usize,
    buffers: B,
    scratch: &mut [f32],
    work: &(impl Fn(usize, B, &mut [f32]) + Sync),
) {
    run(threads.max(1), 0, count, buffers, scratch, work);
}

fn run<B: Tiles>(
    threads: usize,
    first: usize,
    count: usize,
    mut buffers: B,
    scratch: &mut [f32],
    work: &(impl Fn(usize, B, &mut [f32]) + Sync),
) {
    #[cfg(feature = "threads")]
    if threads > 1 && count > 1 {
        let left = threads / 2;
        // Rounded up: with fewer tiles than threads every half keeps one.
        let tiles = (count * left).div_ceil(threads);
        let (a, b) = buffers.split(tiles);
        let (mine, theirs) = scratch.split_at_mut(scratch.len() / threads * left);
        rayon::join(
            || run(left, first, tiles, a, mine, work),
            || {
                run(
                    threads - left,
                    first + tiles,
                    count - tiles,
                    b,
                    theirs,
                    work,
                )
            },
        );
        return;
    }
    let own = scratch.len() / threads;
    for tile in first..first + count {
        let (piece, rest) = buffers.split(1);
        work(tile, piece, &mut scratch[..own]);
        buffers = rest;
    }
}

/// The same for the tiles of a region of a map [N, C], each of which is one run of its rows. Only regions that are the whole map
/// are shared among threads: others' tiles do not lie one behind the other.
pub(crate) fn for_each_run(
    threads: usize,
    region: Region,
    map: &mut ValuesMut<'_>,
    channels: usize,
    scratch: &mut [f32],
    work: &(impl Fn(usize, ValuesMut<'_>, &mut [f32]) + Sync),
) {
    if region.is_whole() {
        let buffer = of(map.reborrow(), region.tile() * channels);
        let work = |tile, x: Of<ValuesMut<'_>>, scratch: &mut [f32]| work(tile, x.buffer, scratch);
        for_each(threads, region.tiles(), buffer, scratch, &work);
    } else {
        for tile in 0..region.tiles() {
            let run = region.run(tile);
            let x = map.slice_mut(run.start * channels..run.end * channels);
            work(tile, x, scratch);
        }
    }
}

impl Context<'_> {
    /// The same for work that shows its assignments to the probe: a probe that wants to see them has all tiles on one thread.
    pub(super) fn for_each<B: Tiles>(
        &mut self,
        count: usize,
        mut buffers: B,
        scratch: &mut [f32],
        work: &(impl Fn(usize, B, &mut [f32], &mut dyn Probe) + Sync),
    ) {
        if self.threads > 1 && !self.probe.watches_assignments() {
            let work = |tile, piece, scratch: &mut [f32]| work(tile, piece, scratch, &mut ());
            return for_each(self.threads, count, buffers, scratch, &work);
        }
        for tile in 0..count {
            let (piece, rest) = buffers.split(1);
            work(tile, piece, scratch, self.probe);
            buffers = rest;
        }
    }
}

/// Statistics of a map [N, C]: of each tile on its own, merged in order.
pub(crate) fn moments(
    kernels: &Kernels,
    threads: usize,
    x: Values<'_>,
    channels: usize,
    scratch: &mut [f32],
) -> Moments {
    let each = TILE * channels;
    let count = x.len().div_ceil(each.max(1));
    let spreads = &mut scratch[..2 * count];
    for_each(
        threads,
        count,
        of(&mut *spreads, 2),
        &mut [],
        &|tile, spread, _| {
            let start = tile * each;
            let tile = x.slice(start..x.len().min(start + each));
            spread.buffer.copy_from_slice(&kernels.spread(tile));
        },
    );
    let mut moments = Moments::new();
    for (tile, spread) in spreads.chunks_exact(2).enumerate() {
        let n = each.min(x.len() - tile * each);
        moments.merge(&Moments::of_tile(n, [spread[0], spread[1]]));
    }
    moments
}

/// Floats of scratch for [`moments`].
pub(crate) fn moments_len(elements: usize) -> usize {
    super::room(2 * elements.div_ceil(TILE))
}
