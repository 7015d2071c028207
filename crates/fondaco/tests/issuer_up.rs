//! A running issuer, by the real command: where it says that it is, what it shows, and how it ends.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn command(home: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    command.arg("--home").arg(home).args(args.split(' ')).stdin(Stdio::null());
    command
}

fn succeed(home: &Path, args: &str) -> String {
    let Output { status, stdout, stderr } = command(home, args).output().unwrap();
    assert!(status.success(), "{args}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// A running issuer and what it said when it was ready; killed when dropped.
struct Up {
    child: Child,
    said: Vec<String>,
}

impl Up {
    fn start(home: &Path, args: &str) -> Self {
        let mut up = command(home, args);
        let mut child = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        for line in lines {
            let last = line.contains("Ctrl-C");
            said.push(line);
            if last {
                break;
            }
        }
        Self { child, said }
    }

    /// The rest of the line, without spaces, of the first that has `part`.
    fn line(&self, part: &str) -> &str {
        let line = self.said.iter().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no {part} in {:?}", self.said)).trim()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is at this `http` URL.
fn get(url: &str) -> String {
    let (at, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {answer}");
    answer
}

/// On all addresses it names one of the machine's, at which it is; SIGTERM and SIGINT end it in order.
#[test]
fn it_says_where_it_is_shows_figures_and_ends_in_order() {
    use rustix::process::{Pid, Signal, kill_process};
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    succeed(home, "init --no-passphrase");
    succeed(home, "issuer init --name Test --symbol TST --scale 0");
    let holder = succeed(home, "identity show --hex");
    let mut records = 1;
    for signal in [Signal::TERM, Signal::INT] {
        let args = "issuer up --listen 0.0.0.0:0 --metrics 127.0.0.1:0";
        let mut up = Up::start(home, args);
        assert!(!up.said.concat().contains("0.0.0.0"), "nobody can dial that: {:?}", up.said);
        let wsdl = get(up.line("http://"));
        assert!(wsdl.contains(up.line("https://")), "{wsdl}");
        assert!(!wsdl.contains("0.0.0.0"), "{wsdl}");
        // Where the machine has an address that others can dial, that one is named.
        let all = up.line("fon1").split('@').nth(1).unwrap().to_owned();
        let others = all.split(',').any(|at| !at.starts_with("127.") && !at.starts_with("[::1]"));
        assert_eq!(up.line("https://").contains("//127."), !others, "{:?}", up.said);
        // The certificate names every address, and so the one in the description.
        let pem = std::fs::read(home.join("issuer").join("cert.pem")).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        let named = up.line("https://").split('/').nth(2).unwrap();
        for at in all.split(',').chain([named]) {
            let name = match at.parse::<SocketAddr>().unwrap().ip() {
                IpAddr::V4(ip) => [&[0x87, 4][..], &ip.octets()].concat(),
                IpAddr::V6(ip) => [&[0x87, 16][..], &ip.octets()].concat(),
            };
            let is_named = certificate.windows(name.len()).any(|bytes| *bytes == name);
            assert!(is_named, "{at} is not in the certificate");
        }

        for _ in 0..3 {
            succeed(home, &format!("issuer mint 5 --to {}", holder.trim()));
            records += 1;
        }
        let figures = up.line("Figures are at ").trim_start_matches("Figures are at ");
        let page = figures.trim_end_matches('.');
        let figures = get(page);
        for line in [
            "fondaco_issuer_requests_total{outcome=\"done\"} 3".to_owned(),
            format!("fondaco_issuer_supply_units {}", (records - 1) * 5),
            "fondaco_issuer_halted 0".to_owned(),
            "# EOF".to_owned(),
        ] {
            assert!(figures.contains(&line), "no {line} in {figures}");
        }
        assert!(!figures.contains(holder.trim()), "figures name nobody");
        // Commands take leave: what they left behind would be in the way of the next ones.
        let left = "fondaco_issuer_connections{dialect=\"lcp2\"} 0";
        let gone = (0..50).any(|_| {
            get(page).contains(left) || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                false
            }
        });
        assert!(gone, "connections stay open");

        let pid = Pid::from_raw(i32::try_from(up.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(up.child.wait().unwrap().code(), Some(0), "{signal:?}");
        let audit = succeed(home, "--json issuer audit");
        for part in ["\"balanced\":true".to_owned(), format!("\"records\":{records}")] {
            assert!(audit.contains(&part), "{signal:?}: {audit}");
        }
    }
}

/// A URL that is given is named, to people and in the description; what is none is refused.
#[test]
fn a_url_that_is_given_is_named() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    succeed(home, "init --no-passphrase");
    succeed(home, "issuer init --name Test --symbol TST --scale 0");
    let url = "https://money.example:4434/AccountService";
    let up = Up::start(home, &format!("issuer up --listen 127.0.0.1:0 --url {url}"));
    assert_eq!(up.line("https://"), url);
    assert!(get(up.line("http://")).contains(url));
    drop(up);
    let refused = command(home, "issuer up --listen 127.0.0.1:0 --url zzz").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
