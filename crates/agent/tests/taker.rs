//! A villain: a host that takes each step, counts it, and breaks off.

mod parts;

use fondaco_agent::auditing::{Kind, Outcome, audit};
use fondaco_agent::book::{Coding, Event, ObjectId, ObjectKind, Stage};
use fondaco_agent::{AgentError, BookFile, Loss, Objects, Session};
use fondaco_audit::{Outboard, ShardId, prove};
use fondaco_codec::List;
use fondaco_contract::{Charge, Ending, PriceList, State, Tab, Terms, exposure_max, read_charged};
use fondaco_crypto::{CurrencyId, Digest};
use fondaco_lcp::RequestId;
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_ports::Address;
use fondaco_ports::market::{
    AGAIN_MAX, Frame as _, Mark, Mine, Payload, Reason, Request, Response, Step,
};
use fondaco_transport::{Endpoint, Stream};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use parts::{At, BUYER, NOON, contract, events, key, listen};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const STEP: u64 = 1 << 14;
const SIZE: u64 = 10 * STEP;

fn terms() -> Terms {
    let prices = PriceList {
        store: Price::from_parts(1 << 36),
        write: Price::of(Amount::new(3), Bytes::new(1024)).unwrap(),
        read: Price::of(Amount::new(4), Bytes::new(1024)).unwrap(),
        step_max: Bytes::new(STEP),
        ..parts::prices(1)
    };
    parts::terms(1, &prices, 1)
}

/// What the host shows: it counts whatever a voucher covers.
#[derive(Debug, Default)]
struct Books {
    tab: Tab,
    voucher: Option<SignedVoucher>,
    /// Whether it goes on with puts where they broke, as an honest one does.
    resumes: bool,
    /// The shard whose reads it sends again, as an honest one does; and how often it did.
    sends_again: Option<Vec<u8>>,
    sent_again: u32,
    asked_again: u32,
    taken: u64,
    /// How often it was paid for one more epoch.
    advances: u64,
    /// Whether it keeps its buyer waiting, instead of breaking off.
    stalls: bool,
    /// Whether it does not know the contract any more.
    forgot: bool,
    /// Whether it says that it has renewed the contract with another.
    renewed: bool,
    /// How the contract ended, if it did.
    ended: Option<Ending>,
    /// Whether it says that it has no such shard.
    keeps_nothing: bool,
    /// What it shows of the buyer's contracts; nothing if it refuses that.
    mine: Option<Vec<Mine>>,
}

impl Books {
    fn take(&mut self, voucher: SignedVoucher, charge: Charge) {
        let terms = terms();
        let mut tab = self.tab;
        if tab.admit(&terms, charge, voucher.voucher.cumulative).is_ok() {
            (self.tab, self.voucher) = (tab, Some(voucher));
        }
    }

    fn paid(&self) -> Amount {
        self.voucher.map_or(Amount::ZERO, |voucher| voucher.voucher.cumulative)
    }
}

async fn serve(endpoint: Endpoint, books: Arc<Mutex<Books>>) {
    while let Some(connection) = endpoint.accept().await {
        let books = Arc::clone(&books);
        tokio::spawn(async move {
            while let Ok(Some(stream)) = connection.accept().await {
                // Who takes a step breaks off with it.
                if answer(stream, &books).await.is_none() {
                    connection.close(fondaco_transport::CloseReason::Done);
                    return;
                }
            }
        });
    }
}

async fn answer(mut stream: Stream, books: &Mutex<Books>) -> Option<()> {
    let frame = stream.recv_bytes(Request::FRAME_MAX).await.ok()??;
    let response = match Request::from_frame(&frame).ok()? {
        Request::Status { .. } if books.lock().unwrap().renewed => {
            Response::Refused { reason: Reason::Ended { why: Ending::Renewed } }
        }
        Request::Status { .. } if books.lock().unwrap().forgot => {
            Response::Refused { reason: Reason::UnknownContract }
        }
        Request::Status { .. } => {
            let books = books.lock().unwrap();
            Response::Status {
                tab: books.tab,
                voucher: books.voucher,
                shards: 0,
                state: books.ended.map_or(State::Open, |why| State::ended(NOON, why)),
            }
        }
        Request::Get { .. } if books.lock().unwrap().keeps_nothing => {
            Response::Refused { reason: Reason::UnknownShard }
        }
        Request::Mine { .. } => match books.lock().unwrap().mine.clone() {
            Some(list) => Response::Mine { list: List::new(list).unwrap() },
            None => Response::Refused { reason: Reason::Malformed },
        },
        Request::Get { offset, length, voucher, .. } => {
            let bytes = read_charged(offset, length, Bytes::new(SIZE))?;
            books.lock().unwrap().take(voucher, Charge::Read { bytes });
            return go(stream, books).await;
        }
        Request::Again { .. } if books.lock().unwrap().stalls => {
            Response::Refused { reason: Reason::NotAgain { again_max: AGAIN_MAX } }
        }
        Request::Again { offset, length, .. } => {
            let mut books = books.lock().unwrap();
            books.asked_again += 1;
            let shard = books.sends_again.clone()?;
            books.sent_again += 1;
            let (_, outboard) = Outboard::read(&shard[..], SIZE).unwrap();
            let read = |at: u64, buffer: &mut [u8]| {
                let at = usize::try_from(at).unwrap();
                buffer.copy_from_slice(&shard[at..at + buffer.len()]);
                Ok(())
            };
            let slice = prove(read, &outboard, offset.get()..offset.get() + length.get()).unwrap();
            Response::Slice { bytes: Payload::new(slice).unwrap() }
        }
        Request::Advance { voucher, .. } => {
            let mut books = books.lock().unwrap();
            books.take(voucher, Charge::Advance);
            books.advances += 1;
            Response::Advanced { epochs_paid: books.tab.epochs_paid }
        }
        Request::Put { .. } => {
            let at = {
                let books = books.lock().unwrap();
                Bytes::new(if books.resumes { books.taken } else { 0 })
            };
            let ready = if at == Bytes::ZERO { Response::Ready } else { Response::Resume { at } };
            stream.send_bytes(&ready.to_frame()).await.ok()?;
            let frame = stream.recv_bytes(Step::FRAME_MAX).await.ok()??;
            let step = Step::from_frame(&frame).ok()?;
            let bytes = Bytes::of(step.bytes.as_slice());
            {
                let mut books = books.lock().unwrap();
                books.take(step.voucher, Charge::Write { bytes });
                books.taken += bytes.get();
            }
            return go(stream, books).await;
        }
        _ => Response::Refused { reason: Reason::Malformed },
    };
    stream.send_bytes(&response.to_frame()).await.ok()?;
    stream.finish();
    Some(())
}

/// It has what it wanted.
async fn go(stream: Stream, books: &Mutex<Books>) -> Option<()> {
    if books.lock().unwrap().stalls {
        std::future::pending::<()>().await;
    }
    drop(stream);
    None
}

async fn game(resumes: bool) -> (Arc<Session>, Arc<Mutex<Books>>) {
    game_at(NOON, Books { resumes, ..Books::default() }).await
}

async fn game_at(now: Timestamp, books: Books) -> (Arc<Session>, Arc<Mutex<Books>>) {
    let books = Arc::new(Mutex::new(books));
    let address = host(&books).await;
    (Arc::new(session_at(now, address).await), books)
}

/// Starts the host of these books.
async fn host(books: &Arc<Mutex<Books>>) -> Address {
    let host = listen(1).await;
    let address = host.address();
    tokio::spawn(serve(host, Arc::clone(books)));
    address
}

/// A process of the buyer.
async fn session_at(now: Timestamp, address: Address) -> Session {
    let record = contract(terms(), 1, address);
    let buyer = Endpoint::bind(&key(BUYER), None, &[]).await.unwrap();
    Session::new(key(BUYER), buyer, Arc::new(At(now)), &record, Bytes::ZERO)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_steps_and_breaks_off_is_paid_no_more() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    for reads in [false, true] {
        let (session, books) = game(false).await;
        let mut last = None;
        // Some of these only find that it had closed the connection.
        for _ in 0..60 {
            let done = match reads {
                true => session.read(shard, SIZE, 0..STEP).await.map(drop),
                false => session.put(shard, &bytes).await.map(drop),
            };
            last = done.err();
            if matches!(last, Some(AgentError::PaidForNothing { .. })) {
                break;
            }
        }
        let Some(AgentError::PaidForNothing { lost, limit, .. }) = last else { panic!("{last:?}") };
        assert!(lost > limit);
        // What may be lost, and the step that showed it.
        let paid = books.lock().unwrap().paid();
        assert!(paid.get() <= 2 * exposure_max(&terms().prices).get(), "{paid:?}");
        // Another process begins where this one stopped, unless its owner risks more.
        let session = Arc::into_inner(session).unwrap().with_losses(Loss::of(lost), 1);
        let mut again = session.put(shard, &bytes).await;
        for _ in 0..5 {
            if let Err(AgentError::Transport(_)) = again {
                again = session.put(shard, &bytes).await; // it had closed the connection
            }
        }
        assert!(matches!(again, Err(AgentError::PaidForNothing { .. })), "{again:?}");
        assert_eq!(books.lock().unwrap().paid(), paid);
        let session = session.with_losses(Loss::of(lost), 10);
        for _ in 0..2 {
            assert!(session.put(shard, &bytes).await.is_err());
        }
        assert!(books.lock().unwrap().paid() > paid);
    }
}

/// The same breaks, but no step is lost: the put goes on behind each.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_goes_on_where_it_broke_pays_for_each_step_once() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    let (session, books) = game(true).await;
    for _ in 0..50 {
        if books.lock().unwrap().taken == 9 * STEP {
            break; // some of these only found that it had closed the connection
        }
        let done = session.put(shard, &bytes).await;
        assert!(
            matches!(done, Err(AgentError::Transport(_) | AgentError::Misanswer { .. })),
            "{done:?}"
        );
    }
    let books = books.lock().unwrap();
    assert_eq!(books.taken, 9 * STEP);
    let nine = Charge::Write { bytes: Bytes::new(9 * STEP) };
    assert_eq!(books.paid(), Tab::default().quote(&terms(), nine).unwrap());
}

/// Every read breaks, and is sent again: each byte is paid for once, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_sent_again_is_paid_for_once() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    let books = Books { sends_again: Some(bytes.clone()), ..Books::default() };
    let (session, books) = game_at(NOON, books).await;
    let mut read = Vec::new();
    for _ in 0..100 {
        let at = read.len() as u64;
        if at == SIZE {
            break;
        }
        if let Ok(part) = session.read(shard, SIZE, at..at + STEP).await {
            read.extend(part);
        }
    }
    assert!(read == bytes);
    let books = books.lock().unwrap();
    let all = Charge::Read { bytes: Bytes::new(SIZE) };
    assert_eq!(books.paid(), Tab::default().quote(&terms(), all).unwrap());
    assert_eq!(u64::from(books.sent_again), SIZE / STEP);
}

/// What was read and did not arrive is sent again before its shard is deleted; who does not send it has had a step, and the shard stays
/// until that is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_sent_again_before_its_shard_is_deleted() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    for sends in [true, false] {
        let sends_again = sends.then(|| bytes.clone());
        let (session, books) = game_at(NOON, Books { sends_again, ..Books::default() }).await;
        assert!(read(&session, shard, &books).await.is_err());
        let mut deleted = 0;
        for _ in 0..60 {
            let done = session.delete(shard).await;
            deleted += u32::from(matches!(
                done,
                Err(AgentError::Provider { reason: Reason::Malformed, .. }) // this villain deletes nothing
            ));
            if deleted > 0 {
                break;
            }
        }
        assert_eq!(deleted, 1);
        let books = books.lock().unwrap();
        assert_eq!(books.sent_again, u32::from(sends));
        assert_eq!(books.asked_again, if sends { 1 } else { AGAIN_MAX });
    }
}

/// Reads, and again if all it found was that the host had closed the connection before.
async fn read(
    session: &Arc<Session>,
    shard: ShardId,
    books: &Mutex<Books>,
) -> Result<Vec<u8>, AgentError> {
    let before = books.lock().unwrap().paid();
    let mut done = session.read(shard, SIZE, 0..STEP).await;
    for _ in 0..5 {
        if !matches!(done, Err(AgentError::Transport(_))) || books.lock().unwrap().paid() > before {
            break;
        }
        done = session.read(shard, SIZE, 0..STEP).await;
    }
    done
}

/// Whoever proves too little gets no shard and no epoch more; what it sends back is paid for, a step at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_paid_is_read_from_all_the_same() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    // The first epoch is paid for, and half of the second has gone by.
    let tab = Tab::default().after(&terms(), Charge::Open).unwrap();
    let later = NOON.after(Duration::from_seconds(5400));
    for is_paid in [false, true] {
        let (session, books) = game_at(later, Books { tab, ..Books::default() }).await;
        books.lock().unwrap().voucher = Some(signed(tab.owed(&terms()).unwrap()));
        session.pay(is_paid);
        let put = session.put(shard, &bytes).await;
        assert_eq!(matches!(put, Err(AgentError::Unpaid { .. })), !is_paid, "{put:?}");
        let before = books.lock().unwrap().paid();
        assert_eq!(books.lock().unwrap().taken == 0, !is_paid);
        let read = read(&session, shard, &books).await;
        assert!(!matches!(read, Err(AgentError::Unpaid { .. })), "{read:?}");
        let books = books.lock().unwrap();
        assert!(books.paid() > before, "the read was paid for");
        assert_eq!(books.advances, u64::from(is_paid));
    }
}

/// Who claims to keep more than it was given is paid for no epoch more, and for no shard; it is read from all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_claims_more_than_it_was_given_is_not_paid_for_it() {
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    let later = NOON.after(Duration::from_seconds(5400));
    for claimed in [SIZE, SIZE + 1, 2 * SIZE, 1 << 29] {
        let tab = Tab::default().after(&terms(), Charge::Open).unwrap();
        let tab = Tab { stored: Bytes::new(claimed), ..tab };
        let (session, books) = game_at(later, Books { tab, ..Books::default() }).await;
        books.lock().unwrap().voucher = Some(signed(tab.owed(&terms()).unwrap()));
        session.gives(Bytes::new(SIZE));
        let is_more = claimed > SIZE;
        let put = session.put(shard, &bytes).await;
        assert_eq!(matches!(put, Err(AgentError::Overstated { .. })), is_more, "{put:?}");
        let renewed = session.renew(Bytes::new(claimed)).await;
        assert_eq!(matches!(renewed, Err(AgentError::Overstated { .. })), is_more, "{renewed:?}");
        let before = books.lock().unwrap().paid();
        let read = read(&session, shard, &books).await;
        assert!(!matches!(read, Err(AgentError::Overstated { .. })), "{read:?}");
        let books = books.lock().unwrap();
        assert!(books.paid() > before, "the read was paid for");
        assert_eq!(books.advances, u64::from(!is_more), "{claimed}");
    }
}

/// A voucher of this buyer, as a host that was paid before has it.
fn signed(cumulative: Amount) -> SignedVoucher {
    let currency = terms().prices.currency;
    let hold = HoldId::derive(currency, key(BUYER).entity(), RequestId::new(1).get());
    Voucher { currency, hold, cumulative }.sign(&key(BUYER))
}

/// A host that says that the contract is over gets no voucher that it did not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_over_is_paid_no_more() {
    let shard = ShardId::of(b"bytes");
    for why in [Ending::Over, Ending::Lapsed, Ending::HoldOver, Ending::Closed] {
        let tab = Tab::default().after(&terms(), Charge::Open).unwrap();
        let books = Books { tab, ended: Some(why), ..Books::default() };
        let (session, books) = game_at(NOON.after(Duration::from_seconds(5400)), books).await;
        let before = signed(tab.owed(&terms()).unwrap());
        books.lock().unwrap().voucher = Some(before);
        let done = [
            session.read(shard, SIZE, 0..STEP).await.map(drop),
            session.put(shard, b"bytes").await.map(drop),
        ];
        for done in done {
            let Err(AgentError::Provider { reason, .. }) = done else { panic!("{done:?}") };
            assert_eq!(reason, Reason::Ended { why });
        }
        let books = books.lock().unwrap();
        assert_eq!((books.voucher, books.taken, books.advances), (Some(before), 0, 0));
    }
}

/// Who forgot a contract after its end says that it is over; before, that it has lost it.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_was_forgotten_after_its_end_is_over() {
    let shard = ShardId::of(b"");
    for (seconds, is_over) in [(0, false), (86_399, false), (86_400, true), (900_000, true)] {
        let now = NOON.after(Duration::from_seconds(seconds));
        let (session, _) = game_at(now, Books { forgot: true, ..Books::default() }).await;
        let answers = [
            session.standing().await.err(),
            session.put(shard, b"bytes").await.err(),
            session.read(shard, SIZE, 0..STEP).await.err(),
            session.before_renewal(None).await.err(),
            session.close().await.err(),
        ];
        for answer in answers {
            let Some(AgentError::Provider { reason, .. }) = answer else { panic!("{answer:?}") };
            let expected = match is_over {
                true => Reason::Ended { why: Ending::Over },
                false => Reason::UnknownContract,
            };
            assert_eq!(reason, expected, "after {seconds} s");
        }
    }
}

/// Who said that a delegate has the contract, and forgot it since, has not lost it.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_was_passed_on_may_be_forgotten_before_its_end() {
    let (session, books) = game_at(NOON, Books { renewed: true, ..Books::default() }).await;
    for is_remembered in [true, false] {
        *books.lock().unwrap() =
            Books { renewed: is_remembered, forgot: !is_remembered, ..Books::default() };
        let said = session.standing().await;
        let Err(AgentError::Provider { reason, .. }) = said else { panic!("{said:?}") };
        assert_eq!(reason, Reason::Ended { why: Ending::Renewed }, "{is_remembered}");
    }
}

/// Writes the contract into a book.
fn note_contract(book: &BookFile) {
    let address = Address::new(key(1).entity(), [SocketAddr::from(([127, 0, 0, 1], 9))]);
    book.record_all(&events(&contract(terms(), 1, address), 1)).unwrap();
}

/// A contract with nothing in it lapses when nobody pays for it. An audit hears of that, and does not hold it against the host.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_hears_that_an_empty_contract_is_over() {
    let path = std::env::temp_dir().join(format!("fondaco-taker-{}", std::process::id()));
    let book = Arc::new(BookFile::open(&path).unwrap());
    let (session, books) = game_at(NOON, Books::default()).await;
    let contract = terms().id();
    note_contract(&book);
    let sessions = [(contract, session)].into();
    let objects = Objects::new(Arc::clone(&book), sessions, None);
    for ended in [None, Some(Ending::Lapsed)] {
        let tab = Tab::default().after(&terms(), Charge::Open).unwrap();
        let voucher = Some(signed(tab.owed(&terms()).unwrap()));
        *books.lock().unwrap() = Books { tab, voucher, ended, ..Books::default() };
        let audited = audit(&objects, Kind::Sampled, 9, [7; 32], |_| ()).await.unwrap();
        let is_over = matches!(audited[0].outcome, Outcome::Unasked { .. });
        assert_eq!(is_over, ended.is_some(), "{audited:?}");
        let stage = book.read(|book| book.contract(contract).unwrap().stage);
        assert_eq!(matches!(stage, Stage::Ended(_)), ended.is_some(), "{stage:?}");
    }
    std::fs::remove_file(&path).unwrap();
}

/// Who says that another has renewed a contract, and drops what it kept, is believed for as long as somebody may have: whom its owner
/// has entrusted with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_say_that_another_has_the_contract_if_nobody_may() {
    for is_entrusted in [false, true] {
        let path = format!("fondaco-renewed-{is_entrusted}-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let book = Arc::new(BookFile::open(&path).unwrap());
        let (session, _) = game_at(NOON, Books { renewed: true, ..Books::default() }).await;
        let contract = terms().id();
        note_contract(&book);
        let contracts = List::new(vec![contract]).unwrap();
        book.record(&Event::SetFormed { coding: Coding::Cauchy8, k: 1, contracts }).unwrap();
        if is_entrusted {
            let until = NOON.after(Duration::from_seconds(3600));
            book.record(&Event::Entrusted { to: key(3).entity(), until }).unwrap();
        }
        let objects = Objects::new(Arc::clone(&book), [(contract, session)].into(), None);
        let audited = audit(&objects, Kind::Sampled, 9, [7; 32], |_| ()).await.unwrap();
        let is_believed = matches!(audited[0].outcome, Outcome::Unasked { .. });
        assert_eq!(is_believed, is_entrusted, "{audited:?}");
        let (stage, long) = book.read(|book| {
            let long =
                |seconds| book.passed_on_for_long(NOON.after(Duration::from_seconds(seconds)));
            let stage = book.contract(contract).unwrap().stage;
            (stage, [long(0).len(), long(3599).len(), long(3600).len()])
        });
        // What lies there is not forgotten. The slot is lost at once; or when nobody whom it was entrusted to has given it back for
        // an epoch.
        assert_eq!(stage, Stage::Open);
        assert_eq!(long, if is_entrusted { [0, 0, 1] } else { [1, 1, 1] });
        std::fs::remove_file(&path).unwrap();
    }
}

/// A host may refuse every proof: then it is asked in the same round for what a restore would ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_proves_nothing_is_sampled() {
    let path = std::env::temp_dir().join(format!("fondaco-proofless-{}", std::process::id()));
    let book = Arc::new(BookFile::open(&path).unwrap());
    let (session, books) = game_at(NOON, Books::default()).await;
    let contract = terms().id();
    note_contract(&book);
    let contracts = List::new(vec![contract]).unwrap();
    book.record(&Event::SetFormed { coding: Coding::Cauchy8, k: 1, contracts }).unwrap();
    let object = ObjectId { kind: ObjectKind::Pack, name: Digest::ZERO };
    let shards = List::new(vec![ShardId::of(b"shard")]).unwrap();
    let (length, tagged) = (Bytes::new(1 << 20), Digest::ZERO);
    let stored = Event::TaggedObjectStored { object, length, set: 0, k: 1, shards, tagged };
    book.record(&stored).unwrap();
    let objects = Objects::new(Arc::clone(&book), [(contract, session)].into(), None);
    let audited = audit(&objects, Kind::Deep, 9, [7; 32], |_| ()).await.unwrap();
    // This villain does not answer reads either, but takes what they are paid with.
    assert_eq!(audited[0].kind, Kind::Sampled);
    assert!(matches!(audited[0].outcome, Outcome::Silent { .. }), "{audited:?}");
    assert!(books.lock().unwrap().paid() > Amount::ZERO, "it was asked for a read");
    std::fs::remove_file(&path).unwrap();
}

/// An account that counts fewer epochs than were acknowledged is a lie, whatever process hears it; and nothing is paid for them again.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_acknowledged_is_not_paid_again() {
    let now = NOON.after(Duration::from_seconds(2 * 3600));
    let (session, books) = game_at(now, Books::default()).await;
    let (tab, _, _) = session.before_renewal(None).await.unwrap();
    let paid = books.lock().unwrap().paid();
    assert!(tab.epochs_paid >= 3, "{tab:?}");
    {
        let mut books = books.lock().unwrap();
        books.tab.epochs_paid -= 1;
    }
    for _ in 0..3 {
        let error = session.before_renewal(None).await.unwrap_err();
        assert!(matches!(error, AgentError::Caught { .. }), "{error:?}");
    }
    assert_eq!(books.lock().unwrap().paid(), paid, "nothing more was signed");
}

/// A host cannot kill its buyer, but may keep it waiting until its owner does. What it had of each process is known to the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stalls_until_its_buyer_is_killed_gets_what_may_be_lost() {
    if fondaco_store::boot().is_none() {
        return; // here only what was stalled for a while is known to the next process
    }
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let shard = ShardId::of(&bytes);
    let name = format!("fondaco-killed-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for reads in [true, false] {
        let tab = Tab::default().after(&terms(), Charge::Open).unwrap();
        let opened = signed(tab.owed(&terms()).unwrap());
        let books = Books { tab, voucher: Some(opened), stalls: true, ..Books::default() };
        let books = Arc::new(Mutex::new(books));
        let address = host(&books).await;
        let file = |killed: u32, what: &str| folder.join(format!("{reads}-{killed}{what}"));
        let mut killed = 0;
        let over = loop {
            let book = Arc::new(BookFile::open(&file(killed, "")).unwrap());
            if killed == 0 {
                note_contract(&book);
            }
            let known = book.read(|book| book.loss(terms().id()));
            let session = session_at(NOON, address.clone()).await;
            let session = Arc::new(session.with_losses(known, 1).noting_in(Arc::clone(&book)));
            let (before, part) = (books.lock().unwrap().paid(), bytes.clone());
            let process = tokio::spawn(async move {
                match reads {
                    true => session.read(shard, SIZE, 0..STEP).await.map(drop),
                    false => session.put(shard, &part).await.map(drop),
                }
            });
            while books.lock().unwrap().paid() == before && !process.is_finished() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            if process.is_finished() {
                break process.await.unwrap();
            }
            // What a kill would leave now. The process itself would end in order here.
            killed += 1;
            for what in ["", ".steps"] {
                std::fs::copy(file(killed - 1, what), file(killed, what)).unwrap();
            }
            process.abort();
            assert!(killed < 20, "paid without end");
        };
        assert!(matches!(over, Err(AgentError::PaidForNothing { .. })), "{over:?}");
        let paid = books.lock().unwrap().paid().get() - opened.voucher.cumulative.get();
        assert!(killed > 0 && paid <= 2 * exposure_max(&terms().prices).get(), "{reads}: {paid}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A host that says that it has no such shard is a liar, unless it shows what this buyer has signed by a newer book.
#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_nothing_is_caught_unless_the_book_is_an_older_one() {
    let mark = |terms: Terms, sequence: u64, by: u8| {
        let mark = Mark {
            contract: terms.id(),
            hold: HoldId::derive(CurrencyId::issued_by(key(9).entity()), key(BUYER).entity(), 1),
            hold_max: Amount::new(1),
            sequence,
            shard: ShardId::of(b"book"),
            size: Bytes::new(4),
        };
        Mine { terms, mark: Some(mark.sign(&key(by))) }
    };
    let stranger = Terms { nonce: 2, ..terms() };
    // What the host shows; whether that shows a newer book than this one, which is the fifth.
    for (mine, is_older) in [
        (None, false),
        (Some(vec![]), false),
        (Some(vec![Mine { terms: terms(), mark: None }]), false),
        (Some(vec![mark(terms(), 5, 2)]), false),
        (Some(vec![mark(terms(), 6, 2)]), true),
        (Some(vec![mark(terms(), 6, 1)]), false),
        (Some(vec![mark(stranger, 6, 2)]), false),
    ] {
        let path = format!("fondaco-keeps-nothing-{}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let book = Arc::new(BookFile::open(&path).unwrap());
        note_contract(&book);
        book.record(&Event::StateNumbered { sequence: 5 }).unwrap();
        let shown = mine.as_ref().map(Vec::len);
        let books = Books { keeps_nothing: true, mine, ..Books::default() };
        let (session, _) = game_at(NOON, books).await;
        let session = Arc::into_inner(session).unwrap().noting_in(Arc::clone(&book));
        let error = Arc::new(session).read(ShardId::of(b"shard"), SIZE, 0..STEP).await.unwrap_err();
        match error {
            AgentError::OlderBook { newest: 6, ours: 5, .. } => assert!(is_older, "{shown:?}"),
            AgentError::Caught { .. } => assert!(!is_older, "{shown:?}"),
            other => panic!("{shown:?}: {other:?}"),
        }
        std::fs::remove_file(&path).unwrap();
    }
}
