//! A holder and an issuer that breaks off.

use fondaco_crypto::SecretKey;
use fondaco_lcp::{REQUEST_BYTES_MAX, Request, RequestId, Response};
use fondaco_ports::Address;
use fondaco_transport::{CloseReason, Endpoint, LcpClient, Protocol, RESENDS_MAX, TransportError};
use fondaco_units::Amount;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn mint() -> Request {
    let (id, to, amount) = (RequestId::new(7), key(2).entity(), Amount::new(5));
    Request::Mint { id, to, amount }
}

/// What the issuer does instead of answering.
#[derive(Clone, Copy)]
enum Fault {
    CloseConnection(CloseReason),
    StopStream,
    EndStream,
    Garbage,
}

/// An issuer that does `fault` to the first `faults` requests, then answers; and how many it was asked.
async fn issuer(fault: Fault, faults: u32) -> (Address, Arc<AtomicU32>) {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::bind(&key(1), listen, &[Protocol::Lcp2]).await.unwrap();
    let (address, asked) = (endpoint.address(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some(connection) = endpoint.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while let Ok(Some(mut stream)) = connection.accept().await {
                    let body = stream.recv_bytes(REQUEST_BYTES_MAX).await.unwrap().unwrap();
                    assert_eq!(Request::from_frame(&body), Ok(mint()), "the same each time");
                    if count.fetch_add(1, Ordering::Relaxed) < faults {
                        match fault {
                            Fault::CloseConnection(reason) => connection.close(reason),
                            Fault::StopStream => stream.stop(CloseReason::Busy),
                            Fault::EndStream => stream.finish(),
                            Fault::Garbage => stream.send_bytes(&[9, 9]).await.unwrap(),
                        }
                    } else {
                        let answer = Response::Minted { supply: Amount::new(5) };
                        // Who asked may have given up.
                        if stream.send_bytes(&answer.to_frame()).await.is_ok() {
                            stream.finish();
                            let _ = stream.delivered().await;
                        }
                    }
                }
            });
        }
    });
    (address, asked)
}

async fn holder(issuer: Address) -> LcpClient {
    LcpClient::new(Endpoint::bind(&key(2), None, &[]).await.unwrap(), issuer)
}

#[tokio::test]
async fn a_broken_connection_is_asked_again() {
    use Fault::{CloseConnection, EndStream, StopStream};
    for fault in [
        CloseConnection(CloseReason::Done),
        CloseConnection(CloseReason::Leaving),
        CloseConnection(CloseReason::Busy),
        StopStream,
        EndStream,
    ] {
        let (address, asked) = issuer(fault, 2).await;
        let holder = holder(address).await;
        let answer = holder.call(&mint()).await;
        assert_eq!(answer, Ok(Response::Minted { supply: Amount::new(5) }));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}

/// What many ask at once is sent by the first of them; whoever gives up, be it that one, keeps nobody waiting.
#[tokio::test]
async fn who_gives_up_keeps_nobody_waiting() {
    let (address, _) = issuer(Fault::EndStream, 0).await;
    let holder = holder(address).await;
    let minted = Ok(Response::Minted { supply: Amount::new(5) });
    assert_eq!(holder.call(&mint()).await, minted);
    let call = || {
        let holder = holder.clone();
        tokio::spawn(async move { holder.call(&mint()).await })
    };
    let mut calls: Vec<_> = (0..50).map(|_| call()).collect();
    // All have begun, and the first that are not alone wait for their turn to send.
    tokio::task::yield_now().await;
    calls.drain(..10).for_each(|call| call.abort());
    for call in calls {
        assert_eq!(call.await.unwrap(), minted);
    }
}

#[tokio::test]
async fn it_gives_up_after_the_last_sending() {
    let (address, asked) = issuer(Fault::EndStream, 99).await;
    let peer = address.entity();
    let holder = holder(address).await;
    assert_eq!(holder.call(&mint()).await, Err(TransportError::NoAnswer { peer }));
    assert_eq!(asked.load(Ordering::Relaxed), RESENDS_MAX + 1);
}

#[tokio::test]
async fn what_another_sending_cannot_mend_is_not_sent_again() {
    for fault in [Fault::Garbage, Fault::CloseConnection(CloseReason::Misbehaved)] {
        let (address, asked) = issuer(fault, 99).await;
        let holder = holder(address).await;
        assert!(!holder.call(&mint()).await.unwrap_err().is_transient());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

/// Many who ask at once for an issuer that is not there wait for one dialling, not for one after the other.
#[tokio::test]
async fn an_absent_issuer_is_dialled_once_for_all_who_wait() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = Address::new(key(1).entity(), [silent.local_addr().unwrap()]);
    let holder = holder(address.clone()).await;
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let holder = holder.clone();
        calls.spawn(async move { holder.call(&Request::Balance).await });
    }
    while let Some(ended) = calls.join_next().await {
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error, TransportError::Unreachable { address: address.clone() });
    }
    assert!(started.elapsed() < Duration::from_secs(6));
}
