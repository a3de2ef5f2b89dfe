//! JSON objects that clients send.
//!
//! Owns what no derived reader looks after. Parsers recurse; a message of 100,000 opening brackets must meet a limit,
//! not the end of the stack: one pass over the bytes comes before any parser sees them. And a reader would take a list
//! for an object, field by field.

use serde::Deserialize;

/// Reads an object that does not nest deeper than `depth_max`; `None` when the text is anything else.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str, depth_max: usize) -> Option<T> {
    if text.trim_ascii_start().starts_with('[') || nests_deeper(text, depth_max) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Whether arrays and objects in `text` nest deeper than `depth_max`. Does not judge whether it is JSON.
fn nests_deeper(text: &str, depth_max: usize) -> bool {
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
    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Named {
        name: String,
    }

    #[test]
    fn m10_a_list_is_no_object_and_neither_is_what_nests_too_deeply() {
        let name = "a".to_owned();
        assert_eq!(read(r#" {"name":"a"}"#, 1), Some(Named { name }));
        assert_eq!(
            serde_json::from_str::<Named>(r#"["a"]"#).unwrap().name,
            "a",
            "what the reader alone would take"
        );
        for text in [r#"["a"]"#, "\n [\"a\"]", "", "null", r#"{"name":"a","x":[]}"#] {
            assert_eq!(read::<Named>(text, 1), None, "{text}");
        }
    }

    #[test]
    fn counts_brackets_outside_of_strings() {
        assert!(!nests_deeper("[[]]", 2));
        assert!(nests_deeper("[[[]]]", 2));
        assert!(nests_deeper("{\"a\":{\"b\":[1]}}", 2));
        assert!(!nests_deeper(r#"{"a":"[[[[\"[[[["}"#, 1));
        assert!(!nests_deeper("[][][]", 1));
        assert!(nests_deeper(&"[".repeat(100_000), 32));
    }
}
