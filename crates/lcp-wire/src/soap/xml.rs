//! As much of XML 1.0 as SOAP 1.1 allows, read into a small tree under hard limits.
//!
//! Refused: document types, entities other than the five of XML and character references, processing instructions,
//! other encodings than UTF-8, characters that XML does not have, prefixes that are not declared.

use super::Refused;
use quick_xml::{
    NsReader,
    events::{BytesRef, BytesStart, Event},
    name::{PrefixDeclaration, ResolveResult},
};

/// How deep elements may lie in each other.
pub const DEPTH_MAX: usize = 16;
/// How many elements a document may have.
pub const ELEMENTS_MAX: usize = 256;
/// How many attributes an element may have, declarations of namespaces included.
pub const ATTRIBUTES_PER_ELEMENT_MAX: usize = 64;
/// How many attributes a document may have.
pub const ATTRIBUTES_MAX: usize = 256;

/// What SOAP 1.1 has no use for, and what makes parsers dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// A document type.
    DocumentType,
    /// A reference to an entity other than the five of XML.
    Entity,
    /// A processing instruction.
    ProcessingInstruction,
    /// An encoding other than UTF-8.
    Encoding,
    /// A character that XML 1.0 does not have.
    Character,
}

/// An element, with all that is in it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    attributes: Vec<Attribute>,
    pub(crate) children: Vec<Element>,
    /// Its character data, pieces joined.
    pub(crate) text: String,
    /// Whether a comment is in it. Then what its text says depends on who reads it.
    pub(crate) has_comment: bool,
}

#[derive(Debug)]
struct Attribute {
    namespace: Option<String>,
    name: String,
    value: String,
}

impl Element {
    /// Whether this is the element `name` of `namespace`.
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref() == Some(namespace) && self.name == name
    }

    /// The value of an attribute; those without prefix are in no namespace.
    pub(crate) fn attribute(&self, namespace: Option<&str>, name: &str) -> Option<&str> {
        let wanted = |it: &&Attribute| it.namespace.as_deref() == namespace && it.name == name;
        self.attributes.iter().find(wanted).map(|it| it.value.as_str())
    }

    /// The only child with this name, in whatever namespace; nothing if there are more.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Whether there is other character data in it than space.
    pub(crate) fn has_text(&self) -> bool {
        self.text.contains(|c| !is_space(c))
    }
}

/// What a document may have at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) elements: usize,
    pub(crate) attributes: usize,
}

/// The limits of a request.
pub(crate) const REQUEST_LIMITS: Limits =
    Limits { bytes: super::REQUEST_BYTES_MAX, elements: ELEMENTS_MAX, attributes: ATTRIBUTES_MAX };

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Element,
}

impl Document {
    /// Reads `bytes`, within `limits`.
    pub(crate) fn read(bytes: &[u8], limits: Limits) -> Result<Self, Refused> {
        if bytes.len() > limits.bytes {
            return Err(Refused::TooLarge { bytes_max: limits.bytes });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refused::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.chars().all(is_character) {
            return Err(Refused::Forbidden { what: Forbidden::Character });
        }
        Builder { limits, open: Vec::new(), root: None, elements: 0, attributes: 0 }.read(text)
    }
}

/// What was read so far.
struct Builder {
    limits: Limits,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    attributes: usize,
}

impl Builder {
    fn read(mut self, text: &str) -> Result<Document, Refused> {
        let mut reader = NsReader::from_str(text);
        let mut is_first = true;
        loop {
            let (namespace, event) =
                reader.read_resolved_event().map_err(|_| Refused::Malformed)?;
            match event {
                Event::Start(ref start) => {
                    let namespace = owned(namespace)?;
                    let element = self.element(&reader, namespace, start)?;
                    self.open(element)?;
                }
                Event::Empty(ref start) => {
                    let namespace = owned(namespace)?;
                    let element = self.element(&reader, namespace, start)?;
                    self.open(element)?;
                    self.close()?;
                }
                Event::End(_) => self.close()?,
                Event::Text(text) => self.text(&text.xml10_content())?,
                Event::CData(text) => match self.open.last_mut() {
                    Some(element) => element.text.push_str(&text.xml10_content()),
                    None => return Err(Refused::Malformed),
                },
                Event::GeneralRef(reference) => {
                    let character = resolve(&reference)?;
                    let element = self.open.last_mut().ok_or(Refused::Malformed)?;
                    element.text.push(character);
                }
                Event::Comment(_) => {
                    if let Some(element) = self.open.last_mut() {
                        element.has_comment = true;
                    }
                }
                Event::Decl(declaration) => {
                    if !is_first {
                        return Err(Refused::Malformed);
                    }
                    let version = declaration.version().map_err(|_| Refused::Malformed)?;
                    let encoding = declaration.encoding().transpose();
                    let encoding = encoding.map_err(|_| Refused::Malformed)?;
                    let utf8 = encoding.is_none_or(|name| name.eq_ignore_ascii_case("utf-8"));
                    if version != "1.0" {
                        return Err(Refused::Malformed);
                    }
                    if !utf8 {
                        return Err(Refused::Forbidden { what: Forbidden::Encoding });
                    }
                }
                Event::PI(_) => {
                    return Err(Refused::Forbidden { what: Forbidden::ProcessingInstruction });
                }
                Event::DocType(_) => {
                    return Err(Refused::Forbidden { what: Forbidden::DocumentType });
                }
                Event::Eof => break,
            }
            is_first = false;
        }
        match self.root {
            Some(root) if self.open.is_empty() => Ok(Document { root }),
            _ => Err(Refused::Malformed),
        }
    }

    /// Reads a start tag.
    fn element(
        &mut self,
        reader: &NsReader<&[u8]>,
        namespace: Option<String>,
        start: &BytesStart<'_>,
    ) -> Result<Element, Refused> {
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(Refused::TooManyElements);
        }
        let name = start.local_name().into_inner().to_owned();
        let mut element = Element { namespace, name, ..Element::default() };
        for attribute in start.attributes() {
            self.attributes += 1;
            if element.attributes.len() == ATTRIBUTES_PER_ELEMENT_MAX
                || self.attributes > self.limits.attributes
            {
                return Err(Refused::TooManyAttributes);
            }
            let attribute = attribute.map_err(|_| Refused::Malformed)?;
            let value = attribute_value(&attribute.value)?;
            let (namespace, name) = if let Some(prefix) = attribute.key.as_namespace_binding() {
                let name = match prefix {
                    PrefixDeclaration::Default => "",
                    PrefixDeclaration::Named(name) => name,
                };
                (Some("xmlns".to_owned()), name.to_owned())
            } else {
                let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
                (owned(namespace)?, name.into_inner().to_owned())
            };
            let is_twice = |it: &Attribute| it.namespace == namespace && it.name == name;
            if element.attributes.iter().any(is_twice) {
                return Err(Refused::Malformed);
            }
            element.attributes.push(Attribute { namespace, name, value });
        }
        Ok(element)
    }

    fn open(&mut self, element: Element) -> Result<(), Refused> {
        if self.root.is_some() {
            return Err(Refused::Malformed);
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Refused::TooDeep);
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        let element = self.open.pop().ok_or(Refused::Malformed)?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Refused> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.contains(|c| !is_space(c)) => return Err(Refused::Malformed),
            None => {}
        }
        Ok(())
    }
}

fn owned(namespace: ResolveResult<'_>) -> Result<Option<String>, Refused> {
    match namespace {
        ResolveResult::Bound(namespace) => Ok(Some(namespace.into_inner().to_owned())),
        ResolveResult::Unbound => Ok(None),
        ResolveResult::Unknown(_) => Err(Refused::Malformed),
    }
}

/// The character that a reference in character data stands for.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Refused> {
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok().flatten();
        return character.filter(|c| is_character(*c)).ok_or(Refused::Malformed);
    }
    named(&reference.xml10_content())
}

fn named(name: &str) -> Result<char, Refused> {
    match name {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(Refused::Forbidden { what: Forbidden::Entity }),
    }
}

/// The value of an attribute, references resolved and space made uniform (XML 1.0, section 3.3.3).
fn attribute_value(raw: &str) -> Result<String, Refused> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(place) = rest.find(['&', '<', '\t', '\n', '\r']) {
        value.push_str(&rest[..place]);
        let special = &rest[place..];
        if special.starts_with('<') {
            return Err(Refused::Malformed);
        }
        if !special.starts_with('&') {
            value.push(' ');
            rest = &special[1..];
            continue;
        }
        let (name, after) = special[1..].split_once(';').ok_or(Refused::Malformed)?;
        let reference = BytesRef::new(name);
        value.push(resolve(&reference)?);
        rest = after;
    }
    value.push_str(rest);
    Ok(value)
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Whether XML 1.0 has this character (section 2.2).
pub(super) const fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}
