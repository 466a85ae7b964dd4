//! An unpickler that builds plain values and runs nothing.
//!
//! A pickle is a program for a stack machine. Every opcode that `torch.save` emits (protocols 0 to 5) is understood,
//! but calling a Python object only leaves a note of what would have been called ([`Value::Called`],
//! [`Value::Object`]), except for the few globals of [`super::globals`] that build tensors and dictionaries.

use super::globals;
use super::machine::{MAX_MARKS, Machine, limit, pairs};
use super::value::{Id, Value, Values};
use crate::error::Error;

/// A pickle that was read to its end.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(crate) values: Values,
    pub(crate) root: Id,
    /// Bytes from its first opcode to its STOP, both included.
    pub(crate) len: usize,
}

/// Reads the pickle at the start of `bytes`; what follows its STOP is left alone.
pub(crate) fn load(bytes: &[u8]) -> Result<Pickle, Error> {
    let mut machine = Machine::new(bytes);
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle {
        values: machine.values,
        root,
        len: machine.at,
    })
}

impl<'a> Machine<'a> {
    /// Runs one opcode; false after STOP.
    fn step(&mut self) -> Result<bool, Error> {
        let op = self.byte()?;
        if op == b'.' {
            return Ok(false);
        }
        if let Some(value) = self.literal(op)? {
            self.push(value)?;
        } else if !(self.stack_op(op)? || self.collection(op)? || self.object(op)?) {
            return Err(self.bad("an opcode that torch.save does not write"));
        }
        Ok(true)
    }

    /// Opcodes that carry a value in themselves.
    fn literal(&mut self, op: u8) -> Result<Option<Value>, Error> {
        let value = match op {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' => match self.line()? {
                b"01" => Value::Bool(true),
                b"00" => Value::Bool(false),
                digits => decimal(digits),
            },
            b'L' => {
                let digits = self.line()?;
                decimal(digits.strip_suffix(b"L").unwrap_or(digits))
            }
            b'J' => Value::Int(i128::from(self.u32()?.cast_signed())),
            b'K' => Value::Int(i128::from(self.byte()?)),
            b'M' => Value::Int(i128::from(self.u16()?)),
            0x8a => {
                let len = usize::from(self.byte()?);
                little_endian(self.take(len)?)
            }
            0x8b => {
                let len = self.u32()?;
                little_endian(self.take(len as usize)?)
            }
            b'F' => {
                self.line()?;
                Value::Other("a float")
            }
            b'G' => {
                self.take(8)?;
                Value::Other("a float")
            }
            b'S' | b'V' => {
                let line = self.line()?;
                text(unquoted(line))
            }
            b'T' | b'X' => {
                let len = self.u32()?;
                text(self.take(len as usize)?)
            }
            b'U' | 0x8c => {
                let len = usize::from(self.byte()?);
                text(self.take(len)?)
            }
            0x8d => {
                let len = self.len64()?;
                text(self.take(len)?)
            }
            b'C' => {
                let len = usize::from(self.byte()?);
                self.skip_bytes(len)?
            }
            b'B' => {
                let len = self.u32()?;
                self.skip_bytes(len as usize)?
            }
            0x8e | 0x96 => {
                let len = self.len64()?;
                self.skip_bytes(len)?
            }
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    /// Opcodes that move values between stack and memo, or that only frame the stream.
    fn stack_op(&mut self, op: u8) -> Result<bool, Error> {
        match op {
            b'(' => {
                if self.marks.len() >= MAX_MARKS {
                    return Err(limit("open marks", MAX_MARKS));
                }
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'p' => {
                let index = self.memo_line()?;
                self.memoize(index)?;
            }
            b'q' => {
                let index = u32::from(self.byte()?);
                self.memoize(index)?;
            }
            b'r' => {
                let index = self.u32()?;
                self.memoize(index)?;
            }
            // MEMOIZE numbers its entries itself; more than u32::MAX of them cannot be reached.
            0x94 => self.memoize(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            b'g' => {
                let index = self.memo_line()?;
                self.recall(index)?;
            }
            b'h' => {
                let index = u32::from(self.byte()?);
                self.recall(index)?;
            }
            b'j' => {
                let index = self.u32()?;
                self.recall(index)?;
            }
            0x80 => {
                if self.byte()? > 5 {
                    return Err(self.bad("a protocol above 5"));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that make and fill tuples, lists, dictionaries and sets.
    fn collection(&mut self, op: u8) -> Result<bool, Error> {
        match op {
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Other("a set"))?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let count = usize::from(op.saturating_sub(0x84));
                let items = self.pop_n(count)?;
                self.push(Value::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(pairs(&items)))?;
            }
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Other("a set"))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend_list(&items)?;
            }
            b's' => {
                let items = self.pop_n(2)?;
                self.extend_dict(&items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)?;
            }
            0x90 => {
                self.pop_mark()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that would import and call Python objects.
    fn object(&mut self, op: u8) -> Result<bool, Error> {
        match op {
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.push(global(module, name))?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let [module, name] = [module, name].map(|id| self.values.str(id));
                let (Some(module), Some(name)) = (module, name) else {
                    return Err(self.bad("a global whose name is not text"));
                };
                // The two names may be memoised and long: what is copied counts like values made.
                let len = module.len().saturating_add(name.len());
                let value = global(module.as_bytes(), name.as_bytes());
                self.charge(len.div_ceil(64))?;
                self.push(value)?;
            }
            b'R' => {
                let args = self.pop()?;
                let function = self.pop()?;
                self.push(globals::call(&self.values, function, args))?;
            }
            0x81 => {
                self.pop()?;
                let class = self.pop()?;
                self.push(globals::instance(&self.values, class))?;
            }
            0x92 => {
                self.pop()?;
                self.pop()?;
                let class = self.pop()?;
                self.push(globals::instance(&self.values, class))?;
            }
            b'i' => {
                let module = self.line()?;
                let name = self.line()?;
                self.pop_mark()?;
                let function = self.add(global(module, name))?;
                self.push(Value::Called { function })?;
            }
            b'o' => {
                let items = self.pop_mark()?;
                let Some(&function) = items.first() else {
                    return Err(self.bad("an object without a class"));
                };
                self.push(Value::Called { function })?;
            }
            // The state of an object is ignored, and so are attributes of a dictionary (`_metadata`).
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'P' => {
                self.line()?;
                self.push(Value::Other("a persistent id in text"))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(globals::persistent(&self.values, id))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Str(String::from_utf8_lossy(bytes).into_owned())
}

fn global(module: &[u8], name: &[u8]) -> Value {
    let [module, name] = [module, name].map(String::from_utf8_lossy);
    Value::Global(format!("{module}.{name}"))
}

/// Protocol 0 quotes byte strings; names of tensors hold nothing that it would escape.
fn unquoted(line: &[u8]) -> &[u8] {
    match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => line,
    }
}

fn decimal(digits: &[u8]) -> Value {
    let number = core::str::from_utf8(digits)
        .ok()
        .and_then(|s| s.parse().ok());
    number.map_or(Value::Other("a large number"), Value::Int)
}

/// Two's complement, lowest byte first; only what fits 128 bits is of interest.
fn little_endian(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|&b| b >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Other("a large number"),
    }
    Value::Int(i128::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::super::machine::{MAX_STACK, MAX_VALUES};
    use super::*;

    fn root(bytes: &[u8]) -> Value {
        let mut pickle = load(bytes).unwrap();
        pickle.values.0.swap_remove(pickle.root.0 as usize)
    }

    #[test]
    fn integers_of_every_protocol_are_read() {
        let cases: [(&[u8], i128); 9] = [
            (b"I-7\n.", -7),
            (b"L119547037146038801333356L\n.", 0x1950_a86a_20f9_469c_fc6c),
            (b"J\xff\xff\xff\xff.", -1),
            (b"K\xff.", 255),
            (b"M\x01\x02.", 0x201),
            (b"\x8a\x00.", 0),
            (b"\x8a\x01\x80.", -128),
            (b"\x8b\x02\x00\x00\x00\x00\x01.", 256),
            (
                b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
                0x1950_a86a_20f9_469c_fc6c,
            ),
        ];
        for (bytes, expected) in cases {
            assert!(
                matches!(root(bytes), Value::Int(n) if n == expected),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn nothing_is_called_only_named() {
        for bytes in [
            &b"cposix\nsystem\n(S'touch PWNED'\ntR."[..],
            b"(S'touch PWNED'\niposix\nsystem\n.",
            b"(cposix\nsystem\nS'touch PWNED'\no.",
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch PWNED\x85R.",
        ] {
            let pickle = load(bytes).unwrap();
            let Value::Called { function } = pickle.values.get(pickle.root) else {
                panic!("{:?}", pickle.values.get(pickle.root));
            };
            assert_eq!(pickle.values.name_of(*function), "posix.system");
        }
    }

    #[test]
    fn limits_hold() {
        let mut deep = vec![b'('; MAX_MARKS];
        deep.extend_from_slice(b"N.");
        assert!(load(&deep).is_ok());
        deep.insert(0, b'(');
        assert_eq!(
            load(&deep).unwrap_err().to_string(),
            "the pickle has more than 16384 open marks; no network's checkpoint needs so many"
        );
        let stack = vec![b'N'; MAX_STACK + 1];
        assert!(matches!(
            load(&stack),
            Err(Error::PickleLimit { max: MAX_STACK, .. })
        ));
        let values: Vec<u8> = b"N0".repeat(MAX_VALUES + 1);
        assert!(matches!(
            load(&values),
            Err(Error::PickleLimit {
                max: MAX_VALUES,
                ..
            })
        ));
        // A memoised list copied into a dictionary again and again multiplies memory without multiplying the file.
        let mut copies = b"ccollections\nOrderedDict\nq\x00(NN\x86q\x01".to_vec();
        copies.extend(b"h\x01".repeat(10_000));
        copies.extend_from_slice(b"l\x85q\x02");
        copies.extend(b"h\x00h\x02R0".repeat(10_000));
        assert!(matches!(
            load(&copies),
            Err(Error::PickleLimit {
                max: MAX_VALUES,
                ..
            })
        ));
    }

    #[test]
    fn broken_streams_are_refused() {
        let cases: [(&[u8], &str); 7] = [
            (
                b"",
                "truncated: the pickle goes on for 1 byte, but only 0 bytes are left; copy or download the file again",
            ),
            (
                b"X\xff\xff\xff\xffab",
                "truncated: the pickle goes on for 4294967295 bytes, but only 2 bytes are left; copy or download the file again",
            ),
            (
                b".",
                "damaged pickle: byte 1: an opcode that finds the stack empty; copy or download the file again",
            ),
            (
                b"t.",
                "damaged pickle: byte 1: an opcode that finds no mark; copy or download the file again",
            ),
            (
                b"h\x07.",
                "damaged pickle: byte 2: a memo entry that was never stored; copy or download the file again",
            ),
            (
                b"\x80\x06.",
                "damaged pickle: byte 2: a protocol above 5; copy or download the file again",
            ),
            (
                b"\xff.",
                "damaged pickle: byte 1: an opcode that torch.save does not write; copy or download the file again",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(load(bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_cycle_does_no_harm() {
        assert!(matches!(root(b"]q\x00h\x00a."), Value::List(items) if items.len() == 1));
    }
}
