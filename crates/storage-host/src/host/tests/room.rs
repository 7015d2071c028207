//! How much room is for sale.

use super::*;

#[test]
fn no_more_is_offered_than_the_disk_has() {
    const MIB: u64 = 1 << 20;
    // Of the disk, what a MiB and its hashes take.
    const ROOM: u64 = MIB / 256 * 257;
    let opened = Fair::opened();
    let stored = Fair::stocked();
    let mut ended = stored.clone();
    let closing = ended.host.close_begin(NOON, ended.peer(), ended.id()).unwrap();
    assert!(matches!(closing.settle, Settle::Post(_)));
    // Of 4 MiB for sale, 1 MiB is sold. Free on the disk, what is to stay so; what can still be sold.
    for (name, fair, disk, reserve, free) in [
        ("not told", &opened, None, ROOM, 3 * MIB),
        ("plenty", &opened, Some(100 * ROOM), 0, 3 * MIB),
        ("just enough for all", &opened, Some(4 * ROOM), 0, 3 * MIB),
        ("less", &opened, Some(3 * ROOM), 0, 2 * MIB),
        ("less, and a reserve", &opened, Some(3 * ROOM), ROOM, MIB),
        ("all is promised", &opened, Some(ROOM), 0, 0),
        ("more is promised", &opened, Some(10), 0, 0),
        ("the reserve is touched", &opened, Some(10), ROOM, 0),
        ("what is there is not to come", &stored, Some(3 * ROOM), 0, 2 * MIB + 80_000),
        ("who has ended stores no more", &ended, Some(2 * ROOM), 0, 2 * MIB),
    ] {
        let mut host = fair.host.clone();
        host.set_config(HostConfig { reserve: Bytes::new(reserve), ..config() });
        host.set_disk(disk.map(Bytes::new));
        let free = Bytes::new(free);
        assert_eq!(host.free(), free, "{name}");
        assert_eq!(host.prices(NOON).prices.capacity, free, "{name}");
        assert_eq!(host.overview(NOON).free, free, "{name}");
    }

    // Nor is it signed, whatever a list said before.
    let mut fair = Fair::new();
    let (voucher, signature) =
        (fair.voucher(Amount::new(10)), fair.terms.sign_as_buyer(&fair.buyer));
    let wanted = fair.terms.size_max;
    fair.host.set_disk(Some(Bytes::new(ROOM / 2)));
    let free = Bytes::new(MIB / 2);
    let begun = fair.host.open_begin(NOON, fair.peer(), &fair.terms, &signature, &voucher);
    assert_eq!(begun, Err(Reason::NoRoom { free, wanted }));
}
