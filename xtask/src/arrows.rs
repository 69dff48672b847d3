//! Which module of a crate uses which, read from the source's tokens: comments, strings and
//! documentation name modules without using them, so text search would not do.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path from the crate's root that a file names, with the line where it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    /// Segments after `crate`, e.g. `["engine", "table", "default_path"]`.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// Every path from the crate's root in the text of a file of module `module` (`["engine", "file"]`).
///
/// `crate::a::b`, groups (`crate::{a::B, c}`) and `super::` chains are followed, in `use` and in
/// expressions. Bodies of `mod tests` are left out: tests may look anywhere.
pub(crate) fn uses(text: &str, module: &[String]) -> Result<Vec<Use>, String> {
    let tokens: TokenStream = text.parse().map_err(|error| format!("not Rust: {error}"))?;
    let mut found = Vec::new();
    scan(tokens, module, &mut found);
    found.sort();
    found.dedup();
    Ok(found)
}

/// Child modules of a file that are compiled for tests only: `#[cfg(test)] mod name;`.
pub(crate) fn test_modules(text: &str) -> Result<Vec<String>, String> {
    let tokens: Vec<TokenTree> =
        text.parse::<TokenStream>().map_err(|error| format!("not Rust: {error}"))?.into_iter().collect();
    let mut names = Vec::new();
    for window in tokens.windows(5) {
        if let [hash, TokenTree::Group(attribute), keyword, TokenTree::Ident(name), end] = window
            && is_punct(hash, '#')
            && is_ident(keyword, "mod")
            && is_punct(end, ';')
            && is_for_tests(attribute.stream())
        {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

/// `cfg(test)` or `cfg(all(test, ...))`.
fn is_for_tests(attribute: TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

fn scan(tokens: TokenStream, module: &[String], found: &mut Vec<Use>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_ident(&tokens[at], "mod")
            && tokens.get(at + 1).is_some_and(|token| is_ident(token, "tests"))
            && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)))
        {
            at += 3;
            continue;
        }
        if let TokenTree::Ident(word) = &tokens[at]
            && (word == "crate" || word == "super")
            && is_path_separator(&tokens, at + 1)
        {
            let mut base = if word == "crate" { Vec::new() } else { parent(module) };
            at += 3;
            while tokens.get(at).is_some_and(|token| is_ident(token, "super")) && is_path_separator(&tokens, at + 1) {
                base = parent(&base);
                at += 3;
            }
            at = path(&tokens, at, base, found);
            continue;
        }
        if let TokenTree::Group(group) = &tokens[at] {
            scan(group.stream(), module, found);
        }
        at += 1;
    }
}

/// Reads the path that begins at `at` below `base`; returns where it ends.
fn path(tokens: &[TokenTree], mut at: usize, mut base: Vec<String>, found: &mut Vec<Use>) -> usize {
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(segment)) => {
                base.push(segment.to_string());
                if !is_path_separator(tokens, at + 1) {
                    found.push(Use { path: base, line: segment.span().start().line });
                    return at + 1;
                }
                at += 3;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut start = 0;
                while start < inner.len() {
                    start = path(&inner, start, base.clone(), found);
                    while start < inner.len() && !is_punct(&inner[start], ',') {
                        start += 1; // `as name`
                    }
                    start += 1;
                }
                return at + 1;
            }
            Some(token) => {
                // `*`, or `::<T>`: what was read so far is what is used.
                found.push(Use { path: base, line: token.span().start().line });
                return at;
            }
            None => return at,
        }
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| is_punct(token, ':'))
        && tokens.get(at + 1).is_some_and(|token| is_punct(token, ':'))
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(ToString::to_string).collect();
        uses(text, &module).unwrap().into_iter().map(|found| found.path.join("::")).collect()
    }

    #[test]
    fn every_way_to_name_a_module_is_seen() {
        assert_eq!(paths("use crate::mode::Mode;", &["grant"]), ["mode::Mode"]);
        assert_eq!(
            paths("use crate::{\n engine::{Ask, table::Table as T},\n name::*,\n};", &["guard"]),
            ["engine::Ask", "engine::table::Table", "name"]
        );
        assert_eq!(paths("fn f() { g(crate::url::parse(x)) }", &["name"]), ["url::parse"]);
        assert_eq!(paths("use super::super::manager::Settings;", &["engine", "file"]), ["manager::Settings"]);
        assert_eq!(paths("macro_rules! m { () => { $crate::event::emit() } }", &["mode"]), ["event::emit"]);
        assert_eq!(paths("fn f() -> Vec<crate::mode::Mode> {}", &["mode"]), ["mode::Mode"]);
    }

    #[test]
    fn text_and_tests_do_not_count() {
        let text = r#"
            //! See [`crate::manager`].
            /// As [`crate::owner::Owner`].
            const HELP: &str = "crate::request";
            #[cfg(test)]
            mod tests { use crate::guard::Guard; }
        "#;
        assert_eq!(paths(text, &["mode"]), Vec::<String>::new());
    }

    #[test]
    fn test_only_files_are_known() {
        let text = "mod a; #[cfg(test)] mod model; #[cfg(all(test, loom))] mod loom_models; #[cfg(unix)] mod b;";
        assert_eq!(test_modules(text).unwrap(), ["model", "loom_models"]);
    }
}
