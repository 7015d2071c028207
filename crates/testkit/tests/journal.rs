//! Whatever becomes of its disk, a journal keeps what it acknowledged, or says what is damaged.
//!
//! A failure prints the seed; `FONDACO_SEED=… FONDACO_SEEDS=1 cargo test -p fondaco-testkit --test
//! journal` replays it.

use fondaco_crypto::Digest;
use fondaco_store::{Appended, Head, Journal, Kind, OpenError, journal::ReadError, read_frame};
use fondaco_testkit::{Rng, Seeds, SimDisk};
use fondaco_units::Bytes;

const TEST: Kind = Kind::new(*b"test\0\0\0\0", 1);
const MAGIC: &[u8] = b"\x89Frame\r\x1a";

type Records = Vec<Vec<u8>>;
type Opened = Result<(Journal<SimDisk>, Records), OpenError<String>>;

fn open(disk: &SimDisk) -> Opened {
    let mut records = Vec::new();
    let journal = Journal::open(disk.clone(), TEST, |record| {
        records.push(record.to_vec());
        Ok::<(), String>(())
    })?;
    Ok((journal, records))
}

fn open_at(disk: &SimDisk, head: Head) -> Opened {
    let mut records = Vec::new();
    let journal = Journal::open_at(disk.clone(), TEST, head, |record| {
        records.push(record.to_vec());
        Ok::<(), String>(())
    })?;
    Ok((journal, records))
}

/// A short journal of five frames: its image, its records, and where each frame ends.
fn short_journal() -> (Vec<u8>, Vec<Records>, Vec<usize>) {
    let (image, frames, heads) = short_journal_with_heads();
    let end = |head: &Head| usize::try_from(head.bytes.get()).unwrap();
    (image, frames, heads.iter().map(end).collect())
}

/// The same, with its heads: before the first frame, and after each.
fn short_journal_with_heads() -> (Vec<u8>, Vec<Records>, Vec<Head>) {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let frames: Vec<Records> = vec![
        vec![b"first".to_vec()],
        vec![b"second".to_vec(), Vec::new(), b"third".to_vec()],
        vec![MAGIC.to_vec(), [MAGIC, MAGIC].concat()],
        vec![vec![0; 100]],
        vec![b"last".to_vec(), b"of all".to_vec()],
    ];
    let mut heads = vec![journal.head()];
    for frame in &frames {
        let before = journal.head();
        let appended = journal.append(frame).unwrap();
        let after = journal.head();
        let (records, chain) = (before.records..after.records, after.chain);
        assert_eq!(appended, Appended { at: before.bytes, records, chain });
        heads.push(after);
    }
    (disk.image(), frames, heads)
}

fn opened(image: Vec<u8>) -> (SimDisk, Opened) {
    let disk = SimDisk::with_image(image);
    let opened = open(&disk);
    (disk, opened)
}

#[test]
fn a_byte_changed_at_rest_is_refused_but_in_the_last_frame() {
    let (image, frames, ends) = short_journal();
    let all = frames.concat();
    let but_last = frames[..4].concat();
    for at in 0..ends[5] + 200 {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = image.clone();
            changed[at] ^= change;
            let (disk, opened) = opened(changed.clone());
            match opened {
                // The case that cannot be told from a torn frame, never acknowledged.
                Ok((_, records)) if (ends[4]..ends[5]).contains(&at) => {
                    assert_eq!(records, but_last, "byte {at}");
                }
                Ok((_, records)) => {
                    assert!(at >= ends[5], "byte {at} was lost silently");
                    assert_eq!(records, all, "byte {at}");
                    assert_eq!(disk.image(), image, "zeros again");
                }
                Err(error) => {
                    assert!(at < ends[4], "byte {at}: {error}");
                    assert_eq!(disk.image(), changed, "a refusal changes nothing");
                    if at >= ends[0] {
                        let frame = ends.iter().filter(|end| **end <= at).count() - 1;
                        let text = format!("damaged at byte {}:", ends[frame]);
                        assert!(error.to_string().contains(&text), "byte {at}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (image, ..) = short_journal();
    for length in 1..image.len() {
        let (disk, opened) = opened(image[..length].to_vec());
        assert!(opened.is_err(), "cut to {length}");
        assert_eq!(disk.image().len(), length, "a refusal changes nothing");
    }
    let (_, opened) = opened([&image[..], &[0]].concat());
    assert!(matches!(opened, Err(OpenError::Length { length: 65537 })));
}

#[test]
fn a_long_file_cut_at_a_step_is_refused() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    for index in 0..30 {
        journal.append(&[vec![index; 10_000]]).unwrap();
    }
    let image = disk.image();
    assert_eq!(image.len(), 512 << 10);
    for length in [64 << 10, 128 << 10, 256 << 10] {
        let (_, opened) = opened(image[..length].to_vec());
        assert!(matches!(opened, Err(OpenError::Damaged { later: None, .. })), "{length}");
    }
}

/// What the crash of an append leaves, however it is torn: everything before it.
#[test]
fn a_frame_torn_at_any_byte_is_cut_off() {
    let (image, frames, ends) = short_journal();
    let but_last = frames[..4].concat();
    for cut in ends[4]..ends[5] {
        for front in [true, false] {
            let mut torn = image.clone();
            let lost = if front { cut..ends[5] } else { ends[4]..cut + 1 };
            torn[lost].fill(0);
            let (disk, opened) = opened(torn);
            let (mut journal, records) = opened.unwrap();
            assert_eq!(records, but_last, "at {cut}");
            assert!(
                disk.image()[ends[4]..].iter().all(|byte| *byte == 0),
                "what is torn is zeroed"
            );
            journal.append(&["new"]).unwrap();
            let (_, records) = open(&disk.crash(&mut Rng::new(1))).unwrap();
            assert_eq!(records.last().unwrap(), b"new");
        }
    }
}

/// A peer who knows the format writes frames into its records. They mean nothing.
/// A torn end is one frame. Where the marks of several are found, or bytes behind the end that the first states,
/// acknowledged records were damaged, and nothing may be cut off.
#[test]
fn damage_over_several_frames_at_the_end_is_no_torn_end() {
    let (image, _, ends) = short_journal();
    for first in 0..4 {
        // The headers of all frames from this one on, behind their marks.
        let mut garbled = image.clone();
        for start in &ends[first..5] {
            garbled[start + MAGIC.len()] ^= 0x5a;
        }
        let (disk, opened) = opened(garbled.clone());
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "from frame {first}");
        assert_eq!(disk.image(), garbled, "a refusal changed something");
        // The payload of this one, and the mark of every other.
        let mut garbled = image.clone();
        garbled[ends[first + 1] - 1] ^= 0x5a;
        for start in &ends[first + 1..5] {
            garbled[*start] ^= 0x5a;
        }
        let (_, opened) = self::opened(garbled);
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "behind frame {first}");
    }
}

#[test]
fn a_frame_within_a_record_is_no_frame() {
    let (image, _, ends) = short_journal();
    let planted = image[..ends[5]].to_vec();
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    journal.append(&["mine"]).unwrap();
    let start = usize::try_from(journal.head().bytes.get()).unwrap();
    journal.append(&[&planted, &planted]).unwrap();
    let end = usize::try_from(journal.head().bytes.get()).unwrap();
    // Wherever its own header is lost, what is left looks like no later frame.
    for lost in [start..start + 1, start..start + 68, start + 60..start + 400, end - 1..end] {
        let mut torn = disk.image();
        torn[lost.clone()].fill(0);
        let (_, opened) = opened(torn);
        assert_eq!(opened.unwrap().1, [b"mine"], "{lost:?}");
    }
}

#[test]
fn an_emptied_file_and_a_crash_while_beginning_begin_anew() {
    let (_, opened) = opened(Vec::new());
    assert_eq!(opened.unwrap().1, Records::new());
    for seed in 0..200 {
        for operations in 0..9 {
            let mut rng = Rng::new(seed);
            let disk = SimDisk::new();
            disk.power_off_in(operations, &mut rng);
            let began = open(&disk).is_ok();
            assert_eq!(began, operations >= 7);
            let disk = disk.crash(&mut rng);
            let (mut journal, records) = open(&disk).unwrap();
            assert_eq!(records, Records::new(), "seed {seed}, operation {operations}");
            journal.append(&["one"]).unwrap();
        }
    }
}

#[test]
fn a_failed_disk_halts_the_journal() {
    for operations in 0..2 {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk).unwrap();
        journal.append(&["one"]).unwrap();
        disk.fail_in(operations, &mut Rng::new(3));
        let error = journal.append(&["two"]).unwrap_err();
        assert!(!error.is_transient() && journal.is_halted());
        for _ in 0..3 {
            let error = journal.append(&["three"]).unwrap_err();
            assert_eq!(error.to_string(), "the journal is halted, because its disk failed before");
        }
        assert_eq!(journal.head().records, 1);
        let (journal, records) = open(&disk.kill()).unwrap();
        assert!(!journal.is_halted());
        assert!([&["one"][..], &["one", "two"]].contains(&&*texts(&records)));
    }
}

fn texts(records: &Records) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record).unwrap()).collect()
}

#[test]
fn a_full_disk_halts_and_loses_nothing() {
    let disk = SimDisk::new();
    disk.set_capacity(100 << 10);
    let (mut journal, _) = open(&disk).unwrap();
    let mut kept = Records::new();
    let error = loop {
        let record = vec![7; 9000];
        match journal.append(std::slice::from_ref(&record)) {
            Ok(_) => kept.push(record),
            Err(error) => break error,
        }
    };
    assert!(error.hint().contains("free some space"), "{error}");
    let disk = disk.kill();
    disk.set_capacity(u64::MAX);
    let (mut journal, records) = open(&disk).unwrap();
    assert_eq!(records, kept);
    journal.append(&["more"]).unwrap();
}

/// Room that was made is there, also on a disk that is full by then; where there is none, the journal goes on as it was.
#[test]
fn room_is_made_before_it_is_needed() {
    let disk = SimDisk::new();
    disk.set_capacity(600 << 10);
    let (mut journal, _) = open(&disk).unwrap();
    assert!(journal.reserve(Bytes::new(300 << 10)).unwrap());
    assert!(!journal.reserve(Bytes::new(700 << 10)).unwrap());
    assert!(!journal.is_halted());
    let mut kept = Records::new();
    while journal.reserve(Bytes::new(10 << 10)).unwrap() {
        kept.push(vec![7; 9000]);
        journal.append(&kept[kept.len() - 1..]).unwrap();
    }
    assert!(kept.len() > 30);
    let disk = disk.kill();
    let (mut journal, records) = open(&disk).unwrap();
    assert_eq!(records, kept);
    assert!(!journal.reserve(Bytes::new(700 << 10)).unwrap());
    disk.set_capacity(u64::MAX);
    assert!(journal.reserve(Bytes::new(700 << 10)).unwrap());
    journal.append(&["more"]).unwrap();
}

/// Wherever the power goes or the disk fails, there is the old journal or the new one, and it goes on.
#[test]
fn a_journal_written_anew_is_there_as_it_was_or_as_it_is() {
    let new: Records = (0..8).map(|record| vec![record; 100_000]).collect();
    let mut seen = [0, 0];
    for seed in 0..100 {
        for (operations, goes_out) in [(0, true), (0, false), (1, true), (2, false), (9, true)] {
            let (image, frames, _) = short_journal();
            let disk = SimDisk::with_image(image);
            let (mut journal, _) = open(&disk).unwrap();
            let rng = &mut Rng::new(seed);
            match goes_out {
                true => disk.power_off_in(operations, rng),
                false => disk.fail_in(operations, rng),
            }
            let done = journal.rewrite(new.clone());
            assert_eq!(done.is_ok(), operations > 0);
            let more = |records: &Records| [&records[..], &[b"more".to_vec()]].concat();
            // What there can be: the new one alone if that is known, and what was acknowledged to be behind it.
            let mut can_be = vec![new.clone(), more(&new)];
            match done {
                Ok(()) => assert_eq!(journal.head().records, 8),
                Err(_) => can_be.extend([frames.concat(), more(&frames.concat())]),
            }
            let is_more = journal.append(&["more"]).is_ok();
            can_be.retain(|records| !is_more || records.ends_with(&[b"more".to_vec()]));
            let disk = disk.crash(rng);
            let (mut journal, records) = open(&disk).unwrap();
            let is_new = records[..1] == new[..1];
            seen[usize::from(is_new)] += 1;
            assert!(can_be.contains(&records), "seed {seed}, operation {operations}");
            journal.append(&["last"]).unwrap();
            assert_eq!(open(&disk).unwrap().1.last().unwrap(), b"last");
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn a_journal_without_room_for_its_successor_goes_on() {
    let (image, frames, _) = short_journal();
    let disk = SimDisk::with_image(image);
    disk.set_capacity(100 << 10);
    let (mut journal, _) = open(&disk).unwrap();
    let before = journal.head();
    assert!(journal.rewrite([vec![1; 200_000]]).is_err());
    let refused = journal.rewrite([vec![1], vec![1; (2 << 20) + 1]]).unwrap_err();
    assert!(refused.to_string().contains("2097153"), "{refused}");
    assert_eq!(journal.head(), before);
    journal.append(&["more"]).unwrap();
    assert_eq!(open(&disk).unwrap().1, [&frames.concat()[..], &[b"more".to_vec()]].concat());
}

/// Behind every head is what the whole journal has there, wherever its last frame is torn.
#[test]
fn a_journal_opens_behind_every_head() {
    let (image, frames, heads) = short_journal_with_heads();
    let ends: Vec<_> =
        heads.iter().map(|head| usize::try_from(head.bytes.get()).unwrap()).collect();
    let check = |image: &[u8], whole: &Records, heads: &[Head]| {
        let (opened, _) = open(&SimDisk::with_image(image.to_vec())).unwrap();
        let mended = opened.head();
        let mended_image = opened.into_disk().image();
        for head in heads {
            let disk = SimDisk::with_image(image.to_vec());
            let (mut journal, records) = open_at(&disk, *head).unwrap();
            let from = usize::try_from(head.records).unwrap();
            assert_eq!(records, whole[from..], "behind {head:?}");
            assert_eq!((journal.head(), disk.image()), (mended, mended_image.clone()));
            journal.append(&["new"]).unwrap();
            assert_eq!(open(&disk).unwrap().1, [&whole[..], &[b"new".to_vec()]].concat());
        }
    };
    check(&image, &frames.concat(), &heads);
    for cut in ends[4]..ends[5] {
        let mut torn = image.clone();
        torn[cut..ends[5]].fill(0);
        check(&torn, &frames[..4].concat(), &heads[..5]);
    }
}

#[test]
fn a_head_that_is_not_the_journals_is_refused_and_nothing_changes() {
    let (image, _, heads) = short_journal_with_heads();
    let other = SimDisk::new();
    let (mut journal, _) = open(&other).unwrap();
    journal.append(&[b"FIRST"]).unwrap();
    let head = heads[2];
    let with = |change: fn(&mut Head)| {
        let mut head = head;
        change(&mut head);
        head
    };
    let older = {
        let mut older = image.clone();
        older[usize::try_from(heads[1].bytes.get()).unwrap()..].fill(0);
        older
    };
    let far = with(|head| head.bytes = Bytes::new(1 << 40));
    let table = [
        ("an older copy", older, head, "the journal ends before byte 272,"),
        ("emptied", Vec::new(), head, "the journal ends before byte 272,"),
        ("behind the end", image.clone(), far, "the journal ends before byte 1099511627776,"),
        ("another journal", other.image(), heads[1], "up to byte 149 this is not the journal"),
        (
            "another chain",
            image.clone(),
            with(|head| head.chain = Digest::ZERO),
            "up to byte 272 this is not the journal",
        ),
        (
            "another number",
            image.clone(),
            with(|head| head.records += 1),
            "up to byte 272 this is not the journal",
        ),
        (
            "no frame's end",
            image.clone(),
            with(|head| head.bytes = Bytes::new(300)),
            "up to byte 300 this is not the journal",
        ),
        (
            "within the header",
            image,
            with(|head| head.bytes = Bytes::new(7)),
            "up to byte 7 this is not the journal",
        ),
    ];
    for (name, image, head, text) in table {
        let disk = SimDisk::with_image(image.clone());
        let error = open_at(&disk, head).unwrap_err().to_string();
        assert!(error.starts_with(text), "{name}: {error}");
        assert_eq!(disk.image(), image, "{name}");
    }
}

/// What a shortcut does not look at: the frames before it, but for the digest that ends the last.
#[test]
fn damage_before_the_head_is_seen_by_a_whole_replay_alone() {
    let (image, frames, heads) = short_journal_with_heads();
    let end = |index: usize| usize::try_from(heads[index].bytes.get()).unwrap();
    for at in 0..end(3) {
        let mut changed = image.clone();
        changed[at] ^= 0x10;
        assert!(opened(changed.clone()).1.is_err(), "byte {at}");
        let is_unseen = (end(0)..end(3) - 32).contains(&at);
        match open_at(&SimDisk::with_image(changed), heads[3]) {
            Ok((_, records)) => assert!(is_unseen && records == frames[3..].concat(), "byte {at}"),
            Err(error) => assert!(!is_unseen, "byte {at}: {error}"),
        }
    }
}

#[test]
fn a_frame_is_read_where_it_is_and_nowhere_else() {
    let (image, frames, heads) = short_journal_with_heads();
    let disk = SimDisk::with_image(image.clone());
    for (frame, pair) in frames.iter().zip(heads.windows(2)) {
        let read = read_frame(&disk, TEST, pair[0].bytes).unwrap();
        assert_eq!(read.appended.records, pair[0].records..pair[1].records);
        assert_eq!(read.appended.chain, pair[1].chain);
        assert!(read.records().eq(frame));
        for (record, number) in frame.iter().zip(pair[0].records..) {
            assert_eq!(read.record(number), Some(&record[..]));
        }
        assert_eq!(read.record(pair[1].records), None);
    }
    let starts: Vec<_> = heads[..5].iter().map(|head| head.bytes.get()).collect();
    for at in (0..image.len() as u64).filter(|at| !starts.contains(at)) {
        let error = read_frame(&disk, TEST, Bytes::new(at)).unwrap_err();
        assert!(matches!(error, ReadError::NoFrame { .. }), "byte {at}: {error}");
    }
    let (start, end) = (starts[3], heads[4].bytes.get());
    for at in start..end {
        let mut changed = image.clone();
        changed[usize::try_from(at).unwrap()] ^= 1;
        let changed = SimDisk::with_image(changed);
        assert!(read_frame(&changed, TEST, Bytes::new(start)).is_err(), "byte {at}");
        assert!(read_frame(&changed, TEST, Bytes::new(starts[2])).is_ok(), "byte {at}");
    }
    let other = Kind::new(*b"other\0\0\0", 1);
    let error = read_frame(&disk, other, Bytes::new(start)).unwrap_err();
    assert!(matches!(error, ReadError::Kind { .. }));
    let text = SimDisk::with_image(vec![b'x'; 100]);
    assert!(matches!(read_frame(&text, TEST, Bytes::new(40)), Err(ReadError::Foreign)));
}

/// A record that may be long, and may look like parts of a journal.
fn any_record(rng: &mut Rng, disk: &SimDisk) -> Vec<u8> {
    let length = match rng.below(10) {
        0 => 0,
        1 => rng.index(60_000),
        _ => rng.index(200),
    };
    let mut record = vec![0; length];
    rng.fill(&mut record);
    match rng.below(8) {
        0 => record.extend_from_slice(MAGIC),
        1 => record.extend_from_slice(&MAGIC[..7]),
        2 => {
            let image = disk.image();
            let end = image.len().min(4000);
            let start = rng.index(end);
            record.extend_from_slice(&image[start..end]);
        }
        _ => {}
    }
    record
}

/// What is behind each of these heads is what the whole journal has there; each frame is where it was said to be.
fn check_shortcuts(
    found: &SimDisk,
    records: &Records,
    whole: Head,
    heads: &[Head],
    frames: &[Appended],
) -> Result<(), String> {
    for head in heads {
        let disk = SimDisk::with_image(found.image());
        let (journal, behind) = open_at(&disk, *head).map_err(|error| error.to_string())?;
        let from = usize::try_from(head.records).unwrap();
        if behind != records[from..] || journal.head() != whole {
            return Err(format!("behind record {from} are others than the journal has"));
        }
    }
    for frame in frames {
        let read = read_frame(found, TEST, frame.at).map_err(|error| error.to_string())?;
        let numbers = usize::try_from(frame.records.start).unwrap()
            ..usize::try_from(frame.records.end).unwrap();
        if read.appended != *frame || !read.records().eq(&records[numbers]) {
            return Err(format!("the frame at byte {} is another one", frame.at.get()));
        }
    }
    Ok(())
}

/// Appends, crashes and reopens, and checks after each that what was acknowledged is there, that
/// nothing else is but the last frame tried, whole, and that all is in order.
fn crash_loop(seed: u64, mut disk: SimDisk, crashes: u32) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let mut durable = Records::new();
    let mut tried = Records::new();
    let (mut heads, mut frames) = (Vec::new(), Vec::new());
    let mut acknowledged = 0;
    for crash in 0..crashes {
        // Crashes and failures happen while opening too.
        let mut attempt = 0;
        let mut journal = loop {
            attempt += 1;
            if attempt < 4 && rng.chance(30) {
                disk.power_off_in(rng.below(6), &mut rng);
            } else if attempt < 4 && rng.chance(20) {
                disk.fail_in(rng.below(6), &mut rng);
            }
            let found = disk.image();
            match open(&disk) {
                Ok((journal, records)) => {
                    disk.heal();
                    let with_tried = [&durable[..], &tried].concat();
                    if records != durable && records != with_tried {
                        let (had, has) = (durable.len(), records.len());
                        return Err(format!(
                            "crash {crash}: {had} records were acknowledged and {} tried; {has} are found, or others",
                            tried.len()
                        ));
                    }
                    if journal.head().records != records.len() as u64 {
                        return Err("the head does not count the records".to_owned());
                    }
                    if rng.chance(40) {
                        // As it was found, before it was put in order.
                        let found = SimDisk::with_image(found);
                        let some = [rng.pick(&heads), heads.last()];
                        let some: Vec<Head> = some.into_iter().flatten().copied().collect();
                        let read = [rng.pick(&frames), frames.last()];
                        let read: Vec<_> = read.into_iter().flatten().cloned().collect();
                        check_shortcuts(&found, &records, journal.head(), &some, &read)?;
                    }
                    durable = records;
                    tried.clear();
                    break journal;
                }
                Err(OpenError::Disk { .. }) => disk = lose(&disk, &mut rng),
                Err(error) => return Err(format!("crash {crash}: {error}")),
            }
        };
        if rng.chance(80) {
            disk.power_off_in(rng.below(12), &mut rng);
        } else {
            disk.fail_in(rng.below(12), &mut rng);
        }
        for _ in 0..rng.below(12) {
            let frame: Records = (0..=rng.below(3)).map(|_| any_record(&mut rng, &disk)).collect();
            let Ok(appended) = journal.append(&frame) else {
                tried = frame;
                break;
            };
            heads.push(journal.head());
            frames.push(appended);
            acknowledged += 1;
            durable.extend(frame);
        }
        disk = lose(&disk, &mut rng);
        if durable.len() > 300 {
            // Begin anew before replays grow too long.
            (disk, durable, tried) = (disk.emptied(), Records::new(), Records::new());
            (heads, frames) = (Vec::new(), Vec::new());
        }
    }
    Ok(acknowledged)
}

/// The power goes, or only the process.
fn lose(disk: &SimDisk, rng: &mut Rng) -> SimDisk {
    if disk.is_dead() || rng.chance(50) { disk.crash(rng) } else { disk.kill() }
}

#[test]
fn what_was_acknowledged_survives_any_crash() {
    for seed in Seeds::from_environment(60) {
        match crash_loop(seed, SimDisk::new(), 50) {
            Ok(acknowledged) => assert!(acknowledged > 20, "the run of seed {seed} did nothing"),
            Err(error) => panic!("{error}\n{}", Seeds::replay(seed, "journal")),
        }
    }
}

#[test]
fn canary_a_disk_that_lies_is_caught() {
    let caught = (0..20).filter(|seed| crash_loop(*seed, SimDisk::lying(), 50).is_err()).count();
    assert!(caught >= 18, "only {caught} of 20 runs noticed that nothing is durable");
}
