//! A model: a checked file, borrowed.

use crate::config::{Config, Place};
use crate::error::Error;
use crate::format::read::{File, StoredTensor};
use crate::format::{
    DType, GeluTable, Labels, PackedTensor, Preprocessing, Role, SelfTest, TensorId, gelu_table,
    packed_tensors, split_panels,
};
use crate::image::ImageSize;
use crate::kernels::{Panels, PanelsI8, Weights};
use crate::memory;
use crate::ops::{Linear, NormLinear};
use crate::plan::Plan;

/// A packed model, used where its bytes lie.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    file: File<'a>,
}

impl<'a> Model<'a> {
    /// Checks `bytes` once and borrows them: no copy, no heap. They must start at a multiple of 64
    /// ([`crate::include_model!`], `AlignedBytes`).
    ///
    /// # Errors
    /// Says what is wrong with the file; see docs/FORMAT.md for the list of refusals.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        File::open(bytes).map(|file| Self { file })
    }

    /// The network's configuration.
    pub fn config(&self) -> &Config {
        self.file.config()
    }

    /// How photos become inputs.
    pub fn preprocessing(&self) -> Preprocessing {
        self.file.preprocessing()
    }

    /// What the self-test expects.
    pub fn self_test(&self) -> SelfTest {
        self.file.self_test()
    }

    /// Where the weights came from: lines of `key: value`.
    pub fn provenance(&self) -> &'a str {
        self.file.provenance()
    }

    /// Class names, one per class, or none.
    pub fn labels(&self) -> Labels<'a> {
        self.file.labels()
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> usize {
        self.file.len()
    }

    /// Calls `visit` with every tensor, its storage type and its bytes in the file.
    pub fn tensors(&self, mut visit: impl FnMut(PackedTensor, DType, usize)) {
        packed_tensors(self.config(), |tensor| {
            if let Some(stored) = self.file.tensor(tensor.id) {
                visit(tensor, stored.dtype, stored.bytes.len());
            }
        });
    }

    /// Everything about a run on images of `size`, before it runs.
    ///
    /// # Errors
    /// [`Error::Size`] names the nearest accepted size.
    pub fn plan(&self, size: ImageSize) -> Result<Plan, Error> {
        Plan::new(self.config(), size, 1)
    }

    /// GELU between the MLP layers of a block of an integer network, or `None` where it is computed: in the block's finer form, and
    /// in networks that are not of integers.
    pub fn gelu_table(&self, place: Place) -> Option<GeluTable<'a>> {
        let role = Role::GeluTable;
        gelu_table(self.file.tensor(TensorId { role, place })?.bytes)
    }

    /// The matrix `weights` with the vector `bias` of a place.
    pub(crate) fn linear(&self, place: Place, weights: Role, bias: Role) -> Linear<'a> {
        Linear {
            weights: self.matrix(place, weights),
            bias: self.vector(place, bias),
        }
    }

    /// A layer that had a norm folded into it: the roles of its weights, bias and sums.
    pub(crate) fn norm_linear(
        &self,
        place: Place,
        [weights, bias, sums]: [Role; 3],
    ) -> NormLinear<'a> {
        let Linear { weights, bias } = self.linear(place, weights, bias);
        NormLinear {
            weights,
            bias,
            sums: self.vector(place, sums),
        }
    }

    /// A vector with its padding.
    pub(crate) fn vector(&self, place: Place, role: Role) -> &'a [f32] {
        self.stored(place, role)
            .map_or(&[], |tensor| memory::floats(tensor.bytes))
    }

    fn matrix(&self, place: Place, role: Role) -> Weights<'a> {
        let Some(StoredTensor {
            dtype,
            inputs,
            outputs,
            bytes,
        }) = self.stored(place, role)
        else {
            return Weights {
                panels: Panels::F32(&[]),
                inputs: 0,
                outputs: 0,
            };
        };
        let panels = match dtype {
            DType::F32 => Panels::F32(memory::floats(bytes)),
            DType::F16 => Panels::F16(memory::halves(bytes)),
            DType::I8 => {
                let parts = split_panels(inputs, outputs, bytes).unwrap_or_default();
                let [values, scales, sums] = parts;
                Panels::I8(PanelsI8 {
                    values: memory::signed(values),
                    scales: memory::floats(scales),
                    sums: memory::integers(sums),
                })
            }
            // No matrix is stored so.
            DType::U8 => Panels::F32(&[]),
        };
        Weights {
            panels,
            inputs,
            outputs,
        }
    }

    /// `File::open` has found every tensor that the configuration asks for.
    fn stored(&self, place: Place, role: Role) -> Option<StoredTensor<'a>> {
        let tensor = self.file.tensor(TensorId { role, place });
        debug_assert!(tensor.is_some(), "{place}{}", role.name());
        tensor
    }
}
