//! The globals that a pickle may use, each with what it builds here. Nothing else has an effect.

use super::Dtype;
use super::value::{Id, Storage, Value, Values, View};

/// Most dimensions of a tensor; the network's have four.
pub(crate) const MAX_RANK: usize = 8;

/// What calling `function` gives: for an unknown function, or one with unexpected arguments, only a note.
pub(crate) fn call(values: &Values, function: Id, args: Id) -> Value {
    known_call(values, function, args).unwrap_or(Value::Called { function })
}

fn known_call(values: &Values, function: Id, args: Id) -> Option<Value> {
    let (Value::Global(name), Value::Tuple(args)) = (values.get(function), values.get(args)) else {
        return None;
    };
    match name.as_str() {
        "collections.OrderedDict" => ordered_dict(values, args),
        "torch.Size" => size(values, args),
        "__builtin__.set" | "builtins.set" | "__builtin__.frozenset" | "builtins.frozenset" => {
            Some(Value::Other("a set"))
        }
        // How protocols 0 and 1 write an instance: the class is the first argument.
        "copy_reg._reconstructor" | "copyreg._reconstructor" => {
            args.first().map(|&class| Value::Object { class })
        }
        // A tensor with attributes: the function that builds the tensor, its type, the function's arguments, the attributes.
        "torch._tensor._rebuild_from_type_v2" => {
            let [inner, _type, inner_args, _state] = args.as_slice() else {
                return None;
            };
            match (values.get(*inner), values.get(*inner_args)) {
                (Value::Global(name), Value::Tuple(args)) => tensor(values, name, args),
                _ => None,
            }
        }
        name => tensor(values, name, args),
    }
}

/// An instance of `class` without a call of its constructor.
pub(crate) fn instance(values: &Values, class: Id) -> Value {
    match values.get(class) {
        Value::Global(name) if name == "collections.OrderedDict" => Value::Dict(Vec::new()),
        _ => Value::Object { class },
    }
}

/// What a persistent id stands for: `("storage", class, key, device, elements)`.
pub(crate) fn persistent(values: &Values, id: Id) -> Value {
    storage(values, id).unwrap_or(Value::Other("a persistent id that is no storage"))
}

fn storage(values: &Values, id: Id) -> Option<Value> {
    let Value::Tuple(parts) = values.get(id) else {
        return None;
    };
    let (kind, class, key, len) = match *parts.as_slice() {
        [kind, class, key, _device, len] => (kind, class, key, len),
        // The old layout's sixth part places a view in another storage; torch has not written one since 0.4.
        [kind, class, key, _device, len, view] if matches!(values.get(view), Value::None) => {
            (kind, class, key, len)
        }
        _ => return None,
    };
    let (Some("storage"), Value::Global(class), Some(_)) =
        (values.str(kind), values.get(class), values.str(key))
    else {
        return None;
    };
    Some(Value::Storage(Storage {
        key,
        dtype: Dtype::from_storage_class(class)?,
        len: index(values, len)?,
    }))
}

fn tensor(values: &Values, name: &str, args: &[Id]) -> Option<Value> {
    match (name, args) {
        (
            "torch._utils._rebuild_tensor_v3",
            [storage, offset, shape, strides, _grad, _hooks, dtype, ..],
        ) => {
            let Value::Global(dtype) = values.get(*dtype) else {
                return None;
            };
            view(
                values,
                [*storage, *offset, *shape, *strides],
                Some(Dtype::from_name(dtype)?),
            )
        }
        (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            [storage, offset, shape, strides, ..],
        ) => view(values, [*storage, *offset, *shape, *strides], None),
        (
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
            [data, ..],
        ) => match values.get(*data) {
            Value::Tensor(view) => Some(Value::Tensor(view.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn view(
    values: &Values,
    [storage, offset, shape, strides]: [Id; 4],
    dtype: Option<Dtype>,
) -> Option<Value> {
    let &Value::Storage(storage) = values.get(storage) else {
        return None;
    };
    let shape = indices(values, shape)?;
    let strides = indices(values, strides)?;
    if shape.len() != strides.len() {
        return None;
    }
    Some(Value::Tensor(Box::new(View {
        storage,
        dtype: dtype.unwrap_or(storage.dtype),
        offset: index(values, offset)?,
        shape,
        strides,
    })))
}

/// `OrderedDict()` or, from Python 2, `OrderedDict([[key, value], ...])`.
fn ordered_dict(values: &Values, args: &[Id]) -> Option<Value> {
    let items = match args {
        [] => return Some(Value::Dict(Vec::new())),
        [items] => match values.get(*items) {
            Value::List(items) => items,
            _ => return None,
        },
        _ => return None,
    };
    let pair = |item: &Id| match values.get(*item) {
        Value::List(pair) | Value::Tuple(pair) => match *pair.as_slice() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    };
    items
        .iter()
        .map(pair)
        .collect::<Option<Vec<_>>>()
        .map(Value::Dict)
}

fn size(values: &Values, args: &[Id]) -> Option<Value> {
    match args {
        [dims] => match values.get(*dims) {
            Value::Tuple(dims) | Value::List(dims) if dims.len() <= MAX_RANK => {
                Some(Value::Tuple(dims.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn index(values: &Values, id: Id) -> Option<usize> {
    match values.get(id) {
        Value::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

fn indices(values: &Values, id: Id) -> Option<Vec<usize>> {
    match values.get(id) {
        Value::Tuple(ids) if ids.len() <= MAX_RANK => {
            ids.iter().map(|&id| index(values, id)).collect()
        }
        _ => None,
    }
}
