//! Reading `"limits"`, the node's and an app's.
//!
//! Owns which limits may stand where. The limits themselves are [`crate::limits`]'.

use super::reading::{Field, Mistakes, Object};
use crate::limits::{Limits, Scope};

/// The limits that the object sets, over the defaults; or, in an app, over the `node`'s.
pub(super) fn read(field: Option<Field<'_>>, node: Option<&Limits>, mistakes: &mut Mistakes) -> Limits {
    let mut limits = node.cloned().unwrap_or_default();
    let Some(field) = field else { return limits };
    let Some(mut object) = Object::open(&field.path, field.value, "an object of limits", mistakes) else {
        return limits;
    };
    let may_stand_here = |scope| node.is_none() || scope == Scope::App;
    for limit in Limits::CATALOGUE {
        let Some(field) = object.optional(limit.name) else { continue };
        if !may_stand_here(limit.scope) {
            let found = "one that all apps share";
            mistakes.add(&field.path, "a limit of one app", found, "move it to limits, beside apps");
            continue;
        }
        let value = field.integer(limit.at_least..=limit.at_most, mistakes);
        if let (Some(value), Some(entry)) = (value, limits.entry(limit.name)) {
            *entry = value;
        }
    }
    let rows = Limits::CATALOGUE.iter().filter(|limit| may_stand_here(limit.scope));
    let names: Vec<&str> = rows.map(|limit| limit.name).collect();
    object.close(&format!("one of {}", names.join(", ")), mistakes);
    limits
}
