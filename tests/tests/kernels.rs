//! The test body of every kernel over every table that this machine has.

use fec_runtime::kernels::check::{Buffers, check};
use fec_runtime::kernels::{Isa, Kernels};
use fec_tests::golden::notice;

#[test]
fn every_table_computes_what_the_definitions_say() {
    let mut buffers = Box::<Buffers>::default();
    let mut failures = Vec::new();
    for isa in Isa::ALL {
        let Some(kernels) = Kernels::get(isa) else {
            notice(&format!("{isa}: not on this machine"));
            continue;
        };
        match check(kernels, &mut buffers) {
            Ok(cases) => notice(&format!("{isa}: {cases} cases")),
            Err(failure) => failures.push(format!("{isa}: {failure}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
