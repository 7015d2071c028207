//! Why no host fits of those that brokers know: what they tell of when a part of the wish is given up.

use super::{Whereabouts, anybody, counted};
use crate::failure::{Code, Failure};
use crate::home::CurrencyConfig;
use fondaco_agent::discovery::{everybody, sought, untimely};
use fondaco_agent::{Agent, Wish};
use fondaco_crypto::CurrencyId;
use fondaco_ports::Clock as _;
use fondaco_store::SystemClock;
use fondaco_units::Bytes;

/// What to do where all offers are of another time.
pub(super) const CLOCK_HINT: &str = "see that the clock of this machine is set by NTP";

/// What of a wish is more than hosts offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// How long a contract is to last.
    Epochs,
    /// Where they stand, by their own word.
    Region,
    /// How much room one has.
    Room,
    /// All of these together, and none of them alone.
    Together,
    /// The currency that they are paid in.
    Currency,
    /// They are none of the present: a clock is wrong.
    Clock,
    /// There is no host at all.
    Nobody,
}

impl Whereabouts {
    /// Says which brokers were asked, and what of `wish` the hosts that they know do not offer.
    pub(super) async fn unfit(
        &self,
        agent: &Agent,
        currency: &CurrencyConfig,
        wish: &Wish,
    ) -> Result<Failure, Failure> {
        let id = CurrencyId::issued_by(currency.issuer()?.entity());
        let (short, small) = (Wish { epochs: 1, ..*wish }, Wish { bytes: Bytes::ZERO, ..*wish });
        let least = Wish { epochs: 1, ..small };
        let (regions, anywhere) = (self.regions.as_slice(), [].as_slice());
        let ways = [
            (Unfit::Epochs, short, regions, wish.epochs > 1),
            (Unfit::Region, *wish, anywhere, !regions.is_empty()),
            (Unfit::Room, small, regions, wish.bytes > Bytes::ZERO),
            (Unfit::Together, least, anywhere, true),
        ];
        for (unfit, less, where_to, is_less) in ways {
            if is_less {
                let found = agent.discover(&self.brokers, id, &less, where_to).await.0;
                if !found.is_empty() {
                    return Ok(self.say(unfit, found.len(), currency, wish, ""));
                }
            }
        }
        let (all, heard) = everybody(&anybody().await?, &self.brokers, SystemClock.now()).await;
        let late = untimely(&heard).map(|error| error.to_string());
        let unfit = match (all.len(), &late) {
            (0, Some(_)) => Unfit::Clock,
            (0, None) => Unfit::Nobody,
            _ => Unfit::Currency,
        };
        Ok(self.say(unfit, all.len(), currency, wish, &late.unwrap_or_default()))
    }

    fn say(
        &self,
        unfit: Unfit,
        count: usize,
        currency: &CurrencyConfig,
        wish: &Wish,
        clock: &str,
    ) -> Failure {
        let brokers: Vec<String> =
            self.brokers.iter().map(|broker| format!("{}…", broker.entity().short())).collect();
        let regions: Vec<&str> = self.regions.iter().map(|region| region.as_str()).collect();
        let room = currency
            .issuer()
            .map(|issuer| sought(CurrencyId::issued_by(issuer.entity()), wish).size.to_string());
        let room = room.unwrap_or_default();
        let words = Words {
            brokers: &brokers.join(", "),
            regions: &regions.join(" or "),
            symbol: &currency.symbol,
            room: &room,
            epochs: wish.epochs,
            clock,
        };
        words.failure(unfit, count)
    }
}

/// What is named in a sentence.
struct Words<'a> {
    brokers: &'a str,
    regions: &'a str,
    symbol: &'a str,
    room: &'a str,
    epochs: u32,
    /// Why one of the offers is none of the present.
    clock: &'a str,
}

impl Words<'_> {
    fn failure(&self, unfit: Unfit, count: usize) -> Failure {
        let Self { brokers, regions, symbol, room, epochs, clock } = *self;
        let hosts = counted(count, "host");
        let takes = if count == 1 { "does not take" } else { "do not take" };
        let asked = format!("asked: {brokers}");
        let others = "name other brokers with --broker ADDRESS, or hosts with --host ADDRESS";
        let (what, hint) = match unfit {
            // Said as it is of hosts that are named.
            Unfit::Epochs => (
                format!("{hosts} would do, and {takes} contracts of {epochs} epochs"),
                "lower --epochs, and renew later with `fondaco contracts renew`".to_owned(),
            ),
            Unfit::Region => (
                format!(
                    "{hosts} would do, and none of them says that it stands in {regions}; {asked}"
                ),
                format!("name other regions with --region, or none; or {others}"),
            ),
            Unfit::Room => (
                format!(
                    "{hosts} would do, and none of them has {room} of room, a host's part; {asked}"
                ),
                format!("store less at once; or {others}"),
            ),
            Unfit::Together => (
                format!(
                    "{hosts} are paid in {symbol}, and none of them has {room} of room, takes contracts of {epochs} \
                     epochs{}; {asked}",
                    if regions.is_empty() {
                        String::new()
                    } else {
                        format!(" and stands in {regions}")
                    }
                ),
                others.to_owned(),
            ),
            Unfit::Currency => (
                format!("{hosts} are offered there, and none of them is paid in {symbol}; {asked}"),
                format!("pay in another currency with --currency; or {others}"),
            ),
            Unfit::Clock => (
                format!("no offer there is good by the clock of this machine: {clock}; {asked}"),
                format!("{CLOCK_HINT}; if it is right, {others}"),
            ),
            Unfit::Nobody => (format!("the brokers know no host; {asked}"), others.to_owned()),
        };
        Failure::new(what).code(Code::NotFound).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each: what does not fit; a part of what is said, and of what to do.
    #[test]
    fn what_does_not_fit_is_named_with_the_brokers() {
        let words = Words {
            brokers: "fon1abc…, fon1def…",
            regions: "eu-south or eu-north",
            symbol: "CLR",
            room: "2.5 GiB",
            epochs: 3,
            clock: "the list expired yesterday; it is today",
        };
        for (unfit, said, hint) in [
            (Unfit::Epochs, "4 hosts would do, and do not take contracts of 3 epochs", "--epochs"),
            (Unfit::Region, "stands in eu-south or eu-north", "--region"),
            (Unfit::Room, "none of them has 2.5 GiB of room", "store less"),
            (Unfit::Together, "4 hosts are paid in CLR", "--broker"),
            (Unfit::Currency, "none of them is paid in CLR", "--currency"),
            (Unfit::Clock, "the list expired yesterday; it is today", "NTP"),
            (Unfit::Nobody, "the brokers know no host", "--host"),
        ] {
            let failure = words.failure(unfit, 4);
            let told = failure.what();
            assert!(told.contains(said), "{told}");
            assert_eq!(
                told.contains("asked: fon1abc…, fon1def…"),
                unfit != Unfit::Epochs,
                "{told}"
            );
            assert!(failure.what_to_do().unwrap().contains(hint), "{failure}");
            assert_eq!(failure.ends_with(), Code::NotFound);
        }
    }
}
