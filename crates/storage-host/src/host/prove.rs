//! Deep audits: proving that blocks are kept, as paid as reads are, and not without end.

use super::{Host, ReadPlan};
use crate::Event;
use fondaco_audit::{ProofChallenge, ShardId, data_len};
use fondaco_contract::{Charge, ContractId};
use fondaco_crypto::EntityId;
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::{PROOF_CHARGED, PROOF_SAMPLES_MAX, ProvePart, Reason};
use fondaco_units::{Bytes, Timestamp};

/// The most proofs of one contract in an epoch. A proof pays for 16 KiB and has up to 4 MiB read: without a limit a buyer
/// could keep a disk busy for pennies. These draw 32,768 blocks in an epoch, which find the loss of one block in 5,000.
pub const PROOFS_PER_EPOCH_MAX: u32 = 64;

/// A proof that is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvePlan {
    /// What draws blocks and coefficients.
    pub challenge: ProofChallenge,
    /// Of which shards, in order.
    pub shards: Vec<ProveShard>,
    paid: ReadPlan,
}

/// One shard of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProveShard {
    /// Its name.
    pub shard: ShardId,
    /// How many bytes of it are data; its tags follow.
    pub length: u64,
    /// How many blocks to draw.
    pub samples: u32,
}

impl Host {
    /// Checks that a proof is paid for and not one too many, and says what to prove. It counts as begun, whatever becomes
    /// of it, since the disk works for it; the count is not durable, so a restart begins anew. Nothing is charged before
    /// [`Host::prove_commit`].
    ///
    /// # Errors
    ///
    /// About the contract and the voucher; `WrongSamples`, `Overflow`, `Unpaid`, `TooManyProofs`, `UnknownShard`,
    /// `Untagged`.
    pub fn prove_begin(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        nonce: [u8; 32],
        parts: &[ProvePart],
        voucher: &SignedVoucher,
    ) -> Result<ProvePlan, Reason> {
        let contract = self.open_contract(now, peer, id)?;
        let voucher = contract.highest(voucher)?;
        let samples: usize = parts.iter().map(|part| usize::from(part.samples)).sum();
        let is_of_nothing = parts.is_empty() || parts.iter().any(|part| part.samples == 0);
        let is_ordered = parts.windows(2).all(|pair| pair[0].shard < pair[1].shard);
        if is_of_nothing || !is_ordered || samples > PROOF_SAMPLES_MAX {
            let samples_max = u32::try_from(PROOF_SAMPLES_MAX).unwrap_or(u32::MAX);
            return Err(Reason::WrongSamples { samples_max });
        }
        let charge = Charge::Read { bytes: PROOF_CHARGED };
        let mut tab = contract.tab;
        tab.admit(&contract.terms, charge, voucher.voucher.cumulative)?;
        let epoch = contract.terms.epoch_at(now);
        let begun = match self.proofs.get(&id) {
            Some(&(of, begun)) if of == epoch => begun,
            _ => 0,
        };
        if begun >= PROOFS_PER_EPOCH_MAX {
            let until = contract.terms.paid_until(epoch.saturating_add(1));
            return Err(Reason::TooManyProofs { proofs_max: PROOFS_PER_EPOCH_MAX, until });
        }
        let shards = parts.iter().map(|&ProvePart { shard, samples }| {
            let size = self.readable(now, contract, shard)?;
            let length = data_len(size.get()).ok_or(Reason::Untagged { size })?;
            Ok(ProveShard { shard, length, samples: samples.into() })
        });
        let shards: Vec<ProveShard> = shards.collect::<Result<_, Reason>>()?;
        self.proofs.insert(id, (epoch, begun + 1));
        let shard = shards[0].shard;
        let range = 0..PROOF_CHARGED.get();
        let paid = ReadPlan { contract: id, shard, range, charge, is_proof: true, voucher };
        let challenge = ProofChallenge { nonce, contract: *id.digest() };
        Ok(ProvePlan { challenge, shards, paid })
    }

    /// Charges for a proof that is in hand, as [`Host::get_commit`] does for a slice.
    ///
    /// # Errors
    ///
    /// `UnknownContract`; `Ended` meanwhile; `Unpaid`: others were served from the same voucher meanwhile.
    pub fn prove_commit(&mut self, plan: &ProvePlan) -> Result<Event, Reason> {
        self.get_commit(&plan.paid)
    }
}

impl ProveShard {
    /// Returns where the tags of a block are in the shard.
    pub const fn tags_at(&self, block: u64) -> Bytes {
        Bytes::new(self.length + block * fondaco_audit::TAG_BYTES)
    }
}
