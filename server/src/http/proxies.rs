//! Whose address a client has, where proxies stand between.
//!
//! Owns which proxies are trusted and what `X-Forwarded-For` says. Each proxy appends the address that it sees to
//! the header, so the right-most entries are the ones that trusted proxies wrote and all else is what the client
//! claims. Reading therefore goes from the right and ends at the first address that is not a trusted proxy's, or
//! at the first entry that is no address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// One entry of the list of trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// `*`: who connects to this server, whoever it is. Proxies before that one are not meant.
    Neighbour,
    /// An address or a network.
    Network(IpNet),
}

impl Proxy {
    /// Reads `*`, an address, or a network such as `10.0.0.0/8`; `None` when it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Neighbour);
        }
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => canonical(text.parse().ok()?),
        };
        Some(Self::Network(network))
    }
}

/// IPv4 addresses in IPv6's notation are IPv4 addresses, networks of them too.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let length = v6.prefix_len().checked_sub(96);
    match v6.addr().to_ipv4_mapped().zip(length).map(|(address, length)| Ipv4Net::new(address, length)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => network,
    }
}

/// The proxies whose word about a client's address counts. None, by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    neighbour: bool,
    networks: Vec<IpNet>,
}

impl Proxies {
    /// The given ones.
    pub fn new(proxies: Vec<Proxy>) -> Self {
        let mut all = Self::default();
        for proxy in proxies {
            match proxy {
                Proxy::Neighbour => all.neighbour = true,
                Proxy::Network(network) => all.networks.push(network),
            }
        }
        all
    }

    /// The address of the client behind `peer`. `forwarded_for` are the values of the `X-Forwarded-For` headers,
    /// from the first to the last. When all of them are trusted, it is the left-most; when something that is no
    /// address stands there, it is the last proxy that can be vouched for.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.neighbour && !self.trust(peer) {
            return peer;
        }
        let mut client = peer;
        // Several headers are one list (RFC 9110 section 5.3).
        let entries = forwarded_for.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        for entry in entries {
            let Some(address) = std::str::from_utf8(entry).ok().and_then(read_entry) else { break };
            client = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// An address, in brackets or not, with a port or not: all of these are met.
fn read_entry(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse::<IpAddr>().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, headers: &[&str]) -> String {
        let proxies = trusted.iter().map(|text| Proxy::parse(text).unwrap()).collect();
        let headers = headers.iter().map(|value| value.as_bytes());
        Proxies::new(proxies).client(peer.parse().unwrap(), headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_nobody_is_believed() {
        assert_eq!(client(&[], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["::1"], "127.0.0.1", &["203.0.113.9"]), "127.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        for trusted in [&["10.0.0.0/8"][..], &["10.1.2.3"], &["*"], &["::1", "10.1.0.0/16"]] {
            assert_eq!(client(trusted, "10.1.2.3", &["203.0.113.9"]), "203.0.113.9", "{trusted:?}");
            assert_eq!(client(trusted, "10.1.2.3", &[]), "10.1.2.3", "{trusted:?}");
        }
    }

    #[test]
    fn what_a_client_claims_stands_left_of_what_is_true_and_is_not_believed() {
        let trusted = &["10.0.0.0/8"];
        for headers in [
            &["1.1.1.1, 203.0.113.9"][..],
            &["10.9.9.9, 1.1.1.1, 203.0.113.9"],
            &["1.1.1.1", "203.0.113.9"],
            &["10.0.0.9", "10.0.0.8,203.0.113.9"],
            &["1.1.1.1", "203.0.113.9, 10.0.0.7", "10.0.0.8"],
            &["1.1.1.1 , 203.0.113.9\t,10.0.0.7"],
            &["<script>, 203.0.113.9"],
        ] {
            assert_eq!(client(trusted, "10.1.2.3", headers), "203.0.113.9", "{headers:?}");
        }
    }

    #[test]
    fn any_neighbour_is_a_proxy_but_not_what_stands_before_it() {
        assert_eq!(client(&["*"], "192.0.2.1", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["*"], "192.0.2.1", &["1.1.1.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(&["*", "198.51.100.0/24"], "192.0.2.1", &["1.1.1.1, 198.51.100.7"]), "1.1.1.1");
        // Who trusts everybody believes everything.
        assert_eq!(client(&["0.0.0.0/0"], "192.0.2.1", &["1.1.1.1, 203.0.113.9"]), "1.1.1.1");
    }

    #[test]
    fn garbage_ends_the_reading_at_the_last_proxy_that_can_be_vouched_for() {
        let trusted = &["10.0.0.0/8"];
        for headers in [
            &["unknown"][..],
            &[""],
            &["203.0.113.9, "],
            &["203.0.113.9,,"],
            &["203.0.113.9, _hidden"],
            &["203.0.113.9; 1.1.1.1"],
            &["for=203.0.113.9"],
            &["\"203.0.113.9\""],
            &["203.0.113.256"],
            &["203.0.113.9:"],
            &["203.0.113.9:99999"],
            &["203.0.113.9/32"],
            &["0xcb.0.113.9"],
            &["203.0.113.9\n"],
            &["[203.0.113.9]"],
            &["[2001:db8::1"],
            &["2001:db8::1]"],
            &["fe80::1%eth0"],
            &["203.0.113.9, \u{661}.1.1.1"],
        ] {
            assert_eq!(client(trusted, "10.1.2.3", headers), "10.1.2.3", "{headers:?}");
        }
        assert_eq!(client(trusted, "10.1.2.3", &["1.1.1.1, unknown, 10.0.0.7"]), "10.0.0.7");
        let not_text: [&[u8]; 1] = [b"203.0.113.9, \xff"];
        let proxies = Proxies::new(vec![Proxy::parse("10.0.0.0/8").unwrap()]);
        assert_eq!(proxies.client("10.1.2.3".parse().unwrap(), not_text.into_iter()).to_string(), "10.1.2.3");
    }

    #[test]
    fn ports_brackets_and_ipv6_are_understood() {
        let trusted = &["10.0.0.0/8", "2001:db8:1::/48"];
        for (headers, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("2001:DB8:0::9", "2001:db8::9"),
            ("1.1.1.1, 2001:db8::9, 2001:db8:1::5, 10.0.0.7:80", "2001:db8::9"),
            ("::ffff:203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),
            ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ] {
            assert_eq!(client(trusted, "2001:db8:1::1", &[headers]), expected, "{headers}");
        }
        // A listener of both kinds sees IPv4 clients in IPv6's notation.
        assert_eq!(client(trusted, "::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&[], "::ffff:192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["::ffff:10.0.0.0/104"], "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["::ffff:10.1.2.3"], "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_is_no_proxy_is_not_read() {
        for text in
            ["", " ", "localhost", "10.0.0.0/33", "10.0.0/8", "10.0.0.1:80", "[::1]", "::1/129", "**", "10.*"]
        {
            assert_eq!(Proxy::parse(text), None, "{text}");
        }
    }
}
