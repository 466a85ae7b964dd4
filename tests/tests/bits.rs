//! The same bits: for any number of threads, and in integer networks on every instruction set.

use fec_convert::fold::formula_tensors;
use fec_convert::pack::{PackOptions, pack};
use fec_runtime::format::DType;
use fec_runtime::kernels::Kernels;
use fec_runtime::{AlignedBytes, Config, Image, Model, Session};
use fec_tests::engine::pack_options;
use fec_tests::fixtures::{config, integers, model, size};
use fec_tests::golden::notice;

/// CRCs of the outputs and of all assignments.
type Bits = (u32, u32);

const THREADS: [usize; 4] = [1, 2, 3, 7];

fn run(model: &AlignedBytes, image: &Image<'_>, kernels: &'static Kernels, threads: usize) -> Bits {
    let model = Model::from_bytes(model.as_bytes()).expect("a model");
    let plan = model.plan(image.size()).expect("a plan");
    let plan = plan.with_threads(threads).expect("a plan for threads");
    let mut arena = AlignedBytes::zeroed(plan.arena_len());
    let mut session =
        Session::with_kernels(&model, plan, arena.as_bytes_mut(), kernels).expect("a session");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = pool.build().expect("a pool");
    pool.install(|| {
        let output = session.run(image).expect("a run");
        (output.output_crc(), output.assignments_crc())
    })
}

/// Integer networks: with tables for GELU in every other stage, and without any.
fn integer_models(config: &Config) -> [AlignedBytes; 2] {
    let mut options = PackOptions {
        dtype: DType::I8,
        ..pack_options()
    };
    options.preprocessing.size = config.nearest_size(options.preprocessing.size);
    let finer = pack(config, &formula_tensors(config), &options).expect("a preset packs");
    [integers(config), AlignedBytes::copy_of(&finer)]
}

/// Folds, an odd number of heads for the threads, and more threads than some maps have tiles.
const NETWORKS: [(&str, usize, usize); 4] = [
    ("nano", 64, 96),
    ("compact", 64, 64),
    ("small", 32, 64),
    ("small_det", 64, 64),
];

#[test]
fn int8_bits_are_equal_on_every_table_and_for_any_number_of_threads() {
    for (name, height, width) in NETWORKS {
        for (form, model) in integer_models(&config(name)).iter().enumerate() {
            let image = Image::formula(size(height, width), 3);
            let expected = run(model, &image, Kernels::portable(), 1);
            for kernels in Kernels::available() {
                for threads in THREADS {
                    let found = run(model, &image, kernels, threads);
                    assert_eq!(
                        found, expected,
                        "{name} {form}: {kernels:?}, {threads} threads"
                    );
                }
            }
            notice(&format!("{name} {form}: {expected:08x?} everywhere"));
        }
    }
}

#[test]
fn float_bits_do_not_depend_on_the_number_of_threads() {
    for (name, height, width) in NETWORKS {
        let model = model(name);
        let image = Image::formula(size(height, width), 3);
        for kernels in Kernels::available() {
            let expected = run(&model, &image, kernels, 1);
            for threads in THREADS {
                let found = run(&model, &image, kernels, threads);
                assert_eq!(found, expected, "{name}: {kernels:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn exact_tables_give_the_portable_bits_in_float_networks_too() {
    for (name, height, width) in NETWORKS {
        let model = model(name);
        let image = Image::formula(size(height, width), 3);
        let expected = run(&model, &image, Kernels::portable(), 1);
        for kernels in Kernels::available() {
            let found = run(&model, &image, kernels.exact(), 1);
            assert_eq!(found, expected, "{name}: {kernels:?}");
        }
    }
}
