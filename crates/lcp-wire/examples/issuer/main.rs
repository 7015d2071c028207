//! An issuer of 2003 that keeps its accounts in memory: something for foreign clients to talk to.
//!
//! `issuer FOLDER COUNT` writes into FOLDER what clients need: for each of COUNT holders `holder-N.key`, `holder-N.crt` in
//! PEM and `holder-N.hex`, the recipient; `issuer.crt`; and in `wsdl.url` the address of the description, last. It runs
//! until its standard input ends.

mod accounts;

use accounts::Memory;
use fondaco_crypto::SecretKey;
use fondaco_lcp_wire::{Identity, Server, ServerName, Settings, hex, holder_pem};
use fondaco_units::{Amount, Scale};
use std::{error::Error, fs, net::Ipv4Addr, path::PathBuf, sync::Arc};
use tokio::io::AsyncReadExt;

const USAGE: &str = "Usage: issuer FOLDER COUNT";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or(USAGE)?);
    let count: u8 = arguments.next().ok_or(USAGE)?.parse()?;
    // Keys that everybody can read here: this issuer issues nothing.
    let bank = SecretKey::from_bytes(&[255; 32]);
    let memory = Arc::new(Memory::new(&bank, 120, 0));
    fs::create_dir_all(&folder)?;
    for number in 0..count {
        let holder = SecretKey::from_bytes(&[number; 32]);
        memory.mint(holder.entity(), Amount::new(100_000));
        let pem = holder_pem(&holder);
        let file = |kind: &str| folder.join(format!("holder-{number}.{kind}"));
        fs::write(file("key"), pem.key.as_bytes())?;
        fs::write(file("crt"), &pem.certificate)?;
        fs::write(file("hex"), hex(holder.entity().as_bytes()))?;
    }
    let names = [ServerName::try_from("localhost")?, ServerName::try_from("127.0.0.1")?];
    let identity = Identity::new(&bank, &names);
    fs::write(folder.join("issuer.crt"), identity.certificate_pem())?;
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let settings = Settings { http: Some(any), ..Settings::at(any) };
    let scale = Scale::new(2).ok_or("2 is a scale")?;
    let server = Server::start(identity, scale, memory, settings).await?;
    let http = server.http_address().ok_or("the descriptions are served")?;
    // Whoever waits for this file finds it whole.
    fs::write(folder.join("wsdl.url.part"), format!("http://{http}/lcp.wsdl"))?;
    fs::rename(folder.join("wsdl.url.part"), folder.join("wsdl.url"))?;
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    server.stop().await;
    Ok(())
}
