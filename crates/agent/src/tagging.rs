//! What the shards of objects are tagged as, so that a deep audit can ask for them.
//!
//! Masks must never be used for two different texts under one key (see `fondaco_audit::tags`). So what an object is
//! tagged as follows from all that decides its shards: its name, which is the digest of its content for every kind but
//! the configuration, whose content is digested here; the set it goes to, or the first of those that share contracts with that, and
//! the set's code. The book keeps the result
//! with the object, so that nothing else is needed to check a proof, and a shard that is rebuilt for another host is
//! tagged as the same.

use crate::book::{ObjectId, ObjectKind};
use fondaco_audit::Subject;
use fondaco_codec::Encode as _;
use fondaco_crypto::{Digest, Domain, Hasher};
use fondaco_erasure::Code;

const OBJECT: Domain = Domain::new("fondaco 2026 audit object v1");
const SUBJECT: Domain = Domain::new("fondaco 2026 audit subject v1");

/// Returns what an object is tagged as in a set.
pub fn object_tag(object: ObjectId, bytes: &[u8], set: u32, code: Code) -> Digest {
    let content = match object.kind {
        ObjectKind::Config => Digest::of(bytes),
        ObjectKind::Key | ObjectKind::Snapshot | ObjectKind::Index | ObjectKind::Pack => {
            object.name
        }
    };
    Hasher::new(OBJECT)
        .update(&object.kind.to_bytes())
        .update(content.as_bytes())
        .update(&set.to_le_bytes())
        .update(&[code.k(), code.n()])
        .finish()
}

/// Returns what shard `index` of an object that is tagged so is tagged as.
pub fn subject(object_tag: &Digest, index: u8) -> Subject {
    let mut hasher = Hasher::new(SUBJECT);
    Subject::from_digest(hasher.update(object_tag.as_bytes()).update(&[index]).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever makes other shards makes another subject; the same gives the same.
    #[test]
    fn subjects_are_told_apart() {
        let id = |kind, name| ObjectId { kind, name: Digest::from_bytes([name; 32]) };
        let (two, three) = (Code::new(2, 5).unwrap(), Code::new(3, 5).unwrap());
        let config = id(ObjectKind::Config, 0);
        let tags = [
            object_tag(id(ObjectKind::Pack, 1), b"x", 0, two),
            object_tag(id(ObjectKind::Pack, 2), b"x", 0, two),
            object_tag(id(ObjectKind::Key, 1), b"x", 0, two),
            object_tag(id(ObjectKind::Pack, 1), b"x", 1, two),
            object_tag(id(ObjectKind::Pack, 1), b"x", 0, three),
            object_tag(config, b"x", 0, two),
            object_tag(config, b"y", 0, two),
        ];
        for (at, tag) in tags.iter().enumerate() {
            assert!(!tags[..at].contains(tag), "{at}");
            assert_ne!(subject(tag, 0), subject(tag, 1));
        }
        assert_eq!(tags[5], object_tag(config, b"x", 0, two));
    }
}
