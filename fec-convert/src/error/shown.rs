//! Texts that come from files, as messages show them.

use core::fmt;
use std::path::Path;

/// Characters of a foreign name that a message shows.
const MAX_SHOWN: usize = 100;

/// A text that came from a file: escaped, so that it stays on one line, and cut.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(MAX_SHOWN) {
            // Quotes stay as they are: only what would break the line or the terminal is escaped.
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        if self.0.chars().nth(MAX_SHOWN).is_some() {
            write!(f, "...")?;
        }
        Ok(())
    }
}

/// Paths keep their full length, but lose control characters too.
pub(super) fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
