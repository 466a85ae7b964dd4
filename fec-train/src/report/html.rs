//! Text and pictures as HTML takes them.

/// Text as HTML or SVG text, or as the value of a quoted attribute; control characters, which neither allows, are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The bytes of a JPEG as an address that holds them.
pub(super) fn jpeg_uri(bytes: &[u8]) -> String {
    const DIGITS: [char; 64] = digits();
    let mut uri = String::from("data:image/jpeg;base64,");
    // Six bits a digit; the last group is filled up with zero bits, then with signs that stand for nothing (RFC 4648, section 4).
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| {
            bits << 8 | group.get(i).map_or(0, |&b| usize::from(b))
        });
        for digit in 0..4 {
            let code = bits >> (18 - 6 * digit) & 63;
            let letter = DIGITS.get(code).filter(|_| digit <= group.len());
            uri.push(letter.copied().unwrap_or('='));
        }
    }
    uri
}

const fn digits() -> [char; 64] {
    let mut digits = ['A'; 64];
    let mut i = 0;
    while i < 64 {
        digits[i] = match i as u8 {
            n @ 0..26 => (b'A' + n) as char,
            n @ 26..52 => (b'a' + n - 26) as char,
            n @ 52..62 => (b'0' + n - 52) as char,
            62 => '+',
            _ => '/',
        };
        i += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(
            escape("a<b>&\"'\u{1b}"),
            "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}"
        );
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10, and all 64 digits.
        let code = |bytes: &[u8]| jpeg_uri(bytes).rsplit_once(',').unwrap().1.to_string();
        assert_eq!(code(b""), "");
        assert_eq!(code(b"f"), "Zg==");
        assert_eq!(code(b"fo"), "Zm8=");
        assert_eq!(code(b"foo"), "Zm9v");
        assert_eq!(code(b"foob"), "Zm9vYg==");
        assert_eq!(code(&[0xfb, 0xf0, 0xff]), "+/D/");
    }
}
