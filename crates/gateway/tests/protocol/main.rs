//! Every handler and every refusal, over a real socket, with a store in a folder.

mod folder_store;
mod world;

use folder_store::FolderStore;
use fondaco_gateway::{Kind, Limits, Locks, Name, Object, Server, Settings, StartError, Trouble};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use world::{SHOWN, World, read_answer, settings, until};

const SHORT: Duration = Duration::from_millis(200);
const V2: &str = "Accept: application/vnd.x.restic.rest.v2\r\n";

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

#[tokio::test]
async fn every_method_at_every_place() {
    let world = World::start().await;
    let (name, other) = (Name::of(b"content"), Name::of(b"other"));
    let file = |folder: &str| format!("/{folder}/{name}");
    let sharded = format!("/data/{}/{other}", &other.to_string()[..2]);
    // In order: what a line does is there for the next.
    let mut table = vec![
        ("POST", "/?create=true".to_owned(), "", &b""[..], 200),
        ("POST", "/?x=1&create=true".to_owned(), "", b"", 200),
        ("POST", "/".to_owned(), "", b"", 400),
        ("POST", "/?create=false".to_owned(), "", b"", 400),
        ("GET", "/".to_owned(), "", b"", 405),
        ("DELETE", "/".to_owned(), "", b"", 405),
        ("HEAD", "/config".to_owned(), "", b"", 404),
        ("GET", "/config".to_owned(), "", b"", 404),
        ("DELETE", "/config".to_owned(), "", b"", 404),
        ("POST", "/config".to_owned(), "", b"anything", 200),
        ("POST", "/config".to_owned(), "", b"anything", 200),
        ("POST", "/config".to_owned(), "", b"otherthing", 403),
        ("POST", "/config".to_owned(), "", b"anythin9", 403),
        ("HEAD", "/config".to_owned(), "", b"", 200),
        ("GET", "/config".to_owned(), "", b"", 200),
        ("GET", "/config".to_owned(), "Range: bytes=0-3\r\n", b"", 206),
        ("PUT", "/config".to_owned(), "", b"", 405),
        ("DELETE", "/config".to_owned(), "", b"", 200),
        ("POST", "/config".to_owned(), "", b"otherthing", 200),
        ("GET", "/other/".to_owned(), "", b"", 404),
        ("GET", "/data".to_owned(), "", b"", 404),
        ("GET", "/data/..".to_owned(), "", b"", 404),
        ("GET", "/data/%2e%2e/config".to_owned(), "", b"", 404),
        ("GET", "/repository/config".to_owned(), "", b"", 404),
        ("OPTIONS", "*".to_owned(), "", b"", 404),
        ("POST", sharded.clone(), "", b"other", 200),
        ("GET", format!("/data/{other}"), "", b"", 200),
        ("DELETE", sharded, "", b"", 200),
        ("POST", "/data/".to_owned(), "", b"", 405),
    ];
    for folder in ["keys", "locks", "snapshots", "index", "data"] {
        table.extend([
            ("GET", format!("/{folder}/"), "", &b""[..], 200),
            ("GET", format!("/{folder}/"), V2, b"", 200),
            ("DELETE", format!("/{folder}/"), "", b"", 405),
            ("HEAD", file(folder), "", b"", 404),
            ("GET", file(folder), "", b"", 404),
            ("DELETE", file(folder), "", b"", 404),
            ("POST", file(folder), "", b"not the content", 400),
            ("POST", file(folder), "", b"", 400),
            ("HEAD", file(folder), "", b"", 404),
            ("POST", file(folder), "", b"content", 200),
            ("POST", file(folder), "", b"content", 200),
            ("HEAD", file(folder), "", b"", 200),
            ("HEAD", file(folder), "Range: bytes=0-1\r\n", b"", 200),
            ("GET", file(folder), "", b"", 200),
            ("GET", file(folder), "Range: bytes=2-3\r\n", b"", 206),
            ("GET", file(folder), "Range: bytes=7-\r\n", b"", 416),
            ("GET", file(folder), "Range: bytes=0-1,3-4\r\n", b"", 416),
            ("PATCH", file(folder), "", b"", 405),
            ("DELETE", file(folder), "", b"", 200),
            ("GET", file(folder), "", b"", 404),
        ]);
    }
    for (method, path, headers, body, status) in table {
        let answer = world.ask(&format!("{method} {path}"), headers, body).await;
        let line =
            format!("{method} {path} {headers:?}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.status, status, "{line}");
        if status == 405 {
            assert!(!answer.header("allow").is_empty(), "{line}");
        }
        if status == 416 {
            assert_eq!(answer.header("content-range"), "bytes */7", "{line}");
        }
        if method == "HEAD" {
            assert!(answer.body.is_empty() && answer.length() > 0, "{line}");
        }
    }
}

#[tokio::test]
async fn who_is_let_in() {
    let world = World::start().await;
    let here = world.address.to_string();
    let shown = SHOWN.to_owned();
    let table = [
        (here.clone(), shown.clone(), 404),
        ("localhost:1".to_owned(), shown.clone(), 404),
        ("own.example".to_owned(), shown.clone(), 404),
        ("[::1]:9".to_owned(), shown.clone(), 404),
        ("evil.example".to_owned(), shown.clone(), 421),
        (String::new(), shown.clone(), 421),
        (format!("{here}\r\nHost: evil.example"), shown.clone(), 421),
        (here.clone(), String::new(), 401),
        (here.clone(), shown.replace("MTAxMDEw", "MTAxMDEx"), 401),
        (here.clone(), shown.replace("Basic", "Bearer"), 401),
        (here.clone(), format!("{shown}{shown}"), 401),
        // Who may not come in does not learn what is there.
        ("evil.example".to_owned(), String::new(), 421),
    ];
    for (host, shown, status) in table {
        let head =
            format!("GET /config HTTP/1.1\r\nHost: {host}\r\n{shown}Connection: close\r\n\r\n");
        let answer = world.send(head.as_bytes()).await;
        assert_eq!(answer.status, status, "{head}");
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{head}");
    }
    // A proxy's way of asking names the host twice.
    let head = format!("GET http://evil.example/config HTTP/1.1\r\nHost: {here}\r\n{SHOWN}\r\n");
    assert_eq!(world.send(head.as_bytes()).await.status, 421);
    let head = format!("GET /config HTTP/1.1\r\n{SHOWN}\r\n");
    assert!([400, 421].contains(&world.send(head.as_bytes()).await.status));
    // Nothing is taken in from who shows no token, and he is told so although he sends on.
    let body = content(1 << 20);
    let name = Name::of(&body);
    let head =
        format!("POST /data/{name} HTTP/1.1\r\nHost: {here}\r\nContent-Length: 1048576\r\n\r\n");
    let answer = world.send(&[head.as_bytes(), &body].concat()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("Hint: "), "{}", answer.text());
    assert_eq!(world.get(&format!("/data/{name}")).await.status, 404);
}

#[tokio::test]
async fn both_versions_of_a_list() {
    let world = World::start().await;
    for folder in ["data", "locks"] {
        let path = format!("/{folder}/");
        for accept in ["", V2] {
            let answer = world.ask(&format!("GET {path}"), accept, b"").await;
            assert_eq!(answer.text(), "[]");
        }
        let mut names = [world.keep(folder, b"a").await, world.keep(folder, b"bb").await];
        names.sort();
        let length = |name: &Name| if *name == Name::of(b"a") { 1 } else { 2 };
        let first = world.get(&path).await;
        assert_eq!(first.header("content-type"), "application/vnd.x.restic.rest.v1");
        let expected: Vec<String> = names.iter().map(Name::to_string).collect();
        assert_eq!(serde_json::from_str::<Value>(first.text()).unwrap(), json!(expected));
        for accept in [V2, "Accept: text/html, application/vnd.x.restic.rest.v2\r\n"] {
            let second = world.ask(&format!("GET {path}"), accept, b"").await;
            assert_eq!(second.header("content-type"), "application/vnd.x.restic.rest.v2");
            let expected: Vec<Value> = names
                .iter()
                .map(|name| json!({ "name": name.to_string(), "size": length(name) }))
                .collect();
            assert_eq!(serde_json::from_str::<Value>(second.text()).unwrap(), json!(expected));
        }
    }
}

#[tokio::test]
async fn what_is_read_is_what_was_put() {
    let limits = Limits { piece_bytes: 1000, ..Limits::default() };
    let world = World::limited(limits).await;
    let body = content(10_001);
    for folder in ["data", "locks"] {
        let name = world.keep(folder, &body).await;
        let path = format!("/{folder}/{name}");
        let table = [
            ("", 0..10_001),
            ("bytes=0-", 0..10_001),
            ("bytes=0-999", 0..1000),
            ("bytes=999-2000", 999..2001),
            ("bytes=10000-", 10_000..10_001),
            ("bytes=-500", 9501..10_001),
            ("bytes=9000-99999999", 9000..10_001),
        ];
        for (range, expected) in table {
            let headers =
                if range.is_empty() { String::new() } else { format!("Range: {range}\r\n") };
            let answer = world.ask(&format!("GET {path}"), &headers, b"").await;
            assert_eq!(answer.status, if range.is_empty() { 200 } else { 206 }, "{range}");
            assert_eq!(answer.length(), expected.len(), "{range}");
            if !range.is_empty() {
                let shown = format!("bytes {}-{}/10001", expected.start, expected.end - 1);
                assert_eq!(answer.header("content-range"), shown);
            }
            assert!(answer.body == body[expected], "{range}");
        }
        let head = world.ask(&format!("HEAD {path}"), "", b"").await;
        assert_eq!((head.length(), head.body.len()), (10_001, 0));
    }
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let world = World::start().await;
    let name = world.keep("snapshots", b"").await;
    let path = format!("/snapshots/{name}");
    let answer = world.get(&path).await;
    assert_eq!((answer.status, answer.length(), answer.body.len()), (200, 0, 0));
    assert_eq!(world.ask(&format!("GET {path}"), "Range: bytes=0-\r\n", b"").await.status, 416);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let world = World::start().await;
    let body = content(3000);
    let name = Name::of(&body);
    let here = world.address;
    let put = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 3000\r\n\r\n"
    );
    let get =
        format!("GET /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Connection: close\r\n\r\n");
    let mut stream = world.connect().await;
    stream.write_all(&[put.as_bytes(), &body, get.as_bytes()].concat()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(bytes.ends_with(&body));
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let world = World::start().await;
    let (here, name) = (world.address, Name::of(b"content"));
    let head =
        format!("POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Connection: close\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\ncon\r\n4\r\ntent\r\n0\r\n\r\n";
    assert_eq!(world.send(format!("{head}{chunked}").as_bytes()).await.status, 200);
    let bad = format!("{head}{}", chunked.replace("3\r\n", "z\r\n"));
    assert_eq!(world.send(bad.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn too_long_a_body_is_not_even_read() {
    let limits = Limits { object_bytes: 100_000, upload_bytes: 100_000, ..Limits::default() };
    let world = World::limited(limits).await;
    let here = world.address;
    let table = [
        ("data", 100_000, 200),
        ("index", 100_001, 413),
        ("snapshots", 100_001, 413),
        ("keys", 65_536, 200),
        ("keys", 65_537, 413),
        ("locks", 65_537, 413),
    ];
    for (folder, length, status) in table {
        let body = content(length);
        let path = format!("/{folder}/{}", Name::of(&body));
        let answer = world.post(&path, &body).await;
        assert_eq!(answer.status, status, "{folder} {length}");
        // In chunks, it is noticed when it is too late for the client.
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Connection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"
        )
        .into_bytes();
        bytes.extend(&body);
        bytes.extend(b"\r\n0\r\n\r\n");
        assert_eq!(world.send(&bytes).await.status, status, "{folder} {length}");
    }
    // One that only says so is answered before it sends anything.
    let mut stream = world.connect().await;
    let head = format!(
        "POST /data/{} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 99999999999999\r\n\r\n",
        Name::of(b"")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 413);
    assert_eq!(world.post("/config", &content(65_537)).await.status, 413);
}

#[tokio::test]
async fn half_a_request_leaves_nothing() {
    let world = World::start().await;
    let here = world.address;
    let body = content(5000);
    let name = Name::of(&body);
    let head = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 5000\r\n\r\n"
    );
    let whole = [head.as_bytes(), &body].concat();
    for cut in [10, head.len() - 1, head.len(), head.len() + 1, whole.len() - 1] {
        let mut stream = world.connect().await;
        stream.write_all(&whole[..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert_ne!(answer.status, 200, "{cut}");
        assert_eq!(world.get(&format!("/data/{name}")).await.status, 404, "{cut}");
    }
    assert_eq!(world.get("/data/").await.text(), "[]");
    assert_eq!(world.post(&format!("/data/{name}"), &body).await.status, 200);
}

#[tokio::test]
async fn what_came_whole_is_stored_though_its_client_left() {
    let world = World::start().await;
    let here = world.address;
    let name = Name::of(b"content");
    world.store.writes.forget_permits(1000);
    let mut stream = world.connect().await;
    let request = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 7\r\n\r\ncontent"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // The write waits for its permit while the client leaves.
    tokio::time::sleep(SHORT).await;
    drop(stream);
    tokio::time::sleep(SHORT).await;
    let path = world.store.path(Object::Named(Kind::Pack, name));
    assert!(!path.exists());
    world.store.writes.add_permits(1);
    until(|| path.exists()).await;
}

#[tokio::test]
async fn who_is_slow_is_cut_off() {
    let limits = Limits {
        stranger_timeout: SHORT,
        idle_timeout: SHORT * 2,
        stall_timeout: SHORT * 2,
        ..Limits::default()
    };
    let world = World::limited(limits).await;
    let (here, name) = (world.address, Name::of(b"content"));
    let head = format!("POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}");
    let table = [
        ("nothing at all", String::new(), 0),
        ("half a line", "GET /con".to_owned(), 0),
        ("half a header, with the token", head.clone(), 0),
        ("no body", format!("{head}Content-Length: 7\r\n\r\n"), 408),
        ("half a body", format!("{head}Content-Length: 7\r\n\r\ncont"), 408),
        ("half a chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\n7\r\ncont"), 408),
    ];
    for (what, bytes, status) in table {
        let mut stream = world.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.status, status, "{what}");
    }
    assert_eq!(world.get("/data/").await.text(), "[]");
    // A stranger who keeps asking is one all the same.
    let mut stream = world.connect().await;
    let stranger = format!("GET /config HTTP/1.1\r\nHost: {here}\r\nX: ");
    stream.write_all(stranger.as_bytes()).await.unwrap();
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_too_slow() {
    let limits = Limits { stall_timeout: SHORT * 2, body_rate_min: 1 << 20, ..Limits::default() };
    let world = World::limited(limits).await;
    let (here, name) = (world.address, Name::of(b""));
    let mut stream = world.connect().await;
    let head = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Each byte comes in time, and all of them would not for hours.
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let limits = Limits { stall_timeout: SHORT, ..Limits::default() };
    let world = World::limited(limits).await;
    let length = 64 << 20;
    let name = Name::from_bytes([7; 32]);
    fs::write(world.store.path(Object::Named(Kind::Pack, name)), vec![7; length]).unwrap();
    let mut stream = world.connect().await;
    let head = format!("GET /data/{name} HTTP/1.1\r\nHost: {}\r\n{SHOWN}\r\n", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than the system's buffers hold is not taken in for longer than that.
    tokio::time::sleep(SHORT * 5).await;
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.length()), (200, length));
    assert!(answer.body.len() < length, "all of it came");
}

#[tokio::test]
async fn there_are_so_many_seats() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let world = World::limited(limits).await;
    let (one, two) = (world.connect().await, world.connect().await);
    // Accepted in order, so the third finds both taken.
    let mut three = world.connect().await;
    assert_eq!(read_answer(&mut three).await.status, 0);
    drop((one, two));
    // Its seat is given back soon, not at once.
    let mut answer = world.get("/keys/").await;
    while answer.status == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        answer = world.get("/keys/").await;
    }
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn bodies_wait_for_room_and_not_for_ever() {
    let limits = Limits {
        object_bytes: 64 << 10,
        upload_bytes: 64 << 10,
        upload_wait: SHORT,
        ..Limits::default()
    };
    let world = World::limited(limits).await;
    let here = world.address;
    let body = content(64 << 10);
    let name = Name::of(&body);
    let head = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 65536\r\n\r\n"
    );
    let mut first = world.connect().await;
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(&body[..1000]).await.unwrap();
    // It has all the room. Others wait, and give up.
    let mut answer = world.post(&format!("/data/{name}"), &body).await;
    while answer.status == 200 {
        // The first was not read yet.
        answer = world.post(&format!("/data/{name}"), &body).await;
    }
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "10");
    assert!(answer.text().contains("Hint: "), "{}", answer.text());
    // Reading goes on meanwhile.
    assert_eq!(world.get("/data/").await.status, 200);
    first.write_all(&body[1000..]).await.unwrap();
    let mut told = vec![0; 15];
    first.read_exact(&mut told).await.unwrap();
    assert_eq!(told, b"HTTP/1.1 200 OK");
    assert_eq!(world.post(&format!("/data/{name}"), &body).await.status, 200);
}

#[tokio::test]
async fn append_only_removes_locks_alone() {
    let settings = Settings { append_only: true, ..settings() };
    let world = World::with(settings, Arc::new(tempfile::tempdir().unwrap())).await;
    assert_eq!(world.post("/?create=true", b"").await.status, 200);
    assert_eq!(world.post("/config", b"one").await.status, 200);
    assert_eq!(world.post("/config", b"two").await.status, 403);
    assert_eq!(world.post("/config", b"one").await.status, 200);
    assert_eq!(world.ask("DELETE /config", "", b"").await.status, 403);
    for folder in ["keys", "snapshots", "index", "data"] {
        let name = world.keep(folder, b"content").await;
        let path = format!("/{folder}/{name}");
        let answer = world.ask(&format!("DELETE {path}"), "", b"").await;
        assert_eq!(answer.status, 403, "{folder}");
        assert!(answer.text().contains("append-only"), "{}", answer.text());
        assert_eq!(world.get(&path).await.body, b"content");
        // Again is not over: the content is the same.
        assert_eq!(world.post(&path, b"content").await.status, 200);
        assert_eq!(world.post(&path, b"another").await.status, 400);
        assert_eq!(world.get(&path).await.body, b"content");
        let missing = format!("DELETE /{folder}/{}", Name::of(b"missing"));
        assert_eq!(world.ask(&missing, "", b"").await.status, 403);
    }
    let name = world.keep("locks", b"content").await;
    assert_eq!(world.ask(&format!("DELETE /locks/{name}"), "", b"").await.status, 200);
    assert_eq!(world.get("/locks/").await.text(), "[]");
}

#[tokio::test]
async fn a_store_in_trouble_is_told_of_in_its_words() {
    let world = World::start().await;
    let name = world.keep("data", b"content").await;
    let file = format!("/data/{name}");
    let fresh = format!("/data/{}", Name::of(b"fresh"));
    let table =
        [(Trouble::Full, 507), (Trouble::Away, 503), (Trouble::Wrong, 502), (Trouble::Own, 500)];
    for (trouble, status) in table {
        world.store.set_trouble(Some(trouble));
        for (line, body) in [
            ("GET /data/".to_owned(), &b""[..]),
            (format!("GET {file}"), b""),
            (format!("POST {fresh}"), b"fresh"),
            (format!("DELETE {file}"), b""),
        ] {
            let answer = world.ask(&line, "", body).await;
            assert_eq!(answer.status, status, "{line}");
            assert_eq!(answer.text(), "it rains\nHint: take an umbrella\n", "{line}");
        }
        // Locks are not its business.
        let lock = world.keep("locks", b"lock").await;
        assert_eq!(world.ask(&format!("DELETE /locks/{lock}"), "", b"").await.status, 200);
        world.store.set_trouble(None);
        assert_eq!(world.get(&fresh).await.status, 404);
        assert_eq!(world.get(&file).await.body, b"content");
    }
}

/// What cannot be had back and is sent again is stored anew; what can be is not.
#[tokio::test]
async fn nothing_is_taken_as_stored_that_cannot_be_had_back() {
    let world = World::start().await;
    for folder in ["data", "keys", "index", "snapshots"] {
        let name = world.keep(folder, b"content").await;
        let path = format!("/{folder}/{name}");
        let written = || 1000 - world.store.writes.available_permits();
        let before = written();
        for (readable, writes) in [(7, 0), (6, 1), (7, 1), (0, 2)] {
            world.store.set_readable(readable);
            assert_eq!(world.post(&path, b"content").await.status, 200, "{path} {readable}");
            assert_eq!(written() - before, writes, "{path} {readable}");
        }
        // Where it cannot be stored anew, nothing is acknowledged.
        world.store.set_full(true);
        assert_eq!(world.post(&path, b"content").await.status, 507, "{path}");
        world.store.set_full(false);
        world.store.set_readable(u64::MAX);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_whole_is_visibly_cut_off() {
    let limits = Limits { piece_bytes: 1000, ..Limits::default() };
    let world = World::limited(limits).await;
    let name = world.keep("data", &content(5000)).await;
    let path = format!("/data/{name}");
    // Where the first piece fails, there is still a status to say it by.
    world.store.set_readable(999);
    assert_eq!(world.get(&path).await.status, 503);
    world.store.set_readable(2000);
    let answer = world.get(&path).await;
    // What was read may go with the connection, its head too.
    let is_head_seen = answer.status == 200 && answer.length() == 5000;
    assert!(is_head_seen || answer.status == 0, "{answer:?}");
    assert!(answer.body.len() <= 2000, "{}", answer.body.len());
}

#[tokio::test]
async fn locks_are_there_after_a_restart() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let world = World::with(settings(), Arc::clone(&folder)).await;
    let name = world.keep("locks", b"mine").await;
    drop(world);
    let world = World::with(settings(), folder).await;
    assert_eq!(world.get(&format!("/locks/{name}")).await.body, b"mine");
    assert!(world.folder.path().join("locks").join(name.to_string()).exists());
}

#[tokio::test]
async fn other_machines_are_let_in_only_when_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let bind = |listen: &str, allow_remote| {
        let store = Arc::new(FolderStore::new(folder.path()));
        let locks = Locks::open(&folder.path().join("locks")).unwrap();
        let settings = Settings { listen: listen.parse().unwrap(), allow_remote, ..settings() };
        async move { Server::bind(store, locks, settings).await.map(|it| it.address()) }
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.7:0", "[::ffff:192.0.2.7]:0"] {
        let refused = bind(listen, false).await.unwrap_err();
        assert!(matches!(refused, StartError::Remote { .. }), "{listen}");
        assert!(!refused.is_transient());
    }
    assert!(bind("0.0.0.0:0", true).await.is_ok());
    let taken = bind("127.0.0.1:0", false).await.unwrap();
    let listener = tokio::net::TcpListener::bind(taken).await.unwrap();
    let refused = bind(&listener.local_addr().unwrap().to_string(), false).await.unwrap_err();
    assert!(matches!(refused, StartError::Listen { .. }) && refused.is_transient());
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let world = World::start().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let table: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in table {
        let mut stream = world.connect().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let status = read_answer(&mut stream).await.status;
        assert!(status == 0 || status >= 400, "{status}");
    }
    assert_eq!(world.get("/keys/").await.status, 200);
}

#[tokio::test]
async fn a_stop_lets_answers_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FolderStore::new(folder.path()));
    store.writes.forget_permits(1000);
    let locks = Locks::open(&folder.path().join("locks")).unwrap();
    let server = Server::bind(Arc::clone(&store), locks, settings()).await.unwrap();
    let (here, stop) = (server.address(), tokio_util::sync::CancellationToken::new());
    let serving = tokio::spawn(server.serve(stop.clone()));
    let name = Name::of(b"content");
    let mut stream = tokio::net::TcpStream::connect(here).await.unwrap();
    let request = format!(
        "POST /data/{name} HTTP/1.1\r\nHost: {here}\r\n{SHOWN}Content-Length: 7\r\n\r\ncontent"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(SHORT).await;
    stop.cancel();
    store.writes.add_permits(1);
    assert_eq!(read_answer(&mut stream).await.status, 200);
    serving.await.unwrap();
    assert!(tokio::net::TcpStream::connect(here).await.is_err());
}
