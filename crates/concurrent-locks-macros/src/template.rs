//! Name templates: `"episodic_db:{self.path}/{id:04}"`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, Ident, LitStr, Member, Result, ext::IdentExt, parse::Parser};

/// The longest name a lock can have, in bytes (`concurrent_locks::MAX_NAME_BYTES`).
const MAX_NAME_BYTES: usize = 255;

/// A checked name template.
pub(crate) struct Template {
    span: Span,
    /// The name without its placeholders, for a name that has none.
    plain: String,
    /// A format string with a positional `{}` for each placeholder.
    format: String,
    placeholders: Vec<Placeholder>,
}

/// A dotted path: an argument and fields of it.
struct Placeholder {
    root: Ident,
    fields: Vec<Member>,
}

impl Template {
    pub(crate) fn new(literal: &LitStr) -> Result<Template> {
        let span = literal.span();
        let mut template = Template { span, plain: String::new(), format: String::new(), placeholders: Vec::new() };
        let text = literal.value();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            template.push(&rest[..at]);
            rest = template.brace(&rest[at..])?;
        }
        template.push(rest);
        template.check_length()?;
        Ok(template)
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        Err(Error::new(self.span, message))
    }

    fn push(&mut self, text: &str) {
        self.plain.push_str(text);
        self.format.push_str(text);
    }

    /// Reads an escaped brace or a placeholder; returns what comes after it.
    fn brace<'t>(&mut self, text: &'t str) -> Result<&'t str> {
        for (escape, brace) in [("{{", '{'), ("}}", '}')] {
            if let Some(rest) = text.strip_prefix(escape) {
                self.plain.push(brace);
                self.format.push_str(escape);
                return Ok(rest);
            }
        }
        let Some(inside) = text.strip_prefix('{') else {
            return self.error("`}` without `{` in the lock name; write `}}` for a brace");
        };
        let Some((inside, rest)) = inside.split_once('}').filter(|(inside, _)| !inside.contains('{')) else {
            return self.error(format!("`{{` is never closed in the lock name, at `{text}`; write `{{{{` for a brace"));
        };
        let (path, format) = inside.split_at(inside.find(':').unwrap_or(inside.len()));
        let placeholder = self.placeholder(path.trim())?;
        self.placeholders.push(placeholder);
        self.format.push_str(&format!("{{{format}}}"));
        Ok(rest)
    }

    fn placeholder(&self, path: &str) -> Result<Placeholder> {
        if path.is_empty() {
            return self.error("a placeholder `{}` in the lock name is empty; name an argument: `{self.path}`");
        }
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        // `parse_any` for `self`; a field may be a number.
        let root = Ident::parse_any.parse_str(root);
        let fields: Result<Vec<Member>> = parts.map(syn::parse_str).collect();
        let (Ok(mut root), Ok(mut fields)) = (root, fields) else {
            return self.error(format!(
                "`{{{path}}}` in the lock name is not an argument or a field of one, like `{{id}}` or `{{self.db.path}}`"
            ));
        };
        root.set_span(self.span);
        for field in &mut fields {
            match field {
                Member::Named(name) => name.set_span(self.span),
                Member::Unnamed(index) => index.span = self.span,
            }
        }
        Ok(Placeholder { root, fields })
    }

    fn check_length(&self) -> Result<()> {
        if self.plain.len() > MAX_NAME_BYTES {
            return self.error(format!("the lock name has more than {MAX_NAME_BYTES} bytes"));
        }
        if self.plain.is_empty() && self.placeholders.is_empty() {
            return self.error(format!("the lock name is empty; it needs 1 to {MAX_NAME_BYTES} bytes"));
        }
        if self.plain.contains('\0') {
            return self.error("the lock name contains a NUL byte");
        }
        Ok(())
    }

    /// Checks that every placeholder starts with one of `names`, or looks like a constant.
    pub(crate) fn check_names(&self, names: &[Ident]) -> Result<()> {
        for Placeholder { root, .. } in &self.placeholders {
            let constant = !root.to_string().contains(char::is_lowercase);
            if !constant && !names.contains(root) {
                let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                return self.error(format!("unknown argument `{root}` in the lock name; the function has {known}"));
            }
        }
        Ok(())
    }
}

/// An expression of type `&str`.
impl ToTokens for Template {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        // Points at the literal, but is the macro's own code to lints.
        let span = Span::mixed_site().located_at(self.span);
        if self.placeholders.is_empty() {
            return LitStr::new(&self.plain, span).to_tokens(tokens);
        }
        let format = LitStr::new(&self.format, span);
        let values = self.placeholders.iter().map(|Placeholder { root, fields }| quote!(#root #(.#fields)*));
        tokens.extend(quote_spanned!(span=> &::std::format!(#format #(, #values)*)));
    }
}
