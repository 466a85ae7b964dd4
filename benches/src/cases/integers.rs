//! Kernels of int8 networks.

use fec_runtime::kernels::{
    AssignI8, EpilogueI8, MatmulI8, Norm, Out, PanelsI8, PanelsI8Mut, Quantise, RowScales, Values,
    ValuesMut,
};

use super::{Aligned, Case, Place, values};

const LANES: usize = 16;
const GROUP: usize = 4;
/// The byte that stands for 0 in quantised rows.
const ZERO: u8 = 128;

/// What stands behind a product.
#[derive(Clone, Copy)]
enum Behind {
    Norm,
    Table,
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
    cases.push(matmul(
        "matmul_i8_keys",
        [n, c, stage.key_dim()],
        Behind::Norm,
    ));
    cases.push(matmul("matmul_i8_fc1_table", [n, c, hidden], Behind::Table));
    cases.push(matmul("matmul_i8_fc1_gelu", [n, c, hidden], Behind::Gelu));
    cases.push(matmul("matmul_i8_fc2", [n, hidden, c], Behind::Residual));
    cases.push(quantise(n, c));
    if let Some(next) = *next {
        cases.push(matmul(
            "matmul_i8_skip",
            [n / 4, 9 * c, next],
            Behind::Accumulate,
        ));
        cases.push(assign(n, c, n / 4));
        cases.push(pack_centres(n / 4, c));
    }
}

/// A packed matrix of bytes with what stands beside it.
struct Matrix {
    values: Aligned<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Matrix {
    fn new(inputs: usize, outputs: usize) -> Self {
        let (padded, stored) = (
            outputs.next_multiple_of(LANES),
            inputs.next_multiple_of(GROUP),
        );
        let mut bytes = vec![0_i8; padded * stored];
        let mut sums = vec![0_i32; padded];
        let random = values(bytes.len(), 2);
        for (i, (byte, value)) in bytes.iter_mut().zip(&random).enumerate() {
            let (group, lane) = (i / (LANES * GROUP), i / GROUP % LANES);
            let k = group % (stored / GROUP) * GROUP + i % GROUP;
            let o = group / (stored / GROUP) * LANES + lane;
            if k < inputs && o < outputs {
                *byte = (value * 127.0) as i8;
                sums[o] += i32::from(*byte);
            }
        }
        Self {
            values: Aligned::new(&bytes),
            scales: vec![1.0 / 127.0 / (inputs as f32).sqrt(); padded],
            sums,
        }
    }

    fn panels(&self) -> PanelsI8<'_> {
        PanelsI8 {
            values: self.values.get(),
            scales: &self.scales,
            sums: &self.sums,
        }
    }
}

/// Rows of bytes, K rounded up to 4.
fn rows(rows: usize, inputs: usize) -> Vec<u8> {
    let random = values(rows * inputs.next_multiple_of(GROUP), 1);
    random.iter().map(|v| (v * 127.0 + 128.0) as u8).collect()
}

fn name(n: usize, k: usize, m: usize) -> String {
    format!("{n}x{k}x{m}")
}

fn matmul(kernel: &'static str, [n, inputs, outputs]: [usize; 3], behind: Behind) -> Case {
    let x = Aligned::new(&rows(n, inputs));
    let matrix = Matrix::new(inputs, outputs);
    let padded = outputs.next_multiple_of(LANES);
    let (bias, sums, scales) = (values(padded, 3), values(padded, 4), vec![1.0 / 127.0; n]);
    let table_of_bytes: [u8; 256] = core::array::from_fn(|i| (i * 7 % 251) as u8);
    Case {
        kernel,
        shape: name(n, inputs, outputs),
        elements: (n * inputs * outputs) as u64,
        peak: Some("i8"),
        run: Box::new(move |table, out| {
            let (bias, sums) = (&bias[..], &sums[..]);
            let norm = Norm {
                mean: 0.1,
                rstd: 1.7,
            };
            let epilogue = match behind {
                Behind::Norm => EpilogueI8::Norm { bias, sums, norm },
                Behind::Gelu => EpilogueI8::Gelu { bias, sums, norm },
                Behind::Table => EpilogueI8::Table {
                    bias,
                    sums,
                    norm,
                    pre: 0.03,
                    table: &table_of_bytes,
                },
                Behind::Residual => EpilogueI8::Residual(bias),
                Behind::Accumulate => EpilogueI8::Accumulate,
            };
            let matmul = MatmulI8 {
                x: x.get(),
                rows: n,
                x_stride: inputs.next_multiple_of(GROUP),
                scales: match behind {
                    Behind::Residual => RowScales::All(1.0 / 127.0),
                    _ => RowScales::PerRow(&scales),
                },
                zero: ZERO,
                weights: matrix.panels(),
                inputs,
                outputs,
                out_stride: outputs,
                epilogue,
            };
            let len = n * outputs;
            match behind {
                Behind::Norm | Behind::Gelu => {
                    out.room(len, 0, 0, 0);
                    table.matmul_i8(&matmul, Out::Values(ValuesMut::F32(&mut out.floats)));
                }
                Behind::Table => {
                    out.room(0, 0, 0, len);
                    table.matmul_i8(&matmul, Out::Bytes(&mut out.bytes));
                }
                Behind::Residual | Behind::Accumulate => {
                    out.room(0, 0, len, 0);
                    table.matmul_i8(&matmul, Out::Values(ValuesMut::F16(&mut out.halves)));
                }
            }
        }),
    }
}

fn quantise(n: usize, inputs: usize) -> Case {
    let wide = values(n * inputs, 1);
    let mut x = vec![0; wide.len()];
    fec_runtime::kernels::Kernels::portable().narrow(&wide, &mut x);
    Case {
        kernel: "quantise",
        shape: format!("{n}x{inputs}"),
        elements: (n * inputs) as u64,
        peak: None,
        run: Box::new(move |table, out| {
            out.room(n, 0, 0, n * inputs.next_multiple_of(GROUP));
            let quantise = Quantise {
                x: Values::F16(&x),
                rows: n,
                inputs,
                centre: None,
            };
            table.quantise(&quantise, &mut out.bytes, &mut out.floats);
        }),
    }
}

fn assign(n: usize, inputs: usize, centres: usize) -> Case {
    let x = Aligned::new(&rows(n, inputs));
    let (matrix, scales) = (Matrix::new(inputs, centres), vec![1.0 / 127.0; n]);
    let mut shift = values(centres, 3);
    shift.resize(centres.next_multiple_of(LANES), f32::NEG_INFINITY);
    Case {
        kernel: "assign_i8_pool",
        shape: name(n, inputs, centres),
        elements: (n * inputs * centres) as u64,
        peak: Some("i8"),
        run: Box::new(move |table, out| {
            out.room(0, 0, n, 0);
            let assign = AssignI8 {
                x: x.get(),
                rows: n,
                x_stride: inputs.next_multiple_of(GROUP),
                scales: &scales,
                inputs,
                centres: matrix.panels(),
                shift: &shift,
                locality: None,
            };
            table.assign_i8(&assign, &mut out.halves);
        }),
    }
}

fn pack_centres(centres: usize, inputs: usize) -> Case {
    let keys = values(centres * inputs, 1);
    let padded = centres.next_multiple_of(LANES);
    let stored = padded * inputs.next_multiple_of(GROUP);
    // Its results are signed, unlike all others: their bytes are copied where results are compared.
    let room = core::cell::RefCell::new((vec![0_i8; stored], vec![0_i32; padded]));
    Case {
        kernel: "pack_centres",
        shape: format!("{centres}x{inputs}"),
        elements: (centres * inputs) as u64,
        peak: None,
        run: Box::new(move |table, out| {
            out.room(padded, 0, 0, stored);
            let (values, sums) = &mut *room.borrow_mut();
            let panels = PanelsI8Mut {
                values,
                scales: &mut out.floats,
                sums,
            };
            table.pack_centres(&keys, inputs, panels);
            for (byte, value) in out.bytes.iter_mut().zip(&*values) {
                *byte = value.cast_unsigned();
            }
        }),
    }
}
