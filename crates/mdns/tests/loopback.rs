//! Services of one machine find each other by multicast on its loopback interface.

use fondaco_crypto::SecretKey;
use fondaco_mdns::{Role, announce, find};
use fondaco_ports::Address;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Whether a datagram to a group on loopback comes back: some containers have no multicast at all.
fn multicast_works() -> std::io::Result<bool> {
    let group = Ipv4Addr::new(224, 0, 0, 250);
    let receiver = UdpSocket::bind((group, 0))?;
    receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.set_multicast_loop_v4(true)?;
    sender.send_to(b"?", (group, receiver.local_addr()?.port()))?;
    Ok(receiver.recv(&mut [0; 4]).is_ok())
}

#[test]
fn who_announces_himself_is_found_and_then_is_not() {
    if !matches!(multicast_works(), Ok(true)) {
        // Not by `println!`, which a test that passes swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no multicast on loopback here");
        return;
    }
    let addresses = [1, 2].map(|seed| {
        let entity = SecretKey::from_bytes(&[seed; 32]).entity();
        Address::new(entity, [format!("127.0.0.1:4433{seed}").parse().unwrap()])
    });
    let host = announce(&addresses[0], Role::Host).unwrap();
    let broker = announce(&addresses[1], Role::Broker).unwrap();
    let wanted = [(Role::Host, addresses[0].clone()), (Role::Broker, addresses[1].clone())];
    let mut found = vec![];
    for _ in 0..10 {
        found = find(Duration::from_secs(1)).unwrap();
        if wanted.iter().all(|each| found.contains(each)) {
            break;
        }
    }
    for each in &wanted {
        assert!(found.contains(each), "{each:?} is not among {found:?}");
    }
    drop((host, broker));
    for _ in 0..10 {
        found = find(Duration::from_secs(1)).unwrap();
        if wanted.iter().all(|each| !found.contains(each)) {
            return;
        }
    }
    panic!("still found: {found:?}");
}
