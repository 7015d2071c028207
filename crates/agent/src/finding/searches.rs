//! Which providers are being looked for, and where it is worth looking. Nothing here dials, or reads a clock.

use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use fondaco_transport::TransportError;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a provider that was looked for in vain is not looked for again.
pub(super) const REST: Duration = Duration::from_secs(60);

/// The most places where a provider is looked for before any broker is asked.
pub(super) const LEADS_MAX: usize = 8;

/// The searches of one process: at most one of each provider, and none soon after one that was in vain. `W` is what one waits
/// on; time is counted from any fixed moment.
#[derive(Debug)]
pub(super) struct Searches<W>(BTreeMap<EntityId, Search<W>>);

#[derive(Debug)]
enum Search<W> {
    /// Whoever else looks for it waits, too.
    UnderWay(W),
    Vain {
        at: Duration,
    },
}

impl<W> Default for Searches<W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<W: Clone> Searches<W> {
    /// Returns what to wait on: the search that is under way, or one that `begin` begins; nothing if the last was in vain a short
    /// while before `now`.
    pub(super) fn join(
        &mut self,
        provider: EntityId,
        now: Duration,
        begin: impl FnOnce() -> W,
    ) -> Option<W> {
        match self.0.get(&provider) {
            Some(Search::UnderWay(wait)) => Some(wait.clone()),
            Some(Search::Vain { at }) if now.saturating_sub(*at) < REST => None,
            Some(Search::Vain { .. }) | None => {
                let wait = begin();
                self.0.insert(provider, Search::UnderWay(wait.clone()));
                Some(wait)
            }
        }
    }

    /// Notes that the search of a provider has ended.
    pub(super) fn ended(&mut self, provider: EntityId, now: Duration, was_found: bool) {
        if was_found {
            self.0.remove(&provider);
        } else {
            self.0.insert(provider, Search::Vain { at: now });
        }
    }
}

/// Returns where to look for the provider of `tried`, at which it was not reached: of the places given, in their order, the
/// first [`LEADS_MAX`] of this provider; each once. Each is dialled by itself: behind the socket of yesterday may be
/// another's key, which would end an attempt at all.
pub(super) fn leads<'a>(
    tried: &Address,
    places: impl IntoIterator<Item = &'a Address>,
) -> Vec<Address> {
    let mut leads: Vec<Address> = Vec::new();
    for place in places {
        let is_new = place.entity() == tried.entity()
            && !place.sockets().is_empty()
            && place != tried
            && !leads.contains(place);
        if is_new && leads.len() < LEADS_MAX {
            leads.push(place.clone());
        }
    }
    leads
}

/// Whether a provider that was dialled in vain may be somewhere else: nobody answered, or somebody else.
//
// Spelled out without `_`, so that a new failure has to choose a side.
pub(super) const fn may_be_elsewhere(error: &TransportError) -> bool {
    match error {
        TransportError::NoSocket { .. }
        | TransportError::Unreachable { .. }
        | TransportError::WrongKey { .. }
        | TransportError::ProtocolRefused { .. }
        | TransportError::Handshake { .. }
        | TransportError::Lost { .. }
        | TransportError::TimedOut { .. } => true,
        // It is there, or it is this side that failed.
        TransportError::Busy { .. }
        | TransportError::Closed { .. }
        | TransportError::PortInUse { .. }
        | TransportError::Bind { .. }
        | TransportError::BadKey { .. }
        | TransportError::SelfDial { .. }
        | TransportError::EndpointClosed
        | TransportError::ClosedHere { .. }
        | TransportError::StreamGivenUp { .. }
        | TransportError::StreamEnded { .. }
        | TransportError::FrameTooLong { .. }
        | TransportError::FrameCut { .. }
        | TransportError::Decode { .. }
        | TransportError::BadAnswer { .. }
        | TransportError::NoAnswer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(who: u8, port: u16) -> Address {
        Address::new(EntityId::from_bytes([who; 32]), [([127, 0, 0, 1], port).into()])
    }

    /// One line for each step: at which second, who is looked for or found; and what is waited on, by its number.
    #[test]
    fn one_search_at_a_time_and_none_soon_after_one_in_vain() {
        let one = EntityId::from_bytes([1; 32]);
        let other = EntityId::from_bytes([2; 32]);
        let second = Duration::from_secs;
        let mut searches = Searches::default();
        let mut begun = 0;
        let mut join = |searches: &mut Searches<u32>, who, at| {
            searches.join(who, second(at), || {
                begun += 1;
                begun
            })
        };
        assert_eq!(join(&mut searches, one, 0), Some(1));
        assert_eq!(join(&mut searches, one, 1), Some(1), "the same");
        assert_eq!(join(&mut searches, other, 1), Some(2), "another's is its own");
        assert_eq!(join(&mut searches, one, 600), Some(1), "however long it takes");
        searches.ended(one, second(600), false);
        assert_eq!(join(&mut searches, one, 600), None);
        assert_eq!(join(&mut searches, one, 659), None);
        assert_eq!(join(&mut searches, one, 660), Some(3));
        searches.ended(one, second(661), true);
        assert_eq!(join(&mut searches, one, 661), Some(4), "who was found may go again");
        assert_eq!(join(&mut searches, other, 661), Some(2));
    }

    #[test]
    fn leads_are_of_one_provider_and_each_a_place_of_its_own() {
        let nowhere = Address::new(EntityId::from_bytes([1; 32]), []);
        let places = [at(1, 7), at(2, 9), at(1, 8), at(1, 1), nowhere.clone(), at(1, 7), at(1, 9)];
        assert_eq!(leads(&at(1, 1), &places), [at(1, 7), at(1, 8), at(1, 9)]);
        assert_eq!(leads(&nowhere, &places), [at(1, 7), at(1, 8), at(1, 1), at(1, 9)]);
        assert_eq!(leads(&at(3, 1), &places), []);
        let many: Vec<Address> = (10..60).map(|port| at(1, port)).collect();
        assert_eq!(leads(&at(1, 1), &many), many[..LEADS_MAX]);
    }
}
