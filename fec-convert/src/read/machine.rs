//! The machine that a pickle runs on: its bytes, its stack with marks, its memo, and the limits of each.

use std::collections::HashMap;

use super::value::{Id, Value, Values};
use crate::error::Error;

/// Longest pickle that is read, in bytes. A checkpoint of the large variant with optimizer state needs below 1 MiB.
pub(crate) const MAX_PICKLE_LEN: usize = 64 << 20;
/// Most values one pickle may build; a tensor takes about 15.
pub(crate) const MAX_VALUES: usize = 1 << 21;
/// Most values that may wait on the stack.
pub(crate) const MAX_STACK: usize = 1 << 20;
/// Most marks that may be open; Python's own pickler stops at a nesting of about 1,000.
pub(crate) const MAX_MARKS: usize = 1 << 14;
/// Most memo entries.
pub(crate) const MAX_MEMO: usize = 1 << 21;

pub(super) struct Machine<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    pub(super) values: Values,
    /// Values made and pairs copied so far, held against [`MAX_VALUES`].
    spent: usize,
    pub(super) stack: Vec<Id>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            data: bytes.get(..MAX_PICKLE_LEN).unwrap_or(bytes),
            at: 0,
            values: Values::default(),
            spent: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    pub(super) fn charge(&mut self, count: usize) -> Result<(), Error> {
        self.spent = self.spent.saturating_add(count);
        if self.spent > MAX_VALUES {
            return Err(limit("values", MAX_VALUES));
        }
        Ok(())
    }

    pub(super) fn add(&mut self, value: Value) -> Result<Id, Error> {
        let children = match &value {
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dict(pairs) => pairs.len(),
            _ => 0,
        };
        self.charge(children.saturating_add(1))?;
        // MAX_VALUES bounds the length far below u32::MAX.
        let id = Id(u32::try_from(self.values.0.len()).unwrap_or(u32::MAX));
        self.values.0.push(value);
        Ok(id)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), Error> {
        let id = self.add(value)?;
        self.push_id(id)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<(), Error> {
        if self.stack.len() >= MAX_STACK {
            return Err(limit("values on the stack", MAX_STACK));
        }
        self.stack.push(id);
        Ok(())
    }

    /// The lowest stack position that may be popped: the one above the last mark.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Result<Id, Error> {
        match self.stack.get(self.floor()..).and_then(<[Id]>::last) {
            Some(&id) => Ok(id),
            None => Err(self.bad("an opcode that finds the stack empty")),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Id, Error> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The `n` uppermost values, lowest first.
    pub(super) fn pop_n(&mut self, n: usize) -> Result<Vec<Id>, Error> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    /// The values above the last mark, lowest first; the mark goes too.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Error> {
        let Some(mark) = self.marks.pop() else {
            return Err(self.bad("an opcode that finds no mark"));
        };
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    pub(super) fn memoize(&mut self, index: u32) -> Result<(), Error> {
        if self.memo.len() >= MAX_MEMO {
            return Err(limit("memo entries", MAX_MEMO));
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, index: u32) -> Result<(), Error> {
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => Err(self.bad("a memo entry that was never stored")),
        }
    }

    /// Appends to the list on top; an object that is no list here ignores it.
    pub(super) fn extend_list(&mut self, items: &[Id]) -> Result<(), Error> {
        let target = self.top()?;
        if let Some(Value::List(list)) = self.values.0.get_mut(target.0 as usize) {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    /// Adds to the dictionary on top; an object that is no dictionary here ignores it.
    pub(super) fn extend_dict(&mut self, items: &[Id]) -> Result<(), Error> {
        let target = self.top()?;
        if let Some(Value::Dict(dict)) = self.values.0.get_mut(target.0 as usize) {
            dict.extend(pairs(items));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.get(..len) else {
            if self.data.len() == MAX_PICKLE_LEN {
                return Err(limit("bytes", MAX_PICKLE_LEN));
            }
            return Err(Error::Truncated {
                what: "the pickle".into(),
                needed: len as u64,
                given: rest.len() as u64,
            });
        };
        self.at = self.at.saturating_add(len);
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.bad("a short read"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length of 64 bits; one that no memory holds becomes the largest, which no file can satisfy.
    pub(super) fn len64(&mut self) -> Result<usize, Error> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub(super) fn skip_bytes(&mut self, len: usize) -> Result<Value, Error> {
        self.take(len)?;
        Ok(Value::Other("bytes"))
    }

    /// The bytes up to the next newline, which is read too.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Error> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&b| b == b'\n');
        let line = self.take(len.unwrap_or(rest.len()))?;
        self.take(1)?;
        Ok(line)
    }

    pub(super) fn memo_line(&mut self) -> Result<u32, Error> {
        let line = self.line()?;
        let index = core::str::from_utf8(line).ok().and_then(|s| s.parse().ok());
        index.ok_or_else(|| self.bad("a memo index that is no number"))
    }

    pub(super) fn bad(&self, what: &'static str) -> Error {
        Error::BadPickle { at: self.at, what }
    }
}

pub(super) fn limit(what: &'static str, max: usize) -> Error {
    Error::PickleLimit { what, max }
}

/// Keys and values in turn; a last key without a value is dropped.
pub(super) fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    let halves = items.chunks_exact(2);
    halves
        .filter_map(|pair| Some((*pair.first()?, *pair.last()?)))
        .collect()
}
