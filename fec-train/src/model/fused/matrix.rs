//! Matrices of the CPU backend: what the fused operations multiply.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Flex, Shape};
use burn_flex::{FlexTensor, Layout};

/// A stack of matrices [.., rows, columns] in row-major order.
#[derive(Clone, Debug)]
pub(crate) struct Matrix(FlexTensor);

/// A matrix to multiply with: its values may lie in another order.
#[derive(Clone, Debug)]
pub(super) struct View(FlexTensor);

impl Matrix {
    /// `values` in row-major order of `shape`.
    pub(super) fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        let layout = Layout::contiguous(Shape::from(shape.to_vec()));
        let bytes = burn::backend::Bytes::from_elems(values);
        Self(FlexTensor::new(bytes, layout, DType::F32))
    }

    /// All of `values` in one dimension.
    pub(super) fn vector(values: Vec<f32>) -> Self {
        let length = values.len();
        Self::new(values, &[length])
    }

    pub(super) fn zeros(shape: &[usize]) -> Self {
        Self::new(vec![0.0; shape.iter().product()], shape)
    }

    /// The values of a tensor, copied only where they do not lie in row-major order.
    pub(super) fn of(tensor: &FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    /// The same values in row-major order of another shape.
    pub(super) fn reshape(&self, shape: &[usize]) -> Self {
        Self(self.0.reshape(Shape::from(shape.to_vec())))
    }

    pub(super) fn view(&self) -> View {
        View(self.0.clone())
    }

    /// The transposed matrix (of every one of the stack); nothing is copied.
    pub(super) fn t(&self) -> View {
        let rank = self.0.layout().shape().num_dims();
        self.view().swap(rank - 2, rank - 1)
    }

    /// self [.., R, K] x other [.., K, C]
    pub(super) fn times(&self, other: &View) -> Matrix {
        self.view().times(other)
    }

    pub(super) fn values(&self) -> &[f32] {
        self.0.storage()
    }

    /// The values to write to; copied first where another matrix has them as well.
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        self.0.storage_mut()
    }

    /// As a tensor of the backend.
    pub(super) fn into_tensor(self, shape: Shape) -> FlexTensor {
        self.0.reshape(shape)
    }
}

impl View {
    /// Two dimensions exchanged; nothing is copied.
    pub(super) fn swap(self, a: usize, b: usize) -> Self {
        Self(Flex::float_swap_dims(self.0, a, b))
    }

    /// self [.., R, K] x other [.., K, C]
    pub(super) fn times(&self, other: &View) -> Matrix {
        Matrix(Flex::float_matmul(self.0.clone(), other.0.clone()))
    }

    /// The values copied to row-major order.
    pub(super) fn copied(&self) -> Matrix {
        Matrix(self.0.to_contiguous())
    }
}
