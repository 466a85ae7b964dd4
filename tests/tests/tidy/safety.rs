//! Rules about what may fail or go wrong: `unsafe`, panics, and what the ops must not contain.

use crate::hold;
use crate::lexer::words;
use crate::source::{Source, rust_files};

/// Files with the keyword `unsafe`: path, how often, why there. In products it may stand only under `UNSAFE_ADDRESSES`.
const UNSAFE_FILES: &[(&str, usize, &str)] = &[
    ("fec-runtime/src/memory.rs", 12, "views of bytes as numbers"),
    (
        "fec-runtime/src/kernels/peak/x86_64.rs",
        1,
        "calls of functions with target features",
    ),
    (
        "fec-runtime/src/kernels/peak/aarch64.rs",
        3,
        "calls of functions with target features, SDOT, SMMLA",
    ),
    (
        "fec-runtime/src/kernels/lanes/neon.rs",
        29,
        "intrinsics, and FCVTL and FCVTN",
    ),
    ("fec/src/mapped.rs", 1, "a model file as memory"),
    ("fec-runtime/src/kernels/lanes/avx2.rs", 32, "intrinsics"),
    ("fec-runtime/src/kernels/lanes/avx512.rs", 35, "intrinsics"),
    (
        "fec-runtime/src/kernels/matmul_f32/sums.rs",
        9,
        "the loop over k reads without checks",
    ),
    (
        "fec-runtime/src/kernels/matmul_f32/tiled.rs",
        1,
        "sums are written without checks",
    ),
    (
        "fec-runtime/src/kernels/dot/mod.rs",
        3,
        "the loop over k reads without checks",
    ),
    (
        "fec-runtime/src/kernels/matmul_i8/finish.rs",
        1,
        "results are written without checks",
    ),
    ("fec-runtime/src/kernels/dot/avx2.rs", 7, "intrinsics"),
    ("fec-runtime/src/kernels/dot/avx512.rs", 12, "intrinsics"),
    ("fec-runtime/src/kernels/dot/neon.rs", 13, "intrinsics"),
    (
        "fec-runtime/src/kernels/dot/neon_dotprod.rs",
        2,
        "SDOT, and calls of it",
    ),
    (
        "fec-runtime/src/kernels/dot/neon_i8mm.rs",
        10,
        "USMMLA and SUDOT, calls of them, intrinsics",
    ),
    (
        "fec-runtime/src/kernels/mod.rs",
        26,
        "a table's functions, each called by its checked method",
    ),
    ("tests/tests/no_alloc.rs", 5, "an allocator that counts"),
    (
        "firmware-examples/mps2-an386/src/main.rs",
        2,
        "a link section, and the fault handler",
    ),
    (
        "firmware-examples/mps2-an386/src/stack.rs",
        2,
        "reads the painted stack",
    ),
];
const UNSAFE_ADDRESSES: [&str; 4] = [
    "fec-runtime/src/kernels/",
    "fec-runtime/src/memory.rs",
    "fec/src/mapped.rs",
    "firmware-examples/",
];

/// Calls that end a program, in products: path, the line's text, why it cannot happen.
const PANICS: &[(&str, &str, &str)] = &[];

#[test]
fn unsafe_stands_where_and_as_often_as_listed() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let found = words(&file.code, "unsafe").count();
        let listed = UNSAFE_FILES.iter().find(|(path, ..)| *path == file.path);
        let expected = listed.map_or(0, |&(_, count, _)| count);
        if found != expected {
            broken.push(format!(
                "{}: {found} times, listed are {expected}",
                file.path
            ));
        }
        let address = file.is_test()
            || UNSAFE_ADDRESSES
                .iter()
                .any(|address| file.path.starts_with(address));
        if found > 0 && !address {
            broken.push(format!("{}: not a place for it", file.path));
        }
    }
    hold(
        broken,
        "do without `unsafe`, or move it to kernels/ or memory.rs and correct UNSAFE_FILES:",
    );
}

#[test]
fn every_unsafe_names_the_check_that_makes_it_sound() {
    let mut broken = Vec::new();
    for file in rust_files() {
        for at in words(&file.code, "unsafe") {
            let line = file.code[..at].matches('\n').count();
            if !has_safety_comment(&file, line) {
                broken.push(format!("{}:{}", file.path, line + 1));
            }
        }
    }
    hold(
        broken,
        "write a `// SAFETY:` line above that names the check that makes it true:",
    );
}

/// Whether a comment in front of the statement or item on `line` speaks of safety.
fn has_safety_comment(file: &Source, line: usize) -> bool {
    let text: Vec<&str> = file.text.lines().collect();
    for above in text[..line].iter().rev() {
        let above = above.trim();
        if above.starts_with("//") {
            if above.contains("SAFETY:") || above.contains("# Safety") {
                return true;
            }
        } else if above.is_empty() || above.ends_with([';', '{', '}']) {
            return false;
        }
    }
    false
}

#[test]
fn ops_are_portable_safe_and_without_allocation() {
    const FORBIDDEN: [&str; 8] = [
        "target_arch",
        "target_feature",
        "unsafe",
        "alloc",
        "Vec",
        "Box",
        "String",
        "vec",
    ];
    let mut broken = Vec::new();
    for file in rust_files()
        .iter()
        .filter(|file| file.path.starts_with("fec-runtime/src/ops/"))
    {
        let code = file.product_code();
        let words = FORBIDDEN
            .into_iter()
            .filter(|word| words(code, word).next().is_some());
        let pointers = ["*const ", "*mut "]
            .into_iter()
            .filter(|pointer| code.contains(pointer));
        broken.extend(
            words
                .chain(pointers)
                .map(|found| format!("{}: {found}", file.path)),
        );
    }
    hold(
        broken,
        "an op is slices in, slices out; move what needs these into a kernel:",
    );
}

#[test]
fn products_do_not_panic_on_purpose() {
    const CALLS: [&str; 6] = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "unreachable!(",
        "todo!(",
        "unimplemented!(",
    ];
    const PRODUCTS: [&str; 3] = ["fec-runtime/src/", "fec/src/", "fec-convert/src/"];
    let mut broken = Vec::new();
    for file in rust_files() {
        if file.is_test() || !PRODUCTS.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        for (i, (code, text)) in file
            .product_code()
            .lines()
            .zip(file.text.lines())
            .enumerate()
        {
            let listed = PANICS
                .iter()
                .any(|(path, line, _)| *path == file.path && *line == text.trim());
            if CALLS.iter().any(|call| code.contains(call)) && !listed {
                broken.push(format!("{}:{}: {}", file.path, i + 1, text.trim()));
            }
        }
    }
    hold(
        broken,
        "return an error instead, or list the line in PANICS with the reason why it cannot happen:",
    );
}
