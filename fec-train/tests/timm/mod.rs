//! What Pillow and timm computed (fixtures/timm.*, made by tools/make_timm_fixtures.py).

use serde_json::Value;

pub(crate) fn fixture(name: &str) -> std::path::PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures", name]
        .iter()
        .collect()
}

pub(crate) fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("timm.json")).unwrap()).unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn whole(value: &Value) -> usize {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no whole number")) as usize
}
