//! `fondaco offers`, and how a buyer finds hosts: ask brokers, and say what they said.

mod unfit;

use crate::cli::{FindArgs, OffersArgs};
use crate::endpoints;
use crate::entities::address;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::screen::{counted, say};
use crate::seeking::{NOT_THERE_HINT, follow, tell as tell_at_once};
use crate::wallet::random;
use fondaco_agent::discovery::{
    Market, address_of, ask_hosts, everybody as ask_for_everybody, is_in, look,
};
use fondaco_agent::{Agent, Answer, Seek, Wish};
use fondaco_contract::{AskError, CheckedAsk, Label, PriceList, Sought};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_mdns::{MdnsError, Role};
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_transport::{CONNECT_TIMEOUT, Endpoint};
use fondaco_units::{Amount, Bytes, Price};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long to listen to who announces himself.
const LISTEN: Duration = Duration::from_millis(1500);
const HINT: &str = "`fondaco broker up` prints the address to give here";
pub(crate) const HOST_HINT: &str = "`fondaco up` prints the address to give here";

/// Adds the addresses `named` to those `known`: the newest of each entity.
pub(crate) fn merged(
    known: &[String],
    named: &[String],
    hint: &str,
) -> Result<Vec<Address>, Failure> {
    let mut addresses: Vec<Address> = Vec::new();
    for text in known.iter().chain(named) {
        let address = address(text, hint)?;
        match addresses.iter_mut().find(|each| each.entity() == address.entity()) {
            Some(each) => *each = address,
            None => addresses.push(address),
        }
    }
    Ok(addresses)
}

/// Adds the brokers named to those known, the newest address of each, and returns all.
pub(crate) fn remember_brokers(home: &Home, named: &[String]) -> Result<Vec<Address>, Failure> {
    let mut hosts = home.hosts()?;
    let brokers = merged(&hosts.broker, named, HINT)?;
    let texts: Vec<String> = brokers.iter().map(Address::to_string).collect();
    if texts != hosts.broker {
        hosts.broker = texts;
        home.save_hosts(&hosts)?;
    }
    Ok(brokers)
}

/// The hosts and brokers that hosts for new contracts are found among.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    pub(crate) hosts: Vec<Address>,
    pub(crate) brokers: Vec<Address>,
    regions: Vec<Label>,
    /// What hosts say of themselves on the local network: also those that are known by another address.
    near: Vec<Address>,
    /// What this command named.
    named: Vec<Address>,
    /// What of that was wrong, and why.
    missed: Vec<(Address, String)>,
}

impl Whereabouts {
    /// Returns all who are named or known, and those on the local network, if that is wanted. Brokers that are named are
    /// remembered; hosts when they have answered, see [`heed_named`](Self::heed_named).
    pub(crate) async fn known(home: &Home, args: &FindArgs) -> Result<Self, Failure> {
        let hosts = merged(&home.hosts()?.host, &args.host, HOST_HINT)?;
        let brokers = remember_brokers(home, &args.broker)?;
        let (near, near_brokers) = neighbours(args.local).await?;
        let (hosts, brokers) = (beside(hosts, &near), beside(brokers, &near_brokers));
        let named = merged(&[], &args.host, HOST_HINT)?;
        let (regions, missed) = (args.region.clone(), Vec::new());
        Ok(Self { hosts, brokers, regions, near, named, missed })
    }

    /// Asks the hosts that are named whether they are there: those that answer with their own keys are remembered, and of the
    /// others it is said; these are taken where they were known before, if they were.
    pub(crate) async fn heed_named(
        &mut self,
        home: &Home,
        agent: &Agent,
        json: bool,
    ) -> Result<(), Failure> {
        if self.named.is_empty() {
            return Ok(());
        }
        let known = merged(&home.hosts()?.host, &[], HOST_HINT)?;
        let named = agent.named(self.named.clone());
        for (host, answer) in named.ask(|_| true, CONNECT_TIMEOUT).await {
            tell_at_once(home, &host, &answer, json);
            let Answer::Not { why } = answer else { continue };
            self.hosts.retain(|each| each.entity() != host.entity());
            let others = known.iter().chain(&self.near).filter(|&each| *each != host);
            self.hosts = beside(std::mem::take(&mut self.hosts), &of(&host, others));
            self.missed.push((host, why.to_string()));
        }
        Ok(())
    }

    /// Returns where hosts are looked for that are not where they were.
    pub(crate) fn seek(&self, home: &Home, json: bool) -> Seek {
        let hosts = [self.hosts.as_slice(), &self.near].concat();
        let by_hand = self.named.iter().map(Address::entity).collect();
        let told = Some(follow(home, by_hand, json));
        Seek { hosts, brokers: self.brokers.clone(), told }
    }

    /// Returns the hosts that are known, and those that brokers tell of, for `wish`; where these tell of none, that fails.
    pub(crate) async fn find(
        &self,
        agent: &Agent,
        currency: &CurrencyConfig,
        wish: &Wish,
        json: bool,
    ) -> Result<Vec<Address>, Failure> {
        self.find_any(agent, currency, wish, (json, false)).await
    }

    /// The same for who has hosts already and can do without others.
    pub(crate) async fn find_more(
        &self,
        agent: &Agent,
        currency: &CurrencyConfig,
        wish: &Wish,
        json: bool,
    ) -> Result<Vec<Address>, Failure> {
        self.find_any(agent, currency, wish, (json, true)).await
    }

    async fn find_any(
        &self,
        agent: &Agent,
        currency: &CurrencyConfig,
        wish: &Wish,
        (json, may_be_none): (bool, bool),
    ) -> Result<Vec<Address>, Failure> {
        let asked = (wish, self.regions.as_slice());
        let hosts = find(agent, &self.brokers, currency, &self.hosts, asked, json).await?;
        if !hosts.is_empty() {
            return Ok(hosts);
        }
        if self.missed.is_empty() {
            return match self.brokers.is_empty() || may_be_none {
                true => Ok(hosts),
                false => Err(self.unfit(agent, currency, wish).await?),
            };
        }
        let missed = self.missed.iter();
        let missed = missed.map(|(host, why)| format!("\n   {}…: {why}", host.entity().short()));
        let missed: String = missed.collect();
        Err(Failure::new(format!("no host is where it was named{missed}"))
            .code(Code::Unreachable)
            .hint(NOT_THERE_HINT))
    }
}

/// Returns the hosts and brokers that are named or known, and remembers nothing.
pub(crate) fn named(
    home: &Home,
    hosts: &[String],
    brokers: &[String],
) -> Result<(Vec<Address>, Vec<Address>), Failure> {
    let known = home.hosts()?;
    Ok((merged(&known.host, hosts, HOST_HINT)?, merged(&known.broker, brokers, HINT)?))
}

/// Asks brokers for all hosts that they know, whatever currency these are paid in.
pub(crate) async fn everybody(brokers: &[Address], json: bool) -> Result<Vec<Address>, Failure> {
    if brokers.is_empty() {
        return Ok(Vec::new());
    }
    // Brokers need not know whose books are looked for.
    let endpoint = anybody().await?;
    let (hosts, heard) = ask_for_everybody(&endpoint, brokers, SystemClock.now()).await;
    let market = Market { heard, ..Market::default() };
    if market.answered() == 0 {
        return Err(silent(&market));
    }
    if json {
        let line = json!({
            "event": "found", "brokers": brokers.len(), "answered": market.answered(), "hosts": hosts.len(),
        });
        say(&line.to_string());
    } else {
        not_heard(&market);
        let (found, answered) = (hosts.len(), market.answered());
        say(&format!("{found} hosts found by {answered} of {} brokers.", brokers.len()));
    }
    if hosts.is_empty() {
        let failure = match market.untimely() {
            Some(error) => of_another_time(error),
            None => Failure::new("the brokers know no host")
                .hint("name another with --broker ADDRESS, or a host with --host ADDRESS"),
        };
        return Err(failure.code(Code::NotFound));
    }
    Ok(hosts)
}

/// Returns an endpoint of nobody in particular: who only looks need not say who he is.
pub(crate) async fn anybody() -> Result<Endpoint, Failure> {
    let key = SecretKey::from_bytes(&random()?);
    endpoints::bind(&key).await
}

/// Adds the hosts and brokers that announce themselves on the local network to those known, if that is wanted.
pub(crate) async fn with_neighbours(
    wanted: bool,
    hosts: Vec<Address>,
    brokers: Vec<Address>,
) -> Result<(Vec<Address>, Vec<Address>), Failure> {
    let (near, near_brokers) = neighbours(wanted).await?;
    Ok((beside(hosts, &near), beside(brokers, &near_brokers)))
}

/// Returns the places of this host among others.
fn of<'a>(host: &Address, places: impl Iterator<Item = &'a Address>) -> Vec<Address> {
    places.filter(|place| place.entity() == host.entity()).cloned().collect()
}

/// Adds those of whom no address is known yet.
fn beside(mut known: Vec<Address>, more: &[Address]) -> Vec<Address> {
    for address in more {
        if !known.iter().any(|each| each.entity() == address.entity()) {
            known.push(address.clone());
        }
    }
    known
}

/// Returns the hosts and brokers that announce themselves on the local network, if that is wanted.
pub(crate) async fn neighbours(wanted: bool) -> Result<(Vec<Address>, Vec<Address>), Failure> {
    if !wanted {
        return Ok((Vec::new(), Vec::new()));
    }
    tokio::task::spawn_blocking(listen)
        .await
        .map_err(|error| Failure::new(format!("a thread failed: {error}")))?
        .map_err(|error| Failure::new(error.to_string()).hint(error.hint()))
}

/// Listens to which hosts and brokers announce themselves on the local network.
pub(crate) fn listen() -> Result<(Vec<Address>, Vec<Address>), MdnsError> {
    let (mut hosts, mut brokers) = (Vec::new(), Vec::new());
    for (role, address) in fondaco_mdns::find(LISTEN)? {
        match role {
            Role::Host => hosts.push(address),
            Role::Broker => brokers.push(address),
        }
    }
    Ok((hosts, brokers))
}

/// Returns the hosts that were named, and those that brokers tell of, for `wish`, in `regions` if some are named.
async fn find(
    agent: &Agent,
    brokers: &[Address],
    currency: &CurrencyConfig,
    named: &[Address],
    (wish, regions): (&Wish, &[Label]),
    json: bool,
) -> Result<Vec<Address>, Failure> {
    let mut hosts = named.to_vec();
    if brokers.is_empty() {
        return Ok(hosts);
    }
    let id = CurrencyId::issued_by(currency.issuer()?.entity());
    let (found, market) = agent.discover(brokers, id, wish, regions).await;
    let known = hosts.len();
    for host in found {
        // What a person named by hand is believed before what was found.
        if !named.iter().any(|each| each.entity() == host.entity()) {
            hosts.push(host);
        }
    }
    tell(brokers, &market, json);
    if json {
        let line = json!({
            "event": "found", "brokers": brokers.len(), "answered": market.answered(),
            "offers": market.count(), "hosts": hosts.len() - known, "named": known,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{} hosts found by {} of {} brokers, {known} named.",
            hosts.len() - known,
            market.answered(),
            brokers.len()
        ));
    }
    if hosts.is_empty() && market.answered() == 0 {
        return Err(silent(&market));
    }
    Ok(hosts)
}

/// Says which brokers did not answer, and that one alone is not enough to be sure.
fn tell(brokers: &[Address], market: &Market, json: bool) {
    if json {
        return;
    }
    not_heard(market);
    if brokers.len() == 1 {
        say("Only one broker is known: it could hide offers. Name another with --broker ADDRESS.");
    }
}

/// Says which brokers did not answer.
fn not_heard(market: &Market) {
    for heard in &market.heard {
        if let Err(why) = &heard.said {
            say(&format!("broker {}… was not heard: {why}", heard.broker.short()));
        }
    }
}

/// Says that brokers show offers, and none of them is of the present.
fn of_another_time(error: AskError) -> Failure {
    Failure::new(format!("no offer there is good by the clock of this machine: {error}"))
        .hint(unfit::CLOCK_HINT)
}

fn silent(market: &Market) -> Failure {
    let whys: Vec<String> = market
        .heard
        .iter()
        .filter_map(|heard| {
            heard.said.as_ref().err().map(|why| format!("\n   {}…: {why}", heard.broker.short()))
        })
        .collect();
    Failure::new(format!("no broker answered{}", whys.concat()))
        .code(Code::Unreachable)
        .hint("name others with --broker ADDRESS, or hosts with --host ADDRESS")
}

/// Returns what a GiB costs at `price`, to be shown: to the nearest unit, as the price of a byte was rounded up.
pub(crate) fn per_gib(price: Price) -> Amount {
    let units = (price.parts_for(1 << 30) + Price::PARTS / 2) / Price::PARTS;
    Amount::new(u64::try_from(units).unwrap_or(u64::MAX))
}

/// One line of the list.
struct Row<'a> {
    address: Address,
    prices: PriceList,
    operator: Option<&'a Label>,
    region: Option<&'a Label>,
}

pub(crate) async fn offers(home: &Home, args: OffersArgs, json: bool) -> Result<(), Failure> {
    let brokers = remember_brokers(home, &args.broker)?;
    let (hosts, brokers) = with_neighbours(args.local, Vec::new(), brokers).await?;
    if brokers.is_empty() && hosts.is_empty() {
        let what = if args.local {
            "no broker is known here yet, and nobody announces himself on the local network"
        } else {
            "no broker is known here yet"
        };
        return Err(Failure::new(what)
            .code(Code::NotFound)
            .hint("name one: `fondaco offers --broker ADDRESS`"));
    }
    let wallet = home.wallet()?;
    let currency = wallet.find(args.currency.as_deref())?;
    let size = Bytes::parse(&args.size).ok_or_else(|| {
        Failure::new(format!("--size {} is no size", args.size))
            .code(Code::Usage)
            .hint("write 64k, 500M or 200G")
    })?;
    let id = CurrencyId::issued_by(currency.issuer()?.entity());
    let sought = Sought { currency: id, size, epochs: args.epochs.max(1) };
    let endpoint = anybody().await?;
    let now = SystemClock.now();
    let mut market = look(&endpoint, &brokers, &sought, now).await;
    market.asks.retain(|ask| is_in(ask, &args.region));
    let mut near = ask_hosts(&endpoint, &hosts, &sought, now).await;
    if !args.region.is_empty() {
        near.clear(); // Hosts that are asked themselves do not say where they stand.
    }
    tell(&brokers, &market, json);
    if market.answered() == 0 && near.is_empty() && !brokers.is_empty() {
        return Err(silent(&market));
    }
    let mut rows: Vec<Row<'_>> = market.asks.iter().map(row).collect();
    let known: BTreeSet<EntityId> = rows.iter().map(|row| row.address.entity()).collect();
    let near = near.into_iter().filter(|(address, _)| !known.contains(&address.entity()));
    rows.extend(near.map(|(address, prices)| Row {
        address,
        prices,
        operator: None,
        region: None,
    }));
    // As the asks are sorted already; those of hosts that were asked themselves go among them.
    rows.sort_by_key(|row| sought.rate(&row.prices));
    let count = market.count().max(rows.len());
    if let Some(error) = market.untimely().filter(|_| rows.is_empty()) {
        return Err(of_another_time(error).code(Code::NotFound));
    }
    if !json && !rows.is_empty() {
        say(&format!(
            "{:>4}  {:<14} {:>16} {:>12} {:>12} {:>8} {:>12}  {:<14} {:<14} {:>7}",
            "rank",
            "provider",
            "GiB and epoch",
            "GiB in",
            "GiB out",
            "epoch",
            "room",
            "region",
            "operator",
            "age"
        ));
    }
    for (index, row) in rows.iter().take(args.limit).enumerate() {
        show(index + 1, row, currency, json)?;
    }
    if !json {
        let shown = rows.len().min(args.limit);
        say(&format!(
            "{shown} of {count} offers in {} that have {size} for {} epochs.",
            currency.symbol, sought.epochs
        ));
    }
    Ok(())
}

fn row(ask: &CheckedAsk) -> Row<'_> {
    let (operator, region) = (ask.ask().operator.as_ref(), ask.ask().region.as_ref());
    Row { address: address_of(ask), prices: *ask.prices(), operator, region }
}

fn show(rank: usize, row: &Row<'_>, currency: &CurrencyConfig, json: bool) -> Result<(), Failure> {
    let (prices, scale) = (&row.prices, currency.scale()?);
    let gib = |price: Price| scale.show(per_gib(price)).to_string();
    let provider = row.address.entity();
    let age = SystemClock.now().since(prices.issued);
    if json {
        let line = json!({
            "event": "offer", "rank": rank, "provider": provider.to_string(),
            "address": row.address.to_string(), "currency": currency.symbol,
            "open": scale.show(prices.open).to_string(), "store": gib(prices.store),
            "write": gib(prices.write), "read": gib(prices.read),
            "epoch_seconds": prices.epoch.milliseconds() / 1000, "capacity": prices.capacity.get(),
            "operator": row.operator.map(Label::as_str), "region": row.region.map(Label::as_str),
            "age_seconds": age.milliseconds() / 1000, "expires": prices.expires.to_string(),
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{rank:>4}  {:<14} {:>16} {:>12} {:>12} {:>8} {:>12}  {:<14} {:<14} {:>7}",
            format!("{}…", provider.short()),
            gib(prices.store),
            gib(prices.write),
            gib(prices.read),
            format!("{} h", prices.epoch.milliseconds() / 3_600_000),
            prices.capacity.to_string(),
            row.region.map_or("-", Label::as_str),
            row.operator.map_or("-", Label::as_str),
            format!("{} min", age.milliseconds() / 60_000),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_address_of_each_is_kept_in_its_place() {
        let [one, two] = [1, 2].map(|seed| SecretKey::from_bytes(&[seed; 32]).entity());
        let at = |who, port| format!("{who}@127.0.0.1:{port}");
        let known = [at(one, 1), at(two, 2)];
        let found = merged(&known, &[at(one, 9)], "").unwrap();
        let texts: Vec<String> = found.iter().map(Address::to_string).collect();
        assert_eq!(texts, [at(one, 9), at(two, 2)]);
        assert!(merged(&known, &["nonsense".to_owned()], "").is_err());
    }

    #[test]
    fn a_gib_costs_what_was_asked_for_it() {
        for units in [0, 1, 7, 20_000, 999_999_999] {
            let price = Price::of(Amount::new(units), Bytes::new(1 << 30)).unwrap();
            assert_eq!(per_gib(price).get(), units);
        }
    }
}
