//! The kinds of values that options have, in TOML and on the command line.

use toml::Value;

/// A kind of value.
pub(super) trait Kind: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// The value, or `None` for one of another kind.
    fn read(value: &Value) -> Option<Self>;
    /// As TOML.
    fn write(&self) -> Value;
    /// The value of text from the command line, where quotes and brackets may be left out.
    fn parse(text: &str) -> Option<Self> {
        Self::read(&toml_value(text)?)
    }
}

/// A value as it is printed: numbers in their shortest form.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Float(number) => format!("{number:?}"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(text).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// Text as a TOML value.
fn toml_value(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    // A line break would let in further keys.
    (table.len() == 1).then(|| table.get("value").cloned())?
}

impl Kind for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn write(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl Kind for u64 {
    const EXPECTED: &'static str = "a whole number of at least 0";
    fn read(value: &Value) -> Option<Self> {
        value.as_integer()?.try_into().ok()
    }
    fn write(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl Kind for usize {
    const EXPECTED: &'static str = u64::EXPECTED;
    fn read(value: &Value) -> Option<Self> {
        value.as_integer()?.try_into().ok()
    }
    fn write(&self) -> Value {
        (*self as u64).write()
    }
}

impl Kind for f64 {
    const EXPECTED: &'static str = "a number";
    fn read(value: &Value) -> Option<Self> {
        let number = match value {
            Value::Float(v) => *v,
            Value::Integer(v) => *v as f64,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }
    fn write(&self) -> Value {
        Value::Float(*self)
    }
}

impl Kind for String {
    const EXPECTED: &'static str = "text";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn write(&self) -> Value {
        Value::String(self.clone())
    }
    fn parse(text: &str) -> Option<Self> {
        // Quotes are allowed: a recipe's line may be copied.
        match text.starts_with(['"', '\'']) {
            true => Self::read(&toml_value(text)?),
            false => Some(text.to_owned()),
        }
    }
}

/// Options that can be off.
impl Kind for Option<f64> {
    const EXPECTED: &'static str = "a number or \"none\"";
    fn read(value: &Value) -> Option<Self> {
        if value.as_str() == Some("none") {
            return Some(None);
        }
        f64::read(value).map(Some)
    }
    fn write(&self) -> Value {
        self.map_or_else(|| Value::String("none".into()), |v| v.write())
    }
    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(None),
            _ => Self::read(&toml_value(text)?),
        }
    }
}

impl<const N: usize> Kind for [f64; N] {
    const EXPECTED: &'static str = match N {
        2 => "two numbers, as in [0.08, 1.0]",
        _ => "three numbers, as in [0.485, 0.456, 0.406], or one for all",
    };
    fn read(value: &Value) -> Option<Self> {
        // One number for all of three pools or colours.
        if let (3, Some(number)) = (N, f64::read(value)) {
            return Some([number; N]);
        }
        let list: Option<Vec<f64>> = value.as_array()?.iter().map(f64::read).collect();
        list?.try_into().ok()
    }
    fn write(&self) -> Value {
        Value::Array(self.iter().map(f64::write).collect())
    }
    fn parse(text: &str) -> Option<Self> {
        let single = (N == 3).then(|| toml_value(text)).flatten();
        Self::read(&single.or_else(|| bracketed(text))?)
    }
}

impl Kind for Vec<usize> {
    const EXPECTED: &'static str = "a list of whole numbers, as in [16, 16, 16, 16]";
    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(usize::read).collect()
    }
    fn write(&self) -> Value {
        Value::Array(self.iter().map(usize::write).collect())
    }
    fn parse(text: &str) -> Option<Self> {
        Self::read(&bracketed(text)?)
    }
}

/// A list, with or without its brackets.
fn bracketed(text: &str) -> Option<Value> {
    match text.trim_start().starts_with('[') {
        true => toml_value(text),
        false => toml_value(&format!("[{text}]")),
    }
}
