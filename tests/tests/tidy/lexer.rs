//! As much of Rust's grammar as the rules need: comments, literals, words, bodies.

/// Bytes from the name of a function to its closing brace, or `None` without a body.
pub(crate) fn body_len(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0usize, 0usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(at + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

/// Where `word` stands in `code` on its own, not as a part of a longer name.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            !part_of_name(code[..at].chars().next_back())
                && !part_of_name(code[at + word.len()..].chars().next())
        })
}

/// `text` with comments and the insides of literals as spaces; lines stay lines.
pub(crate) fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let previous = code.chars().next_back();
        let len = literal_len(rest, previous).unwrap_or(0);
        let (taken, after) = rest.split_at(len.max(c.len_utf8()).min(rest.len()));
        if len == 0 {
            code.push_str(taken);
        } else {
            code.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// Length of the comment or literal that `rest` begins with.
fn literal_len(rest: &str, previous: Option<char>) -> Option<usize> {
    let end_of = |from: usize, mark: &str| {
        rest[from..]
            .find(mark)
            .map_or(rest.len(), |at| from + at + mark.len())
    };
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(end_of(2, "*/"));
    }
    if let Some(inside) = rest.strip_prefix('"') {
        let mut escaped = false;
        let close = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return Some(close.map_or(rest.len(), |at| at + 2));
    }
    let in_name = previous.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest
        .strip_prefix("br")
        .or(rest.strip_prefix('r'))
        .filter(|_| !in_name || previous == Some('b'));
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            return Some(end_of(open, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    // A character; a lifetime has no second quote where a character has one.
    let after = rest.strip_prefix('\'')?;
    if after.starts_with('\\') {
        return after.get(2..)?.find('\'').map(|at| at + 4);
    }
    let c = after.chars().next()?;
    after[c.len_utf8()..]
        .starts_with('\'')
        .then(|| c.len_utf8() + 2)
}

#[test]
fn comments_and_literals_are_blanked_and_lines_stay() {
    let text = "let a = \"x // \\\" unsafe\"; // unsafe\nfn f<'a>(c: &'a u8) -> bool { *c == b'\"' } /* fn\n */ r#\"\"unsafe\"#;";
    let code = blank(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(words(&code, "unsafe").count(), 0);
    assert_eq!(words(&code, "fn").count(), 1);
    assert!(code.contains("fn f<'a>(c: &'a u8) -> bool"));
}
