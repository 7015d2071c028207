//! What providers have taken: paid for by their buyers, and not served.
//!
//! It is bounded twice, as the owner says how much a newcomer may have: by what a contract would have its provider be ahead
//! by, when it is opened, and by what its provider has in the end taken under it, whatever broke off meanwhile. A provider earns
//! more by what it was paid for; that all of it was earned well is taken for granted.

use fondaco_contract::{ContractId, Tab, Terms};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

use super::{Account, Oracle, PARTS, State, UNIT, Used};

impl Oracle {
    /// A buyer trusts a provider of which it knows nothing with so much money at once; nothing if that is not bounded so.
    pub(in super::super) fn caps(&self, buyer: EntityId, newcomer: Option<Amount>) {
        if let Some(newcomer) = newcomer {
            self.state().caps.insert(buyer, newcomer.get());
        }
    }
}

impl Account {
    /// Its provider says what it counts. Keeping is paid in advance, and its answer may be lost; and so may the last of a put.
    pub(super) fn hears_of(&mut self, tab: &Tab) {
        let told = Used::of(tab);
        self.came.opened |= told.opened;
        (self.came.kept, self.came.advanced) = (told.kept, told.advanced);
    }

    /// What was signed for, beyond what came.
    fn taken(&self) -> u64 {
        self.signed.saturating_sub(self.came.cost(&self.terms.prices))
    }
}

/// What the provider of a contract could take and run with at least: the price to open, an epoch of keeping, and a step.
fn ahead(terms: &Terms) -> u64 {
    let prices = &terms.prices;
    let step = prices.step_max.get();
    let written = u128::from(prices.write.parts()) * u128::from(step);
    let read = u128::from(prices.read.parts()) * u128::from(step + 2 * UNIT);
    let kept = u128::from(prices.store.parts()) * u128::from(terms.size_max.get());
    let whole = (kept + written.max(read)) / PARTS;
    prices.open.get() + u64::try_from(whole).unwrap_or(u64::MAX)
}

impl State {
    /// What a buyer may trust a provider with, beside this contract's own.
    fn cap(&self, buyer: EntityId, provider: EntityId, but: Option<ContractId>) -> Option<u64> {
        let newcomer = *self.caps.get(&buyer)?;
        let others = self.accounts.iter().filter(|(id, account)| {
            let sides = (account.terms.buyer, account.terms.prices.provider);
            sides == (buyer, provider) && Some(**id) != but
        });
        Some(others.fold(newcomer, |sum, (_, account)| sum.saturating_add(account.signed)))
    }

    /// A buyer asks for a contract.
    pub(super) fn opens(&mut self, terms: &Terms) {
        let (buyer, provider) = (terms.buyer, terms.prices.provider);
        let Some(cap) = self.cap(buyer, provider, Some(terms.id())) else { return };
        let ahead = ahead(terms);
        if ahead > cap {
            let who = provider.short();
            self.faults.push(format!("host {who} was trusted with {ahead}, and may be with {cap}"));
        }
    }

    /// A buyer has signed under a contract.
    pub(super) fn takes(&mut self, contract: ContractId) {
        let Some(account) = self.accounts.get(&contract) else { return };
        let (buyer, provider) = (account.terms.buyer, account.terms.prices.provider);
        let taken = account.taken();
        let Some(cap) = self.cap(buyer, provider, Some(contract)) else { return };
        if taken > cap {
            let who = provider.short();
            self.faults.push(format!("host {who} has taken {taken}, and may have {cap}"));
        }
    }
}
