//! Sizes of a pool's buffers.

use crate::format::LANES;
use crate::image::MapSize;
use crate::ops::linear::{self, bytes_len};
use crate::ops::{TILE, map_len, room, room_bytes, tiles};

/// Centres that are made at a time: whole panels.
pub(super) const CENTRES: usize = 2 * LANES;

/// Sizes that a pool's buffers depend on.
#[derive(Clone, Copy)]
pub(crate) struct PoolShape {
    pub(crate) map: MapSize,
    pub(crate) folds: usize,
    pub(crate) dim: usize,
    pub(crate) next: usize,
    pub(crate) key_dim: usize,
    /// Maps are f16, similarities are products of bytes.
    pub(crate) integer: bool,
    /// Whether positions count.
    pub(crate) local: bool,
    pub(crate) threads: usize,
}

impl PoolShape {
    /// Centres of all regions, and of one region padded to panels.
    pub(super) fn centres(&self) -> (usize, usize) {
        let all = self.map.elements() / 4;
        (
            all,
            (all / (self.folds * self.folds)).next_multiple_of(LANES),
        )
    }

    /// Lengths of the scratch pieces, in floats, in the order of [`super::Scratch`].
    pub(super) fn pieces(&self) -> [usize; 8] {
        let (all, padded) = self.centres();
        let integer = |n: usize| if self.integer { n } else { 0 };
        let assign = self.bytes_len() + self.threads * self.assign_pieces().iter().sum::<usize>();
        let centres = CENTRES.min(padded) * (self.key_dim + LANES);
        let representatives = integer(room(TILE.min(all) * self.next));
        let skip: usize = self.skip_pieces().iter().sum();
        let tile = self.threads * centres.max(representatives).max(skip);
        [
            room(all * self.dim),
            room(all),
            room(padded),
            room(padded),
            room(padded),
            integer(2 * padded),
            integer(2 * room(self.dim)),
            assign
                .max(tile)
                .max(tiles::moments_len(self.map.elements())),
        ]
    }

    /// Floats that hold a region's centres as bytes.
    pub(super) fn bytes_len(&self) -> usize {
        let (_, padded) = self.centres();
        if self.integer {
            room_bytes(padded * self.dim.next_multiple_of(4))
        } else {
            0
        }
    }

    /// Lengths of an assignment tile's pieces: rows as floats, their keys (both for a locality), rows as bytes.
    pub(super) fn assign_pieces(&self) -> [usize; 3] {
        let rows = TILE.min(self.map.elements() / (self.folds * self.folds));
        let (wide, keys) = (room(rows * self.dim), room(rows * self.key_dim));
        [
            if self.local && self.integer { wide } else { 0 },
            if self.local { keys } else { 0 },
            if self.integer {
                bytes_len(rows, self.dim)
            } else {
                0
            },
        ]
    }

    /// Lengths of the convolution's pieces: windows, and what their product takes.
    pub(super) fn skip_pieces(&self) -> [usize; 2] {
        let (rows, inputs) = (TILE.min(self.map.elements() / 4), 9 * self.dim);
        if self.integer {
            let product = linear::add_rows_len(rows, inputs, self.next);
            [room_bytes(2 * rows * inputs), product]
        } else {
            [room(rows * inputs), 0]
        }
    }

    /// Floats of scratch.
    pub(crate) fn scratch_len(&self) -> usize {
        self.pieces().iter().sum()
    }

    /// Floats of the output's buffer: it holds the centres before it holds the output.
    pub(crate) fn out_len(&self) -> usize {
        let (all, padded) = self.centres();
        map_len(all * self.next, self.integer).max(room(padded * self.dim))
    }
}
