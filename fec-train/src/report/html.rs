//! Text and pictures as HTML takes them.

/// Text as HTML or SVG text, or as the value of a quoted attribute; lines stay lines, other control characters are replaced.
pub(crate) fn escape(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(fec::html::escape).collect();
    lines.join("\n")
}

/// The bytes of a JPEG as an address that holds them.
pub(super) fn jpeg_uri(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", fec::html::base64(bytes))
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
