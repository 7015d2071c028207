//! What SOAP 1.1 says about the message around a call (sections 4 and 5).

use super::{
    ENCODING_NAMESPACE, ENVELOPE_NAMESPACE, INSTANCE_NAMESPACE, LCP_NAMESPACE, Refused,
    xml::{self, Document, Element, Limits},
};

/// An actor that everybody is.
const ACTOR_NEXT: &str = "http://schemas.xmlsoap.org/soap/actor/next";

/// The body of an envelope: one call, and the values it refers to.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) element: Element,
    /// Values sent beside the call, and named by it: the multi-reference values of section 5.4.1.
    shared: Vec<Element>,
}

/// Opens an envelope and checks all that is around the call.
pub(crate) fn open(bytes: &[u8], limits: Limits) -> Result<Call, Refused> {
    let document = Document::read(bytes, limits)?;
    let envelope = document.root;
    if envelope.name != "Envelope" {
        return Err(Refused::NotEnvelope);
    }
    if envelope.namespace.as_deref() != Some(ENVELOPE_NAMESPACE) {
        return Err(Refused::VersionMismatch);
    }
    if envelope.has_text() {
        return Err(Refused::NotEnvelope);
    }
    let mut parts = envelope.children.into_iter();
    let mut next = parts.next().ok_or(Refused::NotEnvelope)?;
    if next.is(ENVELOPE_NAMESPACE, "Header") {
        for entry in &next.children {
            understand(entry)?;
        }
        next = parts.next().ok_or(Refused::NotEnvelope)?;
    }
    if !next.is(ENVELOPE_NAMESPACE, "Body") || parts.next().is_some() {
        return Err(Refused::NotEnvelope);
    }
    body(next)
}

/// Refuses a header entry that must be understood by us: we understand none.
fn understand(entry: &Element) -> Result<(), Refused> {
    let attribute = |name| entry.attribute(Some(ENVELOPE_NAMESPACE), name);
    let is_demanded = matches!(attribute("mustUnderstand").map(str::trim), Some("1" | "true"));
    let is_ours = matches!(attribute("actor"), None | Some("" | ACTOR_NEXT));
    if is_demanded && is_ours {
        return Err(Refused::MustUnderstand { name: short(&entry.name) });
    }
    Ok(())
}

fn body(body: Element) -> Result<Call, Refused> {
    if body.has_text() {
        return Err(Refused::NotEnvelope);
    }
    let mut calls = Vec::new();
    let mut shared: Vec<Element> = Vec::new();
    for child in body.children {
        match child.attribute(None, "id") {
            // A serialisation root is the call itself, whatever id it has.
            Some(id) if child.attribute(Some(ENCODING_NAMESPACE), "root") != Some("1") => {
                if shared.iter().any(|other| other.attribute(None, "id") == Some(id)) {
                    return Err(Refused::BadReference { id: short(id) });
                }
                shared.push(child);
            }
            _ => calls.push(child),
        }
    }
    let mut calls = calls.into_iter();
    match (calls.next(), calls.next()) {
        (Some(element), None) => Ok(Call { element, shared }),
        _ => Err(Refused::NotOneCall),
    }
}

impl Call {
    /// The simple value of a field, which may be elsewhere in the body; nothing when it is nil.
    pub(crate) fn value<'a>(&'a self, field: &'a Element) -> Result<Option<&'a str>, Refused> {
        let holder = match field.attribute(None, "href") {
            None => field,
            Some(reference) => {
                let bad = || Refused::BadReference { id: short(reference) };
                if field.has_text() || !field.children.is_empty() {
                    return Err(bad());
                }
                let id = reference.strip_prefix('#').ok_or_else(bad)?;
                let named = |it: &&Element| it.attribute(None, "id") == Some(id);
                let found = self.shared.iter().find(named).ok_or_else(bad)?;
                // One step and no more: a value that refers on could refer to itself.
                if found.attribute(None, "href").is_some() {
                    return Err(bad());
                }
                found
            }
        };
        if !holder.children.is_empty() || holder.has_comment {
            return Err(Refused::NotSimple { name: short(&field.name) });
        }
        let nil = holder.attribute(Some(INSTANCE_NAMESPACE), "nil");
        let nil = nil.or(holder.attribute(Some(INSTANCE_NAMESPACE), "null"));
        Ok((!matches!(nil, Some("1" | "true"))).then_some(holder.text.as_str()))
    }
}

/// Whether an element is the protocol's, or nobody's.
pub(crate) fn is_ours(element: &Element) -> bool {
    matches!(element.namespace.as_deref(), None | Some(LCP_NAMESPACE))
}

/// A name from the wire, cut so that it can be said back.
pub(crate) fn short(name: &str) -> String {
    name[..name.floor_char_boundary(64)].chars().filter(|c| xml::is_character(*c)).collect()
}
