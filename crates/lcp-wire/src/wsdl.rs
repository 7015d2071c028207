//! The service's descriptions: all parts identical between issuers but the service element.
//!
//! They are served over plain HTTP too, as in 2003, where anybody on the way can change them. A client believes only
//! what it pinned: the issuer's key. See [`SoapClient`](crate::SoapClient).

/// Where `lcp.wsdl` is served: the description of 2003, style `rpc`, use `encoded`.
pub const ENCODED_PATH: &str = "/lcp.wsdl";
/// Where `lcp-literal.wsdl` is served: the same service for toolkits that know only literal documents.
pub const LITERAL_PATH: &str = "/lcp-literal.wsdl";
/// Where the schema of the SOAP 1.1 encoding is served, which `lcp.wsdl` imports.
pub const ENCODING_SCHEMA_PATH: &str = "/soap-encoding.xsd";

const ENCODED: &str = include_str!("wsdl/lcp.wsdl");
const LITERAL: &str = include_str!("wsdl/lcp-literal.wsdl");
/// The schema of the SOAP 1.1 encoding, as far as `lcp.wsdl` needs it.
pub const ENCODING_SCHEMA: &str = include_str!("wsdl/soap-encoding.xsd");

/// What stands in the templates for the address.
const PLACE: &str = "@ADDRESS@";

/// Writes `lcp.wsdl` for a service at `address`, an `https` URL.
pub fn encoded(address: &str) -> String {
    ENCODED.replace(PLACE, &attribute(address))
}

/// Writes `lcp-literal.wsdl` for a service at `address`, an `https` URL.
pub fn literal(address: &str) -> String {
    LITERAL.replace(PLACE, &attribute(address))
}

/// Escapes the value of an attribute.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::{Document, Limits};

    #[test]
    fn issuers_differ_in_the_service_element_alone() {
        for describe in [encoded, literal] {
            let [one, two] = ["https://one.example/a", "https://two.example:7/b?c&d"].map(describe);
            let differing: Vec<_> =
                one.lines().zip(two.lines()).filter(|(one, two)| one != two).collect();
            assert_eq!(one.lines().count(), two.lines().count());
            let [(line, _)] = differing[..] else { panic!("{differing:?}") };
            assert_eq!(line.trim(), r#"<wsdlsoap:address location="https://one.example/a"/>"#);
            assert!(two.contains("https://two.example:7/b?c&amp;d"));
        }
    }

    #[test]
    fn the_descriptions_are_well_formed() {
        for text in [&encoded("https://x/"), &literal("https://x/"), ENCODING_SCHEMA] {
            let limits = Limits { bytes: 1 << 20, elements: 1000, attributes: 1000 };
            let read = Document::read(text.as_bytes(), limits);
            assert!(read.is_ok(), "{:?}", read.err());
        }
    }
}
