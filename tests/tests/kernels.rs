//! The test body of every kernel over every table that this machine has.

use std::env;

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
        for (name, kernels) in [("plain", kernels), ("exact", kernels.exact())] {
            match check(kernels, &mut buffers) {
                Ok(cases) => notice(&format!("{isa}, {name}: {cases} cases")),
                Err(failure) => failures.push(format!("{isa}, {name}: {failure}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the CI says must be there, as in `FEC_EXPECT_ISA=avx2,avx512`: a machine without it is a failure, not a test left out.
#[test]
fn expected_tables_are_there() {
    let expected = env::var("FEC_EXPECT_ISA").unwrap_or_default();
    for name in expected.split(',').filter(|name| !name.is_empty()) {
        let isa = Isa::from_name(name)
            .unwrap_or_else(|| panic!("FEC_EXPECT_ISA: no instruction set {name}"));
        let table = Kernels::get(isa);
        assert!(
            table.is_some_and(|t| t.isa() == isa),
            "FEC_EXPECT_ISA: {isa} is not on this machine"
        );
    }
}
