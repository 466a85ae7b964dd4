//! A block (SPEC 5): mixer and MLP, each behind a norm and a layer scale.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use super::fused::{FusedMlp, apply, input, on_cpu};
use super::layers::{Linear, Norm, gelu};
use super::mixer::{Mixer, Setting};
use super::pass::Run;

/// `mlp`
#[derive(Module, Debug)]
pub struct Mlp {
    /// [H, C]
    pub fc1: Linear,
    /// [C, H]
    pub fc2: Linear,
}

/// `network.{0,2,4,6}.{i}`
#[derive(Module, Debug)]
pub struct Block {
    /// Before the mixer, [C].
    pub norm1: Norm,
    /// Keys, values and projection.
    pub token_mixer: Mixer,
    /// Before the MLP, [C].
    pub norm2: Norm,
    /// The MLP.
    pub mlp: Mlp,
    /// [C]
    pub layer_scale_1: Param<Tensor<1>>,
    /// [C]
    pub layer_scale_2: Param<Tensor<1>>,
}

impl Block {
    /// x [B, N, C]
    pub(super) fn forward(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        if !run.pass.composed && !run.pass.bf16 && on_cpu(&x) {
            self.fused(x, setting, run)
        } else {
            self.composed(x, setting, run)
        }
    }

    fn fused(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        let scale = self.layer_scale_1.val();
        let x = self.token_mixer.fused(x, &self.norm1, scale, setting, run);
        let shape = x.dims();
        let operation = FusedMlp {
            keep: run.keep(setting.branch + 1),
        };
        let inputs = [
            input(x),
            input(self.norm2.weight.val()),
            input(self.norm2.bias.val()),
            input(self.mlp.fc1.weight.val()),
            input(self.mlp.fc1.bias.val()),
            input(self.mlp.fc2.weight.val()),
            input(self.mlp.fc2.bias.val()),
            input(self.layer_scale_2.val()),
        ];
        apply(operation, inputs, shape).0
    }

    fn composed(&self, x: Tensor<3>, setting: Setting, run: &mut Run) -> Tensor<3> {
        let [b, n, c] = x.dims();
        let bf16 = run.pass.bf16;
        let branch = self
            .token_mixer
            .composed(self.norm1.forward(x.clone()), setting, run);
        let x = x + kept(branch, run, setting.branch, &self.layer_scale_1);
        let rows = self.norm2.forward(x.clone()).reshape([b * n, c]);
        let hidden = gelu(self.mlp.fc1.rows(rows, bf16));
        let branch = self.mlp.fc2.rows(hidden, bf16).reshape([b, n, c]);
        x + kept(branch, run, setting.branch + 1, &self.layer_scale_2)
    }
}

/// A branch [B, N, C] times its layer scale [C], and what drop path leaves of it.
fn kept(x: Tensor<3>, run: &Run, branch: usize, scale: &Param<Tensor<1>>) -> Tensor<3> {
    let [b, _, c] = x.dims();
    let scaled = x * scale.val().reshape([1, 1, c]);
    if run.pass.drop_path.is_none() {
        return scaled;
    }
    let keep = TensorData::new(run.keep(branch).to_vec(), [b, 1, 1]);
    let keep = Tensor::<3>::from_data(keep, &scaled.device());
    scaled * keep
}
