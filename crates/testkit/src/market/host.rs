//! A storage host: the production service over a disk and a folder in memory, started again whenever it goes down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_crypto::{Digest, EntityId, SecretKey};
use fondaco_ports::Address;
use fondaco_storage_host::{HostConfig, HostService, ServiceError};
use fondaco_transport::{Endpoint, Fabric, LcpClient, Protocol};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::oracle::Oracle;
use super::villains::{Deeds, Mischief, Relay};
use crate::{Rng, SimBlobs, SimDisk, VirtualClock};

/// How often a host looks at its contracts: seldom, since weeks go by.
const TICK: Duration = Duration::from_secs(1800);

/// A storage host. Clones are the same.
#[derive(Clone)]
pub(super) struct HostNode(Arc<Shared>);

pub(super) struct Shared {
    pub(super) key: SecretKey,
    config: HostConfig,
    sockets: [SocketAddr; 2],
    fabric: Fabric,
    issuer: Address,
    pub(super) clock: VirtualClock,
    oracle: Oracle,
    kill: Notify,
    wake: Notify,
    deeds: Deeds,
    state: Mutex<State>,
}

struct State {
    disk: SimDisk,
    blobs: SimBlobs,
    place: usize,
    up: bool,
    /// Whether it found nothing of what it should have, and will not serve any more.
    gave_up: bool,
    crashes: u64,
    /// How many shards it has lost.
    lost: usize,
    /// Whether it stays down when it is.
    stays_down: bool,
    rng: Rng,
    mischief: Option<Box<dyn Mischief>>,
}

/// What a host is made of.
pub(super) struct Plan {
    pub(super) key: SecretKey,
    pub(super) config: HostConfig,
    pub(super) sockets: [SocketAddr; 2],
    pub(super) issuer: Address,
    pub(super) lying_disk: bool,
    pub(super) mischief: Option<Box<dyn Mischief>>,
    /// The key of the buyer, whom a villain's relay must resemble before its own service.
    pub(super) buyer: SecretKey,
}

impl HostNode {
    pub(super) fn start(
        plan: Plan,
        fabric: &Fabric,
        clock: VirtualClock,
        oracle: Oracle,
        rng: Rng,
    ) -> Self {
        let Plan { key, config, sockets, issuer, lying_disk, mischief, buyer } = plan;
        let (disk, blobs) = match lying_disk {
            true => (SimDisk::lying(), SimBlobs::lying()),
            false => (SimDisk::new(), SimBlobs::new()),
        };
        let state = State {
            disk,
            blobs,
            place: 0,
            up: false,
            gave_up: false,
            crashes: 0,
            lost: 0,
            stays_down: false,
            rng,
            mischief,
        };
        let (kill, wake, state) = (Notify::new(), Notify::new(), Mutex::new(state));
        let (fabric, deeds) = (fabric.clone(), Deeds::default());
        let shared = Shared {
            key,
            config,
            sockets,
            fabric,
            issuer,
            clock,
            oracle,
            kill,
            wake,
            deeds,
            state,
        };
        let node = Self(Arc::new(shared));
        tokio::spawn(node.clone().supervise(buyer));
        node
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entity(&self) -> EntityId {
        self.0.key.entity()
    }

    pub(super) fn address(&self) -> Address {
        Address::new(self.entity(), self.0.sockets)
    }

    pub(super) fn crashes(&self) -> u64 {
        self.state().crashes
    }

    pub(super) fn clock(&self) -> &VirtualClock {
        &self.0.clock
    }

    /// What it did that its service did not, under which contract.
    pub(super) fn deeds(&self) -> &Deeds {
        &self.0.deeds
    }

    /// Plans that the power goes at one of the next writes, of its journal or of its shards.
    pub(super) fn power_off_in(&self, operations: u64) {
        let mut state = self.state();
        let State { disk, blobs, rng, .. } = &mut *state;
        if rng.chance(50) {
            disk.power_off_in(operations, rng);
        } else {
            blobs.power_off_in(operations, rng);
        }
    }

    pub(super) fn set_room(&self, room: Option<u64>) {
        self.state().blobs.set_room(room);
    }

    pub(super) fn kill(&self) {
        self.0.kill.notify_one();
    }

    pub(super) fn stay_down(&self, stays_down: bool) {
        self.state().stays_down = stays_down;
        if !stays_down {
            self.0.wake.notify_one();
        }
    }

    /// Moves to its other socket, at its next start.
    pub(super) fn moves(&self) {
        self.state().place ^= 1;
        self.kill();
    }

    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.disk.heal();
        state.blobs.heal();
        let is_villain = state.mischief.is_some();
        if let Some(mischief) = &mut state.mischief {
            mischief.be_worst();
        }
        drop(state);
        if is_villain {
            self.kill(); // What runs has a twin of it, which is as before.
        }
        self.stay_down(false);
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().up
    }

    pub(super) fn gave_up(&self) -> bool {
        self.state().gave_up
    }

    pub(super) fn lose(&self, percent: u64) {
        let mut state = self.state();
        let State { blobs, rng, lost, .. } = &mut *state;
        *lost += blobs.lose(percent, rng).len();
    }

    pub(super) fn has(&self, shard: Digest) -> bool {
        self.state().blobs.has(shard)
    }

    async fn supervise(self, buyer: SecretKey) {
        let protocols = [Protocol::Storage];
        let key = &self.0.key;
        loop {
            let (disk, blobs, socket) = {
                let state = self.state();
                (state.disk.clone(), state.blobs.clone(), self.0.sockets[state.place])
            };
            let (fabric, issuer) = (&self.0.fabric, self.0.issuer.clone());
            let bind = |fabric, socket, protocols| {
                Endpoint::bind_on(fabric, key, socket, protocols).expect("the socket is its own")
            };
            let outward = bind(fabric, None, &[]);
            let front = bind(fabric, Some(socket), &protocols);
            let mischief = self.state().mischief.as_ref().map(|mischief| mischief.twin());
            // A villain's service is behind a network of its own.
            let (endpoint, relay) = match mischief {
                None => (front.clone(), None),
                Some(mischief) => {
                    let inner = Fabric::new(1);
                    let endpoint = bind(&inner, None, &protocols);
                    let relay = Relay::new(front.clone(), inner, endpoint.address(), &buyer);
                    let deeds = self.0.deeds.clone();
                    (endpoint, Some(tokio::spawn(relay.run(mischief, deeds))))
                }
            };
            let service = HostService::open_on(
                Box::new(disk.clone()),
                Arc::new(blobs.clone()),
                key.clone(),
                self.0.config,
                Arc::new(self.0.clock.clone()),
                LcpClient::new(outward.clone(), issuer),
            );
            match service {
                Ok(mut service) => {
                    service.set_tick(TICK);
                    self.state().up = true;
                    tokio::select! {
                        biased;
                        () = self.0.kill.notified() => {}
                        () = blobs.off() => {}
                        _ = service.serve(endpoint.clone(), CancellationToken::new()) => {}
                    }
                }
                Err(_) if disk.is_dead() || blobs.is_dead() => {}
                // Only who loses shards comes to this.
                Err(ServiceError::Empty { .. }) if self.state().lost > 0 => {
                    self.state().gave_up = true;
                    return;
                }
                Err(error) => {
                    let who = self.entity();
                    self.0.oracle.fault(format!("host {} does not start: {error}", who.short()));
                    return;
                }
            }
            relay.inspect(tokio::task::JoinHandle::abort);
            [&endpoint, &front, &outward].into_iter().for_each(Endpoint::kill);
            self.0.oracle.crashed(self.entity());
            let pause = {
                let mut state = self.state();
                let State { disk, blobs, up, crashes, rng, .. } = &mut *state;
                *disk = disk.crash(rng);
                *blobs = blobs.crash(rng);
                *up = false;
                *crashes += 1;
                let longest = *rng.pick(&[3, 60, 3600, 6 * 3600]).unwrap_or(&1);
                Duration::from_millis(1 + rng.below(longest * 1000))
            };
            tokio::select! {
                biased;
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while self.state().stays_down {
                self.0.wake.notified().await;
            }
        }
    }
}
