//! `fondaco init` and `identity`: who I am, and how nobody else becomes it.

mod passphrase;
mod terminal;

pub(crate) use passphrase::PassphraseSource;

use crate::cli::{IdentityCommand, InitArgs, NewPassphraseArgs};
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::screen::{complain, say};
use crate::wallet::random;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp_wire::holder_pem;
use fondaco_store::{KeyFile, Words, read_key, reseal_key, save_key};
use serde_json::json;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The most bytes in which 24 words may be written.
const WORDS_BYTES_MAX: usize = 4096;
/// How many words stand in a line of the grid.
const COLUMNS: usize = 4;

/// Makes a key, or makes it anew from its words.
pub(crate) fn init(home: &Home, args: InitArgs, json: bool) -> Result<(), Failure> {
    let InitArgs { restore, no_passphrase, show_words } = args;
    let path = home.key_path();
    // A link to nowhere is somebody's plan for the key too.
    if path.symlink_metadata().is_ok() {
        let whose = home.noted_entity().map_or_else(String::new, |entity| format!(": {entity}"));
        return Err(Failure::new(format!("there is a key already{whose}")).hint(format!(
            "it is in {}; use it, or take another --identity or --home",
            path.display()
        )));
    }
    home.folder("")?;
    let key = if restore { read_words()?.key() } else { SecretKey::from_bytes(&random()?) };
    let passphrase = if no_passphrase { None } else { Some(home.passphrase().choose()?) };
    save_key(&path, &key, passphrase.as_ref())?;
    home.note_entity(key.entity())?;
    let encrypted = passphrase.is_some();
    if json {
        let line = json!({
            "identity": home.identity().as_str(), "entity": key.entity().to_string(),
            "hex": key.entity().to_hex(), "key": path, "encrypted": encrypted,
        });
        if show_words {
            say(&with_words(&line.to_string(), &Words::of(&key)));
        } else {
            say(&line.to_string());
        }
        return Ok(());
    }
    say(&format!("You are\n  {}\n", key.entity()));
    // What is no terminal may be a log, and words in a log are everybody's.
    let shown = show_words || (!restore && std::io::stdout().is_terminal());
    if shown {
        say(
            "These 24 words are your key. Write them on paper, in order, and let nobody see them:\n",
        );
        say(&grid(&Words::of(&key)));
        say(
            "Whoever has them is you. With them `fondaco init --restore` makes the key anew when this\n\
             disk is gone; without them and the key file nobody can spend your money or read your backups,\n\
             you included. They are not shown again unless you ask: `fondaco identity export-words`.\n",
        );
    } else if !restore {
        say("Your key is 24 words too, not shown here since this is no terminal. Get them with\n\
             `fondaco identity export-words`, write them on paper, and let nobody see them.\n");
    }
    if encrypted {
        say(&format!("Your key is in {}, encrypted with your passphrase.", path.display()));
    } else {
        say(&unencrypted(home));
    }
    Ok(())
}

pub(crate) fn run(home: &Home, command: IdentityCommand, json: bool) -> Result<(), Failure> {
    match command {
        IdentityCommand::List => list(home, json),
        IdentityCommand::Show { hex } => show(home, hex, json),
        IdentityCommand::ExportWords => export_words(home, json),
        IdentityCommand::ExportTls { to } => export_tls(home, &to, json),
        IdentityCommand::Passphrase(args) => change_passphrase(home, args, json),
    }
}

/// Writes what a SOAP toolkit needs to be this identity.
fn export_tls(home: &Home, to: &Path, json: bool) -> Result<(), Failure> {
    let key = home.key()?;
    let pem = holder_pem(&key);
    fs::create_dir_all(to).map_err(|error| io("make the folder", to, &error))?;
    let (key_path, certificate_path) = (to.join("key.pem"), to.join("cert.pem"));
    fondaco_store::write_atomic(&key_path, pem.key.as_bytes(), 0o600)?;
    fondaco_store::write_atomic(&certificate_path, pem.certificate.as_bytes(), 0o644)?;
    if json {
        let line = json!({
            "entity": key.entity().to_string(), "key": key_path, "certificate": certificate_path,
        });
        say(&line.to_string());
    } else {
        say(&format!("The certificate of {} is in {}.", key.entity(), certificate_path.display()));
        say(&format!(
            "Its key is in {}, NOT ENCRYPTED: whoever has it is you.",
            key_path.display()
        ));
    }
    Ok(())
}

fn list(home: &Home, json: bool) -> Result<(), Failure> {
    let identities = home.identities()?;
    for each in &identities {
        let name = each.identity().as_str();
        let entity = entity_unasked(each);
        if json {
            let entity = entity.map(|entity| entity.to_string());
            say(&json!({ "identity": name, "entity": entity, "home": each.path() }).to_string());
        } else {
            let entity = entity.map_or_else(
                || "not known before its key is opened".to_owned(),
                |entity| entity.to_string(),
            );
            say(&format!("{name:<16}  {entity}"));
        }
    }
    if identities.is_empty() && !json {
        say("There is no identity yet. Make one with `fondaco init`.");
    }
    Ok(())
}

/// Returns who an identity is, as far as that can be told without a passphrase.
fn entity_unasked(home: &Home) -> Option<EntityId> {
    home.noted_entity().or_else(|| match read_key(&home.key_path()) {
        Ok(KeyFile::Plain(key)) => Some(key.entity()),
        Ok(KeyFile::Sealed(_)) | Err(_) => None,
    })
}

fn show(home: &Home, hex: bool, json: bool) -> Result<(), Failure> {
    let encrypted = matches!(home.key_file()?, KeyFile::Sealed(_));
    let entity = match entity_unasked(home) {
        Some(entity) => entity,
        None => home.key()?.entity(),
    };
    let name = home.identity().as_str();
    if json {
        let line = json!({
            "identity": name, "entity": entity.to_string(), "hex": entity.to_hex(),
            "home": home.path(), "encrypted": encrypted,
        });
        say(&line.to_string());
    } else if hex {
        say(&entity.to_hex());
    } else {
        let key = if encrypted { "encrypted with a passphrase" } else { "NOT ENCRYPTED" };
        say(&format!(
            "identity  {name}\nentity    {entity}\nin hex    {}\nfolder    {}\nkey       {key}",
            entity.to_hex(),
            home.path().display()
        ));
    }
    Ok(())
}

fn export_words(home: &Home, json: bool) -> Result<(), Failure> {
    let key = home.key()?;
    let words = Words::of(&key);
    if json {
        let line = json!({ "entity": key.entity().to_string() });
        say(&with_words(&line.to_string(), &words));
    } else {
        say(&grid(&words));
        complain(&format!("These are the key of {}: whoever has them is you.", key.entity()));
    }
    Ok(())
}

fn change_passphrase(home: &Home, args: NewPassphraseArgs, json: bool) -> Result<(), Failure> {
    let NewPassphraseArgs { new_passphrase_file, no_passphrase } = args;
    let key = home.key()?;
    let new = match new_passphrase_file {
        _ if no_passphrase => None,
        Some(file) => Some(passphrase::read_file(&file)?),
        None => Some(passphrase::ask_new("; the new one is read with --new-passphrase-file FILE")?),
    };
    let path = home.key_path();
    reseal_key(&path, &key, new.as_ref())?;
    if json {
        let line = json!({ "entity": key.entity().to_string(), "encrypted": new.is_some() });
        say(&line.to_string());
    } else if new.is_some() {
        say(&format!(
            "{} has its new passphrase. Copies of it still have the old one.",
            path.display()
        ));
    } else {
        say(&unencrypted(home));
    }
    Ok(())
}

fn unencrypted(home: &Home) -> String {
    let mut more = String::new();
    if !home.identity().is_default() {
        more = format!(" --identity {}", home.identity().as_str());
    }
    format!(
        "WARNING: your key is NOT ENCRYPTED. Whoever can read {},\n\
         or any copy of it, is you. Encrypt it with `fondaco identity passphrase{more}`.",
        home.key_path().display()
    )
}

/// The most bytes that a word has in JSON: eight letters, two marks and a comma.
const WORD_JSON_BYTES_MAX: usize = 11;

/// Adds the words to an object in JSON, in memory that is overwritten in the end, as that of a JSON value would not be.
fn with_words(object: &str, words: &Words) -> Zeroizing<String> {
    let room = object.len() + 16 + Words::COUNT * WORD_JSON_BYTES_MAX;
    // With all its room from the start: what grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(room));
    line.push_str(object.strip_suffix('}').unwrap_or(object));
    line.push_str(",\"words\":[");
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        line.push('"');
        line.push_str(word);
        line.push('"');
    }
    line.push_str("]}");
    debug_assert!(line.len() <= room, "the room was reckoned too small");
    line
}

/// Writes words with their numbers, line by line.
fn grid(words: &Words) -> Zeroizing<String> {
    // Long enough that it never grows: a string that does leaves copies behind.
    let mut grid = Zeroizing::new(String::with_capacity(Words::COUNT * 20));
    for (index, word) in words.iter().enumerate() {
        let end = if (index + 1) % COLUMNS == 0 { "\n" } else { "  " };
        let number = if index < 9 { "   " } else { "  " };
        grid.push_str(number);
        grid.push_str(&(index + 1).to_string());
        grid.push(' ');
        grid.push_str(word);
        if end != "\n" {
            // The longest word of the list has eight letters.
            grid.extend(std::iter::repeat_n(' ', 8_usize.saturating_sub(word.len())));
        }
        grid.push_str(end);
    }
    grid
}

/// Reads the words of a key from standard input: all of a pipe or file, or what a person types.
fn read_words() -> Result<Words, Failure> {
    let usage = |what: &str| Failure::new(what).code(Code::Usage);
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    if is_terminal {
        complain("Type the 24 words of the key in order, in one line or several:");
    }
    // Without the buffer of the library, which nobody wipes.
    let failed = |error: std::io::Error| Failure::new(format!("standard input failed: {error}"));
    let mut input = File::from(stdin.as_fd().try_clone_to_owned().map_err(failed)?);
    let mut bytes = Zeroizing::new([0; WORDS_BYTES_MAX]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            return Err(usage("24 words are no more than 4 KiB"));
        }
        match input.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        let words = bytes[..length].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if is_terminal && words.count() >= Words::COUNT && bytes[length - 1] == b'\n' {
            break;
        }
    }
    let text =
        std::str::from_utf8(&bytes[..length]).map_err(|_| usage("the words are not UTF-8"))?;
    Words::parse(text).map_err(|error| usage(&error.to_string()).hint(error.hint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_a_numbered_grid() {
        let words = Words::of(&SecretKey::from_bytes(&[0x7f; 32]));
        let expected = "   1 legal        2 winner       3 thank        4 year
   5 wave         6 sausage      7 worth        8 useful
   9 legal       10 winner      11 thank       12 year
  13 wave        14 sausage     15 worth       16 useful
  17 legal       18 winner      19 thank       20 year
  21 wave        22 sausage     23 worth       24 title
";
        assert_eq!(*grid(&words), expected);
    }
}
