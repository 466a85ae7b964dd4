//! The values that a pickle builds. They live in one list and refer to each other by [`Id`], so neither deep nesting
//! nor cycles need recursion.

use super::Dtype;

/// A value's index in the list of its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(super) u32);

/// What a pickle can build here.
#[derive(Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i128),
    Str(String),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name to import, `module.name`; it is never imported.
    Global(String),
    Storage(Storage),
    Tensor(Box<View>),
    /// An instance of the class, its state ignored.
    Object {
        class: Id,
    },
    /// What a call of the function would have returned.
    Called {
        function: Id,
    },
    /// A value of no interest here, by what it is: "a float", "bytes".
    Other(&'static str),
}

/// A storage that the pickle refers to; its bytes lie elsewhere in the file, under `key`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage {
    pub(crate) key: Id,
    pub(crate) dtype: Dtype,
    /// Elements of `dtype`.
    pub(crate) len: usize,
}

/// A tensor: a strided view into a storage; offset and strides count elements.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) storage: Storage,
    /// The elements' type; differs from the storage's only where that is untyped.
    pub(crate) dtype: Dtype,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// The values of a pickle.
#[derive(Debug, Default)]
pub(crate) struct Values(pub(super) Vec<Value>);

impl Values {
    pub(crate) fn get(&self, id: Id) -> &Value {
        self.0.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(crate) fn str(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// All values in the order in which they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    /// The name of what `id` would import, or of what made it.
    pub(crate) fn name_of(&self, id: Id) -> &str {
        match self.get(id) {
            Value::Global(name) => name,
            _ => "an unnamed object",
        }
    }
}
