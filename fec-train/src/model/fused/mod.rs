//! The heavy parts of the network as single operations for the CPU, each with its hand-written gradient: a few passes over
//! memory where composed operations make dozens. The composed forms beside the modules' parameters say what they compute, serve
//! every other backend and are what these are tested against.

mod math;
mod matrix;
mod mixer;
mod mlp;
mod norm;
mod pool;
mod product;

use alloc::sync::Arc;
use core::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, Shape};
use burn::tensor::Tensor;
use fec_runtime::MapSize;
use fec_runtime::config::Similarity;

use super::grid::Grid;
use matrix::Matrix;

pub(super) use mixer::FusedMixer;
pub(super) use mlp::FusedMlp;
pub(super) use pool::{FusedColours, FusedPool, UnitKeys};

/// An operation on `N` tensors with a hand-written gradient.
pub(super) trait Fused<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// What the forward pass keeps for the gradient.
    type Saved: Debug + Send + Sync + 'static;

    /// The output's values in row-major order. `train`: a gradient will be asked for.
    fn forward(&self, inputs: &[Matrix; N], train: bool) -> (Matrix, Self::Saved);

    /// The gradients of the inputs, given the output's. Each has its input's number of values, in row-major order.
    fn backward(&self, inputs: &[Matrix; N], saved: &Self::Saved, grad: Matrix) -> [Matrix; N];
}

/// An input of a fused operation, whatever its rank.
pub(super) struct Input {
    tensor: FloatTensor<Autodiff<Flex>>,
    /// It came without automatic differentiation.
    plain: bool,
}

/// Whether a tensor lies on the CPU backend, with gradients or without: the fused operations are for those.
pub(super) fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.clone().inner().try_into_primitive::<Flex>().is_ok()
}

/// Takes a tensor into a fused operation. Without automatic differentiation it counts as a constant.
pub(super) fn input<const D: usize>(x: Tensor<D>) -> Input {
    let plain = !x.is_autodiff();
    let x = if plain { Tensor::from_inner(x) } else { x };
    let tensor = x
        .try_into_primitive::<Autodiff<Flex>>()
        .expect("the callers ask `on_cpu` first");
    Input { tensor, plain }
}

/// Runs a fused operation; the output has shape `shape`.
pub(super) fn apply<F: Fused<N>, const N: usize, const D: usize>(
    operation: F,
    inputs: [Input; N],
    shape: [usize; D],
) -> (Tensor<D>, Arc<F::Saved>) {
    let matrices = inputs.each_ref().map(|x| Matrix::of(x.tensor.primitive()));
    let shape = Shape::from(shape);
    let prepared = Gradient(operation.clone())
        .prepare::<NoCheckpointing>(inputs.each_ref().map(|x| x.tensor.node()))
        .compute_bound()
        .stateful();
    let (output, saved) = match prepared {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = operation.forward(&matrices, true);
            let saved = Arc::new(saved);
            let state = State::<F, N> {
                inputs: matrices,
                shapes: inputs
                    .each_ref()
                    .map(|x| x.tensor.primitive().layout().shape().clone()),
                saved: saved.clone(),
            };
            (prepared.finish(state, output.into_tensor(shape)), saved)
        }
        OpsKind::UnTracked(prepared) => {
            let (output, saved) = operation.forward(&matrices, false);
            (prepared.finish(output.into_tensor(shape)), Arc::new(saved))
        }
    };
    let output = Tensor::from_primitive::<Autodiff<Flex>>(output);
    let plain = inputs.iter().all(|x| x.plain);
    (if plain { output.inner() } else { output }, saved)
}

/// The step on burn's tape.
#[derive(Debug)]
struct Gradient<F>(F);

/// What it needs.
#[derive(Debug)]
struct State<F: Fused<N>, const N: usize> {
    inputs: [Matrix; N],
    shapes: [Shape; N],
    saved: Arc<F::Saved>,
}

impl<F: Fused<N>, const N: usize> Clone for State<F, N> {
    fn clone(&self) -> Self {
        Self {
            inputs: self.inputs.clone(),
            shapes: self.shapes.clone(),
            saved: self.saved.clone(),
        }
    }
}

impl<F: Fused<N>, const N: usize> Backward<Flex, N> for Gradient<F> {
    type State = State<F, N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Matrix::of(&grads.consume::<Flex>(&ops.node));
        let State {
            inputs,
            shapes,
            saved,
        } = ops.state;
        let found = self.0.backward(&inputs, &saved, grad);
        for ((parent, grad), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, grad.into_tensor(shape));
            }
        }
    }
}

/// The centre of every element of `x` [B, N, C], which lies on the CPU: [B, N] in the grid's numbering. `weight` and `bias` are
/// conv_f's; nothing of this has a gradient. `unit`: the elements' keys, where they are there already.
pub(super) fn pool_assign(
    x: Tensor<3>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    map: MapSize,
    grid: &Grid,
    (similarity, locality): (Similarity, f32),
    unit: Option<&UnitKeys>,
) -> Vec<u16> {
    let channels = x.dims()[2];
    let x = matrix(x);
    let (weight, bias) = (matrix(weight), matrix(bias));
    let keys = pool::Keys {
        weight: weight.values(),
        bias: bias.values(),
        similarity,
        locality,
    };
    pool::assign(x.values(), channels, map, grid, (keys, unit))
}

/// Unit keys of `x` [B, N, C], which lies on the CPU; `weight` and `bias` are conv_f's.
pub(super) fn unit_keys(x: Tensor<3>, weight: Tensor<4>, bias: Tensor<1>) -> UnitKeys {
    let (x, weight, bias) = (matrix(x), matrix(weight), matrix(bias));
    UnitKeys::new(x.values(), weight.values(), bias.values())
}

/// A tensor's values; it lies on the CPU.
pub(super) fn matrix<const D: usize>(x: Tensor<D>) -> Matrix {
    let x = x.inner().try_into_primitive::<Flex>();
    Matrix::of(&x.expect("the callers ask `on_cpu` first"))
}
