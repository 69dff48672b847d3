//! The guard as a Python object: a type made by hand, because its slots are the hot path.
//!
//! PyO3 has no `am_send`, and its trampolines cost more than the lock. Only what `with`, `async with`
//! and `await` call is here; `concurrent_locks/guard.py` adds the rest of a guard's methods, which call
//! [`methods`](super::methods). It adds them to these very types: a Python subclass would take part in
//! garbage collection, which costs more than the lock too.
//!
//! `async with` looks `__aenter__` and `__aexit__` up before it calls them, and each look-up makes a bound
//! method, which costs as much as a third of the lock. Here a guard is its own bound method: a look-up in
//! a guard gives the guard (`shortcut.rs`), and calling it enters without arguments and exits with three.
//! A look-up in the type gives ordinary methods, for `AsyncExitStack` and its like.
//!
//! - **R1** Every function here is called by the interpreter with the GIL held, as its slot demands.
//! - **R2** An object of this type is made by [`new`] only, which fills in its [`Guard`] before anybody
//!   else sees it; `tp_new` is switched off. So every `self` is an [`Object`] with a valid guard, until
//!   [`dealloc`] takes the guard out, once.
//! - **R3** A panic does not leave a function: it becomes a Python exception.

#![expect(unsafe_code, reason = "a type made with the C API")]

use std::{
    ffi::c_int,
    mem::offset_of,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use pyo3::{
    exceptions::{PyMemoryError, PyTypeError},
    ffi::{self, PyObject},
    panic::PanicException,
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};

use super::{
    Guard, Target,
    bound::{self, Method},
    class::guard_type,
    done, memory, methods, stop,
};

/// A guard object.
#[repr(C)]
pub(super) struct Object {
    base: PyObject,
    /// What the interpreter calls when the object is called: [`call`].
    pub(super) call: ffi::vectorcallfunc,
    /// The weak references to it, which the interpreter keeps; null if there are none.
    pub(super) weak: *mut PyObject,
    enter: Method,
    exit: Method,
    guard: Guard,
}

/// The types of guards: of one lock, and of several.
struct Types {
    one: Py<PyType>,
    all: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

/// Makes the types and adds them to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let types = TYPES.get_or_try_init(py, || {
        let one = guard_type(py, c"concurrent_locks._core.Guard")?.unbind();
        let all = guard_type(py, c"concurrent_locks._core.GuardAll")?.unbind();
        Ok::<_, PyErr>(Types { one, all })
    })?;
    module.add("Guard", &types.one)?;
    module.add("GuardAll", &types.all)?;
    bound::make(py)?;
    done::make(py)?;
    stop::make(py)
}

/// A guard as a Python object. Inlined, so that the guard is made where it stays.
#[inline(always)]
pub(crate) fn new(py: Python<'_>, guard: Guard) -> PyResult<Bound<'_, PyAny>> {
    let Some(types) = TYPES.get(py) else { return Err(PyTypeError::new_err("the module is not initialised")) };
    let class = if matches!(guard.target, Target::One { .. }) { &types.one } else { &types.all };
    let memory = memory::take(py, size_of::<Object>());
    if memory.is_null() {
        return Err(PyMemoryError::new_err(()));
    }
    // SAFETY: one of our types, and memory of its size; the result is the object with one reference.
    let object = unsafe { Bound::from_owned_ptr(py, ffi::PyObject_Init(memory, class.as_ptr().cast())) };
    // SAFETY: the object is new and nobody else has seen it (R2); its memory is ours to initialise.
    unsafe {
        let object = object.as_ptr().cast::<Object>();
        (&raw mut (*object).call).write(call);
        (&raw mut (*object).weak).write(ptr::null_mut());
        (&raw mut (*object).enter).write(Method::new(bound_enter, offset_of!(Object, enter)));
        (&raw mut (*object).exit).write(Method::new(bound_exit, offset_of!(Object, exit)));
        (&raw mut (*object).guard).write(guard);
    }
    Ok(object)
}

/// Whether an object is of one of our types.
///
/// # Safety
/// It must be a valid object, and the GIL be held.
#[inline]
pub(super) unsafe fn is_guard(object: *mut PyObject) -> bool {
    // SAFETY: the caller's promise.
    let (py, class) = unsafe { (Python::assume_attached(), ffi::Py_TYPE(object)) };
    // They have no subclasses: they are made without `Py_TPFLAGS_BASETYPE`.
    TYPES.get(py).is_some_and(|types| [&types.one, &types.all].iter().any(|one| one.as_ptr().cast() == class))
}

/// The guard inside a Python object.
#[inline]
pub(crate) fn of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a Guard> {
    // SAFETY: a valid object, with the GIL held.
    if !unsafe { is_guard(object.as_ptr()) } {
        return Err(PyTypeError::new_err("a guard made by a lock manager is needed"));
    }
    // SAFETY: an instance of our type has a valid guard (R2), which lives as long as the object.
    Ok(unsafe { &(*object.as_ptr().cast::<Object>()).guard })
}

/// Runs the body of a slot or method (R1, R3).
///
/// PyO3 does not know that the thread is attached (only [`Python::attach`] records it, at a cost): a
/// `Py` dropped in the body would be put aside, for the next time it knows. So the body of what is hot
/// drops no `Py`, or with [`Py::drop_ref`].
///
/// # Safety
/// `object` must be an [`Object`], borrowed for the time of the call, and the GIL held.
#[inline]
unsafe fn with_guard<T>(
    object: *mut PyObject,
    failed: T,
    body: impl FnOnce(&Bound<'_, PyAny>, &Guard) -> PyResult<T>,
) -> T {
    // SAFETY: the caller's promise.
    let (py, guard) = unsafe { (Python::assume_attached(), &(*object.cast::<Object>()).guard) };
    // SAFETY: the caller's promise.
    let borrowed = unsafe { Borrowed::from_ptr(py, object) };
    match catch_unwind(AssertUnwindSafe(|| body(&borrowed, guard))) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error.restore(py),
        Err(_) => PanicException::new_err("a guard panicked").restore(py),
    }
    failed
}

pub(super) unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the GIL is held (R1).
    let py = unsafe { Python::assume_attached() };
    // SAFETY: an object of our type (R2), whose last reference is gone, with a list of its weak references.
    unsafe {
        if !(*object.cast::<Object>()).weak.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
    }
    // SAFETY: the last reference is gone; the guard is valid (R2) and is taken out once, here. Of an idle
    // one only the fields that have something to drop: copying all of it costs more than dropping it.
    unsafe {
        let guard = &raw const (*object.cast::<Object>()).guard;
        if (*guard).is_idle() {
            (&raw const (*guard).target).read().drop_ref(py);
            (&raw const (*guard).asker).read().drop_ref(py);
            if let Some(note) = (&raw const (*guard).note).read() {
                note.drop_ref(py);
            }
        } else {
            let guard = guard.read();
            // A panic has nowhere to go; what it says is on stderr already.
            let _ = catch_unwind(AssertUnwindSafe(|| abandon(guard)));
        }
    }
    // SAFETY: the GIL is held (R1), and the object is done with.
    unsafe {
        let class = ffi::Py_TYPE(object);
        memory::give(py, object);
        ffi::Py_DECREF(class.cast());
    }
}

/// A guard that still holds is gone: its owner is warned, unless the interpreter is, too.
#[cold]
fn abandon(guard: Guard) {
    let guard = std::mem::ManuallyDrop::new(guard);
    let abandoned = Python::try_attach(|py| {
        let raised = PyErr::take(py);
        guard.abandoned(py);
        if let Some(raised) = raised {
            raised.restore(py);
        }
    });
    match abandoned {
        Some(()) => drop(std::mem::ManuallyDrop::into_inner(guard)),
        // Too late for Python: only the lock goes back.
        None => {
            guard.release_bare_late();
            drop(guard.phase.replace(super::Phase::Idle));
        }
    }
}

/// `await guard`: takes the lock, here and now if it is free; else answers with the wait for it.
pub(super) unsafe extern "C" fn am_await(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: a slot of our type (R1, R2).
    unsafe {
        with_guard(object, ptr::null_mut(), |object, guard| {
            methods::enter_async(object, guard).map(|awaitable| awaitable.into_ptr())
        })
    }
}

/// What follows on [`am_await`] when the lock was free: the guard is the result.
pub(super) unsafe extern "C" fn am_send(
    object: *mut PyObject,
    _value: *mut PyObject,
    result: *mut *mut PyObject,
) -> c_int {
    // SAFETY: a slot; `result` is the caller's to fill with a new reference.
    unsafe { *result = ffi::Py_NewRef(object) };
    ffi::PySendResult::PYGEN_RETURN as c_int
}

/// The same, where the interpreter does not know `am_send`.
pub(super) unsafe extern "C" fn next(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the GIL is held (R1), `object` is a valid object.
    let object = unsafe { Borrowed::from_ptr(Python::assume_attached(), object) };
    stop::raise(&object);
    ptr::null_mut()
}

pub(super) unsafe extern "C" fn same(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a valid object (R1).
    unsafe { ffi::Py_NewRef(object) }
}

pub(super) unsafe extern "C" fn iter(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: a valid object (R1).
    unsafe { ffi::Py_NewRef(object) }
}

pub(super) unsafe extern "C" fn enter(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method of our type (R1, R2).
    unsafe {
        with_guard(object, ptr::null_mut(), |object, guard| {
            guard.enter(object, guard.timeout).map(|()| object.clone().into_ptr())
        })
    }
}

/// `guard.__enter__`, a new reference.
///
/// # Safety
/// As for [`with_guard`].
pub(super) unsafe fn enter_of(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { Method::new_reference(&raw mut (*object.cast::<Object>()).enter) }
}

/// `guard.__exit__`, a new reference.
///
/// # Safety
/// As for [`with_guard`].
pub(super) unsafe fn exit_of(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { Method::new_reference(&raw mut (*object.cast::<Object>()).exit) }
}

unsafe extern "C" fn bound_enter(
    method: *mut PyObject,
    _arguments: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    if count & (usize::MAX >> 1) != 0 || !names.is_null() {
        return bound::wrong();
    }
    // SAFETY: the interpreter's call of a method in an object of our type (R1, R2).
    unsafe { enter(Method::guard(method), ptr::null_mut()) }
}

unsafe extern "C" fn bound_exit(
    method: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // The highest bit says that the caller lends one more place in front of the arguments.
    let count = (count & (usize::MAX >> 1)) as ffi::Py_ssize_t;
    if !names.is_null() {
        return bound::wrong();
    }
    // SAFETY: the interpreter's call of a method in an object of our type (R1, R2), with as many arguments.
    unsafe { exit(Method::guard(method), arguments.cast_mut(), count) }
}

/// Releases; says whether the block raised nothing.
unsafe fn leave(object: *mut PyObject, arguments: *mut *mut PyObject, count: ffi::Py_ssize_t) -> bool {
    // SAFETY: a method of our type (R1, R2), called with `count` arguments.
    unsafe {
        let raised = count > 0 && *arguments != ffi::Py_None();
        with_guard(object, false, |object, guard| guard.exit(object.py(), raised).map(|()| true))
    }
}

pub(super) unsafe extern "C" fn exit(
    object: *mut PyObject,
    arguments: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: as for `leave`; `None` is a valid object.
    unsafe { if leave(object, arguments, count) { ffi::Py_NewRef(ffi::Py_None()) } else { ptr::null_mut() } }
}

/// Releases at once, so that there is nothing to cancel; its result is done already.
pub(super) unsafe extern "C" fn async_exit(
    object: *mut PyObject,
    arguments: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: as for `leave`.
    if !unsafe { leave(object, arguments, count) } {
        return ptr::null_mut();
    }
    // SAFETY: the GIL is held (R1).
    let py = unsafe { Python::assume_attached() };
    done::new_reference(py)
}

/// `guard()` is what `__aenter__()` does, `guard(kind, raised, traceback)` what `__aexit__` does, and
/// `guard(function)` decorates, as the objects of `contextlib.contextmanager` do.
unsafe extern "C" fn call(
    object: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // The highest bit says that the caller lends one more place in front of the arguments.
    let count = count & (usize::MAX >> 1);
    // SAFETY: the interpreter's call of an object of our type (R1, R2), with as many arguments.
    unsafe {
        match (count, names.is_null()) {
            (0, true) => ffi::Py_NewRef(object),
            (3, true) => async_exit(object, arguments.cast_mut(), 3),
            (1, true) if ffi::PyCallable_Check(*arguments) == 1 => {
                let function = *arguments;
                with_guard(object, ptr::null_mut(), |object, _| {
                    let function = Borrowed::from_ptr(object.py(), function);
                    methods::decorate(object, &function).map(Bound::into_ptr)
                })
            }
            _ => {
                ffi::PyErr_SetString(
                    ffi::PyExc_TypeError,
                    c"a guard is entered with `with` or `async with`, or decorates a function".as_ptr(),
                );
                ptr::null_mut()
            }
        }
    }
}

/// The same for a caller that has a tuple.
pub(super) unsafe extern "C" fn call_with_tuple(
    object: *mut PyObject,
    arguments: *mut PyObject,
    keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a `tp_call` (R1, R2): a tuple, and a dictionary or null.
    unsafe {
        let count = ffi::PyTuple_Size(arguments);
        let named = !keywords.is_null() && ffi::PyDict_Size(keywords) > 0;
        let mut places = [ptr::null_mut(); 3];
        for (place, index) in places.iter_mut().zip(0..count) {
            *place = ffi::PyTuple_GetItem(arguments, index);
        }
        call(object, places.as_ptr(), count as usize, if named { keywords } else { ptr::null_mut() })
    }
}
