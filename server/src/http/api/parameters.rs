//! The parameters in a request's query.
//!
//! Owns how a query is read and in which form it is signed: names in lower case and sorted, values decoded, lists
//! (`info[0]=a&info[1]=b`, as PHP writes them) joined by commas. Leaves to others what a parameter means.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::rejection::{Code, Rejection};

/// The parameters of one request, by name. What is not known is still signed, and otherwise ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(BTreeMap<String, Parameter>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    value: String,
    /// Whether it was written as a list, which may go on.
    is_list: bool,
}

impl Parameters {
    /// Reads a query. A plus is a plus: libraries that do not encode their values sign it as one.
    ///
    /// # Errors
    /// [`Code::Query`]: bytes that are no text, or one name with two values.
    pub fn parse(query: Option<&str>) -> Result<Self, Rejection> {
        let mut found: BTreeMap<String, Parameter> = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?.to_lowercase(), decoded(value)?);
            let list = name.strip_suffix(']').and_then(|name| name.split_once('['));
            let (name, is_list) = match list {
                Some((name, _)) => (name.to_owned(), true),
                None => (name, false),
            };
            match found.get_mut(&name) {
                None => {
                    found.insert(name, Parameter { value, is_list });
                }
                Some(known) if known.is_list && is_list => {
                    known.value.push(',');
                    known.value.push_str(&value);
                }
                Some(_) => {
                    let message =
                        format!("expected the parameter {name:?} once, but found it again; send it once");
                    return Err(Rejection::new(Code::Query, message));
                }
            }
        }
        Ok(Self(found))
    }

    /// The value of a parameter.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|parameter| parameter.value.as_str())
    }

    /// The text that is signed: everything but the signature.
    pub fn signed_form(&self) -> String {
        let mut out = String::new();
        for (name, parameter) in self.0.iter().filter(|(name, _)| *name != "auth_signature") {
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(&parameter.value);
        }
        out
    }
}

fn decoded(text: &str) -> Result<String, Rejection> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| {
        Rejection::new(Code::Query, "expected a query in UTF-8, percent-encoded, but found other bytes in it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(query: &str) -> String {
        Parameters::parse(Some(query)).unwrap().signed_form()
    }

    #[test]
    fn h1_what_is_signed_is_sorted_lower_cased_decoded_and_joined() {
        assert_eq!(signed("b=2&A=1&auth_signature=x&c="), "a=1&b=2&c=");
        assert_eq!(
            signed("filter_by_prefix=presence-&info=user_count%2Ccache"),
            "filter_by_prefix=presence-&info=user_count,cache"
        );
        // http_build_query() of ['info' => ['a', 'b'], 'x' => 'ü +'], which the PHP library signs as info=a,b&x=ü +.
        assert_eq!(signed("info%5B0%5D=a&info%5B1%5D=b&x=%C3%BC%20%2B"), "info=a,b&x=ü +");
        assert_eq!(signed("info[]=a&info[]=b&flag&&"), "flag=&info=a,b");
        assert_eq!(signed("a=%zz&b=1+1"), "a=%zz&b=1+1");
        assert_eq!(Parameters::parse(None).unwrap().signed_form(), "");
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for query in ["a=1&a=1", "a=1&A=2", "a=1&a[]=2", "a[]=1&a=2", "a=%ff", "%ff=a"] {
            assert_eq!(Parameters::parse(Some(query)).unwrap_err().code, Code::Query, "{query}");
        }
    }
}
