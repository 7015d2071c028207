//! Reading through a gateway uses holds up: they are renewed within a budget, and not without one.

mod market;
mod parts;

use market::client::{Client, path};
use market::{Noise, market};
use parts::{compare, failure, world};

/// More often than holds pay for reading a pack.
const READS_MAX: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn what_reading_used_up_is_renewed_within_the_budget() {
    let mut market = market(3).await;
    let hosts = market.hosts_named();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let start = [&["--size", "1M", "--survive", "0.9"], &hosts[..]].concat();
    let gateway = Client::start(&mut market, &start).await;
    let mut noise = Noise::new();
    gateway.begin(&mut noise);
    let [first, second] = [(); 2].map(|()| noise.bytes(8 << 20));
    assert_eq!(gateway.put(&first).0, 200);
    let mut reads = 0;
    let said = loop {
        match gateway.try_ask("GET", &path(&first), b"") {
            // One that is used up in the middle of an answer cuts it off.
            Some((200, _)) | None => {}
            Some((status, said)) => {
                assert_eq!(status, 507, "{}", String::from_utf8_lossy(&said));
                break String::from_utf8(said).unwrap();
            }
        }
        reads += 1;
        assert!(reads < READS_MAX, "no hold is used up");
    };
    assert!(said.contains("is used up") && said.contains("--budget"), "{said}");
    market.world.stop("buyer").await;

    // Too little spends nothing, and says so.
    let before = market.world.ask("buyer", ["balance"]).await.unwrap();
    let gateway = Client::start(&mut market, &["--budget", "0.000001 TST"]).await;
    for _ in 0..2 {
        let (status, said) = gateway.ask("GET", &path(&first), b"");
        let said = String::from_utf8(said).unwrap();
        assert!(status == 507 && said.contains("it was not renewed"), "{status} {said}");
    }
    market.world.stop("buyer").await;
    assert_eq!(market.world.ask("buyer", ["balance"]).await.unwrap(), before);

    let gateway = Client::start(&mut market, &["--budget", "1 TST"]).await;
    for _ in 0..2 {
        assert_eq!(gateway.ask("GET", &path(&first), b""), (200, first.clone()));
    }
    assert_eq!(gateway.put(&second).0, 200);
    assert_eq!(gateway.ask("GET", &path(&second), b""), (200, second));
    market.world.stop("buyer").await;
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let open = lines.iter().filter(|line| line["stage"] == "open").count();
    assert!(open == 3 && lines.len() > 3, "{lines:?}");
    market.world.end().await;
}
