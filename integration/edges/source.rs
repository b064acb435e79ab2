//! Reads Rust source as far as the map needs it: which paths does it name outside of its tests?
//!
//! A lexer, not a parser: comments, strings and whatever stands below `#[cfg(test)]` are dropped, and `a::{b, c::d}`
//! becomes the paths `a::b` and `a::c::d`, in `use` and everywhere else. A macro's name keeps its `!`.

/// What a source text says outside of its tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Every path named.
    pub(crate) paths: Vec<Path>,
    /// Modules in files of their own that are compiled for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// A path, as written or as spread out of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its parts; `*` is one.
    pub(crate) segments: Vec<String>,
    /// Where it begins, from 1.
    pub(crate) line: usize,
}

impl Path {
    /// Whether these parts, the last one perhaps only begun, stand next to each other in it.
    pub(crate) fn names(&self, parts: &str) -> bool {
        let parts: Vec<&str> = parts.split("::").collect();
        let (last, begin) = parts.split_last().expect("split gives at least one part");
        self.segments.windows(parts.len()).any(|window| {
            let (window_last, window_begin) = window.split_last().expect("a window has a part");
            window_begin == begin && window_last.starts_with(last)
        })
    }
}

impl Source {
    /// Reads a source text.
    pub(crate) fn read(text: &str) -> Self {
        let (tokens, test_modules) = without_tests(&tokens(text));
        let mut paths = Vec::new();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = match token.kind {
                Kind::Word(_) => read_path(rest, &[], &mut paths),
                Kind::Separator | Kind::Mark(_) => after,
            };
        }
        Self { paths, test_modules }
    }
}

/// Reads the path that begins here, and gives back what follows it.
fn read_path<'a>(mut rest: &'a [Token], prefix: &[String], paths: &mut Vec<Path>) -> &'a [Token] {
    let line = rest[0].line;
    let mut segments = prefix.to_vec();
    loop {
        match rest {
            [Token { kind: Kind::Word(word), .. }, after @ ..] => {
                let bang = matches!(after, [Token { kind: Kind::Mark('!'), .. }, next, ..] if !next.is('='));
                segments.push(if bang { format!("{word}!") } else { word.clone() });
                rest = after;
            }
            [Token { kind: Kind::Mark('*'), .. }, after @ ..] => {
                segments.push("*".to_owned());
                rest = after;
            }
            [Token { kind: Kind::Mark('{'), .. }, after @ ..] => return read_group(after, &segments, paths),
            _ => break,
        }
        let [Token { kind: Kind::Separator, .. }, after @ ..] = rest else { break };
        rest = after;
    }
    paths.push(Path { segments, line });
    rest
}

/// Reads what stands between braces, up to the closing one.
fn read_group<'a>(mut rest: &'a [Token], prefix: &[String], paths: &mut Vec<Path>) -> &'a [Token] {
    while let Some((token, after)) = rest.split_first() {
        rest = match token.kind {
            Kind::Mark('}') => return after,
            Kind::Word(_) | Kind::Mark('*') => read_path(rest, prefix, paths),
            Kind::Separator | Kind::Mark(_) => after,
        };
    }
    rest
}

/// The same tokens without the items below `#[cfg(test)]`, and the names of those that are modules elsewhere.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        let Some((attribute, item)) = attribute(rest) else {
            kept.push(token.clone());
            rest = after;
            continue;
        };
        if is_for_tests(attribute) {
            let (skipped, next) = rest.split_at(rest.len() - item_end(item).len());
            modules.extend(module_elsewhere(skipped));
            rest = next;
        } else {
            kept.extend_from_slice(attribute);
            rest = item;
        }
    }
    (kept, modules)
}

/// Splits at the end of the outer attribute that begins here.
fn attribute(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let [hash, open, ..] = tokens else { return None };
    if !hash.is('#') || !open.is('[') {
        return None;
    }
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        if token.is('[') {
            depth += 1;
        } else if token.is(']') {
            depth -= 1;
            if depth == 0 {
                return Some(tokens.split_at(index + 1));
            }
        }
    }
    None
}

fn is_for_tests(attribute: &[Token]) -> bool {
    let has =
        |name: &str| attribute.iter().any(|token| matches!(&token.kind, Kind::Word(word) if word == name));
    has("cfg") && has("test") && !has("not")
}

/// What follows the item: its end is a `;` or a closing brace outside of all brackets.
fn item_end(tokens: &[Token]) -> &[Token] {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('{' | '(' | '[') => depth += 1,
            Kind::Mark('}' | ')' | ']') => depth -= 1,
            Kind::Word(_) | Kind::Separator | Kind::Mark(_) => {}
        }
        // A `use` of a group has its `;` behind the brace.
        let followed = tokens.get(index + 1).is_some_and(|next| next.is(';'));
        if depth == 0 && (token.is(';') || token.is('}') && !followed) {
            return &tokens[index + 1..];
        }
    }
    &[]
}

/// The name in `mod name;`.
fn module_elsewhere(item: &[Token]) -> Option<String> {
    let [.., Token { kind: Kind::Word(keyword), .. }, Token { kind: Kind::Word(name), .. }, end] = item
    else {
        return None;
    };
    (keyword == "mod" && end.is(';')).then(|| name.clone())
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    line: usize,
}

impl Token {
    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    Separator,
    Mark(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped_length(rest).unwrap_or_else(|| {
            let (kind, length) = token(rest, first);
            tokens.push(Token { kind, line });
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn token(rest: &str, first: char) -> (Kind, usize) {
    if first.is_alphanumeric() || first == '_' {
        let length = word_length(rest);
        (Kind::Word(rest[..length].to_owned()), length)
    } else if rest.starts_with("::") {
        (Kind::Separator, 2)
    } else {
        (Kind::Mark(first), first.len_utf8())
    }
}

fn word_length(rest: &str) -> usize {
    rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
}

/// The length of what says nothing here: space, a comment, a text, a character or a lifetime.
fn skipped_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'/' if rest.starts_with("//") => Some(rest.find('\n').unwrap_or(rest.len())),
        b'/' if rest.starts_with("/*") => Some(block_comment_length(rest)),
        b'"' => Some(text_length(rest)),
        b'\'' => Some(quote_length(rest)),
        b'r' | b'b' | b'c' => prefixed_text_length(rest),
        first if first.is_ascii_whitespace() => Some(1),
        _ => None,
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// From one quotation mark to the next that no backslash precedes.
fn text_length(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters; any other quote begins a lifetime, of which nothing is dropped but the quote.
fn quote_length(rest: &str) -> usize {
    let inner = &rest[1..];
    if let Some(escaped) = inner.strip_prefix('\\') {
        return escaped
            .char_indices()
            .skip(1)
            .find(|(_, next)| *next == '\'')
            .map_or(rest.len(), |(at, _)| at + 3);
    }
    let mut characters = inner.chars();
    match (characters.next(), characters.next()) {
        (Some(character), Some('\'')) => character.len_utf8() + 2,
        _ => 1,
    }
}

/// `b"…"`, `c"…"`, `r"…"`, `br#"…"#` and the like.
fn prefixed_text_length(rest: &str) -> Option<usize> {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let raw = rest[..prefix].contains('r');
    let hashes = rest[prefix..].bytes().take_while(|&byte| byte == b'#').count();
    let text = &rest[prefix + hashes..];
    if prefix > 2 || !text.starts_with('"') || (hashes > 0 && !raw) {
        return None;
    }
    if !raw {
        return Some(prefix + text_length(text));
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let length = text[1..].find(&end).map_or(text.len(), |at| 1 + at + end.len());
    Some(prefix + hashes + length)
}
