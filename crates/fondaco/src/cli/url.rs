//! The URL by which others reach a service.

use fondaco_lcp_wire::ServerName;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An `https` URL, of a host that a certificate can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpsUrl(String);

impl HttpsUrl {
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HttpsUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").ok_or("a URL begins with https:// here")?;
        let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"<>\\^`{|}".contains(letter);
        if !text.chars().all(is_plain) {
            return Err("a URL has no spaces, quotes, or letters that are not ASCII");
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or("a `]` is missing")?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_port = match port.strip_prefix(':') {
            Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
            None => port.is_empty(),
        };
        if !is_port {
            return Err("a port is a number from 1 to 65535");
        }
        if ServerName::try_from(host).is_err() {
            return Err("it names no host, as in https://money.example:4434/AccountService");
        }
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified()) {
            return Err(
                "nobody can dial an unspecified address: name one by which others reach this machine",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_host_is_refused() {
        for good in [
            "https://money.example/AccountService",
            "https://money.example:4434/AccountService",
            "https://192.0.2.2:4434/AccountService",
            "https://[2001:db8::2]:4434/AccountService",
            "https://money.example",
        ] {
            assert_eq!(good.parse::<HttpsUrl>().map(HttpsUrl::into_string), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "zzz",
            "http://money.example/",
            "https://",
            "https:///AccountService",
            "https://:4434/",
            "https://money.example:0/",
            "https://money.example:70000/",
            "https://money.example:/",
            "https://[2001:db8::2/",
            "https://two words/",
            "https://money.example/\"><x",
            "https://someone@money.example/",
            "https://0.0.0.0:4434/AccountService",
            "https://[::]/",
            "https://[::ffff:0.0.0.0]:4434/",
        ] {
            assert!(bad.parse::<HttpsUrl>().is_err(), "{bad:?}");
        }
    }
}
