//! A villain's host: what stands between a real one and the world, with its key, and keeps each proof that it gave.
#![allow(dead_code, reason = "each test uses some of it")]

use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Payload, Reason, Request, Response, STEP_BYTES_MAX};
use fondaco_transport::{Connection, Endpoint, Protocol, Stream};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

const FRAME_MAX: usize = 2 * STEP_BYTES_MAX;

/// What it does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It has its service make one.
    Honest,
    /// It gives the one it made for the same nonce, or else any that it ever made, and reads nothing.
    Replays,
    /// It says that it is busy, to proofs and reads alike, and counts nothing.
    Refuses,
    /// It has its service sign what renews a contract, and breaks off instead of saying so.
    Withholds,
    /// It refuses for good to renew a contract or to open one, whose hold was made for it.
    Declines,
}

#[derive(Debug)]
struct Memory {
    habit: Habit,
    proofs: BTreeMap<[u8; 32], Vec<u8>>,
    /// Proofs that its service made, and those that came from memory.
    made: usize,
    replayed: usize,
}

/// A host, and what it does when it is asked. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    memory: Arc<Mutex<Memory>>,
    address: Address,
}

impl Relay {
    /// Stands before the service at `service`, whose key is `host`; passes for `buyer` there.
    pub(crate) async fn start(host: &SecretKey, buyer: &SecretKey, service: Address) -> Self {
        let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let front = Endpoint::bind(host, loopback, &[Protocol::Storage]).await.unwrap();
        let inner = Endpoint::bind(buyer, None, &[]).await.unwrap();
        let memory = Memory { habit: Habit::Honest, proofs: BTreeMap::new(), made: 0, replayed: 0 };
        let relay = Self { memory: Arc::new(Mutex::new(memory)), address: front.address() };
        let serving = relay.clone();
        tokio::spawn(async move {
            while let Some(outer) = front.accept().await {
                let inner = inner.connect(&service, Protocol::Storage).await.unwrap();
                tokio::spawn(serving.clone().connection(outer, inner));
            }
        });
        relay
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(crate) fn take_up(&self, habit: Habit) {
        self.memory().habit = habit;
    }

    /// How many proofs its service made, and how many came from memory.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let memory = self.memory();
        (memory.made, memory.replayed)
    }

    async fn connection(self, outer: Connection, inner: Connection) {
        while let Ok(Some(asked)) = outer.accept().await {
            let Ok(answered) = inner.open().await else { return };
            let relay = self.clone();
            tokio::spawn(async move { relay.stream(asked, answered).await });
        }
    }

    /// Passes frames in turn, until one side has no more.
    async fn stream(self, mut asked: Stream, mut answered: Stream) -> Option<()> {
        loop {
            let frame = asked.recv_bytes(FRAME_MAX).await.ok()??;
            let nonce = match Request::from_frame(&frame) {
                Ok(Request::Prove { nonce, .. }) => Some(nonce),
                _ => None,
            };
            if let Some(old) = nonce.and_then(|nonce| self.replay(nonce)) {
                let response = Response::Proof { bytes: Payload::new(old)? };
                asked.send_bytes(&response.to_frame()).await.ok()?;
                asked.finish();
                return Some(());
            }
            let habit = self.memory().habit;
            let refusal = match Request::from_frame(&frame) {
                Ok(Request::Get { .. } | Request::Prove { .. }) if habit == Habit::Refuses => {
                    Some(Reason::Busy)
                }
                Ok(Request::Renew { .. } | Request::Open { .. }) if habit == Habit::Declines => {
                    Some(Reason::WrongHold)
                }
                _ => None,
            };
            if let Some(reason) = refusal {
                asked.send_bytes(&Response::Refused { reason }.to_frame()).await.ok()?;
                asked.finish();
                return Some(());
            }
            answered.send_bytes(&frame).await.ok()?;
            let is_renewal = matches!(Request::from_frame(&frame), Ok(Request::Renew { .. }));
            let frame = answered.recv_bytes(FRAME_MAX).await.ok()??;
            if is_renewal && self.memory().habit == Habit::Withholds {
                return None;
            }
            if let (Some(nonce), Ok(Response::Proof { bytes })) =
                (nonce, Response::from_frame(&frame))
            {
                let mut memory = self.memory();
                memory.made += 1;
                let new = bytes.as_slice().to_vec();
                let known = memory.proofs.insert(nonce, new.clone());
                assert!(known.is_none_or(|known| known == new), "one question, two proofs");
            }
            asked.send_bytes(&frame).await.ok()?;
        }
    }

    fn replay(&self, nonce: [u8; 32]) -> Option<Vec<u8>> {
        let mut memory = self.memory();
        if memory.habit != Habit::Replays {
            return None;
        }
        let old = memory.proofs.get(&nonce).or_else(|| memory.proofs.values().next()).cloned();
        memory.replayed += usize::from(old.is_some());
        old
    }
}
