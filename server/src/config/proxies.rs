//! Reading `"trusted_proxies"`.
//!
//! Owns what may stand in the list. What it means for a client's address is [`crate::http::Proxies`]'.

use super::reading::{Field, Mistakes};
use crate::http::{Proxies, Proxy};

pub(super) fn read(field: Option<Field<'_>>, mistakes: &mut Mistakes) -> Proxies {
    const EXPECTED: &str = "an address or a network, such as \"127.0.0.1\" or \"10.0.0.0/8\", or \"*\"";
    let Some(field) = field else { return Proxies::default() };
    let mut proxies = Vec::new();
    for item in field.items(mistakes) {
        match item.value.as_str().and_then(Proxy::parse) {
            Some(Proxy::Network(network)) if network.network() != network.addr() => {
                let advice = format!("write {}, or the address alone", network.trunc());
                mistakes.add(&item.path, "a network without bits beyond its length", item.found(), &advice);
            }
            Some(proxy) => proxies.push(proxy),
            None => mistakes.add(&item.path, EXPECTED, item.found(), "write addresses as numbers"),
        }
    }
    Proxies::new(proxies)
}
