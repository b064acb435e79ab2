//! Hides what could be a secret key in text that is about to be shown.
//!
//! A WireGuard key is 44 characters of base64 (wg(8)). Any run of 40 or more such characters is masked, cut or
//! mistyped keys included, unless the word before it is `public_key`. Masked text has the length it had.

const SHORTEST: usize = 40;

/// The same text with every key in it replaced by asterisks.
pub(super) fn keys(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_base64) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_base64(c)).unwrap_or(from.len()));
        masked.push_str(before);
        let public = is_public(&masked);
        match run.len() >= SHORTEST && !public {
            true => masked.extend(run.chars().map(|_| '*')),
            false => masked.push_str(run),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn is_public(before: &str) -> bool {
    let word = before.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '"' | '\''));
    word.len() < before.len() && word.ends_with("public_key")
}

#[cfg(test)]
mod tests {
    use super::keys;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn only_public_keys_stay() {
        assert_eq!(keys(&format!("private_key: '{KEY}'")), format!("private_key: '{}'", "*".repeat(44)));
        assert_eq!(keys(&format!("k: |-\n  {}x", &KEY[..42])), format!("k: |-\n  {}", "*".repeat(43)));
        for shown in [format!("public_key: \"{KEY}\""), "addresses: [192.168.5.1/24]".into(), "ä".into()] {
            assert_eq!(keys(&shown), shown);
        }
    }
}
