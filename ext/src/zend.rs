//! The only hand-written `unsafe` of this crate: reading PHP's own structures where ext-php-rs cannot, or not safely.
//!
//! - Arguments are borrowed zvals, checked here in PHP's words, since the crate's own say neither method nor position.
//! - Arrays are walked directly: the crate's iterators panic on a string key that is not UTF-8, and allocate.
//! - Signatures are completed (union types, defaults, sensitive parameters), which the crate's macros cannot express.

use std::os::raw::c_char;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use ext_php_rs::convert::FromZval;
use ext_php_rs::ffi;
use ext_php_rs::flags::DataType;
use ext_php_rs::types::{ArrayKey, ZendHashTable, ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ce};

use crate::outcome::Outcome;

/// A `string` argument. Any zval is taken, so that this crate says what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct StringArgument<'a>(&'a Zval);

impl<'a> FromZval<'a> for StringArgument<'a> {
    const TYPE: DataType = DataType::String;

    fn from_zval(zval: &'a Zval) -> Option<Self> {
        Some(Self(zval))
    }
}

impl<'a> StringArgument<'a> {
    /// The string's bytes, borrowed from PHP.
    ///
    /// # Errors
    /// A `TypeError` in PHP's words.
    #[inline]
    pub(crate) fn bytes(&self, method: &str, position: u8, name: &str) -> Result<&'a [u8], Outcome> {
        string(self.0).ok_or_else(|| wrong_type(method, position, name, "string", self.0))
    }
}

/// A `?string` argument that may be left out.
#[derive(Debug, Clone, Copy)]
pub struct NullableStringArgument<'a>(Option<&'a Zval>);

impl<'a> FromZval<'a> for NullableStringArgument<'a> {
    const TYPE: DataType = DataType::String;
    const NULLABLE: bool = true;

    fn from_zval(zval: &'a Zval) -> Option<Self> {
        Some(Self((!zval.dereference().is_null()).then_some(zval)))
    }

    fn from_missing() -> Option<Self> {
        Some(Self(None))
    }
}

impl<'a> NullableStringArgument<'a> {
    /// The string's bytes, borrowed from PHP, or `None` for null.
    ///
    /// # Errors
    /// A `TypeError` in PHP's words.
    #[inline]
    pub(crate) fn bytes(&self, method: &str, position: u8, name: &str) -> Result<Option<&'a [u8]>, Outcome> {
        match self.0 {
            None => Ok(None),
            Some(zval) => match string(zval) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(wrong_type(method, position, name, "?string", zval)),
            },
        }
    }
}

/// The `array $options = []` argument.
#[derive(Debug, Clone, Copy)]
pub struct OptionsArgument<'a>(Option<&'a Zval>);

impl<'a> FromZval<'a> for OptionsArgument<'a> {
    const TYPE: DataType = DataType::Array;
    // What may be left out must be nullable for the macro; null itself is refused below.
    const NULLABLE: bool = true;

    fn from_zval(zval: &'a Zval) -> Option<Self> {
        Some(Self(Some(zval)))
    }

    fn from_missing() -> Option<Self> {
        Some(Self(None))
    }
}

impl<'a> OptionsArgument<'a> {
    /// The array, or `None` when the argument was left out.
    ///
    /// # Errors
    /// A `TypeError` in PHP's words.
    pub(crate) fn array(
        &self,
        method: &str,
        position: u8,
        name: &str,
    ) -> Result<Option<&'a ZendHashTable>, Outcome> {
        match self.0 {
            None => Ok(None),
            Some(zval) => match zval.dereference().array() {
                Some(array) => Ok(Some(array)),
                None => Err(wrong_type(method, position, name, "array", zval)),
            },
        }
    }
}

/// The `array|string $channels` argument.
#[derive(Debug, Clone, Copy)]
pub struct ChannelsArgument<'a>(&'a Zval);

impl<'a> FromZval<'a> for ChannelsArgument<'a> {
    const TYPE: DataType = DataType::Mixed;

    fn from_zval(zval: &'a Zval) -> Option<Self> {
        Some(Self(zval))
    }
}

impl<'a> ChannelsArgument<'a> {
    /// The channel names, all of them known to be strings.
    ///
    /// # Errors
    /// A `TypeError` in PHP's words.
    #[inline]
    pub(crate) fn names(&self) -> Result<Channels<'a>, Outcome> {
        if let Some(name) = string(self.0) {
            return Ok(Channels::One(Some(name)));
        }
        let Some(array) = self.0.dereference().array() else {
            return Err(wrong_type("broadcast", 1, "channels", "array|string", self.0));
        };
        let elements = Elements::of(array);
        if let Some(other) = elements.clone().find(|element| string(element).is_none()) {
            return Err(Outcome::Type(format!(
                "Fanfare\\Sidecar::broadcast(): Argument #1 ($channels) must be of type array of strings, array with \
                 {} given",
                type_name(other)
            )));
        }
        Ok(Channels::Many(elements))
    }
}

/// Channel names borrowed from PHP: one string, or an array's.
#[derive(Debug, Clone)]
pub(crate) enum Channels<'a> {
    One(Option<&'a [u8]>),
    Many(Elements<'a>),
}

impl<'a> Iterator for Channels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::One(name) => name.take(),
            Self::Many(elements) => elements.next().and_then(string),
        }
    }
}

/// The values of a PHP array, in its order, whatever its keys are.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    array: &'a ZendHashTable,
    position: u32,
}

/// Set in an array's flags when it has no keys but 0 to n-1 (Zend/zend_hash.h, since PHP 7).
const HASH_FLAG_PACKED: u32 = 1 << 2;

impl<'a> Elements<'a> {
    fn of(array: &'a ZendHashTable) -> Self {
        Self { array, position: 0 }
    }

    /// The slot at `position`, which is below `nNumUsed`.
    #[inline]
    fn slot(&self, position: usize) -> &'a Zval {
        // SAFETY: `flags` is the plain integer view of the union; every bit pattern is valid.
        let packed = unsafe { self.array.u.flags } & HASH_FLAG_PACKED != 0;
        if packed {
            // SAFETY: a packed array's data is read as zvals (since PHP 8.2; build.rs takes none before 8.3).
            let zvals = unsafe { self.array.__bindgen_anon_1.arPacked };
            // SAFETY: the engine keeps nNumUsed initialised zvals there, and the array is borrowed for 'a.
            unsafe { &*zvals.add(position) }
        } else {
            // SAFETY: any other array's data is read as buckets.
            let buckets = unsafe { self.array.__bindgen_anon_1.arData };
            // SAFETY: the engine keeps nNumUsed initialised buckets there, and the array is borrowed for 'a.
            unsafe { &(*buckets.add(position)).val }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a Zval;

    #[inline]
    fn next(&mut self) -> Option<&'a Zval> {
        while self.position < self.array.nNumUsed {
            let zval = self.slot(self.position as usize);
            self.position += 1;
            // A removed element leaves a hole.
            if zval.get_type() != DataType::Undef {
                return Some(zval);
            }
        }
        None
    }
}

#[inline]
fn string(zval: &Zval) -> Option<&[u8]> {
    zval.dereference().zend_str().map(ZendStr::as_bytes)
}

/// Keys and values of a small array, keys that are not UTF-8 included (with replacement characters).
pub(crate) fn entries(array: &ZendHashTable) -> Vec<(ArrayKey<'_>, &Zval)> {
    // SAFETY: `flags` is the plain integer view of the union; every bit pattern is valid.
    let packed = unsafe { array.u.flags } & HASH_FLAG_PACKED != 0;
    let elements = Elements::of(array);
    let mut entries = Vec::new();
    for position in 0..array.nNumUsed as usize {
        let zval = elements.slot(position);
        if zval.get_type() == DataType::Undef {
            continue;
        }
        let key = if packed { ArrayKey::Long(position as i64) } else { bucket_key(array, position) };
        entries.push((key, zval.dereference()));
    }
    entries
}

fn bucket_key(array: &ZendHashTable, position: usize) -> ArrayKey<'_> {
    // SAFETY: the caller has seen that the array is not packed, so that its data is read as buckets.
    let buckets = unsafe { array.__bindgen_anon_1.arData };
    // SAFETY: `position` is below nNumUsed, up to where the engine keeps initialised buckets.
    let bucket = unsafe { &*buckets.add(position) };
    // SAFETY: a bucket's key is null (integer keys) or a string that lives as long as the array.
    match unsafe { bucket.key.as_ref() } {
        Some(key) => ArrayKey::String(String::from_utf8_lossy(key.as_bytes()).into_owned()),
        None => ArrayKey::Long(bucket.h as i64),
    }
}

fn wrong_type(method: &str, position: u8, name: &str, expected: &str, found: &Zval) -> Outcome {
    Outcome::Type(format!(
        "Fanfare\\Sidecar::{method}(): Argument #{position} (${name}) must be of type {expected}, {} given",
        type_name(found)
    ))
}

/// The type as PHP's own messages name it.
pub(crate) fn type_name(zval: &Zval) -> &'static str {
    match zval.dereference().get_type() {
        DataType::Undef | DataType::Null => "null",
        DataType::False | DataType::True | DataType::Bool => "bool",
        DataType::Long => "int",
        DataType::Double => "float",
        DataType::String => "string",
        DataType::Array => "array",
        DataType::Object(_) => "object",
        DataType::Resource => "resource",
        _ => "another type",
    }
}

/// Whether this process serves one request and ends with it, as `php script.php` does.
pub(crate) fn one_request_per_process() -> bool {
    // SAFETY: PHP sets `sapi_module` before it loads extensions, and never changes its name.
    let name = unsafe { ffi::sapi_module.name };
    if name.is_null() {
        return false;
    }
    // SAFETY: a SAPI's name is a C string with static lifetime.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    matches!(name.to_bytes(), b"cli" | b"phpdbg" | b"embed" | b"micro")
}

/// What a parameter's type and default are, where the macros cannot say it.
struct Signature {
    class: &'static str,
    method: &'static str,
    parameter: usize,
    type_mask: Option<u32>,
    default: Option<&'static std::ffi::CStr>,
    is_sensitive: bool,
}

const MASK_STRING: u32 = 1 << 6;
const MASK_ARRAY: u32 = 1 << 7;

const SIGNATURES: [Signature; 3] = [
    Signature {
        class: "Fanfare\\Sidecar",
        method: "broadcast",
        parameter: 0,
        type_mask: Some(MASK_ARRAY | MASK_STRING),
        default: None,
        is_sensitive: false,
    },
    Signature {
        class: "Fanfare\\Sidecar",
        method: "__construct",
        parameter: 3,
        type_mask: Some(MASK_ARRAY),
        default: Some(c"[]"),
        is_sensitive: false,
    },
    Signature {
        class: "Fanfare\\Sidecar",
        method: "__construct",
        parameter: 2,
        type_mask: None,
        default: None,
        is_sensitive: true,
    },
];

/// Where a class registered at startup is found again: the engine's table cannot be asked before a request runs.
#[derive(Debug)]
pub(crate) struct ClassSlot(AtomicPtr<ClassEntry>);

impl ClassSlot {
    pub(crate) const fn empty() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Remembers the class.
    pub(crate) fn fill(&self, class: &'static mut ClassEntry) {
        self.0.store(class, Ordering::Release);
    }

    /// The class, or PHP's `Exception` before it is registered.
    pub(crate) fn class(&self) -> &'static ClassEntry {
        // SAFETY: the pointer is null or came from a `&'static mut` in `fill`; the engine keeps internal classes for
        // the life of the process.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }.unwrap_or_else(ce::exception)
    }
}

/// PHP's `RuntimeException`.
pub(crate) fn runtime_exception() -> &'static ClassEntry {
    // SAFETY: SPL is always there and registers its classes before any extension starts; it never changes them.
    let class = unsafe { spl_ce_RuntimeException };
    // SAFETY: null or a class that lives as long as the process.
    unsafe { class.as_ref() }.unwrap_or_else(ce::exception)
}

unsafe extern "C" {
    /// ext/spl/spl_exceptions.h
    static spl_ce_RuntimeException: *const ClassEntry;

    /// Zend/zend_attributes.h, PHP 8.0 and later.
    fn zend_add_attribute(
        attributes: *mut *mut ffi::HashTable,
        name: *mut ZendStr,
        argc: u32,
        flags: u32,
        offset: u32,
        lineno: u32,
    ) -> *mut std::ffi::c_void;
}

/// ZEND_ATTRIBUTE_PERSISTENT: allocated for the life of the process.
const ATTRIBUTE_PERSISTENT: u32 = 1;

/// Completes the method signatures, once per process, at the first request: at startup the class is not there yet.
pub(crate) fn complete_signatures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signature in &SIGNATURES {
            complete(signature);
        }
    });
}

fn complete(signature: &Signature) {
    let Some(class) = ClassEntry::try_find(signature.class) else { return };
    let table = std::ptr::from_ref(&class.function_table).cast_mut();
    let name = signature.method;
    // SAFETY: the class's function table is live for the life of the process; the name is valid for its length.
    let found = unsafe { ffi::zend_hash_str_find_ptr_lc(table, name.as_ptr().cast::<c_char>(), name.len()) };
    // SAFETY: what the table holds are functions; `call_once` makes this the only access while it runs, and nothing
    // executes PHP code before the first request has started.
    let Some(function) = (unsafe { found.cast::<ffi::_zend_function>().as_mut() }) else { return };
    // SAFETY: methods of an internal class are internal functions.
    let function = unsafe { &mut function.internal_function };
    if signature.parameter >= function.num_args as usize || function.arg_info.is_null() {
        return;
    }
    // SAFETY: arg_info points at num_args descriptions, which ext-php-rs keeps in memory of its own for the life of
    // the process.
    let info =
        unsafe { &mut *function.arg_info.add(signature.parameter).cast::<ffi::zend_internal_arg_info>() };
    if let Some(mask) = signature.type_mask {
        const TYPE_BITS: u32 = (1 << 18) - 1;
        info.type_.type_mask = info.type_.type_mask & !TYPE_BITS | mask;
    }
    if let Some(default) = signature.default {
        info.default_value = default.as_ptr();
    }
    if signature.is_sensitive {
        let name = ZendStr::new_interned("sensitiveparameter", true).into_raw();
        let offset = signature.parameter as u32 + 1;
        // SAFETY: `attributes` is this function's own table (null or live); the name is interned for good. The
        // engine's own extensions mark parameters with the same call.
        unsafe { zend_add_attribute(&raw mut function.attributes, name, 0, ATTRIBUTE_PERSISTENT, offset, 0) };
    }
}
