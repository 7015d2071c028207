use super::*;
use crate::book::tests::{intended, opened, terms};
use crate::wallet::Wallet;
use fondaco_codec::List;
use fondaco_contract::{Ask, SignedAsk, Socket};
use fondaco_ports::market::{self, Frame as _};
use fondaco_ports::offers::{Request, Response};
use fondaco_transport::{Fabric, LcpClient};
use fondaco_units::{Duration as Span, Timestamp};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::time::sleep;

const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn socket(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 4433).into()
}

/// Where the host is that the contract of these tests is with.
fn place(number: u8) -> Address {
    Address::new(key(1).entity(), [socket(number)])
}

/// A buyer whose one contract is with a host at the first place.
struct Buyer {
    fabric: Fabric,
    book: Arc<BookFile>,
    path: PathBuf,
    told: Arc<Mutex<Vec<Address>>>,
    strangers: Arc<Mutex<Vec<Address>>>,
}

impl Drop for Buyer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Buyer {
    fn new() -> Self {
        static BOOKS: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "fondaco-finding-{}-{}",
            std::process::id(),
            BOOKS.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        let book = Arc::new(BookFile::open(&path).unwrap());
        let mut event = intended(1);
        if let Event::ContractIntended { address, .. } = &mut event {
            *address = place(1);
        }
        book.record(&event).unwrap();
        let (told, strangers) = (Arc::default(), Arc::default());
        Self { fabric: Fabric::new(1), book, path, told, strangers }
    }

    fn finder(&self, hosts: Vec<Address>, brokers: Vec<Address>) -> Arc<Finder> {
        let endpoint = Endpoint::bind_on(&self.fabric, &key(5), None, &[]).unwrap();
        let (told, strangers) = (Arc::clone(&self.told), Arc::clone(&self.strangers));
        let told: Told = Arc::new(move |news| match news {
            News::Found { at } => told.lock().unwrap().push(at.clone()),
            News::NotThere { at, why } => {
                if matches!(why, TransportError::WrongKey { .. }) {
                    strangers.lock().unwrap().push(at.clone());
                }
            }
        });
        let seek = Seek { hosts, brokers, told: Some(told) };
        Arc::new(Finder::new(key(5), endpoint, &self.book, Arc::new(At(NOON)), seek))
    }

    /// Has the owner of a key listen somewhere for storage.
    fn listens(&self, key: &SecretKey, number: u8) {
        let at = Some(socket(number));
        let endpoint = Endpoint::bind_on(&self.fabric, key, at, &[Protocol::Storage]).unwrap();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(connection) = endpoint.accept().await {
                kept.push(connection);
            }
        });
    }

    /// Starts a broker that answers after a while that the host is where this ask says; returns its address, and how often
    /// it was asked, by whom.
    fn broker(&self, ask: SignedAsk, after: Duration) -> (Address, Arc<Mutex<Vec<EntityId>>>) {
        let endpoint = Endpoint::bind_on(&self.fabric, &key(8), None, &[Protocol::Offers]).unwrap();
        let (address, asked) = (endpoint.address(), Arc::<Mutex<Vec<EntityId>>>::default());
        let by = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(connection) = endpoint.accept().await {
                by.lock().unwrap().push(connection.peer());
                let ask = ask.clone();
                tokio::spawn(async move {
                    while let Ok(Some(mut stream)) = connection.accept().await {
                        let frame = stream.recv_bytes(Request::FRAME_MAX).await.unwrap().unwrap();
                        let find = Request::Find { provider: key(1).entity() };
                        assert_eq!(Request::from_frame(&frame), Ok(find));
                        sleep(after).await;
                        let found = Response::Found { ask: Some(ask.clone()) };
                        stream.send_bytes(&found.to_frame()).await.unwrap();
                        stream.finish();
                    }
                });
            }
        });
        (address, asked)
    }

    fn named(&self, finder: &Arc<Finder>, places: &[u8]) -> Named {
        let hosts = places.iter().map(|&number| place(number)).collect();
        Named { finder: Arc::clone(finder), book: Arc::clone(&self.book), hosts }
    }

    fn booked(&self) -> Address {
        self.book.read(|book| book.contract(terms(1).id()).unwrap().address.clone())
    }

    fn told(&self) -> Vec<Address> {
        self.told.lock().unwrap().clone()
    }
}

/// The ask of `who`, at a place.
fn ask(who: u8, number: u8) -> SignedAsk {
    let hour = Span::from_seconds(3600);
    let mut prices = terms(1).prices;
    (prices.provider, prices.issued, prices.expires) = (key(who).entity(), NOON, NOON.after(hour));
    let sockets = List::new(vec![Socket::new(socket(number)).unwrap()]).unwrap();
    let prices = prices.sign(&key(who));
    Ask { prices, sockets, operator: None, region: None }.sign(&key(who))
}

#[tokio::test(start_paused = true)]
async fn a_host_is_dialled_where_it_was_and_asked_for_nowhere_else() {
    let buyer = Buyer::new();
    buyer.listens(&key(1), 1);
    let (broker, asked) = buyer.broker(ask(1, 2), Duration::ZERO);
    let finder = buyer.finder(vec![place(2)], vec![broker]);
    assert_eq!(finder.connect(&place(1)).await.unwrap().peer(), key(1).entity());
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!((buyer.booked(), buyer.told()), (place(1), vec![]));
}

/// At the old socket there is nobody, or a stranger; at the new one the host's own key.
#[tokio::test(start_paused = true)]
async fn a_host_that_moved_is_found_where_a_person_says_and_the_book_follows() {
    for stranger in [false, true] {
        let buyer = Buyer::new();
        if stranger {
            buyer.listens(&key(4), 1);
        }
        buyer.listens(&key(1), 2);
        let finder = buyer.finder(vec![place(3), place(2)], vec![]);
        let began = Instant::now();
        assert_eq!(finder.connect(&place(1)).await.unwrap().peer(), key(1).entity());
        assert!(began.elapsed() < Duration::from_secs(1), "a read would have given it up");
        assert_eq!((buyer.booked(), buyer.told()), (place(2), vec![place(2)]));
        assert_eq!(finder.now_at(&place(1)), place(2));
        // Who comes later, with the address of before, goes there at once.
        let began = Instant::now();
        finder.connect(&place(1)).await.unwrap();
        assert!(began.elapsed() < HEAD_START);
        assert_eq!(buyer.told().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn another_key_at_the_new_place_is_refused_and_written_down_nowhere() {
    let buyer = Buyer::new();
    buyer.listens(&key(4), 2);
    buyer.listens(&key(4), 3);
    let (broker, _) = buyer.broker(ask(1, 3), Duration::ZERO);
    let finder = buyer.finder(vec![place(2)], vec![broker]);
    let refused = finder.connect(&place(1)).await.unwrap_err();
    assert_eq!(refused, TransportError::Unreachable { address: place(1) });
    assert_eq!((buyer.booked(), buyer.told()), (place(1), vec![]));
    assert_eq!(finder.now_at(&place(1)), place(1));
    assert_eq!(*buyer.strangers.lock().unwrap(), [place(2)], "who named it hears that");
}

/// A broker shows what it likes; an ask of somebody else says nothing of this host, even if the host is there.
#[tokio::test(start_paused = true)]
async fn a_broker_is_believed_no_ask_but_the_hosts_own() {
    for (who, is_found) in [(1, true), (4, false)] {
        let buyer = Buyer::new();
        buyer.listens(&key(1), 2);
        let (broker, asked) = buyer.broker(ask(who, 2), Duration::ZERO);
        let finder = buyer.finder(vec![], vec![broker]);
        assert_eq!(finder.connect(&place(1)).await.is_ok(), is_found, "{who}");
        assert_eq!(buyer.booked() == place(2), is_found);
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1);
        assert_ne!(asked[0], key(5).entity(), "the broker learns nothing of the buyer");
    }
}

/// Two reads are given up after a second, as slow ones are; the search that the first began finds the host for the third.
#[tokio::test(start_paused = true)]
async fn one_search_goes_on_when_the_read_that_began_it_is_given_up() {
    let buyer = Buyer::new();
    buyer.listens(&key(1), 2);
    let (broker, asked) = buyer.broker(ask(1, 2), Duration::from_secs(4));
    let finder = buyer.finder(vec![], vec![broker]);
    for _ in 0..2 {
        let read = timeout(Duration::from_secs(1), finder.connect(&place(1))).await;
        assert!(read.is_err());
    }
    sleep(Duration::from_secs(4)).await;
    assert_eq!((buyer.booked(), asked.lock().unwrap().len()), (place(2), 1));
    let began = Instant::now();
    finder.connect(&place(1)).await.unwrap();
    assert!(began.elapsed() < HEAD_START);
}

#[tokio::test(start_paused = true)]
async fn a_search_in_vain_is_not_made_again_soon() {
    let buyer = Buyer::new();
    let (broker, asked) = buyer.broker(ask(1, 1), Duration::ZERO);
    let finder = buyer.finder(vec![], vec![broker]);
    // Seconds of pause before each dial, and how often the broker was asked by then.
    for (pause, count) in [(0, 1), (0, 1), (40, 1), (20, 2), (0, 2)] {
        sleep(Duration::from_secs(pause)).await;
        finder.connect(&place(1)).await.unwrap_err();
        assert_eq!(asked.lock().unwrap().len(), count, "after {pause} s");
    }
}

/// The book can be opened anew while a search goes on.
#[tokio::test(start_paused = true)]
async fn a_search_does_not_hold_the_book() {
    let buyer = Buyer::new();
    let (broker, _) = buyer.broker(ask(1, 2), Duration::from_secs(4));
    let finder = buyer.finder(vec![], vec![broker]);
    let _ = timeout(Duration::from_secs(1), finder.connect(&place(1))).await;
    drop(finder);
    assert_eq!(Arc::strong_count(&buyer.book), 1);
}

#[tokio::test(start_paused = true)]
async fn what_became_of_the_hosts_that_were_named_is_told() {
    let buyer = Buyer::new();
    for (who, at) in [(1, 1), (1, 2), (4, 3)] {
        buyer.listens(&key(who), at);
    }
    let finder = buyer.finder(vec![], vec![]);
    finder.connect(&place(1)).await.unwrap();
    let named = buyer.named(&finder, &[4, 3, 2, 1]);
    let not = |why| Answer::Not { why };
    let expected = [
        (place(4), not(TransportError::Unreachable { address: place(4) })),
        (place(3), not(TransportError::WrongKey { address: place(3) })),
        (place(2), Answer::There),
        (place(1), Answer::Used),
    ];
    assert_eq!(named.ask(|_| true, Duration::from_secs(3)).await, expected);
    assert_eq!(buyer.booked(), place(1), "it was dealt with where the book has it");
    let some = named.ask(|host| *host == place(2), Duration::from_secs(3)).await;
    assert_eq!(some, [(place(2), Answer::There)]);
}

/// Nothing had to be asked of it; it is known from then on all the same, and dialled there.
#[tokio::test(start_paused = true)]
async fn a_host_that_was_named_and_not_needed_is_learnt() {
    let buyer = Buyer::new();
    for (who, at) in [(4, 1), (1, 2), (1, 3)] {
        buyer.listens(&key(who), at);
    }
    let finder = buyer.finder(vec![], vec![]);
    let named = buyer.named(&finder, &[2, 3]);
    let began = Instant::now();
    let answers = named.ask(|host| named.is_ours(host), Duration::from_secs(3)).await;
    assert_eq!(answers, [(place(2), Answer::There), (place(3), Answer::There)]);
    assert!(began.elapsed() < HEAD_START);
    assert_eq!((buyer.booked(), buyer.told()), (place(2), vec![place(2)]));
    finder.connect(&place(1)).await.unwrap();
    assert_eq!(named.ask(|_| true, Duration::ZERO).await[0], (place(2), Answer::Used));
    let other = Address::new(key(4).entity(), [socket(1)]);
    assert!(!named.is_ours(&other));
}

/// A crash left a contract open that no set has; its host has moved since.
#[tokio::test(start_paused = true)]
async fn a_contract_that_is_not_wanted_is_ended_where_its_host_is_now() {
    let buyer = Buyer::new();
    buyer.book.record(&opened(1)).unwrap();
    let (fabric, folder) = (buyer.fabric.clone(), buyer.path.with_extension("stray"));
    std::fs::create_dir(&folder).unwrap();
    let at = Some(socket(2));
    let host = Endpoint::bind_on(&fabric, &key(1), at, &[Protocol::Storage]).unwrap();
    let endpoint = Endpoint::bind_on(&fabric, &key(5), None, &[]).unwrap();
    let wallet = Wallet::open(&folder, LcpClient::new(endpoint.clone(), place(9))).unwrap();
    let agent = Agent {
        book: Arc::clone(&buyer.book),
        finder: buyer.finder(vec![place(2)], vec![]),
        ..Agent::with_book(
            BookFile::open(&folder.join("other")).unwrap(),
            key(5),
            endpoint,
            Arc::new(At(Timestamp::EPOCH)),
        )
    };
    let asked = tokio::spawn(async move {
        let connection = host.accept().await.unwrap();
        // The search only looks who is there.
        let connection = match connection.accept().await {
            Ok(Some(stream)) => return received(stream).await,
            Ok(None) | Err(_) => host.accept().await.unwrap(),
        };
        received(connection.accept().await.unwrap().unwrap()).await
    });
    agent.opening(&wallet).close_strays(&[]).await.unwrap();
    assert_eq!(asked.await.unwrap(), market::Request::Status { contract: terms(1).id() });
    assert_eq!(buyer.booked(), place(2));
    drop((agent, wallet));
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn received(mut stream: fondaco_transport::Stream) -> market::Request {
    let frame = stream.recv_bytes(market::Request::FRAME_MAX).await.unwrap().unwrap();
    market::Request::from_frame(&frame).unwrap()
}
