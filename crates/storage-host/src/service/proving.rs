//! Reads the blocks of a deep audit, by the same files as reads.

use super::{Shared, block_in_place};
use crate::ProvePlan;
use fondaco_audit::{BLOCK, Prover, TAG_BYTES};
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::{Payload, ProvePart, Reason, Response};
use fondaco_store::{BlobRead, FileError, Part};
use std::sync::atomic::Ordering;

#[allow(clippy::cast_possible_truncation, reason = "it is 7680")]
const BLOCK_BYTES: usize = BLOCK as usize;
#[allow(clippy::cast_possible_truncation, reason = "it is 16")]
const TAGS: usize = TAG_BYTES as usize;

impl Shared {
    /// Proves what was drawn, charges for it, and answers.
    pub(super) fn prove(
        &self,
        peer: EntityId,
        contract: ContractId,
        nonce: [u8; 32],
        parts: &[ProvePart],
        voucher: &SignedVoucher,
    ) -> Response {
        let prove = || {
            let now = self.clock.now();
            let plan = self.lock().host.prove_begin(now, peer, contract, nonce, parts, voucher)?;
            let bytes = block_in_place(|| self.proof(&plan))?;
            let mut state = self.lock();
            let event = state.host.prove_commit(&plan)?;
            state.unsaved.insert(contract, event);
            if self.refuses_reads.load(Ordering::Relaxed) {
                return Err(Reason::Busy);
            }
            state.counts.proof(now);
            Ok(Response::Proof { bytes })
        };
        prove().unwrap_or_else(|reason| Response::Refused { reason })
    }

    /// Adds up the blocks. What the disk gives is not checked: the buyer will.
    fn proof<const MAX: usize>(&self, plan: &ProvePlan) -> Result<Payload<MAX>, Reason> {
        let mut prover = Prover::default();
        let (mut block, mut tags) = (vec![0; BLOCK_BYTES], [0; TAGS]);
        for part in &plan.shards {
            let failed = |error: FileError| {
                tracing::error!(shard = %part.shard, %error, "a shard that is paid for cannot be read");
                match error {
                    FileError::Missing { .. } => Reason::Damaged,
                    // Too many open files, say: it may be read another time.
                    _ => Reason::Failed,
                }
            };
            let read = |blob: &dyn BlobRead, at: u64, buffer: &mut [u8]| {
                let length = blob.read_at(at, buffer).map_err(failed)?;
                if length == buffer.len() { Ok(()) } else { Err(Reason::Damaged) }
            };
            let blob = self.folder.get(*part.shard.digest(), Part::DATA).map_err(failed)?;
            for draw in plan.challenge.draws(part.shard, part.length, part.samples) {
                let at = draw.block * BLOCK;
                let left = usize::try_from(part.length - at).unwrap_or(BLOCK_BYTES);
                let block = &mut block[..left.min(BLOCK_BYTES)];
                read(&*blob, at, block)?;
                read(&*blob, part.tags_at(draw.block).get(), &mut tags)?;
                prover.add(&draw, block, &tags);
            }
        }
        Payload::new(prover.finish().to_bytes()).ok_or(Reason::Failed)
    }
}
