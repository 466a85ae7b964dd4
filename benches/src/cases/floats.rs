//! Kernels of f32 networks.

use fec_runtime::config::Similarity;
use fec_runtime::kernels::{
    Assign, Dispatch, Epilogue, Kernels, Matmul, MixerAssign, Moments, Norm, Panels, Scatter,
    Values, ValuesMut, Weights,
};

use super::{Aligned, Case, Place, Results, values};

const LANES: usize = 16;
const NORM: Norm = Norm {
    mean: 0.1,
    rstd: 1.7,
};
/// Values of a tile whose statistics are taken at once.
const TILE: usize = 28;

/// What stands behind a product.
#[derive(Clone, Copy)]
enum Behind {
    Bias,
    Norm,
    Gelu,
    Residual,
    Accumulate,
}

pub(super) fn of_stage(place: &Place, cases: &mut Vec<Case>) {
    let Place {
        stage,
        elements: n,
        next,
    } = place;
    let (n, c, hidden) = (*n, stage.dim, stage.hidden);
    cases.push(matmul("matmul_keys", [n, c, stage.key_dim()], Behind::Norm));
    cases.push(matmul("matmul_fc1_gelu", [n, c, hidden], Behind::Gelu));
    cases.push(matmul("matmul_fc2", [n, hidden, c], Behind::Residual));
    cases.push(narrow_matmul("matmul_fc2_f16", [n, hidden, c]));
    let centres = stage.centres();
    cases.push(mixer_assign([n, stage.head_dim, centres], stage.key_dim()));
    cases.push(scatter("scatter_mixer", n, c, stage.heads, centres));
    cases.push(dispatch(n, c, stage.heads, centres));
    cases.push(moments(n, c));
    if let Some(next) = *next {
        let m = n / 4;
        cases.push(assign([n, c, m]));
        cases.push(scatter("scatter_pool", n, c, 1, m));
        cases.push(matmul("matmul_pool_values", [m, c, next], Behind::Bias));
        cases.push(matmul("matmul_skip", [m, 9 * c, next], Behind::Accumulate));
    }
}

fn name([n, k, m]: [usize; 3]) -> String {
    format!("{n}x{k}x{m}")
}

/// Products of a shape N, K, M.
fn product([n, k, m]: [usize; 3]) -> u64 {
    (n * k * m) as u64
}

/// Weights [panel][k][16], small enough for sums to stay around 1; padding is 0.
fn panels(inputs: usize, outputs: usize) -> Vec<f32> {
    let scale = 1.0 / (inputs as f32).sqrt();
    let mut panels = values(outputs.next_multiple_of(LANES) * inputs, 2);
    for (i, value) in panels.iter_mut().enumerate() {
        let output = i / (LANES * inputs) * LANES + i % LANES;
        *value = if output < outputs {
            *value * scale
        } else {
            0.0
        };
    }
    panels
}

fn run(
    table: &Kernels,
    behind: Behind,
    x: &[f32],
    weights: Weights<'_>,
    vectors: [&[f32]; 2],
    out: &mut Results,
) {
    let [bias, sums] = vectors;
    let epilogue = match behind {
        Behind::Bias => Epilogue::Bias(bias),
        Behind::Norm => Epilogue::Norm {
            bias,
            sums,
            norm: NORM,
        },
        Behind::Gelu => Epilogue::NormGelu {
            bias,
            sums,
            norm: NORM,
        },
        Behind::Residual => Epilogue::Residual(bias),
        Behind::Accumulate => Epilogue::Accumulate,
    };
    let rows = x.len() / weights.inputs;
    out.room(rows * weights.outputs, 0, 0, 0);
    let matmul = Matmul::dense(x, rows, weights, epilogue);
    table.matmul(&matmul, &mut out.floats);
}

fn matmul(kernel: &'static str, shape: [usize; 3], behind: Behind) -> Case {
    let [n, inputs, outputs] = shape;
    let x = Aligned::new(&values(n * inputs, 1));
    let panels = Aligned::new(&panels(inputs, outputs));
    let padded = outputs.next_multiple_of(LANES);
    let vectors = [values(padded, 3), values(padded, 4)];
    Case {
        kernel,
        shape: name(shape),
        elements: product(shape),
        peak: Some("f32"),
        run: Box::new(move |table, out| {
            let weights = Weights {
                panels: Panels::F32(panels.get()),
                inputs,
                outputs,
            };
            run(
                table,
                behind,
                x.get(),
                weights,
                vectors.each_ref().map(|v| &v[..]),
                out,
            );
        }),
    }
}

fn narrow_matmul(kernel: &'static str, shape: [usize; 3]) -> Case {
    let [n, inputs, outputs] = shape;
    let x = Aligned::new(&values(n * inputs, 1));
    let wide = panels(inputs, outputs);
    let mut narrow = vec![0; wide.len()];
    Kernels::portable().narrow(&wide, &mut narrow);
    let panels = Aligned::new(&narrow);
    let bias = values(outputs.next_multiple_of(LANES), 3);
    Case {
        kernel,
        shape: name(shape),
        elements: product(shape),
        peak: Some("f32"),
        run: Box::new(move |table, out| {
            let weights = Weights {
                panels: Panels::F16(panels.get()),
                inputs,
                outputs,
            };
            run(
                table,
                Behind::Residual,
                x.get(),
                weights,
                [&bias, &bias],
                out,
            );
        }),
    }
}

fn assign(shape: [usize; 3]) -> Case {
    let [rows, inputs, centres] = shape;
    let x = Aligned::new(&values(rows * inputs, 1));
    let panels = Aligned::new(&panels(inputs, centres));
    let mut shift = values(centres, 3);
    shift.resize(centres.next_multiple_of(LANES), f32::NEG_INFINITY);
    Case {
        kernel: "assign_pool",
        shape: name(shape),
        elements: product(shape),
        peak: Some("f32"),
        run: Box::new(move |table, out| {
            out.room(0, 0, rows, 0);
            let assign = Assign {
                x: x.get(),
                rows,
                x_stride: inputs,
                inputs,
                centres: panels.get(),
                shift: &shift,
                locality: None,
            };
            table.assign(&assign, &mut out.halves);
        }),
    }
}

/// A centre for each element, each about as often.
fn assignments(count: usize, centres: usize) -> Vec<u16> {
    (0..count).map(|i| (i * 7 % centres) as u16).collect()
}

fn mixer_assign([rows, dim, centres]: [usize; 3], stride: usize) -> Case {
    let keys = values(rows * stride, 1);
    let padded = centres.next_multiple_of(LANES);
    let panels = values(padded * dim, 2);
    let mut shift = vec![f32::NEG_INFINITY; padded];
    shift[..centres].fill(0.0);
    Case {
        kernel: "mixer_assign",
        shape: name([rows, dim, centres]),
        elements: product([rows, dim, centres]),
        peak: Some("f32"),
        run: Box::new(move |table, out| {
            out.room(rows, 0, rows, 0);
            let mixer = MixerAssign {
                keys: &keys,
                rows,
                stride,
                dim,
                centres: &panels,
                shift: &shift,
                similarity: Similarity::Cosine,
                alpha: 4.0,
                beta: -1.0,
            };
            table.mixer_assign(&mixer, &mut out.halves, &mut out.floats);
        }),
    }
}

fn scatter(
    kernel: &'static str,
    rows: usize,
    channels: usize,
    heads: usize,
    centres: usize,
) -> Case {
    let x = values(rows * channels, 1);
    let assigned = assignments(rows * heads, centres);
    Case {
        kernel,
        shape: format!("{rows}x{channels}, {heads} heads, {centres} centres"),
        elements: (rows * channels * heads) as u64,
        peak: None,
        run: Box::new(move |table, out| {
            out.room(heads * centres * channels, heads * centres, 0, 0);
            let scatter = Scatter {
                x: Values::F32(&x),
                channels,
                heads,
                centres,
                assign: &assigned,
                assign_stride: heads,
            };
            table.scatter(&scatter, &mut out.floats, &mut out.more);
        }),
    }
}

fn dispatch(rows: usize, channels: usize, heads: usize, centres: usize) -> Case {
    let reps = values(heads * centres * channels, 1);
    let bias = values(channels.next_multiple_of(LANES), 2);
    let (assigned, weights) = (assignments(rows * heads, centres), values(rows * heads, 3));
    Case {
        kernel: "dispatch",
        shape: format!("{rows}x{channels}, {heads} heads, {centres} centres"),
        elements: (rows * channels * heads) as u64,
        peak: None,
        run: Box::new(move |table, out| {
            out.room(rows * channels, 0, 0, 0);
            let dispatch = Dispatch {
                table: &reps,
                bias: &bias,
                heads,
                centres,
                channels,
                assign: &assigned,
                weights: &weights,
            };
            table.dispatch(&dispatch, ValuesMut::F32(&mut out.floats));
        }),
    }
}

fn moments(rows: usize, channels: usize) -> Case {
    let x = values(rows * channels, 1);
    Case {
        kernel: "moments",
        shape: format!("{rows}x{channels}"),
        elements: (rows * channels) as u64,
        peak: None,
        run: Box::new(move |table, out| {
            let mut moments = Moments::default();
            for tile in x.chunks(TILE * channels) {
                table.moments(Values::F32(tile), &mut moments);
            }
            let Norm { mean, rstd } = moments.norm();
            out.floats = vec![mean, rstd];
        }),
    }
}
