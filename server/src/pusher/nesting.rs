//! How deep a JSON text nests, without recursion.
//!
//! Parsers recurse; a message of 100,000 opening brackets must meet a limit, not the end of the stack. This is
//! one pass over the bytes before any parser sees them. It does not judge whether the text is JSON.

/// Whether arrays and objects in `text` nest deeper than `depth_max`.
pub fn exceeds(text: &str, depth_max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::exceeds;

    #[test]
    fn counts_brackets_outside_of_strings() {
        assert!(!exceeds("[[]]", 2));
        assert!(exceeds("[[[]]]", 2));
        assert!(exceeds("{\"a\":{\"b\":[1]}}", 2));
        assert!(!exceeds(r#"{"a":"[[[[\"[[[["}"#, 1));
        assert!(!exceeds("[][][]", 1));
        assert!(exceeds(&"[".repeat(100_000), 32));
    }
}
