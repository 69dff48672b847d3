//! The function with the lock around its body.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    Block, Error, Expr, FnArg, GenericParam, Ident, ItemFn, Pat, PatIdent, Path, Result, ReturnType, Signature, Stmt,
    Type, TypeImplTrait, parse_quote, parse_quote_spanned, spanned::Spanned, visit_mut, visit_mut::VisitMut,
};

use crate::options::{OnError, Options, Timeout};

/// Which of the attributes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Read,
    Write,
    Distributed,
}

/// The function with the lock, or as it is with a compile error beside it: so the mistake is the only error.
pub(crate) fn expand(kind: Kind, options: TokenStream, item: TokenStream) -> TokenStream {
    match function(item.clone()).and_then(|function| lock(kind, syn::parse2(options)?, function)) {
        Ok(function) => function.into_token_stream(),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error)
        }
    }
}

fn function(item: TokenStream) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item.clone()).map_err(|error| {
        Error::new_spanned(&item, format!("a lock goes on a function or method with a body: {error}"))
    })?;
    match &function.sig.constness {
        Some(constness) => Err(Error::new(constness.span, "a `const fn` cannot take a lock; remove `const`")),
        None => Ok(function),
    }
}

fn lock(kind: Kind, options: Options, mut function: ItemFn) -> Result<ItemFn> {
    options.name.check_names(&names(&function.sig))?;
    let asynchronous = function.sig.asyncness.is_some();
    let output = function.sig.output.clone();
    if let Some(body) = boxed_future(&mut function) {
        // What `#[async_trait]` made of an `async fn`: its block ends with a value of the right type.
        let prologue = prologue(kind, &options, true, Span::mixed_site());
        *body = enclose(&prologue, body, &parse_quote!(_));
        return Ok(function);
    }
    let returned: Type = match &output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, returned) => (**returned).clone(),
    };
    if options.on_error != Some(OnError::Panic) {
        check_returned(&function.sig, &returned)?;
    }
    let prologue = prologue(kind, &options, asynchronous, returned.span());
    *function.block = enclose(&prologue, &function.block, &without_impl(returned));
    Ok(function)
}

/// The names that a template may use.
fn names(signature: &Signature) -> Vec<Ident> {
    struct Names(Vec<Ident>);
    impl VisitMut for Names {
        fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
            self.0.push(pattern.ident.clone());
            visit_mut::visit_pat_ident_mut(self, pattern);
        }
    }
    let mut names = Names(Vec::new());
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => names.0.push(receiver.self_token.into()),
            FnArg::Typed(typed) => {
                let mut pattern: Pat = (*typed.pat).clone();
                names.visit_pat_mut(&mut pattern);
            }
        }
    }
    for parameter in &signature.generics.params {
        if let GenericParam::Const(parameter) = parameter {
            names.0.push(parameter.ident.clone());
        }
    }
    names.0
}

/// Refuses what cannot carry the lock's error, or what would run after the lock is released.
fn check_returned(signature: &Signature, returned: &Type) -> Result<()> {
    let last = |path: &Path| path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    if matches!(returned, Type::Path(returned) if last(&returned.path).ends_with("Result")) {
        return Ok(());
    }
    let boxed =
        matches!(returned, Type::Path(returned) if ["Pin", "BoxFuture"].contains(&last(&returned.path).as_str()));
    let message = if signature.asyncness.is_none() && (boxed || matches!(returned, Type::ImplTrait(_))) {
        "the lock would be released before the returned value is used; make this an `async fn` that returns \
         `Result<T, E>` with `E: From<concurrent_locks::Error>`"
    } else {
        "a lock can fail: return `Result<T, E>` with `E: From<concurrent_locks::Error>`, or add `on_error = \"panic\"`"
    };
    match &signature.output {
        ReturnType::Default => Err(Error::new(signature.paren_token.span.close(), message)),
        ReturnType::Type(..) => Err(Error::new_spanned(returned, message)),
    }
}

/// The block of `fn f(..) -> Pin<Box<dyn Future>> { Box::pin(async move { .. }) }`.
fn boxed_future(function: &mut ItemFn) -> Option<&mut Block> {
    if function.sig.asyncness.is_some() {
        return None;
    }
    match function.block.stmts.as_mut_slice() {
        [Stmt::Expr(Expr::Call(call), None)] => match (&*call.func, call.args.first_mut()) {
            (Expr::Path(callee), Some(Expr::Async(future)))
                if callee.path.segments.last().is_some_and(|segment| segment.ident == "pin") =>
            {
                Some(&mut future.block)
            }
            _ => None,
        },
        _ => None,
    }
}

/// A type that a `let` accepts: `impl Trait` is left to inference.
fn without_impl(mut returned: Type) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, node: &mut Type) {
            match node {
                Type::ImplTrait(TypeImplTrait { .. }) => *node = parse_quote!(_),
                _ => visit_mut::visit_type_mut(self, node),
            }
        }
    }
    Infer.visit_type_mut(&mut returned);
    returned
}

/// The body after the guard. Its value is bound first, so that its temporaries are dropped before the guard. What is
/// allowed concerns a body that never ends, which is no mistake of its author's.
fn enclose(prologue: &TokenStream, body: &Block, returned: &Type) -> Block {
    let span = Span::mixed_site();
    parse_quote_spanned!(span=> {
        #prologue
        #[allow(clippy::diverging_sub_expression)]
        let result: #returned = #body;
        #[allow(unreachable_code, clippy::needless_return)]
        return result;
    })
}

/// The statement that binds the guard. `failure` is where an error that does not fit is shown.
fn prologue(kind: Kind, options: &Options, asynchronous: bool, failure: Span) -> TokenStream {
    let span = Span::mixed_site();
    let or_fail = match options.on_error {
        Some(OnError::Panic) => {
            quote_spanned!(span=> .unwrap_or_else(|error| ::std::panic!("{error}")))
        }
        _ => quote_spanned!(span.located_at(failure)=> ?),
    };
    let locks = locks(kind, options, &or_fail);
    let name = &options.name;
    let mode = match kind {
        Kind::Read => quote_spanned!(span=> Read),
        Kind::Write | Kind::Distributed => quote_spanned!(span=> Write),
    };
    let timeout = match (&options.timeout, kind) {
        (Some(Timeout::Never), _) => Some(quote_spanned!(span=> .timeout(::core::option::Option::None))),
        (Some(Timeout::After(time)), _) => {
            let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
            Some(quote_spanned!(span=> .timeout(::core::time::Duration::new(#seconds, #nanos))))
        }
        (None, Kind::Distributed) => Some(quote_spanned!(span=> .timeout(::core::time::Duration::from_secs(60)))),
        (None, _) => None,
    };
    let priority = options.priority.as_ref().map(|priority| quote_spanned!(span=> .priority(#priority)));
    let note = options.note.as_ref().map(|note| quote_spanned!(span=> .note(#note)));
    let owner = options.owner.as_ref().map(|owner| quote_spanned!(span=> .owner(#owner)));
    let wait = if asynchronous { quote_spanned!(span=> .await) } else { quote_spanned!(span=> .blocking()) };
    quote_spanned! {span=>
        let _guard = {
            #locks
            let name: &::core::primitive::str = #name;
            let request = locks.request(name, ::concurrent_locks::Mode::#mode) #timeout #priority #note #owner;
            let guard = request #wait #or_fail;
            guard
        };
    }
}

/// The statements that bind `locks` to a `&LockManager`.
fn locks(kind: Kind, options: &Options, or_fail: &TokenStream) -> TokenStream {
    let span = Span::mixed_site();
    let manager = quote_spanned!(span=> ::concurrent_locks::LockManager);
    match (&options.locks, kind) {
        (Some(locks), _) => quote_spanned!(span=> let locks: &#manager = #locks;),
        (None, Kind::Read | Kind::Write) => quote_spanned!(span=> let locks = #manager::global() #or_fail;),
        (None, Kind::Distributed) => quote_spanned! {span=>
            let global = #manager::global() #or_fail;
            let locks = if global.capabilities().across_processes {
                ::core::clone::Clone::clone(global)
            } else {
                #manager::host() #or_fail
            };
        },
    }
}
